"""What models reach in tasks of the lm-evaluation-harness, as metrics: one for each task or group, metric and filter. Runs no model.

Values are the harness's own: its aggregation of what it gave each document. Intervals are this library's, paired over documents.
"""

import dataclasses
import importlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.domains._harness_set import NAME, HarnessSet, aggregated
from hf_unlearn.audit.domains._harness_tasks import HarnessTask, HarnessTasks
from hf_unlearn.functional import Bootstrap, Estimate, aggregate_estimate, combined, mean_estimate
from hf_unlearn.inference import agrees


SHARES = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")
"""Metrics of lm-eval that are 0 or 1 for each document where it computes them itself."""
_PAPER = Citation(
    "EleutherAI's lm-evaluation-harness", "2405.14782", "intervals are a paired bootstrap over documents"
)
Values = tuple[np.ndarray, list[Any]]
"""Items of documents, and what the harness gave them."""


class HarnessMetric(BaseMetric):
    """What a model reaches in one task.

    Args:
        task: Which one.
        key: "metric,filter", as lm-eval has it.
    """

    def __init__(self, task: HarnessTask, key: str):
        self.task, self.key = task, key
        higher = task.higher_is_better.get(key.split(",")[0])
        shown = _only_filter([task])
        self.spec = _spec(task.name, key, shown, higher, _bounds(task, key))

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The harness's own value, with the influence of each document.

        Raises:
            Undefined: No document has a value, or together they have none that is a number.
        """
        return _estimate(self.task, self.key, rows)

    def count(self, rows: Rows) -> int:
        """Documents that have a value."""
        return len(_values(self.task, self.key, rows)[0])

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Standard error over documents; the value and its standard error as the harness gives them."""
        own = _own(self.task, self.key, rows)
        return _named(self(rows, uncertainty), own["value"], own["stderr"])


class HarnessGroupMetric(BaseMetric):
    """What a model reaches in a group of tasks, weighted as lm-eval weights them.

    Args:
        group: lm-eval's object.
        tasks: All that are open, by name.
        key: "metric,filter", as lm-eval has it.
        by_size: Whether tasks count by their documents, or all the same.
    """

    def __init__(self, group: Any, tasks: HarnessTasks, key: str, by_size: bool):
        self.group, self.key, self.by_size = group, key, by_size
        self.leaves = [tasks.tasks[leaf.task_name] for leaf in group.get_all_tasks()]
        having = [task for task in self.leaves if key.split(",")[0] in task.aggregations]
        higher = {task.higher_is_better.get(key.split(",")[0]) for task in having}
        bounds = {_bounds(task, key) for task in having}
        self.spec = _spec(
            group.name,
            key,
            _only_filter(self.leaves),
            higher.pop() if len(higher) == 1 else None,
            bounds.pop() if len(bounds) == 1 else (None, None),
        )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The harness's own value; its tasks are fixed, their documents are a sample.

        Raises:
            Undefined: No task has a value.
            RuntimeError: The harness weights its tasks otherwise than it says.
        """
        parts = self._parts(rows)
        sizes = np.array([own["size"] if self.by_size else 1 for _, own in parts], np.float64)
        estimates = [estimate for estimate, _ in parts]
        weights = sizes / sizes.sum()
        value = float(np.dot(weights, [estimate.value for estimate in estimates]))
        own = self._harness(rows).get(self.key)
        if own is None or not agrees(value, own):
            raise RuntimeError(
                f"lm-eval says {self.key} = {own!r} of the group {self.group.name!r}, its tasks give {value!r}."
            )
        found = dataclasses.replace(combined(value, estimates, weights.tolist()), value=float(own))
        # Tasks are strata, not a sample: what is few is the documents of all of them.
        return dataclasses.replace(found, num_clusters=sum(estimate.num_clusters for estimate in estimates))

    def count(self, rows: Rows) -> int:
        """Documents of all tasks that have a value."""
        return sum(own["size"] for _, own in self._parts(rows))

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The same as of one task, and the values of what is directly in the group."""
        own = self._harness(rows)
        metric, _, kind = self.key.partition(",")
        found = _named(self(rows, uncertainty), own[self.key], own.get(f"{metric}_stderr,{kind}"))
        for part in self.group:
            inner = self._harness(rows, part) if hasattr(part, "aggregate") else self._leaf(rows, part.task_name)
            value = inner.get(self.key)
            if isinstance(value, int | float) and math.isfinite(value):
                found[part.name if hasattr(part, "aggregate") else part.task_name] = float(value)
        return found

    def _parts(self, rows: Rows) -> list[tuple[Estimate, dict[str, Any]]]:
        found = []
        for task in self.leaves:
            if len(_values(task, self.key, rows)[0]):
                found.append((_estimate(task, self.key, rows), _own(task, self.key, rows)))
        if not found:
            raise Undefined("no document has a value")
        return found

    def _leaf(self, rows: Rows, name: str) -> dict[str, Any]:
        """As lm-eval keeps the results of a task."""
        task = next(task for task in self.leaves if task.name == name)
        metric, _, kind = self.key.partition(",")
        if not len(_values(task, self.key, rows)[0]):
            return {}
        own = _own(task, self.key, rows)
        error = "N/A" if own["stderr"] is None else own["stderr"]
        return {self.key: own["value"], f"{metric}_stderr,{kind}": error, "sample_len": own["size"]}

    def _harness(self, rows: Rows, group: Any = None) -> dict[str, Any]:
        return (group or self.group).aggregate({task.name: self._leaf(rows, task.name) for task in self.leaves})


def harness_metrics(tasks: HarnessTasks) -> list[BaseMetric]:
    """One for each task or group that was asked for, metric and filter.

    Raises:
        ValueError: Two would have one name.
    """
    found: list[BaseMetric] = []
    for asked in tasks.asked:
        if isinstance(asked, str):
            task = tasks.tasks[asked]
            found += [HarnessMetric(task, f"{name},{kind}") for name in task.aggregations for kind in task.filters]
        else:
            found += _of_group(asked, tasks)
    names = [metric.spec.name for metric in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"harness_tasks has two results of the name {twice[0]!r}; ask for one of them alone.")
    return found


def _of_group(group: Any, tasks: HarnessTasks) -> list[BaseMetric]:
    leaves = [tasks.tasks[leaf.task_name] for leaf in group.get_all_tasks()]
    found: list[BaseMetric] = []
    for part in group.aggregate_metric_list:
        having = [task for task in leaves if part.metric in task.aggregations]
        kinds = part.filter_list or sorted({kind for task in having for kind in task.filters})
        found += [HarnessGroupMetric(group, tasks, f"{part.metric},{kind}", part.weight_by_size) for kind in kinds]
    return found


def _only_filter(tasks: Sequence[HarnessTask]) -> bool:
    return len({kind for task in tasks for kind in task.filters}) == 1


def _spec(
    name: str, key: str, only_filter: bool, higher: bool | None, bounds: tuple[float | None, float | None]
) -> MetricSpec:
    metric, _, kind = key.partition(",")
    words = [name, metric] + ([] if only_filter else [kind])
    plain = "_".join(words).replace("/", "-").replace("@", "-")
    return MetricSpec(
        name=plain,
        title=" ".join(words),
        unit=f"{metric} as lm-eval defines it",
        ideal="reference",
        bounds=bounds,
        family="utility",
        splits=("retain",),
        needs=(Reading(NAME),),
        headline=True,
        citation=_PAPER,
        better=None if higher is None else "higher" if higher else "lower",
        by_name=True,
        without_knowledge="what guessing gives: one over the number of choices, or no match at all",
        does_not_show=(
            "What a model can do beyond this task, and whether it met the task's documents in training. It depends on how the questions are put "
            "and how many examples come before them."
        ),
    )


def _bounds(task: HarnessTask, key: str) -> tuple[float | None, float | None]:
    """Known only of what lm-eval computes and averages itself."""
    metric = key.split(",")[0]
    kind = _kind(task, metric)
    if kind == "mean" and metric in SHARES and not callable(task.task.get_config("process_results")):
        return 0.0, 1.0
    return (0.0, None) if kind in ("perplexity", "weighted_perplexity", "bits_per_byte") else (None, None)


def _kind(task: HarnessTask, metric: str) -> str:
    """The name of an aggregation that lm-eval has; "" of any other."""
    aggregate = task.aggregations.get(metric)
    if aggregate is None:
        return "mean"
    name = getattr(aggregate, "__name__", "")
    return name if getattr(aggregate, "__module__", "") == "lm_eval.api.metrics" else ""


def _table(rows: Rows) -> list[dict[str, Any]]:
    return rows.memo("harness values", lambda: [json.loads(text) for text in rows.table(NAME)["values"].to_pylist()])


def _values(task: HarnessTask, key: str, rows: Rows) -> Values:
    table = _table(rows)
    having = [item for item in _set(rows).places[task.name] if key in table[item]]
    return np.array(having, np.int64), [table[item][key] for item in having]


def _set(rows: Rows) -> HarnessSet:
    found = rows.evidence.splits[rows.split]
    assert isinstance(found, HarnessSet)
    return found


def _own(task: HarnessTask, key: str, rows: Rows) -> dict[str, Any]:
    """Value, standard error (None where the harness has no formula) and size, by the harness's own code."""

    def compute() -> dict[str, Any]:
        _, values = _values(task, key, rows)
        error = None
        if _kind(task, key.split(",")[0]) == "mean" and len(values) > 1:
            error = float(importlib.import_module("lm_eval.api.metrics").mean_stderr(values))
        return {"value": aggregated(task, key, values), "stderr": error, "size": len(values)}

    return rows.memo(("harness", task.name, key), compute)


def _named(ours: Estimate, value: Any, error: Any) -> dict[str, float]:
    errors = {"standard_error": ours.standard_error, "harness_standard_error": error}
    known = {name: float(part) for name, part in errors.items() if isinstance(part, int | float)}
    return {"harness_value": float(value)} | {name: part for name, part in known.items() if math.isfinite(part)}


def _estimate(task: HarnessTask, key: str, rows: Rows) -> Estimate:
    return rows.memo(("harness estimate", task.name, key), lambda: _estimated(task, key, rows))


def _estimated(task: HarnessTask, key: str, rows: Rows) -> Estimate:
    items, values = _values(task, key, rows)
    if not values:
        raise Undefined("no document has a value")
    own = _own(task, key, rows)["value"]
    if not agrees(own, own) or not math.isfinite(own):
        raise Undefined(f"lm-eval gives {own!r}, which is no finite number")
    kind, clusters, count = _kind(task, key.split(",")[0]), rows.clusters[items], int(rows.clusters.max()) + 1
    if kind in ("mean", "nanmean"):
        numbers = np.array(values, np.float64)
        there = np.isfinite(numbers)
        found = mean_estimate(numbers[there], clusters[there], num_clusters=count)
    elif kind == "perplexity":
        mean = mean_estimate(np.array(values, np.float64), clusters, num_clusters=count)
        found = combined(own, [mean], [-own])
    elif kind in ("weighted_perplexity", "bits_per_byte"):
        pairs = np.array(values, np.float64)
        above, below = (mean_estimate(column, clusters, num_clusters=count) for column in pairs.T)
        ratio = above.over(below)
        found = combined(own, [ratio], [-own if kind == "weighted_perplexity" else -1 / math.log(2)])
    elif kind == "median":
        found = Estimate(own, None)
    else:
        found = aggregate_estimate(values, lambda some: aggregated(task, key, some), clusters, num_clusters=count)
    return dataclasses.replace(found, value=float(own))
