"""Task negation: learn the forget set with an adapter, then subtract it (Ilharco et al. 2023, arXiv 2212.04089)."""

import os
import tempfile
from pathlib import Path

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from hf_unlearn.data import AnswerCollator, DataLike, load_data, pad_token_id, tokenize_examples
from hf_unlearn.inference import ModelLike, context_length, load_model, load_processing_class


FORGET, NEGATED = "forget", "negated"
"""Names of the learnt adapter and of its negative."""


def task_vector(
    model: ModelLike,
    *,
    forget: DataLike,
    peft_config: PeftConfig | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    prompt_template: str | None = None,
    args: TrainingArguments | None = None,
    num_train_epochs: float = 5.0,
    learning_rate: float = 1e-4,
    per_device_train_batch_size: int = 8,
    seed: int = 0,
    output_dir: str | os.PathLike | None = None,
) -> PeftModel:
    """Train a LoRA adapter on the forget set, so that it can be subtracted.

    Args:
        model: Loaded, path or Hub id.
        forget: What must go.
        peft_config: Of the adapter; default: rank 8 on all linear layers.
        processing_class: The tokenizer; default: the one saved with the model.
        prompt_template: How questions are put, see `data.tokenize_examples`; it must be the one that the model was trained with.
        args: Full control of the training; replaces the following four.
        num_train_epochs: Passes over the forget set.
        learning_rate: Of the adapter.
        per_device_train_batch_size: Rows per device and step.
        seed: Of the training.
        output_dir: Where the Trainer may write; default: a folder that is deleted.

    Returns:
        The model with the adapter `"forget"`, in eval mode; pass it to `negate`.

    Raises:
        ValueError: The model has an adapter already, or rows that cannot be tokenized.
    """
    tokenizer = load_processing_class(model, processing_class)
    opened = load_model(model)
    if isinstance(opened, PeftModel):
        raise ValueError(
            "the model has an adapter already; merge it (merge_and_unload()) before taking a task vector."
        )
    rows = tokenize_examples(
        load_data(forget), tokenizer, max_length=context_length(opened), prompt_template=prompt_template
    )
    config = peft_config or LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(opened, config, adapter_name=FORGET)
    with tempfile.TemporaryDirectory() as scratch:
        if args is None:
            args = TrainingArguments(
                output_dir=str(output_dir or Path(scratch)),
                num_train_epochs=num_train_epochs,
                learning_rate=learning_rate,
                per_device_train_batch_size=per_device_train_batch_size,
                save_strategy="no",
                report_to="none",
                seed=seed,
            )
        collator = AnswerCollator(pad_token_id(tokenizer))
        Trainer(
            model=adapted, args=args, train_dataset=rows, data_collator=collator, processing_class=tokenizer
        ).train()
    return adapted.eval()


def negate(model: PeftModel, weight: float) -> PeftModel:
    """Subtract the task vector, `weight` times; any number of weights can be tried one after the other, without training.

    Args:
        model: From `task_vector`.
        weight: λ, above 0; the model becomes θ − λ (θ_forget − θ).

    Returns:
        The same object, with the adapter `"negated"` active; exact for one adapter.

    Raises:
        ValueError: No adapter `"forget"`, or a weight that is not positive.
    """
    if FORGET not in getattr(model, "peft_config", {}):
        raise ValueError(f"the model has no adapter {FORGET!r}; make it with task_vector(model, forget=…).")
    if not weight > 0:
        raise ValueError(f"weight must be above 0, got {weight}.")
    if NEGATED in model.peft_config:
        model.delete_adapter(NEGATED)
    model.add_weighted_adapter([FORGET], [-weight], NEGATED, combination_type="linear")
    model.set_adapter(NEGATED)
    return model.eval()


def subtracted(model: PeftModel, weight: float) -> PreTrainedModel:
    """The plain model after subtraction, ready to be saved; the adapters are gone."""
    return negate(model, weight).merge_and_unload(adapter_names=[NEGATED])
