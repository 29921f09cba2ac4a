"""A model, two sets and options as a Trainer with its callback: what `unlearn` trains, and each trial of `tune`. Knows no folder of a result."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from peft import PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, Trainer, TrainingArguments

from hf_unlearn.config import ForgetConfig, UnlearnConfig, options_of
from hf_unlearn.data import COUNTERFACTUAL
from hf_unlearn.data._columns import column_format
from hf_unlearn.data._template import parse_template
from hf_unlearn.inference import LoadedModel, opened_revision
from hf_unlearn.objectives import Objective, RetainTerm, completed, get_objective, get_retain_term
from hf_unlearn.training._callback import UnlearningCallback
from hf_unlearn.training._counterfactual_rows import with_counterfactuals
from hf_unlearn.training._fila import init_fila
from hf_unlearn.training._training_arguments import default_learning_rate
from hf_unlearn.training._unlearn_data import Prepared, Sets, prepare


@dataclass(frozen=True)
class OpenRun:
    """All that is needed to train.

    Attributes:
        model: That trains, with its adapter.
        trainer: With the retain set and the callback.
        callback: With the forget set.
        prepared: Both sets as they are trained on.
        fila_start: What `restore_base` needs afterwards; None without FILA.
    """

    model: PreTrainedModel | PeftModel
    trainer: Trainer
    callback: UnlearningCallback
    prepared: Prepared
    fila_start: Any


def check_options(config: UnlearnConfig) -> None:
    """Refuse what cannot work, before anything is opened.

    Raises:
        TypeError: A part of the wrong kind.
        ValueError: An unknown objective or retain term, or options that contradict each other.
    """
    _terms(config)
    if config.prompt_template is not None:
        parse_template(config.prompt_template)
    if config.peft_config is not None and not isinstance(config.peft_config, PeftConfig):
        raise TypeError(
            "peft_config must be a PEFT configuration, for example LoraConfig(r=8, target_modules='all-linear'); got "
            f"{config.peft_config!r}."
        )
    if config.fila and config.peft_config is None:
        raise ValueError("fila=True initialises a LoRA adapter: pass peft_config=LoraConfig(…).")
    if config.fila and config.resume_from_checkpoint:
        raise ValueError("a FILA run cannot be resumed: its base weights are in no checkpoint.")


def open_run(
    model: LoadedModel, sets: Sets, processing: Any, config: UnlearnConfig, args: TrainingArguments
) -> OpenRun:
    """Tokenize, put the adapter on, and make Trainer and callback.

    Args:
        model: Trained in place.
        sets: As they came.
        processing: Tokenizer or image processor.
        config: Checked by `check_options`.
        args: Of the training; gets the default learning rate where the config leaves it open.

    Raises:
        ValueError: Rows that do not fit the model, or a model that has an adapter already.
    """
    prepared = prepare(model, sets, processing, max_length=config.max_length, prompt_template=config.prompt_template)
    if config.args is None and config.learning_rate is None:
        args.learning_rate = default_learning_rate(model, adapter=config.peft_config is not None)
    trained = _with_adapter(model, config.peft_config, args)
    initial = _fila_start(trained, prepared, is_class=sets.classes) if config.fila else None
    trainer = _trainer(trained, args, prepared, processing, is_class=sets.classes)
    objective, retain_term = _terms(config)
    chosen = {each.name: getattr(config, each.name) for each in options_of(ForgetConfig)}
    chosen |= {"objective": objective, "retain_term": retain_term}
    rows = _with_questions(get_objective(objective), prepared.forget, sets, args.seed)
    callback = UnlearningCallback(trainer, forget_dataset=rows, **chosen)
    trainer.add_callback(callback)
    return OpenRun(trained, trainer, callback, prepared, initial)


def _with_questions(objective: Objective, forget: Dataset, sets: Sets, seed: int) -> Dataset:
    """The forget rows, with counterfactual questions where the objective needs them: here the retain set is still text."""
    wanted = completed(objective)
    is_text = not sets.classes and column_format(sets.forget.column_names) != "tokenized"
    if "counterfactual" not in wanted.needs or not is_text or COUNTERFACTUAL in forget.column_names:
        return forget
    return with_counterfactuals(forget, sets.retain, num=wanted.stand_in().num_counterfactuals, seed=seed)


def _terms(config: UnlearnConfig) -> tuple[str | Objective, RetainTerm]:
    """The objective, by its name where it has no options, which logs then use; and the retain term."""
    retain_term = get_retain_term(config.retain_term, config.objective)
    objective = get_objective(config.objective, config.objective_options)
    return objective if config.objective_options else config.objective, retain_term


def _with_adapter(
    model: PreTrainedModel | PeftModel, peft_config: PeftConfig | None, args: TrainingArguments
) -> PreTrainedModel | PeftModel:
    if peft_config is None:
        return model
    if isinstance(model, PeftModel):
        raise ValueError("the model has an adapter already; merge it (merge_and_unload()) or leave peft_config out.")
    with torch.random.fork_rng():
        torch.manual_seed(args.seed)  # the Trainer seeds too late for the adapter's first weights
        # The adapter belongs to these weights; without their revision it would be opened on others.
        adapted = get_peft_model(model, peft_config, revision=peft_config.revision or opened_revision(model))
    if args.gradient_checkpointing:
        # Without it the frozen embeddings give no gradient to the checkpointed blocks, and half of each adapter never trains.
        adapted.enable_input_require_grads()
    return adapted


def _fila_start(trained: PreTrainedModel | PeftModel, prepared: Prepared, *, is_class: bool) -> Any:
    """Give the adapter its first weights; what `restore_base` needs to undo the change of the base."""
    if is_class:
        raise ValueError("fila=True is for language models; the model is a classifier.")
    limit = 4 * len(prepared.forget_examples)
    seen = prepared.retain.select(range(min(len(prepared.retain), limit))).to_list()
    return init_fila(trained, prepared.forget_examples, seen, pad_token_id=prepared.collator.pad_token_id)


def _trainer(
    model: PreTrainedModel | PeftModel, args: TrainingArguments, prepared: Prepared, processing: Any, *, is_class: bool
) -> Trainer:
    if is_class:
        args = copy.copy(args)
        args.remove_unused_columns = False  # a transform needs them all
    return Trainer(
        model=model,
        args=args,
        train_dataset=prepared.retain,
        data_collator=prepared.collator,
        processing_class=processing,
    )
