"""A report of ours in open-unlearning's layout: aggregates by their names; values per example only from evidence, and only where asked for."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_unlearn._files import write_atomically
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._report import AuditReport
from hf_unlearn.audit._shards import ITEM, ShardError, Shelf, storage
from hf_unlearn.audit.interchange._names import name_of


OTHERS = "variants"
PER_EXAMPLE = {"probability": "answers"}
"""Metrics whose values per example follow from evidence alone, and the reading that has them."""
GUESSED = (
    "Values per example let the forget data be guessed by whoever has the models: keep the file as you keep the data."
)


@dataclass(frozen=True)
class ExportedEval:
    """What was written.

    Attributes:
        path: Of the file.
        names: Theirs, of the metrics in it.
        left_out: Keys of results that they have no name for, or that are of models after an attack.
    """

    path: Path
    names: tuple[str, ...]
    left_out: tuple[str, ...]


def export_eval(
    report: AuditReport | str | os.PathLike,
    output: str | os.PathLike,
    *,
    summary: bool = False,
    evidence_dir: str | os.PathLike | None = None,
) -> ExportedEval:
    """Write a report's values of the candidate as open-unlearning does.

    Args:
        report: Or where it is.
        output: The file to write, for example TOFU_EVAL.json.
        summary: Numbers alone, as in their *_SUMMARY.json.
        evidence_dir: Of the audit: probabilities per example are added from what it kept. They let the forget data be guessed.

    Raises:
        ValueError: No value that they have a name for; a summary with values per example; evidence that is not there, or of several audits.
        OSError: The file cannot be written.
    """
    found = report if isinstance(report, AuditReport) else AuditReport.load(report)
    if summary and evidence_dir is not None:
        raise ValueError("a summary has no values per example; leave evidence_dir or summary out.")
    named = {key: name_of(key) for key in found.metrics}
    values = {name: found.metrics[key].value for key, name in named.items() if name is not None}
    if not values:
        raise ValueError(f"open-unlearning has no name for any of {', '.join(named) or 'no results'}.")
    entries: Mapping[str, Any] = values
    if not summary:
        per_example = {} if evidence_dir is None else _per_example(found, named, evidence_dir)
        entries = {
            name: {"agg_value": value} | ({"value_by_index": per_example[name]} if name in per_example else {})
            for name, value in values.items()
        }
    text = json.dumps(dict(sorted(entries.items())), indent=4, allow_nan=False)
    place = Path(output)
    write_atomically(place, lambda path: path.write_text(text + "\n", encoding="utf-8"))
    return ExportedEval(place, tuple(sorted(values)), tuple(key for key, name in named.items() if name is None))


def _per_example(
    report: AuditReport, named: Mapping[str, str | None], folder: str | os.PathLike
) -> dict[str, dict[str, dict[str, float]]]:
    """Probabilities and losses by example, of results whose mean they give.

    Raises:
        ValueError: The evidence is not that of the report.
    """
    found = {}
    for key, name in named.items():
        result = report.metrics[key]
        if name is None or result.name not in PER_EXAMPLE:
            continue
        losses = [-float(np.mean(row)) for row in _table(folder, result)["log_probs"].to_pylist()]
        values = {str(at): {"prob": float(np.exp(-loss)), "avg_loss": loss} for at, loss in enumerate(losses)}
        mean = np.mean([value["prob"] for value in values.values()])
        if len(values) != result.n or not np.isclose(mean, result.value, rtol=1e-6):
            raise ValueError(
                f"the evidence in {os.fspath(folder)!r} is of another audit: {len(values)} examples with a mean of {mean:.6g} on the "
                f"{result.split} set, where the report has {result.n} and {result.value:.6g}."
            )
        found[name] = values
    if not found:
        raise ValueError(f"the report has none of the results that have values per example: {', '.join(PER_EXAMPLE)}.")
    return found


def _table(folder: str | os.PathLike, result: MetricResult) -> pa.Table:
    """The candidate's reading on a set, from its shards; where it was read together with other answers, the true ones come first."""
    files, place = storage(folder)
    readings = (PER_EXAMPLE[result.name], f"{PER_EXAMPLE[result.name]}+{OTHERS}")
    try:
        names = [path.rstrip("/").rsplit("/", 1)[-1] for path in files.ls(place, detail=False)]
    except FileNotFoundError:
        names = []
    labels = [f"{reading}-{result.split}-candidate" for reading in readings]
    found = sorted(
        {
            (label, name.removeprefix(f"{label}-").split("-")[0])
            for label in labels
            for name in names
            if name.startswith(f"{label}-")
        }
    )
    if len(found) != 1:
        many = "several audits" if found else "no audit"
        raise ValueError(f"{os.fspath(folder)!r} holds {labels[0]} of {many}; name the evidence of this report alone.")
    ((label, key),) = found
    shelf = Shelf(files, place, label, key)
    try:
        rows = pa.concat_tables([shelf.read(name) for name in shelf.names()])
    except ShardError as error:
        raise ValueError(f"the evidence of {label} cannot be used: {error}.") from error
    rows = rows.sort_by(ITEM)
    return rows if label == labels[0] else rows.slice(0, result.n)
