"""Trials of one search: a fresh model each, measured on both halves with what was read once. Knows no study."""

import copy
import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.config import TuneConfig, UnlearnConfig, options_of
from hf_unlearn.data import data_fingerprint
from hf_unlearn.inference import LoadedModel, ModelLike, load_model, weights_fingerprint
from hf_unlearn.training._run_checks import check_trainable
from hf_unlearn.training._training_arguments import default_learning_rate
from hf_unlearn.training._unlearn_data import Sets, prepare
from hf_unlearn.tuning._halves import halves
from hf_unlearn.tuning._measured_half import MeasuredHalf, Roles
from hf_unlearn.tuning._recipe import Recipe
from hf_unlearn.tuning._space import Space
from hf_unlearn.tuning._trial import Outcome, quiet_training, run_trial


PASSES = 5
"""Over the retain set: the greatest length by default, as `unlearn` has it."""


class Trials:
    """What all trials of a search share.

    Args:
        config: Options of the search.
        model: That must forget; never changed.
        roles: What candidates are measured against.
        sets: What must go and what must stay.
        tokenizer: Of both.
        metric: Name of the distance on the forget set.
        holdout: Rows in which no substitute of a counterfactual distance may stand.
        processes: That train together.

    Raises:
        ValueError: A model that cannot be trained, or rows that do not fit it.
    """

    def __init__(
        self,
        config: TuneConfig,
        model: ModelLike,
        roles: Roles,
        sets: Sets,
        tokenizer: PreTrainedTokenizerBase,
        metric: str,
        holdout: Dataset | None,
        processes: int,
    ):
        self.config, self.model, self.sets, self.tokenizer, self.metric = config, model, sets, tokenizer, metric
        first = self._fresh()
        _check_model(first, config)
        prepare(first, sets, tokenizer, max_length=config.max_length, prompt_template=config.prompt_template)
        # Opened once for both halves; the twin and the original are let go of after they have been read.
        reference = None if roles.reference is None else self._opened(roles.reference)
        # Without a reference the original takes part in each measurement.
        original = self._opened(roles.original) if reference is None else roles.original
        self.roles = Roles(reference, original, roles.twin)
        rate = default_learning_rate(first, adapter=config.peft_config is not None)
        rows = config.per_device_train_batch_size * config.gradient_accumulation_steps * processes
        steps = config.max_steps or PASSES * -(-len(sets.retain) // rows)
        self.space = Space(tuple(config.objectives), tuple(config.retain_terms), rate, steps)
        self._holdout = holdout
        self._parts = {name: self._halves(getattr(sets, name)) for name in ("forget", "retain")}
        self._measured: tuple[MeasuredHalf, MeasuredHalf | None] | None = None
        self._first: LoadedModel | None = first

    def recipe(self, chosen: Mapping[str, Any]) -> Recipe:
        """What was chosen, with all that is the same in each trial."""
        shared = {each.name for each in options_of(UnlearnConfig)} & {each.name for each in options_of(TuneConfig)}
        # PEFT writes into the configuration that it makes an adapter of.
        given = {name: copy.deepcopy(getattr(self.config, name)) for name in shared - {"max_steps"}}
        return Recipe(UnlearnConfig(**given, **chosen, stop_on_collapse=True))

    def default(self, objective: str) -> Recipe:
        """The defaults of an objective."""
        return self.recipe(self.space.default(objective))

    def run(self, recipe: Recipe, report: Callable[[int, float], bool]) -> Outcome:
        """One trial; its model is gone afterwards.

        Args:
            recipe: How to unlearn.
            report: As for `run_trial`.
        """
        model, self._first = self._first or self._fresh(), None
        try:
            with quiet_training(first=self._measured is None):
                return run_trial(
                    recipe,
                    model,
                    self.sets,
                    self.tokenizer,
                    halves=self._measures,
                    evaluations=self.config.evaluations,
                    report=report,
                )
        finally:
            del model
            for half in self._measured or ():
                if half is not None:
                    half.release()
            gc.collect()  # Trainer and callback hold each other
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def fingerprint(self) -> dict[str, Any]:
        """By name what makes another search of it: models, data and options, not how many trials."""
        models = {"model": self.model, **self.roles.given()}
        weights = {role: self._weights(model) for role, model in models.items()}
        if weights["original"] == weights["model"]:
            del weights["original"]  # whether it was named or left out
        sets = {"forget": self.sets.forget, "retain": self.sets.retain, "holdout": self._holdout}
        data = {name: data_fingerprint(rows) for name, rows in sets.items() if rows is not None}
        own = {
            name: value
            for name, value in self.config.plain().items()
            if name not in ("num_trials", "timeout", "max_steps")
        }
        adapter = self.config.peft_config
        space = self.space.described()
        return {
            **weights,
            **data,
            **own,
            "peft_config": adapter and adapter.to_dict(),
            "metric": self.metric,
            "space": space,
        }

    def _weights(self, model: ModelLike) -> str:
        """SHA-256 of a role's weights; what `model` names has been opened for the first trial."""
        if model is self.model and self._first is not None:
            return weights_fingerprint(self._first)
        return weights_fingerprint(self._opened(model))

    def _measures(self, trainer: Trainer) -> tuple[MeasuredHalf, MeasuredHalf | None]:
        if self._measured is None:
            searched, other = ({name: part[place] for name, part in self._parts.items()} for place in (0, 1))
            self._measured = (
                self._half(trainer, searched),
                None if other["forget"] is None else self._half(trainer, other),
            )
        return self._measured

    def _half(self, trainer: Trainer, rows: Mapping[str, Dataset | None]) -> MeasuredHalf:
        # A retain set of one prompt has no other half; both are then measured on it.
        present = {name: part if part is not None else self._parts[name][0] for name, part in rows.items()}
        whole = {"forget": self.sets.forget, "retain": self.sets.retain}
        if self._holdout is not None:
            whole["holdout"] = self._holdout
        return MeasuredHalf(trainer, self.roles, present, whole, self.tokenizer, self.config, self.metric)

    def _halves(self, rows: Dataset) -> tuple[Dataset, Dataset | None]:
        return halves(
            rows,
            self.tokenizer,
            seed=self.config.seed,
            cluster_column=self.config.cluster_column,
            prompt_template=self.config.prompt_template,
        )

    def _fresh(self) -> LoadedModel:
        """A model of its own for a trial."""
        return (
            self._opened(self.model)
            if isinstance(self.model, str) or hasattr(self.model, "__fspath__")
            else copy.deepcopy(self.model)
        )

    def _opened(self, model: ModelLike) -> LoadedModel:
        return load_model(model, trust_remote_code=self.config.trust_remote_code)


def _check_model(model: LoadedModel, config: TuneConfig) -> None:
    """What `unlearn` would refuse in each trial, or would train without a word.

    Raises:
        ValueError: All weights are frozen, an adapter on an adapter, or a base that adapters of another model are in.
    """
    if not isinstance(model, PeftModel):
        if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
            raise ValueError(
                "the model to tune is a base that an adapter was put into, and would be trained with it: open it anew from its path."
            )
    elif config.peft_config is not None:
        raise ValueError("the model has an adapter already; merge it (merge_and_unload()) or leave peft_config out.")
    if config.peft_config is None:
        check_trainable(model)
