"""A report in plain sentences: generated from specs, verdicts and numbers, never beyond them. Knows no metric by name."""

import importlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hf_unlearn.audit._assumed import floor_word, marked
from hf_unlearn.audit._contracts import MetricSpec
from hf_unlearn.audit._findings import void_sentences
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._verdict import FEWEST, Verdict, counted, spoken, verdict


if TYPE_CHECKING:
    from hf_unlearn.audit._report import AuditReport, ShownSpec

logger = logging.getLogger(__name__)
NOTHING_TO_COMPARE = "Nothing can be said of forgetting: there is no reference, and no counterfactual metric took its place (where one was asked for, the notes say why)."
FEW = 10
"""Clusters below which an interval holds less than it says."""


def sentences(report: "AuditReport") -> list[str]:
    """What the report allows to say: headline metrics, of them those of one model before distances, conditions last.

    Args:
        report: Of an audit; where its findings make the numbers void, that is all that is said.
    """
    void = void_sentences(report.findings)
    if void:
        return void
    shown = sorted(((report.spec(result.name), result) for result in report.metrics.values()), key=_order)
    # Where nobody asked for a headline metric, those that were asked for speak.
    chosen = [pair for pair in shown if pair[0].headline] or shown
    said = [(sentence, result) for spec, result in chosen if (sentence := _sentence(spec, result)) is not None]
    agreement = [sentence for spec, result in chosen if (sentence := _agreement(spec, result)) is not None]
    few = [count for _, result in said if FEWEST <= (count := _clusters(result)) < FEW]
    alone = [] if _has_yardstick(report) else [NOTHING_TO_COMPARE]
    warning = f"Intervals from fewer than {FEW} clusters (here {{}}) hold the true value less often than they say."
    return [*alone, *(sentence for sentence, _ in said), *agreement] + ([warning.format(min(few))] if few else [])


def _has_yardstick(report: "AuditReport") -> bool:
    return "reference" in report.provenance.models or any(result.assumes for result in report.metrics.values())


def known_spec(name: str) -> MetricSpec | None:
    """The spec of a metric that this library has, or a user registered; None of one that it does not know."""
    try:
        metrics: Mapping = importlib.import_module("hf_unlearn.audit.metrics").METRICS
    except ModuleNotFoundError:
        return None
    metric = metrics.get(name)
    return None if metric is None else metric().spec


def placed(result: MetricResult) -> str:
    """Where a result was measured.

    Example:
        >>> placed(MetricResult(1.0, None, 3, "nats", "lower", condition="int8"))
        'on the forget set after int8'
    """
    return f"on the {result.split} set" + (f" after {result.condition}" if result.condition else "")


def _order(pair: "tuple[ShownSpec, MetricResult]") -> tuple[bool, ...]:
    spec, result = pair
    return bool(result.condition), not spec.headline, spec.by_layer, not isinstance(spec.ideal, str)


def _sentence(spec: "ShownSpec", result: MetricResult) -> str | None:
    known = known_spec(result.name)
    if known is not None and known.sentence is not None:
        try:
            return known.sentence(result)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            # A report may be somebody else's, without the numbers that this metric's sentence is about.
            logger.debug("the sentence of %s does not fit its result", result.name, exc_info=True)
    return general_sentence(result, spec)


def general_sentence(result: MetricResult, spec: "ShownSpec | MetricSpec | None" = None) -> str | None:
    """The sentence of a metric that has none of its own: values of the models where it is of one model, then the verdict; n always.

    Args:
        result: Of the metric.
        spec: Of it; default: what is known by its name.

    Returns:
        None where no side is better, so that there is nothing to judge.
    """
    spec = known_spec(result.name) if spec is None else spec
    title = result.name.replace("_", " ") if spec is None else spec.title
    if result.direction == "none":
        return None
    said = _of_layers(result) if result.by_layer else _of_values(result)
    title = marked(title, result.assumes)
    return f"{title[:1].upper()}{title[1:]} {placed(result)}: {said}."


def _agreement(spec: "ShownSpec", result: MetricResult) -> str | None:
    """Where retrained models themselves come out on a scale that does without them; None where there are none, or no such scale."""
    known = {role: value for role, value in result.others.items() if role == "reference" or role.startswith("twin")}
    if not result.assumes or not known:
        return None
    ends = {floor_word(result.floor_of): result.floor, "the original": result.start}
    scale = {word: number for word, number in ends.items() if number is not None}
    where = f", where {_said(scale)} and the candidate {spoken(result.value)[0]}" if scale else ""
    title = marked(spec.title, result.assumes)
    return (
        f"How far {title} {placed(result)} agrees with retraining: retrained models, which never saw these subjects, themselves come out at "
        f"{_said(known)}{where}; what they lie above the floor, or below it, is what this scale does not know."
    )


def _of_values(result: MetricResult) -> str:
    found, values = verdict(result), _values(result)
    if not values:
        numbers = "; ".join(part for part in (found.numbers, _counted(result)) if part)
        return f"{_distances(result)}; {found.words} ({numbers})"
    if result.split == "holdout":  # nobody was trained on it, so there is nothing to judge
        return f"{values} ({_counted(result)})"
    return f"{values} ({_counted(result)}); {found.words}" + (f" ({found.numbers})" if found.numbers else "")


def _values(result: MetricResult) -> str:
    """ "candidate 0.15, a retrained model 0.00, before unlearning 0.92"; "" for a distance, whose reference has no value, and where the original
    stands in for the reference."""
    reference = result.others.get("reference")
    if result.assumes or (reference is None and (result.ideal, result.floor) != (None, None)):
        return ""
    before = result.others.get("original", result.start)
    given = {"candidate": result.value, "a retrained model": reference, "before unlearning": before}
    return _said({word: number for word, number in given.items() if number is not None})


def _distances(result: MetricResult) -> str:
    """ "candidate 12.40, the twin 1.13, the original 27.63"."""
    parts = {"candidate": result.value, floor_word(result.floor_of): result.floor, "the original": result.start}
    return _said({word: number for word, number in parts.items() if number is not None})


def _said(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{word} {number}" for word, number in zip(numbers, spoken(*numbers.values()), strict=True))


def _of_layers(result: MetricResult) -> str:
    """Layers of one verdict together, with the means of their values."""
    groups: dict[str, tuple[Verdict, list[str]]] = {}
    for layer in sorted(result.by_layer, key=int):
        found = verdict(result.by_layer[layer])
        groups.setdefault(found.words, (found, []))[1].append(layer)
    parts = [
        f"in {ranges(layers)} {found.words} ({_means([result.by_layer[layer] for layer in layers])})"
        for found, layers in groups.values()
        if found.words
    ]
    return f"{'; '.join(parts)} ({_counted(result)})"


def _means(results: list[MetricResult]) -> str:
    columns = {
        "mean": [result.value for result in results],
        floor_word(results[0].floor_of): [result.floor for result in results if result.floor is not None],
        "the original": [result.start for result in results if result.start is not None],
    }
    whole = {name: sum(column) / len(column) for name, column in columns.items() if len(column) == len(results)}
    return _said(whole)


def ranges(layers: list[str]) -> str:
    """Numbers of layers, runs of them as ranges.

    Example:
        >>> ranges(["3"]), ranges(["1", "3", "4", "5"])
        ('layer 3', 'layers 1, 3–5')
    """
    numbers = sorted(int(layer) for layer in layers)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
    return f"{'layers' if len(numbers) > 1 else 'layer'} {text}"


def _clusters(result: MetricResult) -> int:
    return result.n if result.clusters is None else min(result.n, result.clusters)


def _counted(result: MetricResult) -> str:
    return "n = " + counted(result).replace(" examples", "").replace(" example", "")
