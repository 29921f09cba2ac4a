"""Task negation: learn the forget set with an adapter, then subtract it (Ilharco et al. 2023, arXiv 2212.04089)."""

import copy
import os
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from hf_unlearn.data import AnswerCollator, DataLike, load_data, pad_token_id, tokenize_examples
from hf_unlearn.inference import ModelLike, context_length, load_model, load_processing_class


FORGET, NEGATED = "forget", "default"
"""Names of the learnt adapter and of its negative; PEFT saves the latter at the top of a folder, where it is looked for."""
LEARNT = "_hf_unlearn_learnt"
"""Attribute of the model that keeps the learnt B matrices after the first subtraction."""


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
        ValueError: The model has an adapter already, rows that cannot be tokenized, or an adapter that could not be subtracted.
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
    refuse_beyond_matrices(config, "task negation")
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
        The same object, exact; its one adapter is now the negative, so that `save_pretrained` writes that and nothing of what was learnt.
        (Whoever has the negative adapter can turn it round; `subtracted(model, λ).save_pretrained(…)` writes no adapter at all.)

    Raises:
        ValueError: No adapter `"forget"`, one that has more to it than LoRA matrices, or a weight that is not positive.
    """
    learnt: dict[str, torch.Tensor] | None = getattr(model, LEARNT, None)
    if learnt is None and FORGET not in getattr(model, "peft_config", {}):
        raise ValueError(f"the model has no adapter {FORGET!r}; make it with task_vector(model, forget=…).")
    if not weight > 0:
        raise ValueError(f"weight must be above 0, got {weight}.")
    if learnt is None:
        learnt = _as_only_adapter(model)
        setattr(model, LEARNT, learnt)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in learnt:
                parameter.copy_(-weight * learnt[name])
    return model.eval()


def _as_only_adapter(model: PeftModel) -> dict[str, torch.Tensor]:
    """Rename the learnt adapter, so that it is saved where it is looked for; gives its B matrices, which carry the sign."""
    config = model.peft_config[FORGET]
    refuse_beyond_matrices(config, "task negation")
    renamed = copy.deepcopy(config)
    renamed.inference_mode, renamed.init_lora_weights = False, True
    model.add_adapter(NEGATED, renamed)
    found = dict(model.named_parameters())
    learnt = {}
    with torch.no_grad():
        for name, parameter in found.items():
            if f".{FORGET}" in name and "lora_" in name:
                new = name.replace(f".{FORGET}", f".{NEGATED}")
                found[new].copy_(parameter)
                if "_B." in name:
                    learnt[new] = parameter.detach().clone()
    model.set_adapter(NEGATED)
    model.delete_adapter(FORGET)
    return learnt


def refuse_beyond_matrices(config: PeftConfig, what: str) -> None:
    """Only products of two matrices can be subtracted.

    Raises:
        ValueError: Names the setting.
    """
    if not isinstance(config, LoraConfig):
        raise ValueError(f"{what} needs a LoRA adapter, not {config.peft_type}.")
    odd = [
        name
        for name in ("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices")
        if getattr(config, name, None)
    ]
    odd += ["bias"] if config.bias != "none" else []
    odd += ["init_lora_weights"] if config.init_lora_weights not in (True, False, "gaussian", "orthogonal") else []
    if odd:
        raise ValueError(f"{what} cannot honour {', '.join(odd)} in the adapter's configuration; leave it out.")


def subtracted(model: PeftModel, weight: float) -> PreTrainedModel:
    """The plain model after subtraction, ready to be saved; the adapters are gone."""
    return negate(model, weight).merge_and_unload(adapter_names=[NEGATED])
