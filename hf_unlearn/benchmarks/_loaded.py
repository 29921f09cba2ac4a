"""A benchmark with its data: what to hand to `audit`, and the audit itself. Opens no model."""

import dataclasses
import difflib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hf_unlearn.audit import METRICS, AuditReport, AuditSet, BaseMetric, MetricResult, audit
from hf_unlearn.audit._selection import names_of
from hf_unlearn.benchmarks._spec import Benchmark, Configuration, PublishedModels


logger = logging.getLogger(__name__)
MAIN = ("forget", "retain", "holdout")
COUNTED = (*MAIN, "sets", "metrics", "prompt_template", "max_new_tokens", "max_examples", "compatible")
"""Whoever changes one of these has another benchmark, and the report says so."""
ROLES = ("reference", "original", "twin")
WITHOUT_REFERENCE = "counterfactual"
"""What is measured beside the benchmark's own metrics where there is no reference."""


@dataclass(frozen=True)
class LoadedBenchmark:
    """One configuration of a benchmark, with its data.

    Attributes:
        benchmark: What it is.
        name: Of the configuration, as it was asked for.
        configuration: What it is.
        sets: Data with role, metrics and template, by name.
        absent: Optional sets that are not there, and why.
        base_model: Whose published models are compared with; None = nobody's.
    """

    benchmark: Benchmark
    name: str
    configuration: Configuration
    sets: Mapping[str, AuditSet]
    absent: Mapping[str, str]
    base_model: str | None = None

    @property
    def label(self) -> str:
        """As a report names it: `tofu:forget10@1`."""
        return f"{self.benchmark.name}:{self.name}@{self.benchmark.version}"

    @property
    def models(self) -> PublishedModels:
        """To compare with; none where no base model is known."""
        return self.configuration.models.get(self.base_model or "", PublishedModels())

    def arguments(self, **overrides: Any) -> dict[str, Any]:
        """Everything that `audit` takes besides the candidate.

        Args:
            **overrides: Arguments of `audit`; they count instead of the benchmark's. Of `sets` each name for itself, None leaves it out. With
                `reference=None`, and also where nobody has published one, the original takes its place: counterfactual metrics are measured beside
                the benchmark's own, of which those that compare with a reference are left out.

        Raises:
            TypeError: `audit` has no such argument.
            ValueError: There is no reference, and no original that could take its place, or nothing is measured.
        """
        _check_names(overrides)
        given: dict[str, Any] = {"metrics": self.configuration.metrics, **self.configuration.options}
        # Models that are made here are made when they are needed, not where others take their place.
        wanted = [role for role in (*ROLES, "processing_class") if role not in overrides]
        given |= {role: _made(getattr(self.models, role)) for role in wanted}
        given["prompt_template"] = self.models.prompt_template
        given |= {name: found for name, found in self.sets.items() if name in MAIN}
        given |= {name: value for name, value in overrides.items() if name != "sets"}
        others = {name: found for name, found in self.sets.items() if name not in MAIN}
        others |= dict(overrides.get("sets") or {})
        given["sets"] = {name: found for name, found in others.items() if found is not None}
        given["benchmark"] = self._label_of(overrides)
        if "metrics" in overrides:
            self._narrow(given)
        if given["reference"] is None:
            if given["original"] is None or ("reference" not in overrides and self._bases):
                raise ValueError(self._no_reference())
            self._do_without(given)
        return {name: value for name, value in given.items() if value is not None}

    def audit(self, candidate: Any, **overrides: Any) -> AuditReport:
        """Audit a candidate as the benchmark says.

        Args:
            candidate: The unlearned model: loaded, path or Hub id.
            **overrides: As for `arguments`; `output_dir` among them.

        Raises:
            TypeError, ValueError, RuntimeError, OSError: As for `arguments` and `audit`.
        """
        for name, why in self.absent.items():
            logger.warning("%s has no %s set here: %s", self.label, name, why)
        return audit(candidate, **self.arguments(**overrides))

    def headline(self, report: AuditReport) -> dict[str, MetricResult]:
        """The results by which the benchmark's authors compare, as far as the report has them."""
        return {key: report.metrics[key] for key in self.configuration.headline if key in report.metrics}

    def _label_of(self, overrides: Mapping[str, Any]) -> str:
        changed = [name for name in COUNTED if name in overrides]
        return self.label + (f" (changed: {', '.join(changed)})" if changed else "")

    def _no_reference(self) -> str:
        known = self._bases
        if not known:
            return (
                f"{self.label}: nobody has published a model that never saw its forget set, and an audit compares with one. Give a reference (reference=, --reference), "
                "a model trained the same way without that data; a model that merely is older, or of another recipe, says nothing about unlearning. Or give the "
                "model before unlearning (original=, --original), for counterfactual metrics, which do without a reference."
            )
        return (
            f"{self.label} has published references for {', '.join(sorted(known))}: say which with base_model= (--base-model), or give a reference (reference=, --reference), a model "
            "trained the same way as the candidate without the forget set. In Python reference=None with original= measures counterfactual metrics instead."
        )

    @property
    def _bases(self) -> set[str]:
        """Models for which a reference is published."""
        return {base for base, models in self.configuration.models.items() if models.reference is not None}

    def _do_without(self, given: dict[str, Any]) -> None:
        """Counterfactual metrics beside those that need no reference; a twin is none of anybody's."""
        given["twin"] = None
        given["benchmark"] += " (without a reference)"
        if given["metrics"] == "standard":
            return
        asked = [given["metrics"]] if isinstance(given["metrics"], (str, BaseMetric)) else list(given["metrics"])
        given["metrics"] = [*asked, *([WITHOUT_REFERENCE] if WITHOUT_REFERENCE not in asked else [])]
        forget = given["forget"]
        if isinstance(forget, AuditSet) and forget.metrics is not None:
            counterfactual = [name for name, metric in METRICS.items() if metric.from_settings({}).spec.assumes]
            measured = tuple(dict.fromkeys([*forget.metrics, *counterfactual]))
            given["forget"] = dataclasses.replace(forget, metrics=measured)

    def _narrow(self, given: dict[str, Any]) -> None:
        """Sets to the metrics that were asked for; a set on which none of them is measured is left out."""
        asked = given["metrics"]
        names = names_of([asked] if not isinstance(asked, (list, tuple)) else asked)
        if "standard" in names:
            return
        for name, found in [*((name, given.get(name)) for name in MAIN), *given["sets"].items()]:
            if not isinstance(found, AuditSet) or found.metrics is None:
                continue
            kept = tuple(metric for metric in found.metrics if metric in names)
            if not kept and name == "forget":
                raise ValueError(
                    f"{self.label} measures {', '.join(found.metrics)} on its forget set, and metrics names none of them."
                )
            narrowed = (
                None if not kept else AuditSet(found.data, found.role, kept, found.prompt_template, found.examples)
            )
            if name in MAIN:
                given[name] = narrowed
            else:
                given["sets"][name] = narrowed
        given["sets"] = {name: found for name, found in given["sets"].items() if found is not None}


def _made(model: str | Callable[[], Any] | None) -> Any:
    return model() if callable(model) else model


def _check_names(overrides: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(audit).parameters if name not in ("candidate", "benchmark")]
    for name in overrides:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"audit has no argument {name!r} to override.{hint}")
