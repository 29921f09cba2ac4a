"""The documents of all harness tasks as one set of an audit, and the reading of what a model reached on each. Knows no metric."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._contracts import Task
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.audit.domains._harness_tasks import HarnessTask, HarnessTasks, lm_eval_version, open_tasks
from hf_unlearn.inference import HarnessSettings, agrees, harness_values, is_main_process, together


logger = logging.getLogger(__name__)
NAME = "harness"
"""Of the set, and of the reading on it."""


@dataclass(frozen=True)
class HarnessSet:
    """One item for each document, task after task.

    Attributes:
        tasks: Whose documents.
        metrics: Names of those that are measured on it; no other is.
    """

    tasks: HarnessTasks
    metrics: tuple[str, ...]
    name: str = NAME
    role: str = "retain"
    kind: str = "different documents"

    def __len__(self) -> int:
        return sum(task.count for task in self.tasks.tasks.values())

    @property
    def total(self) -> int:
        """Documents that there are."""
        return sum(task.total for task in self.tasks.tasks.values())

    @cached_property
    def places(self) -> dict[str, range]:
        """Items of each task."""
        ends = np.cumsum([task.count for task in self.tasks.tasks.values()]).tolist()
        return {
            name: range(end - task.count, end)
            for (name, task), end in zip(self.tasks.tasks.items(), ends, strict=True)
        }

    @cached_property
    def clusters(self) -> np.ndarray:
        """Documents of equal content within a task are one, shape `(documents,)`."""
        keys = [(name, part) for name, task in self.tasks.tasks.items() for part in task.hashes]
        numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
        return np.array([numbers[key] for key in keys], np.int64)

    @property
    def groups(self) -> np.ndarray:
        """The same."""
        return self.clusters

    @property
    def asked(self) -> dict[str, str]:
        """What a report says of it beside its documents."""
        return {"role": self.role}

    @property
    def fingerprint(self) -> str:
        """Of all that is asked, for the provenance."""
        prints = [task.fingerprint for task in self.tasks.tasks.values()]
        return hashlib.sha256("".join(prints).encode()).hexdigest()


def open_harness(config: Any, others: Collection[str]) -> tuple[list[BaseMetric], HarnessSet]:
    """The metrics of the tasks that an audit asks for, and the set that they are measured on.

    Args:
        config: Options of the audit.
        others: Names of its sets.

    Raises:
        ImportError: lm-eval is not installed.
        ValueError: Tasks that are not there or cannot be opened, or a set of the name.
    """
    from hf_unlearn.audit.metrics._harness import harness_metrics  # metrics know their set

    if NAME in others:
        raise ValueError(f"with harness_tasks there is a set {NAME!r} already; give yours another name.")
    names, folder, limit = config.harness_tasks, config.harness_include_path, config.harness_limit
    tasks = together(lambda: open_tasks(names, folder, limit, progress=config.progress))
    metrics = harness_metrics(tasks)
    return metrics, HarnessSet(tasks, tuple(metric.spec.name for metric in metrics))


def harness_task(
    found: HarnessSet,
    subject: LoadedSubject,
    tokenizer: PreTrainedTokenizerBase,
    config: Any,
    chat_template: bool,
) -> Task:
    """How to read a subject: what the harness gives for each document, as JSON.

    Args:
        found: The set.
        subject: Whom.
        tokenizer: Of all models.
        config: Options of the audit.
        chat_template: Whether questions are put through it.
    """
    limit = config.harness_limit
    settings = HarnessSettings(chat_template, not config.compatible, config.batch_size, config.progress)

    def compute(items: Sequence[int]) -> Iterable[pa.Table]:
        wanted = set(items)
        for name, places in found.places.items():
            mine = sorted(wanted.intersection(places))
            if mine:  # few-shot examples are drawn document by document, so a task is asked as a whole
                rows = _values(found.tasks.tasks[name], subject, tokenizer, limit, settings)
                yield _table(name, mine, [rows[item - places.start] for item in mine])

    template = tokenizer.chat_template if settings.chat_template else None
    parts = [task.fingerprint for task in found.tasks.tasks.values()]
    key = (subject.fingerprint, lm_eval_version(), parts, template, settings.precise)
    return Task(key, len(found), compute)


def _table(name: str, items: Sequence[int], values: Sequence[str]) -> pa.Table:
    return pa.table(
        {"item": pa.array(items, pa.int64()), "task": pa.array([name] * len(items)), "values": pa.array(values)}
    )


def _values(
    task: HarnessTask,
    subject: LoadedSubject,
    tokenizer: PreTrainedTokenizerBase,
    limit: int | None,
    settings: HarnessSettings,
) -> list[str]:
    """Of each document.

    Raises:
        ValueError: A value that is neither numbers nor text.
        RuntimeError: The harness gives another number of documents, or its own aggregate is not that of the values that are kept.
    """
    values, own = harness_values(subject.view, tokenizer, task.task, limit=limit, settings=settings)
    if len(values) != task.count:
        raise RuntimeError(f"lm-eval gave values for {len(values)} of the {task.count} documents of {task.name!r}.")
    undeclared = sorted({key.split(",")[0] for key in own} - set(task.aggregations))
    if undeclared and is_main_process():
        logger.warning(
            "%s also gives %s, which it does not declare; no result is made of that.", task.name, undeclared
        )
    try:
        rows = [json.dumps(value, default=_plain) for value in values]
    except TypeError as error:
        raise ValueError(
            f"the harness task {task.name!r} gives documents values that cannot be kept: {error}."
        ) from error
    kept = [json.loads(row) for row in rows]
    for key, aggregate in own.items():
        again = aggregated(task, key, [value[key] for value in kept if key in value])
        if agrees(aggregate, aggregate) and not agrees(
            again, aggregate
        ):  # NaN and what is no number agree with nothing
            raise RuntimeError(
                f"lm-eval says {key} = {aggregate!r} of {task.name!r} for the {subject.key}, but the values of its documents give {again!r}."
            )
    return rows


def aggregated(task: HarnessTask, key: str, items: Sequence[Any]) -> Any:
    """The harness's own aggregate of values of documents; the mean where it has none for the metric, as there."""
    values: list[Any] = [tuple(item) if isinstance(item, list) else item for item in items]  # JSON knows lists only
    aggregate = task.aggregations.get(key.split(",")[0])
    return sum(values) / len(values) if aggregate is None else aggregate(values)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a value of {type(value).__name__} cannot be kept")


def harness_notes(found: Mapping[str, Any]) -> list[str]:
    """What a reader must know where tasks were cut."""
    mine = found.get(NAME)
    cut = [] if not isinstance(mine, HarnessSet) else [t for t in mine.tasks.tasks.values() if t.count < t.total]
    if not cut:
        return []
    named = ", ".join(task.name for task in cut[:5]) + (f" and {len(cut) - 5} more" if len(cut) > 5 else "")
    return [
        f"Of harness tasks only the first documents were asked ({named}); the numbers are not those of whole tasks."
    ]
