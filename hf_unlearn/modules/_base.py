"""Evaluate modules from a spec: what they all do. The arithmetic is `functional`'s, the words are the spec's."""

import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import evaluate

from hf_unlearn._arguments import open_share, whole_number
from hf_unlearn.functional import Bootstrap, Estimate, few_clusters_note
from hf_unlearn.modules._columns import KINDS, checked_clusters, checked_columns
from hf_unlearn.modules._spec import ModuleSpec


EVALUATES_OWN = ("predictions", "references")
"""What `evaluate.combine` sends to every module, given or not."""
UNCERTAINTY = {"confidence": 0.95, "num_resamples": 1000, "seed": 0}
"""What `Bootstrap` takes, and its defaults."""
_INFOS = {"metric": evaluate.MetricInfo, "measurement": evaluate.MeasurementInfo}


class SpecModule(evaluate.EvaluationModule, ABC):
    """An Evaluate module whose words come from a spec. Abstract, so that `evaluate.load` passes it over where it is imported."""

    spec: ClassVar[ModuleSpec]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "spec" in vars(cls):
            cls.__doc__ = f"{cls.spec.description}\n{cls.spec.inputs_description}"

    @classmethod
    @abstractmethod
    def defaults(cls) -> dict[str, Any]:
        """What it takes beside its columns, with defaults; `inspect.Parameter.empty` where there is none."""

    def _info(self) -> evaluate.EvaluationModuleInfo:
        spec = self.spec
        return _INFOS[spec.kind](
            module_type=spec.kind,
            description=spec.description,
            citation=spec.citation,
            inputs_description=spec.inputs_description,
            features=self._features(),
        )

    @abstractmethod
    def _features(self) -> datasets.Features:
        """What Evaluate collects."""

    def _refuse_others(self, given: Mapping[str, Any]) -> None:
        """`evaluate.combine` sends every input to every module: what another of this library's modules takes is left to it.

        Raises:
            TypeError: Names that no module knows, or another one's where nothing is combined.
        """
        from hf_unlearn.modules import MODULES

        own = [each.name for each in self.spec.inputs]
        is_combined = set(EVALUATES_OWN) <= set(given)
        others = {each.name for module in MODULES.values() for each in module.spec.inputs} if is_combined else set()
        unknown = [word for word in given if word not in own and word not in others and word not in EVALUATES_OWN]
        if unknown:
            close = difflib.get_close_matches(unknown[0], sorted({*own, *others}), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{self.spec.name} takes no input {unknown[0]!r}; it takes {', '.join(own)}.{hint}")


@dataclass(frozen=True)
class _Failed:
    """Why there is no result; and the rows, of which those that were added before must not be lost with a mistaken option."""

    error: Exception
    rows: dict[str, list]


class RowsModule(SpecModule):
    """Plain values, one row after the other, in one call or by `add_batch`; subclasses give the number.

    Everything is checked here before Evaluate sees it. What `measure` takes by keyword beside `clusters` and `bootstrap` are the module's options.
    """

    @abstractmethod
    def measure(self, *rows: Any, **options: Any) -> dict[str, Any]:
        """The result, from all rows.

        Args:
            *rows: One dict, checked values by column.
            **options: Keywords of the subclass; of these `clusters` (None or one name a row) and `bootstrap` are made here.
        """

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Options of `measure`; those of the bootstrap where it wants one."""
        found: dict[str, Any] = {}
        for name, parameter in inspect.signature(cls.measure).parameters.items():
            if name == "bootstrap":
                found |= UNCERTAINTY
            elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                found[name] = parameter.default
        return found

    def _features(self) -> datasets.Features:
        return datasets.Features({name: KINDS[each.column].feature() for name, each in self.spec.columns.items()})

    def add_batch(self, *, predictions: Any = None, references: Any = None, **columns: Any) -> None:
        """Add rows."""
        given = columns | self._of_evaluate(predictions, references)
        unknown = [name for name in given if name not in self.spec.columns]
        if unknown:
            raise ValueError(f"{self.spec.name} collects {', '.join(self.spec.columns)}, not {unknown[0]!r}.")
        checked = self.checked(given)
        if next(iter(checked.values())):
            super().add_batch(**checked)

    def add(self, *, prediction: Any = None, reference: Any = None, **row: Any) -> None:
        """Add one row."""
        # `evaluate.combine` says predictions= for one row, too.
        given = {**self._of_evaluate(prediction, reference), **row}
        self.add_batch(**{name: [value] for name, value in given.items()})

    def checked(self, columns: Mapping[str, Any]) -> dict[str, list]:
        """Plain values, or an error that says what was expected; subclasses add what must hold between columns."""
        return checked_columns(self.spec.columns, columns)

    def compute(self, **given: Any) -> dict[str, Any] | None:
        """Compute it from these rows, and those that were added before."""
        columns = {name: given[name] for name in self.spec.columns if given.get(name) is not None}
        if not columns and self.writer is None and any(given.get(word) is not None for word in EVALUATES_OWN):
            raise TypeError(
                f"{self.spec.name} takes no predictions and references but {', '.join(self.spec.columns)}: see its inputs description."
            )
        self._refuse_others(given)
        before = 0 if self.writer is None else len(self)
        if columns:
            self.add_batch(**columns)
        if self.writer is None and self.num_process == 1:
            raise ValueError(f"there are no rows: {self.spec.name} needs {', '.join(self.spec.columns)}.")
        wanted = {name: given.get(name, default) for name, default in self.defaults().items()}
        result = super().compute(**wanted)
        if isinstance(result, _Failed):
            if before:
                super().add_batch(**{name: values[:before] for name, values in result.rows.items()})
            raise result.error
        return result

    def _compute(self, **given: Any) -> "dict[str, Any] | _Failed":
        """Errors are handed back, to be raised when Evaluate has let go of its files and locks."""
        rows = {name: given.pop(name) for name in self.spec.columns}
        try:
            return self._measured(rows, given)
        except (ValueError, TypeError) as error:
            return _Failed(error, rows)

    def _measured(self, rows: dict[str, list], given: dict[str, Any]) -> dict[str, Any]:
        required = [name for name, value in given.items() if value is inspect.Parameter.empty]
        if required:
            raise ValueError(f"{self.spec.name} needs {required[0]}= beside its rows.")
        wanted = inspect.signature(self.measure).parameters
        if "clusters" in wanted:
            given["clusters"] = checked_clusters(given["clusters"], len(next(iter(rows.values()))))
        if "bootstrap" in wanted:
            given["bootstrap"] = Bootstrap(
                confidence=open_share("confidence", given.pop("confidence")),
                num_resamples=whole_number("num_resamples", given.pop("num_resamples"), minimum=1),
                seed=whole_number("seed", given.pop("seed"), minimum=0),
            )
        return self.measure(rows, **given)

    def _of_evaluate(self, predictions: Any, references: Any) -> dict[str, Any]:
        given = {"predictions": predictions, "references": references}
        return {name: value for name, value in given.items() if name in self.spec.columns or value is not None}


class ModelModule(SpecModule):
    """Models in one call; subclasses say in `measure` what they take and what comes of it."""

    @abstractmethod
    def measure(self, *nothing: Any, **inputs: Any) -> dict[str, Any]:
        """The result; all inputs are keywords."""

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """All inputs of `measure`."""
        parameters = inspect.signature(cls.measure).parameters
        return {name: each.default for name, each in parameters.items() if name != "self"}

    def _features(self) -> datasets.Features:
        return datasets.Features({self.spec.inputs[0].name: datasets.Value("string")})

    def compute(self, **given: Any) -> dict[str, Any]:
        """Compute it from models, or from values that were found elsewhere."""
        wanted = {name: value for name, value in given.items() if name in self.defaults()}
        if not wanted and any(given.get(word) is not None for word in EVALUATES_OWN):
            raise TypeError(
                f"{self.spec.name} compares two models and takes no predictions or references; with evaluate.combine it goes together with "
                "this library's other modules only. Pass what its inputs description names, for example candidate= and reference=."
            )
        self._refuse_others(given)
        return self.measure(**wanted)

    def add_batch(self, **inputs: Any) -> None:
        """Refused: models are compared in one call."""
        raise TypeError(
            f"{self.spec.name} compares models in one call and collects no batches: pass {self.spec.inputs[0].name}= to compute()."
        )

    def add(self, **inputs: Any) -> None:
        """Refused: models are compared in one call."""
        self.add_batch(**inputs)

    def _compute(self, **inputs: Any) -> dict[str, Any]:
        return self.compute(**inputs)


def with_interval(
    name: str, estimate: Estimate, bootstrap: Bootstrap, n: int, why: str | None = None
) -> dict[str, Any]:
    """A result: the value under the module's name, its interval, and what must be known of that.

    Args:
        name: Of the module.
        estimate: Of the value.
        bootstrap: How the interval is found.
        n: Rows behind the value.
        why: Why there can be no interval.
    """
    return {
        name: float(estimate.value),
        "confidence_interval": None if why else bootstrap.interval(estimate),
        "confidence_interval_note": why or few_clusters_note(estimate.num_clusters),
        "n": n,
    }
