"""What a model in training is worth on one half of the data: the tracker's engine, with what does not change read once for all trials."""

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.audit._audit_set import AuditSet
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._selection import choose_metrics
from hf_unlearn.config import AuditConfig, TuneConfig
from hf_unlearn.inference import ModelLike, together, undisturbed
from hf_unlearn.training._text_domain import TextsInTraining
from hf_unlearn.training._tracked import TrackedMetrics, tracked_metrics
from hf_unlearn.training._tracked_names import value_name
from hf_unlearn.tuning._score import Score, score_of


FADE, COUNTERFACTUAL = "fade", "counterfactual_fade"
_SHARED = (
    "max_examples",
    "num_samples",
    "max_new_tokens",
    "batch_size",
    "seed",
    "prompt_template",
    "cluster_column",
    "num_counterfactuals",
    "subject_column",
)
UNMEASURED = ("nothing",)
"""Metrics of a set that is there for its names alone."""


class BrokenModelError(Exception):
    """The model gives no numbers any more: its recipe destroys it."""


@dataclass(frozen=True)
class Roles:
    """Models that candidates are measured against.

    Attributes:
        reference: Never saw the forget set; None: there is none, and what stays is compared with the original.
        original: Before unlearning.
        twin: A second reference.
    """

    reference: ModelLike | None
    original: ModelLike
    twin: ModelLike | None

    def given(self) -> dict[str, ModelLike]:
        """By the names that an audit has for them."""
        found = {"reference": self.reference, "original": self.original, "twin": self.twin}
        return {role: model for role, model in found.items() if model is not None}


class MeasuredHalf:
    """One half of both sets.

    Args:
        trainer: With the model before training; later trials bring their own.
        roles: What it is measured against.
        sets: The halves of "forget" and "retain".
        whole: Both sets, and "holdout" where there is one: no substitute of a counterfactual distance stands in them, and what a retrained
            model would have seen is looked for in all of them.
        tokenizer: Of texts.
        config: Options of the search.
        metric: Name of the distance on the forget set.

    Raises:
        ValueError: Models or sets that cannot be compared, or a distance that there is not, that cannot be measured here, or that does not tell
            the original from another retraining.
    """

    def __init__(
        self,
        trainer: Trainer,
        roles: Roles,
        sets: Mapping[str, Dataset],
        whole: Mapping[str, Dataset],
        tokenizer: PreTrainedTokenizerBase,
        config: TuneConfig,
        metric: str,
    ):
        audited = AuditConfig(**{name: getattr(config, name) for name in _SHARED}, allow_overlap=True, progress=False)
        settings = audited.plain()
        names = {name: AuditSet(rows, name, metrics=UNMEASURED) for name, rows in whole.items() if name not in sets}
        self._measured: list[TrackedMetrics] = []
        self._names: list[tuple[int, str]] = []
        for models, wanted in _distances(metric, roles, settings):
            metrics = tracked_metrics(wanted, TextsInTraining, list(models), sets, settings)
            domain = TextsInTraining(trainer, models, {**sets, **names}, tokenizer, audited, whole)
            tracked = TrackedMetrics(domain, metrics, settings, seed=config.seed)
            self._names += [(len(self._measured), value_name(spec, split)) for spec, split in tracked.places]
            self._measured.append(tracked)
        self(trainer)

    def __call__(self, trainer: Trainer) -> Score:
        """Measure the model of a trainer as it is now; it is left as it was.

        Raises:
            BrokenModelError: It gives no numbers any more.
            Exception: Whatever goes wrong with a model that does.
        """
        values: list[dict[str, float]] = []
        with undisturbed(trainer.model), trainer.accelerator.autocast():
            for tracked in self._measured:
                tracked.domain.trainer = trainer
                values.append(tracked(_attempt(trainer.model)))
        if any(not math.isfinite(values[place].get(name, math.nan)) for place, name in self._names):
            self._refuse_undefined()
            raise BrokenModelError("the model gives no numbers any more")
        forget, retain = (self._measured[place].results[name] for place, name in self._names)
        return score_of(forget, retain)

    def _refuse_undefined(self) -> None:
        """A distance that never had a value is no model's fault.

        Raises:
            ValueError: Says which one, and why.
        """
        for place, name in self._names:
            tracked = self._measured[place]
            if name not in tracked.results:
                raise ValueError(
                    f"{name} cannot be measured on these rows: {tracked.reasons.get(name, 'it was not read')}."
                )

    def release(self) -> None:
        """Hold no model of a trial that is over."""
        for tracked in self._measured:
            tracked.domain.trainer = None


def _distances(
    metric: str, roles: Roles, settings: Mapping[str, Any]
) -> list[tuple[dict[str, ModelLike], list[BaseMetric]]]:
    """The distance on the forget set and FADE on the retain set, each with the models that it is measured with; the first comes first."""
    models = roles.given()
    on_forget, on_retain = _only(metric, "forget", settings), _only(FADE, "retain", settings)
    if roles.reference is None:  # what must stay is what the original says
        return [(models, [on_forget]), ({"reference": roles.original}, [on_retain])]
    if metric == FADE:
        return [(models, choose_metrics([FADE], settings))]
    return [(models, [on_forget, on_retain])]


def _only(name: str, split: str, settings: Mapping[str, Any]) -> BaseMetric:
    """A metric that is measured on one set alone."""
    one = copy.copy(choose_metrics([name], settings)[0])
    one.spec = dataclasses.replace(one.spec, splits=(split,))
    return one


def _attempt(model: torch.nn.Module) -> Callable[[str, Callable[[], Any]], Any]:
    """What fails with weights that are numbers is an error; without them it is the recipe's fault."""

    def attempt(name: str, work: Callable[[], Any]) -> Any:
        try:
            return together(work)
        except Exception as error:
            if all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
                raise
            raise BrokenModelError(f"the weights are no numbers any more ({name})") from error

    return attempt
