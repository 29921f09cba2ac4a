"""Unlearning in one call: open, check, train, save."""

import json
import os
from dataclasses import asdict, dataclass, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from hf_unlearn._files import check_writable, fill_atomically
from hf_unlearn.data import (
    AnswerCollator,
    DataLike,
    check_disjoint,
    data_fingerprint,
    load_data,
    pad_token_id,
    tokenize_examples,
)
from hf_unlearn.inference import ModelLike, context_length, is_main_process, load_model, load_processing_class
from hf_unlearn.objectives import Objective, RetainTerm, get_objective, get_retain_term
from hf_unlearn.training._callback import UnlearningCallback
from hf_unlearn.training._fila import init_fila, restore_base


FULL_LEARNING_RATE = 1e-5
"""TOFU's, for all weights."""
LORA_LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class UnlearnResult:
    """What `unlearn` leaves.

    Attributes:
        model: In eval mode; with LoRA the PEFT model.
        processing_class: The tokenizer.
        output_dir: Where model (or adapter), tokenizer and `unlearning.json` are.
        log_history: The Trainer's, with `forget_loss` and `retain_loss`.
        settings: What `unlearning.json` holds: objective, weights, seeds, fingerprints, versions; no data.
    """

    model: PreTrainedModel | PeftModel
    processing_class: PreTrainedTokenizerBase
    output_dir: Path
    log_history: list[dict[str, float]]
    settings: dict[str, Any]

    def save(self, folder: str | os.PathLike) -> None:
        """Write model (or adapter), tokenizer and `unlearning.json` into a folder: all of it, or nothing.

        Raises:
            OSError: The folder cannot be written to.
        """

        def write(target: Path) -> None:
            # Not trainer.save_model, which adds the arguments as a pickle.
            self.model.save_pretrained(target)
            self.processing_class.save_pretrained(target)
            text = json.dumps(self.settings, indent=2, default=str) + "\n"
            (target / "unlearning.json").write_text(text, encoding="utf-8")

        fill_atomically(Path(folder), write)


class ResultNotSavedError(OSError):
    """The model has unlearned but could not be written; nothing is lost.

    Attributes:
        result: What `unlearn` would have returned; call `result.save(another_folder)`.
    """

    def __init__(self, result: UnlearnResult, cause: OSError):
        super().__init__(
            f"the model is trained but could not be saved to {str(result.output_dir)!r} ({cause.strerror or cause}). It is in "
            "this exception's .result: call .result.save() on another folder."
        )
        self.result = result


def unlearn(
    model: ModelLike,
    *,
    forget: DataLike,
    retain: DataLike,
    output_dir: str | os.PathLike,
    objective: str | Objective = "npo",
    retain_term: str | RetainTerm | None = None,
    forget_weight: float = 1.0,
    retain_weight: float = 1.0,
    peft_config: PeftConfig | None = None,
    fila: bool = False,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    prompt_template: str | None = None,
    args: TrainingArguments | None = None,
    num_train_epochs: float = 5.0,
    learning_rate: float | None = None,
    per_device_train_batch_size: int = 8,
    allow_overlap: bool = False,
    stop_on_collapse: bool = False,
    seed: int = 0,
    resume_from_checkpoint: bool | str = False,
    trust_remote_code: bool = False,
) -> UnlearnResult:
    """Make a model forget one data set while it goes on training on another.

    Args:
        model: Loaded (trained in place), local path or Hub id.
        forget: What must go: dataset, `load_dataset` spec or file.
        retain: What must stay.
        output_dir: Where the result goes; checked for writing before anything else.
        objective: An objective, or its name.
        retain_term: "nll", "kl", "hidden", or an object; default: what the objective's name says, else "nll".
        forget_weight: Of the forget term.
        retain_weight: Of the retain term.
        peft_config: Train an adapter instead of all weights, for example a `LoraConfig`.
        fila: Start the LoRA adapter where the forget set matters and the retain set does not (LoKU); saved as an ordinary adapter of
            twice the rank.
        processing_class: The tokenizer; default: the one saved with the model.
        prompt_template: How questions are put, a string with `{question}`; default: the tokenizer's chat template, else
            `data.QUESTION_TEMPLATE`. It must be the one that the model was trained with.
        args: Full control of the training; replaces the following four. Its `output_dir` is where checkpoints go.
        num_train_epochs: Passes over the retain set.
        learning_rate: Default 1e-5, or 1e-4 with `peft_config`.
        per_device_train_batch_size: Retain rows per device and step; as many forget rows come with them.
        seed: Of the training.
        allow_overlap: Accept forget rows that are also in retain.
        stop_on_collapse: End the training when the forget answers have become far less likely than guessing.
        resume_from_checkpoint: Go on from a checkpoint's path, or from the last one in `output_dir`.
        trust_remote_code: Whether code from the model's repository may run.

    Returns:
        Model, logs and settings; everything is also in `output_dir`, weights as safetensors.

    Raises:
        OSError: `output_dir` cannot be written to.
        ValueError: Data, objective or settings that cannot work; said before training.
        ResultNotSavedError: All is trained but could not be written; it is in the exception.
    """
    folder = check_writable(output_dir)
    retain_term, objective = get_retain_term(retain_term, objective), get_objective(objective)
    forget_rows, retain_rows = load_data(forget), load_data(retain)
    check_disjoint(forget_rows, retain_rows, allow_overlap=allow_overlap, name="retain")
    tokenizer = load_processing_class(model, processing_class, trust_remote_code=trust_remote_code)
    opened = load_model(model, trust_remote_code=trust_remote_code)
    limit = context_length(opened)
    tokenized = tokenize_examples(retain_rows, tokenizer, max_length=limit, prompt_template=prompt_template)
    if learning_rate is None:
        learning_rate = FULL_LEARNING_RATE if peft_config is None else LORA_LEARNING_RATE
    if args is None:
        args = TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            num_train_epochs=num_train_epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=per_device_train_batch_size,
            weight_decay=0.01,
            logging_steps=10,
            save_total_limit=2,
            seed=seed,
            report_to="none",
        )
    trained = _with_adapter(opened, peft_config, args)
    initial = None
    if fila:
        if not isinstance(trained, PeftModel):
            raise ValueError("fila=True initialises a LoRA adapter: pass peft_config=LoraConfig(…).")
        if resume_from_checkpoint:
            raise ValueError("a FILA run cannot be resumed: its base weights are in no checkpoint.")
        forgotten = tokenize_examples(forget_rows, tokenizer, max_length=limit, prompt_template=prompt_template)
        seen = tokenized.select(range(min(len(tokenized), 4 * len(forgotten))))
        initial = init_fila(trained, forgotten.to_list(), seen.to_list(), pad_token_id=pad_token_id(tokenizer))
    trainer = Trainer(
        model=trained,
        args=args,
        train_dataset=tokenized,
        data_collator=AnswerCollator(pad_token_id(tokenizer)),
        processing_class=tokenizer,
    )
    callback = UnlearningCallback(
        trainer,
        forget_dataset=forget_rows,
        objective=objective,
        retain_term=retain_term,
        forget_weight=forget_weight,
        retain_weight=retain_weight,
        allow_overlap=allow_overlap,
        prompt_template=prompt_template,
        stop_on_collapse=stop_on_collapse,
    )
    trainer.add_callback(callback)
    settings = _settings(callback, args, {"forget": forget_rows, "retain": retain_rows}, peft_config, fila)
    trainer.train(resume_from_checkpoint=resume_from_checkpoint or None)
    if initial is not None:
        assert isinstance(trained, PeftModel)
        trained = restore_base(trained, initial)
    result = UnlearnResult(trained.eval(), tokenizer, folder, trainer.state.log_history, settings)
    if is_main_process():
        try:
            result.save(folder)
        except OSError as error:
            raise ResultNotSavedError(result, error) from error
    return result


def _with_adapter(
    model: PreTrainedModel | PeftModel, peft_config: PeftConfig | None, args: TrainingArguments
) -> PreTrainedModel | PeftModel:
    if peft_config is None:
        return model
    if isinstance(model, PeftModel):
        raise ValueError("the model has an adapter already; merge it (merge_and_unload()) or leave peft_config out.")
    adapted = get_peft_model(model, peft_config)
    if args.gradient_checkpointing:
        # Without it the frozen embeddings give no gradient to the checkpointed blocks, and half of each adapter never trains.
        adapted.enable_input_require_grads()
    return adapted


def _settings(
    callback: UnlearningCallback,
    args: TrainingArguments,
    data: dict[str, Dataset],
    peft_config: PeftConfig | None,
    fila: bool,
) -> dict[str, Any]:
    def described(part: Any) -> dict[str, Any]:
        fields = asdict(part) if is_dataclass(part) and not isinstance(part, type) else {"name": part.name}
        return {name: value for name, value in fields.items() if name not in ("reduction", "needs", "needs_original")}

    return {
        "objective": described(callback.objective),
        "retain_term": described(callback.retain_term),
        "forget_weight": callback.forget_weight,
        "retain_weight": callback.retain_weight,
        "forget_examples_per_step": callback.stream.per_step,
        "learning_rate": args.learning_rate,
        "num_train_epochs": args.num_train_epochs,
        "seed": args.seed,
        "fila": fila,
        "prompt_template": callback.forget.prompt_template,
        "adapter": None if peft_config is None else str(peft_config.peft_type),
        "data": {name: {"sha256": data_fingerprint(rows), "rows": len(rows)} for name, rows in data.items()},
        "versions": {name: version(name) for name in ("hf-unlearn", "torch", "transformers", "peft", "accelerate")},
    }
