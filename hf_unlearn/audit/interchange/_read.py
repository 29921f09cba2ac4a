"""An evaluation of somebody else's: its numbers as the file has them, as they follow from its examples, and beside a report of ours."""

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit._metric_result import Interval
from hf_unlearn.audit._report import AuditReport
from hf_unlearn.audit.interchange._figures import Figures, Found
from hf_unlearn.audit.interchange._files import EvalFile, read_eval
from hf_unlearn.audit.interchange._names import EVAL_METRICS, LEAK, QUALITY, EvalMetric
from hf_unlearn.functional import Bootstrap


SAME = 1e-6
"""Relative: their sums are in float32."""
INDEPENDENT = "Intervals take examples as independent of each other; a file does not say which are about the same person or text."


@dataclass(frozen=True)
class EvalFigure:
    """One number of a file.

    Attributes:
        name: As the file calls it.
        key: Of the same in a report of ours; None where there is no such thing.
        value: As it follows from the file's examples by this library's formula; None where it does not.
        confidence_interval: Of `value`.
        n: Examples behind it.
        file_value: As the file states it.
        remark: What sets the two apart, or why one is not there; "" where they agree.
        report_value: Of the report it is compared with.
        report_interval: Of `report_value`.
    """

    name: str
    key: str | None
    value: float | None
    confidence_interval: Interval | None
    n: int
    file_value: float | None
    remark: str
    report_value: float | None = None
    report_interval: Interval | None = None


@dataclass(frozen=True)
class ImportedEval:
    """What a file says.

    Attributes:
        kind: Of the file, in words.
        figures: Those of known metrics, in the order of the table.
        unknown: Others, with the mean of their values where there is one.
        notes: What a reader must know.
    """

    kind: str
    figures: tuple[EvalFigure, ...]
    unknown: tuple[EvalFigure, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> EvalFigure:
        found = next((figure for figure in (*self.figures, *self.unknown) if figure.name == name), None)
        if found is None:
            raise KeyError(f"there is no {name!r}; there are {', '.join(figure.name for figure in self.figures)}.")
        return found

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def import_eval(
    path: str | os.PathLike,
    *,
    retain_logs: str | os.PathLike | None = None,
    compare: AuditReport | str | os.PathLike | None = None,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> ImportedEval:
    """Read an evaluation of open-unlearning (`*_EVAL.json`, `*_SUMMARY.json`) or a log of TOFU, and compute its numbers again.

    Args:
        path: Of the file.
        retain_logs: The same of a retrained model, for forget quality and PrivLeak.
        compare: A report of ours, or where it is: its values of the same metrics are put beside.
        confidence: Of the intervals, which are over examples.
        num_resamples: Of the bootstrap.
        seed: Of its draws.

    Raises:
        ValueError: A file that is none of these; says what is wrong with it.
        OSError: It cannot be read.
    """
    file = read_eval(path)
    retain = None if retain_logs is None else read_eval(retain_logs)
    report = compare if compare is None or isinstance(compare, AuditReport) else AuditReport.load(compare)
    figures, bootstrap = Figures(file, retain), Bootstrap(confidence, num_resamples, seed)
    known = [_known(metric, file, figures, bootstrap, report) for metric in EVAL_METRICS.values()]
    unknown = tuple(_unknown(name, file, figures, bootstrap) for name in file.entries if name not in EVAL_METRICS)
    found = tuple(figure for figure in known if figure is not None)
    if not found and not unknown:
        raise ValueError(f"{os.fspath(path)!r} holds no metric.")
    notes = [INDEPENDENT] if any(figure.confidence_interval for figure in found) else []
    broken = {name: entry.broken for name, entry in file.entries.items() if entry.broken}
    notes += [f"{count} values of {name} are no finite numbers and were left out." for name, count in broken.items()]
    if compare is not None:
        notes.append(
            "The report's values are of its candidate, on its own examples: that the data are the same nobody has checked."
        )
    return ImportedEval(file.kind, found, unknown, tuple(notes))


def _known(
    metric: EvalMetric, file: EvalFile, figures: Figures, bootstrap: Bootstrap, report: AuditReport | None
) -> EvalFigure | None:
    """None where the file neither states the number nor has what it follows from."""
    entry = file.entries.get(metric.name)
    stated = None if entry is None else entry.value
    found, why = _tried(lambda: figures.of(metric))
    if entry is None and found is None:
        # What compares two models is missed where one of them is there.
        half = metric.kind in (QUALITY, LEAK) and _tried(lambda: figures.of(EVAL_METRICS[metric.inputs[0]]))[0]
        if not half:
            return None
    return _figure(metric.name, metric, stated, found, why, bootstrap, report)


def _unknown(name: str, file: EvalFile, figures: Figures, bootstrap: Bootstrap) -> EvalFigure:
    found, why = _tried(lambda: figures.of_unknown(name))
    figure = _figure(name, None, file.entries[name].value, found, why, bootstrap, None)
    remark = "; ".join(part for part in ("this library does not know the metric", figure.remark) if part)
    return EvalFigure(**{**asdict(figure), "remark": remark})


def _tried(compute: Any) -> tuple[Found | None, str]:
    try:
        return compute(), ""
    except Undefined as why:
        return None, str(why)


def _figure(
    name: str,
    metric: EvalMetric | None,
    stated: float | None,
    found: Found | None,
    why: str,
    bootstrap: Bootstrap,
    report: AuditReport | None,
) -> EvalFigure:
    keys = () if metric is None else metric.keys
    value = None if found is None else found.estimate.value
    remarks = [_difference(stated, found) if found is not None else f"not computed again: {why}"]
    remarks += [metric.remark] if metric is not None and metric.remark and found is not None else []
    result = None
    if report is not None:
        key = next((key for key in keys if dict.__contains__(report.metrics, key)), None)
        result = None if key is None else report.metrics[key]
        parts = 0 if result is None else result.details.get("components", 0)
        remarks += (
            [f"the report's is of {parts:g} parts, not nine"]
            if name == "model_utility" and parts not in (0, 9)
            else []
        )
    return EvalFigure(
        name=name,
        key=keys[0] if keys else None,
        value=value,
        confidence_interval=None if found is None else bootstrap.interval(found.estimate),
        n=0 if found is None else found.n,
        file_value=stated,
        remark="; ".join(part for part in remarks if part),
        report_value=None if result is None else result.value,
        report_interval=None if result is None else result.confidence_interval,
    )


def _difference(stated: float | None, found: Found) -> str:
    """Why the file states another number than its examples give; "" where it does not."""
    if stated is None or _same(stated, found.estimate.value):
        return ""
    by = next((rule for rule, value in found.others.items() if _same(stated, value)), None)
    gap = f"the file states {stated:.6g}, its examples give {found.estimate.value:.6g}"
    return f"{gap}: the file's is with {by}" if by else f"{gap}, and it is not known why"


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-12)
