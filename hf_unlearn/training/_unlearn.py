"""Unlearning in one call: check, open, train, say what it did, save."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftConfig
from transformers import BaseImageProcessor, PreTrainedTokenizerBase, Trainer, TrainingArguments

from hf_unlearn import _arguments as checked
from hf_unlearn._files import check_writable
from hf_unlearn.config import UnlearnConfig, documented
from hf_unlearn.config._unlearn_config import TRAINING
from hf_unlearn.data import DataLike, data_fingerprint
from hf_unlearn.inference import ModelLike, is_classifier, is_main_process, load_model
from hf_unlearn.objectives import Objective, RetainTerm
from hf_unlearn.training._callback import UnlearningCallback
from hf_unlearn.training._fila import restore_base
from hf_unlearn.training._knowledge import answer_probabilities, say_what_changed
from hf_unlearn.training._open_run import check_options, open_run
from hf_unlearn.training._resume import described
from hf_unlearn.training._run_checks import refuse_own_folder
from hf_unlearn.training._training_arguments import check_resumable, check_steps, training_arguments
from hf_unlearn.training._unlearn_data import Prepared, load_processing, open_sets
from hf_unlearn.training._unlearn_result import ResultNotSavedError, UnlearnResult


@documented(UnlearnConfig)
def unlearn(
    model: ModelLike,
    *,
    forget: DataLike,
    retain: DataLike,
    output_dir: str | os.PathLike,
    objective: str | Objective = "npo",
    objective_options: Mapping[str, Any] | None = None,
    retain_term: str | RetainTerm | None = None,
    forget_weight: float = 1.0,
    retain_weight: float = 1.0,
    saliency: float | None = None,
    peft_config: PeftConfig | None = None,
    fila: bool = False,
    processing_class: PreTrainedTokenizerBase | BaseImageProcessor | str | None = None,
    prompt_template: str | None = None,
    max_length: int | None = None,
    args: TrainingArguments | None = None,
    num_train_epochs: float = 5.0,
    max_steps: int | None = None,
    learning_rate: float | None = None,
    per_device_train_batch_size: int = 8,
    gradient_accumulation_steps: int = 1,
    forget_batch_size: int | None = None,
    bf16: bool = False,
    save_steps: int | None = None,
    allow_overlap: bool = False,
    stop_on_collapse: bool = False,
    seed: int = 0,
    resume_from_checkpoint: bool | str = False,
    trust_remote_code: bool = False,
) -> UnlearnResult:
    """Make a model forget one data set while it goes on training on another.

    Args:
        model: Loaded (trained in place), local path or Hub id; a causal language model, or a classifier of sequences or images.
        forget: What must go: dataset, `load_dataset` spec or file. Of a classifier `text` or `image` and `label`, what the model takes
            and `label`, or a dataset with a transform that gives these.
        retain: What must stay.
        output_dir: Where the result goes, not the folder of the model; checked before anything else.
        processing_class: The tokenizer, or the image processor; default: the one saved with the model.
        {UnlearnConfig}

    Returns:
        Model, logs and settings, and how probable the answers of both sets were before and after (logged, too; a warning says when
        the model did not visibly forget); everything is also in `output_dir`, weights as safetensors.

    Raises:
        OSError: `output_dir` cannot be written to.
        TypeError: An argument of the wrong kind.
        ValueError: Data, objective or settings that cannot work, also those that would not train a single step; said before
            training, and before the model is opened where that can be.
        ResultNotSavedError: All is trained but could not be written; it is in the exception.
    """
    config = UnlearnConfig.of(locals())
    folder = checked.folder_path("output_dir", output_dir)
    refuse_own_folder(model, folder)
    check_writable(folder)
    check_options(config)
    checked.given("forget", forget, "what must go")
    checked.given("retain", retain, "what must stay")
    args = training_arguments(folder, config)
    check_resumable(config.resume_from_checkpoint, args)
    sets = open_sets(forget, retain, classes=is_classifier(model), allow_overlap=config.allow_overlap)
    check_steps(args, len(sets.retain))
    processing = load_processing(model, processing_class, sets, trust_remote_code=config.trust_remote_code)
    kind = "classifier" if sets.classes else "causal_lm"
    opened = load_model(model, trust_remote_code=config.trust_remote_code, kind=kind)
    run = open_run(opened, sets, processing, config, args)
    trainer, callback, prepared = run.trainer, run.callback, run.prepared
    settings = _settings(callback, config, trainer.args, {"forget": sets.forget, "retain": sets.retain})
    before = _probabilities(trainer, callback, prepared)
    trainer.train(resume_from_checkpoint=config.resume_from_checkpoint or None)
    after = _probabilities(trainer, callback, prepared)
    trained = run.model if run.fila_start is None else restore_base(run.model, run.fila_start)
    settings |= {"optimizer_steps": trainer.state.global_step, "before": before, "after": after}
    result = UnlearnResult(trained.eval(), processing, folder, trainer.state.log_history, settings, before, after)
    if is_main_process():
        say_what_changed(before, after, args.learning_rate)
        _save(result, Path(args.output_dir))
    return result


def _length(args: TrainingArguments) -> dict[str, float | None]:
    """Steps or passes, whichever decided."""
    in_steps = args.max_steps > 0
    return {
        "max_steps": args.max_steps if in_steps else None,
        "num_train_epochs": None if in_steps else args.num_train_epochs,
    }


def _probabilities(trainer: Trainer, callback: UnlearningCallback, prepared: Prepared) -> dict[str, float]:
    collator = callback.forget.collator if callback.forget.is_classification else None
    rows = {"forget": callback.forget.examples, "retain": prepared.retain_sample(trainer)}
    return answer_probabilities(trainer, trainer.model, rows, collator)


def _save(result: UnlearnResult, checkpoints: Path) -> None:
    try:
        result.save(result.output_dir)
    except Exception as error:
        # Whatever it is: hours of training must not be lost.
        raise ResultNotSavedError(result, error) from error
    if checkpoints.parent == result.output_dir and checkpoints.is_dir() and not any(checkpoints.iterdir()):
        checkpoints.rmdir()  # the Trainer makes the folder whether or not it keeps anything there


def _settings(
    callback: UnlearningCallback, config: UnlearnConfig, args: TrainingArguments, data: dict[str, Dataset]
) -> dict[str, Any]:
    """All options as they took effect: what `args=` replaced and what a default became, too."""
    chosen = config.plain()
    return {
        **chosen,
        **{name: getattr(args, name) for name in TRAINING if name in chosen},
        **_length(args),
        "objective": described(callback.objective),
        "retain_term": described(callback.retain_term),
        "prompt_template": callback.forget.prompt_template,
        "forget_examples_per_step": callback.loss.stream.per_step,
        "adapter": None if config.peft_config is None else str(config.peft_config.peft_type),
        "data": {name: {"sha256": data_fingerprint(rows), "rows": len(rows)} for name, rows in data.items()},
        "versions": {name: version(name) for name in ("hf-unlearn", "torch", "transformers", "peft", "accelerate")},
    }
