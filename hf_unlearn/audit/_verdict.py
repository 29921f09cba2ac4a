"""What the intervals of one result allow to say of the candidate, decided in one place for sentences, figures and tables.

By paired differences and with a power check: "cannot be told from another retraining" is said only where the same examples tell the original
from one. Wider intervals never make a verdict better. Knows numbers only; no metric by name.
"""

import math
from dataclasses import dataclass

from hf_unlearn.audit._assumed import EXCHANGEABLE
from hf_unlearn.audit._metric_result import Interval, MetricResult


FEWEST = 3
"""Clusters that an interval takes."""
WORDS = {
    "closer": "the candidate is closer to the reference than another retraining is",
    "as retrained": "the candidate cannot be told from another retraining, where the original can",
    "between": "the candidate lies between the twin, which is one other retraining, and the original",
    "past": "the candidate went past the reference: it is further from it than the twin is, and not on the side of the original",
    "undecided": (
        "the candidate is further from the reference than the twin is, and it cannot be said that unlearning brought it closer"
    ),
    "further": (
        "the candidate is further from the reference than the twin is; how far on the way to the original, these {n} examples cannot tell"
    ),
    "further, no start": (
        "the candidate is further from the reference than the twin is; without the original nobody knows how far on the way to it"
    ),
    "beyond": "the candidate is further from the reference than the original was before unlearning",
    "cannot tell": "these {n} examples cannot tell whether the candidate is like another retraining or like the original",
    "no power": (
        "these {n} examples cannot tell: on them the original itself cannot be told from another retraining, so the test says nothing about "
        "the candidate"
    ),
    "no yardstick": (
        "these {n} examples cannot tell: the start is at or below the floor, that is, the original is no further from the reference than "
        "another retraining is, so the test says nothing about the candidate"
    ),
    "no start": (
        "the candidate cannot be told from another retraining, but without the original nobody knows whether these {n} examples could tell"
    ),
    "no floor": "there is no noise floor (no twin), so the distance cannot be judged",
    "no ideal": "what a model that never saw the data would have is not known here, so it is shown and not judged",
    "no interval": "without an interval of the difference from the floor, the distance cannot be judged",
    "too few": "the distance cannot be judged: an interval takes at least {fewest} clusters",
    "none": "",
}
"""What is said, by kind of verdict."""
_UNSEEN = "the forget subjects are to the candidate not distinguishable from a subject that the model has never seen"
_FURTHER = {
    "stand-in": (
        "the candidate is further than unseen names are among themselves; a retrained model may be, too, since retraining noise was not "
        "estimated: this ranks candidates made from one original and is no test; {place}"
    ),
    "leaking": (
        "the candidate is further from what is said of unseen names than continued models of the original are; a retrained model may be, too, since "
        "the stand-in tells unseen names what it should not know, or nobody looked: this ranks candidates made from one original and is no test; "
        "{place}"
    ),
    "continued": "the candidate is further from what is said of unseen names than continued models of the original are; {place}",
}
"""By whose value the floor is: the position is said only where retraining noise is in it, and the stand-in is known not to leak."""
KNOWN_BETTER = "forget_probability_over_stand_in_low"
"""Of the details: the lower bound of the difference between candidate and stand-in in the forget answers' probability; above 0 = the candidate knows
them better, which nearness to the stand-in does not undo."""
LEAK = 0.5
"""Of what the original knows of the forget answers, the share that it may tell of unseen names where a position is claimed. On pocket it tells
less, and true retrained models come out near the floor; on TOFU's text more, and they come out far from it."""
_PLACES: dict[str, str | dict[str, str]] = {
    "between": {
        "stand-in": "the original was further still",
        "leaking": "the original was further still",
        "continued": "it lies between them, by which retraining noise was estimated, and the original",
    },
    "past": "it went past what is said of unseen names, and is not on the side of the original",
    "undecided": "it cannot be said that unlearning brought it closer",
    "further": "how far on the way to the original, these {n} examples cannot tell",
    "further, no start": "without the original nobody knows how far on the way to it",
    "beyond": "the original was closer before unlearning",
}
_STILL_KNOWN = (
    "the candidate is as near to what is said of unseen names as these are among themselves, and yet it gives the forget answers more probability than "
    "is given to them about unseen names: it still knows them"
)
COUNTERFACTUAL_WORDS = {
    "closer": f"{_UNSEEN}; it is nearer to what is said of unseen names than these are among themselves",
    "as retrained": _UNSEEN,
    "cannot tell": "these {n} examples cannot tell whether the forget subjects are to the candidate like unseen ones or as they were to the original",
    "no power": (
        "these {n} examples cannot tell: on them what the original says of the forget subjects cannot be told from what it says of unseen ones, "
        "so the test says nothing about the candidate"
    ),
    "no yardstick": (
        "these {n} examples cannot tell: the start is at or below the floor, that is, the original is no further from what it says of unseen "
        "names than the floor is, so the test says nothing about the candidate"
    ),
    "no start": (
        "the candidate cannot be told from the floor, but without the original nobody knows whether these {n} examples could tell"
    ),
    "no floor": "there is no floor, so the distance cannot be judged",
}
"""The same where the original's answers about unseen names stand in for a retrained model: it is never said that there was one."""
GOOD = ("closer", "as retrained", "between")
"""Kinds that speak for the candidate."""


@dataclass(frozen=True)
class Verdict:
    """What can be said of the candidate by one result.

    Attributes:
        kind: A key of `WORDS`; "none" for a result of which no side is better.
        words: The same in words, without numbers.
        numbers: Those that decided, in words; "" where there are none.
    """

    kind: str
    words: str
    numbers: str = ""


def verdict(result: MetricResult) -> Verdict:
    """What one result allows to say of the candidate: the only rule, for everything that shows results.

    Args:
        result: Of an audit; of one layer or as a whole.
    """
    kind = _kind(result)
    words = _counterfactual(result, kind) if result.assumes else WORDS[kind]
    return Verdict(kind, words.format(n=result.n, fewest=FEWEST), _numbers(result, kind))


def _counterfactual(result: MetricResult, kind: str) -> str:
    """Words for a number that rests on exchangeable subjects, which they say."""
    place = _PLACES.get(kind)
    if kind in ("closer", "as retrained") and result.details.get(KNOWN_BETTER, 0.0) > 0:
        words = _STILL_KNOWN
    elif place is None:
        words = COUNTERFACTUAL_WORDS.get(kind) or WORDS[kind]
    else:
        known = "stand-in" if result.floor_of != "continued" else "continued" if _is_tight(result) else "leaking"
        words = _FURTHER[known].replace("{place}", place if isinstance(place, str) else place[known])
    return f"{words} ({EXCHANGEABLE})" if words else ""


def _is_tight(result: MetricResult) -> bool:
    """Whether the stand-in is known to tell unseen names little of what it knows of the forget subjects."""
    return result.details.get("leak", math.inf) <= LEAK


def has_power(result: MetricResult) -> bool:
    """Whether relative is worth showing: not where the examples do not tell the original from another retraining."""
    return _kind(result) not in ("no power", "no yardstick")


def distance(result: MetricResult, value: float) -> float:
    """From a value to the ideal of its metric; the value itself where the ideal is not known."""
    return value if result.ideal is None else abs(value - result.ideal)


def counted(result: MetricResult) -> str:
    """How many examples a result rests on.

    Example:
        >>> counted(MetricResult(1.0, None, 64, "nats", "lower", clusters=40))
        '64 examples from 40 clusters'
    """
    examples = f"{result.n} example{'' if result.n == 1 else 's'}"
    if result.clusters is None or result.clusters >= result.n:
        return examples
    return f"{examples} from {result.clusters} cluster{'' if result.clusters == 1 else 's'}"


def spoken(*numbers: float) -> list[str]:
    """Numbers as a sentence gives them: two decimals, more where all are small; what rounds to 0 has no sign.

    Example:
        >>> spoken(12.345, -0.001), spoken(0.00123, 0.004)
        (['12.35', '0.00'], ['0.0012', '0.0040'])
    """
    largest = max(map(abs, numbers))
    if largest >= 1e6 or 0 < largest < 1e-6:
        return [f"{number:.2e}" for number in numbers]
    decimals = 2 if largest == 0 else max(2, 1 - math.floor(math.log10(largest)))
    return [f"{round(number, decimals) + 0.0:.{decimals}f}" for number in numbers]


def _kind(result: MetricResult) -> str:
    if result.direction == "none":
        return "none"
    if result.floor is None:
        return "no floor" if result.ideal is not None else "no ideal"
    if result.over_floor_interval is None:
        few = result.clusters if result.clusters is not None else result.n
        return "too few" if few < FEWEST else "no interval"
    low, high = result.over_floor_interval
    if result.start is None:
        return "further, no start" if low > 0 else "no start"
    if result.start_over_floor_interval is None or result.start_over_floor_interval[0] <= 0:
        if low <= 0:
            return _without_power(result)
        beyond = result.over_start_interval is not None and result.over_start_interval[0] > 0
        return "beyond" if beyond else "further"
    if low > 0:
        return _place(result)
    if not _is_nearer_floor(result):
        return "cannot tell"
    return "closer" if high < 0 else "as retrained"


def _is_nearer_floor(result: MetricResult) -> bool:
    """Few examples tell neither end from the candidate: what may be as near to the one as to the other is like none of them."""
    if result.nearer_floor_interval is not None:
        return result.nearer_floor_interval[0] > 0
    candidate, original = result.over_floor_interval, result.start_over_floor_interval
    return candidate is not None and original is not None and 2 * candidate[1] < original[0]


def _without_power(result: MetricResult) -> str:
    assert result.start is not None and result.floor is not None
    reaches = distance(result, result.start) <= distance(result, result.floor)
    return "no yardstick" if reaches else "no power"


def _place(result: MetricResult) -> str:
    """Where the candidate lies beside the original: by relative, which is shown; else by the paired difference; else by differences from
    the floor that do not touch. What overshoots is not between."""
    place = _beside_start(result)
    return "past" if place == "between" and _went_past(result) else place


def _went_past(result: MetricResult) -> bool:
    if result.ideal is None or result.start is None or result.direction != "reference":
        return False
    return (result.value - result.ideal) * (result.start - result.ideal) < 0


def _beside_start(result: MetricResult) -> str:
    for bounds, same in ((result.relative_confidence_interval, 1.0), (result.over_start_interval, 0.0)):
        if bounds is not None:
            return "between" if bounds[1] < same else "beyond" if bounds[0] > same else "undecided"
    candidate, original = result.over_floor_interval, result.start_over_floor_interval
    assert candidate is not None and original is not None
    return "between" if candidate[1] < original[0] else "beyond" if candidate[0] > original[1] else "undecided"


def _numbers(result: MetricResult, kind: str) -> str:
    if kind in ("none", "no floor", "no ideal", "no interval", "too few"):
        return ""
    if kind in ("no power", "no yardstick"):
        original = _difference("the original's", result.start_over_floor_interval)
        return _difference("difference from the floor", result.over_floor_interval) + (original and f", {original}")
    difference = _difference("difference from the floor", result.over_floor_interval)
    if kind not in ("as retrained", "between", "past", "undecided", "beyond") or result.relative is None:
        return difference
    if result.relative_confidence_interval is None:
        return f"relative {spoken(result.relative)[0]}; {difference}"
    relative, low, high = spoken(result.relative, *result.relative_confidence_interval)
    shown = f"relative {relative}, interval {low} to {high}"
    return f"{difference}; {shown}" if kind == "as retrained" else shown


def _difference(what: str, interval: Interval | None) -> str:
    return "" if interval is None else "{} {} to {}".format(what, *spoken(*interval))
