"""Numbers of somebody else's evaluation through this library's formulas, with intervals over examples. Runs no model, opens no file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit.interchange._files import SIDES, EvalEntry, EvalFile, Values
from hf_unlearn.audit.interchange._names import (
    ATTACK,
    EVAL_METRICS,
    LEAK,
    OPTIONS,
    QUALITY,
    RATIO,
    UTILITY,
    EvalMetric,
)
from hf_unlearn.functional import (
    Estimate,
    auc_estimate,
    forget_quality,
    harmonic_mean,
    independent_sets,
    mean_estimate,
    normalized_probability,
    privleak_estimate,
    truth_ratio,
    truth_ratio_scores,
)


NO_RETAIN = "it needs the log of a retrained model (retain_logs)"
PARAPHRASED = ("forget_", "retain_")
"""Sets of TOFU whose true answers have paraphrases."""
CONSTANT = 0.5
"""Area of the retrained model that open-unlearning takes where it has no log of one."""


@dataclass(frozen=True)
class Found:
    """What follows from a file.

    Attributes:
        estimate: The number, and the influence of each example on it.
        n: Examples.
        indexes: Theirs, in order: estimates of the same ones are paired.
        others: The same by other rules, in words: what the file's number may have been made with.
    """

    estimate: Estimate
    n: int
    indexes: tuple[str, ...]
    others: Mapping[str, float]


class Figures:
    """All numbers of one file.

    Args:
        file: As read.
        retain: The same of a retrained model, or None.
    """

    def __init__(self, file: EvalFile, retain: EvalFile | None = None):
        self.file, self.retain = file, retain
        self._compute: dict[str, Callable[[EvalMetric], Found]] = {
            OPTIONS: self._options,
            RATIO: self._ratio,
            QUALITY: self._quality,
            UTILITY: self._utility,
            ATTACK: self._attack,
            LEAK: self._leak,
        }

    def of(self, metric: EvalMetric) -> Found:
        """One of them.

        Raises:
            Undefined: It does not follow from what is in the file; says what is lacking.
        """
        return self._compute.get(metric.kind, self._mean)(metric)

    def of_unknown(self, name: str) -> Found:
        """The mean of the one value per example that a metric has which the table does not know.

        Raises:
            Undefined: It has none, or several.
        """
        values = self._entry(name).values
        fields = sorted({part for kept in values.values() for part in kept})
        if len(fields) != 1:
            raise Undefined(
                f"of its values per example ({', '.join(fields) or 'none'}) nobody knows which one is averaged"
            )
        return _averaged(_column(values, fields[0]))

    def _entry(self, name: str, file: EvalFile | None = None) -> EvalEntry:
        found = (file or self.file).entries.get(name)
        if found is None:
            raise Undefined(f"there is no {name}")
        return found

    def _mean(self, metric: EvalMetric) -> Found:
        return _averaged(_column(self._entry(metric.name).values, metric.field))

    def _options(self, metric: EvalMetric) -> Found:
        """Anew from the answers' losses where those are there, else the mean of what the file has."""
        try:
            true, wrong = (self._losses(name, self.file) for name in metric.inputs)
        except Undefined:
            return self._mean(metric)
        shared = [index for index in true if index in wrong]
        values, common = (
            {
                index: normalized_probability(
                    -float(np.mean(true[index])), [-loss for loss in wrong[index]], compatible=way
                )
                for index in shared
            }
            for way in (False, True)
        )
        return _averaged(values, {"1e-10 in the denominator": _mean(common)})

    def _losses(self, name: str, file: EvalFile) -> dict[str, list[float]]:
        """Mean losses of each answer, per example."""
        found = {}
        for index, kept in sorted(self._entry(name, file).values.items()):
            loss = kept.get("avg_loss")
            if loss is not None:
                found[index] = loss if isinstance(loss, list) else [loss]
        if not found:
            raise Undefined(f"{name} has no losses per example")
        return found

    def _ratios(self, metric: EvalMetric, file: EvalFile, compatible: bool = False) -> dict[str, float]:
        """Truth ratios per example: anew from losses where those are there, else as the file has them."""
        plain, own = metric.inputs[0].replace("_PARA", ""), metric.inputs[0] in file.entries
        try:
            # Without a paraphrase the answer itself, but not where there would be one.
            first = metric.inputs[0] if own or plain.startswith(PARAPHRASED) else plain
            true, wrong = self._losses(first, file), self._losses(metric.inputs[1], file)
        except Undefined:
            return _column(self._entry(metric.name, file).values, "score")
        return {
            index: truth_ratio(-float(np.mean(true[index])), [-loss for loss in wrong[index]], compatible=compatible)
            for index in true
            if index in wrong
        }

    def _ratio(self, metric: EvalMetric) -> Found:
        ratios, common = self._ratios(metric, self.file), self._ratios(metric, self.file, compatible=True)
        scores = _scores(ratios, metric.aggregation)
        others = {"1e-10 in denominators": _mean(_scores(common, metric.aggregation, compatible=True))}
        for name in ("closer_to_1_better", "true_better", "prob_mean", "mean"):
            if name != metric.aggregation:
                others[f"the aggregation {name}"] = _mean(_scores(common, name, compatible=True))
        return _averaged(scores, others)

    def _quality(self, metric: EvalMetric) -> Found:
        if self.retain is None:
            raise Undefined(NO_RETAIN)
        ratio = EVAL_METRICS[metric.inputs[0]]
        sides = [list(self._ratios(ratio, file).values()) for file in (self.file, self.retain)]
        found = forget_quality(*sides)
        common = [list(self._ratios(ratio, file, compatible=True).values()) for file in (self.file, self.retain)]
        others = {"1e-10 in denominators": forget_quality(*common).p_value}
        return Found(Estimate(found.p_value, None, num_clusters=found.n), found.n, (), others)

    def _utility(self, metric: EvalMetric) -> Found:
        """Parts of one set are over the same examples, and paired."""
        lacking = [name for name in metric.inputs if name not in self.file.entries and not self._follows(name)]
        if lacking:
            raise Undefined(f"there is no {', '.join(lacking)}")
        found = {name: self.of(EVAL_METRICS[name]) for name in metric.inputs}
        sets: dict[str, list[Found]] = {}
        for name, part in found.items():
            sets.setdefault(name.split("_")[0], []).append(part)
        if any(len({part.indexes for part in own}) > 1 for own in sets.values()):
            raise Undefined("its parts are not over the same examples")
        estimates = independent_sets([[part.estimate for part in own] for own in sets.values()])
        parts = [part for own in estimates for part in own]
        stated = [self.file.entries[name].value for name in metric.inputs if name in self.file.entries]
        known = [value for value in stated if value is not None and value > 0]
        others = (
            {"the file's own parts": len(known) / sum(1 / value for value in known)}
            if len(known) == len(found)
            else {}
        )
        return Found(harmonic_mean(parts), min(part.n for part in found.values()), (), others)

    def _follows(self, name: str) -> bool:
        inputs = EVAL_METRICS[name].inputs
        return bool(inputs) and all(part in self.file.entries for part in inputs)

    def _attack(self, metric: EvalMetric) -> Found:
        return self._area(metric.name, self.file)

    def _area(self, name: str, file: EvalFile) -> Found:
        """With their scores, members have the lower ones."""
        entry = self._entry(name, file)
        if not entry.sides:
            raise Undefined(f"{name} has no scores per example")
        forget, holdout = (_column(entry.sides[side], "score") for side in SIDES)
        if not forget or not holdout:
            raise Undefined(f"{name} has no scores per example")
        indexes = (*(f"forget {index}" for index in forget), *(f"holdout {index}" for index in holdout))
        area = auc_estimate(-np.array(list(forget.values())), -np.array(list(holdout.values())))
        return Found(area, len(indexes), indexes, {})

    def _leak(self, metric: EvalMetric) -> Found:
        if self.retain is None:
            raise Undefined(NO_RETAIN)
        mine = self._area(metric.inputs[0], self.file)
        exact = np.zeros(len(mine.indexes))  # published as a number alone
        try:
            theirs = self._area(metric.inputs[0], self.retain)
            if theirs.indexes != mine.indexes:
                raise Undefined("the retrained model's log is about other texts")
            reference = theirs.estimate
        except Undefined:
            entry = self._entry(metric.inputs[0], self.retain)
            if entry.sides or entry.value is None:
                raise
            reference = Estimate(entry.value, exact)
        try:
            found = privleak_estimate(mine.estimate, reference)
        except ValueError as error:
            raise Undefined(str(error)) from error
        constant = privleak_estimate(mine.estimate, Estimate(CONSTANT, exact))
        return Found(found, mine.n, mine.indexes, {f"{CONSTANT} for the retrained model's area": constant.value})


def _column(values: Values, name: str) -> dict[str, float]:
    """One value per example; of several answers the mean.

    Raises:
        Undefined: No example has it.
    """
    found = {index: float(np.mean(kept[name])) for index, kept in sorted(values.items()) if name in kept}
    if not found:
        raise Undefined("there are no values per example" if not values else f"no example has {name!r}")
    return found


def _scores(ratios: Mapping[str, float], aggregation: str, compatible: bool = False) -> dict[str, float]:
    if any(ratio < 0 for ratio in ratios.values()):
        raise Undefined("a truth ratio is below 0")
    found = truth_ratio_scores(list(ratios.values()), aggregation, compatible=compatible)
    return dict(zip(ratios, found.tolist(), strict=True))


def _mean(values: Mapping[str, float]) -> float:
    numbers = np.array(list(values.values()))
    return float(numbers[np.isfinite(numbers)].mean()) if np.isfinite(numbers).any() else float("nan")


def _averaged(values: Mapping[str, float], others: Mapping[str, float] | None = None) -> Found:
    """The mean over examples, which are taken as independent."""
    numbers = np.array(list(values.values()), np.float64)
    there: Sequence[int] = np.flatnonzero(np.isfinite(numbers)).tolist()
    if not there:
        raise Undefined("no example has a finite value")
    scale = "logit" if ((numbers[there] >= 0) & (numbers[there] <= 1)).all() else "plain"
    estimate = mean_estimate(numbers[there], np.array(there), scale=scale, num_clusters=len(numbers))
    return Found(estimate, len(there), tuple(values), dict(others or {}))
