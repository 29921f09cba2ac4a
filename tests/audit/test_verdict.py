"""What intervals allow to say: every kind of verdict, and that fewer examples never make one better."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._verdict import GOOD, WORDS, spoken, verdict
from hf_unlearn.functional import Bootstrap, compare, mean_estimate


def placed(over=None, start_over=None, relative=None, bounds=None, **more) -> MetricResult:
    """A distance of 24 examples with floor 1 and start 10; `over` and `start_over` are the intervals of differences from the floor."""
    given = {"floor": 1.0, "start": 10.0, "ideal": 0.0, "clusters": 24, "direction": "lower", **more}
    return MetricResult(
        5.0, (4.0, 6.0), 24, "nats", over_floor_interval=over, start_over_floor_interval=start_over, relative=relative,
        relative_confidence_interval=bounds, **given,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (placed((-2.0, -1.0), (8.0, 10.0)), "closer", "closer to the reference than another retraining"),
        (placed((-0.2, 0.5), (8.0, 10.0), 0.1, (-0.1, 0.2)), "as retrained", "cannot be told from another retraining, where the original can"),
        (placed((-0.2, 0.5), (8.0, 10.0)), "as retrained", "cannot be told"),
        (placed((2.0, 6.0), (8.0, 10.0), 0.5, (0.25, 0.75)), "between", "between the twin, which is one other retraining, and the original"),
        (placed((2.0, 6.0), (8.0, 10.0)), "between", "between the twin, which is one other retraining, and the original"),
        (placed((6.0, 9.0), (8.0, 10.0), 0.9, (0.7, 1.1)), "undecided", "cannot be said that unlearning brought it closer"),
        (placed((6.0, 9.0), (8.0, 10.0)), "undecided", "cannot be said that unlearning brought it closer"),
        (placed((11.0, 19.0), (8.0, 10.0), 1.6, (1.4, 1.8)), "beyond", "than the original was before unlearning"),
        (placed((11.0, 19.0), (8.0, 10.0)), "beyond", "than the original was before unlearning"),
        (placed((-0.2, 0.5), (8.0, 10.0), 0.1, (-0.1, 0.6), nearer_floor_interval=(0.5, 9.0)), "as retrained", "cannot be told"),
        (placed((-0.2, 0.5), (8.0, 10.0), 0.1, (-0.1, 0.6), nearer_floor_interval=(-0.5, 9.0)), "cannot tell", "these 24 examples"),
        # The test can tell the original from a retraining, but not the candidate from the original.
        (placed((-5.0, 20.0), (1.0, 30.0), 0.5, (-0.4, 1.2)), "cannot tell", "these 24 examples cannot tell whether"),
        (placed((-5.0, 20.0), (1.0, 30.0)), "cannot tell", "these 24 examples cannot tell whether"),
        (placed((-2.0, 6.0), (-1.0, 19.0)), "no power", "the original itself cannot be told from another retraining, so the test says nothing"),
        (placed((-2.0, -1.0), (-1.0, 19.0)), "no power", "these 24 examples cannot tell"),
        (placed((-2.0, 6.0), (-5.0, 1.0), floor=12.0), "no yardstick", "the start is at or below the floor"),
        (placed((-2.0, 6.0), (0.0, 0.0), floor=10.0), "no yardstick", "the start is at or below the floor"),
        (placed((2.0, 6.0), (8.0, 10.0), None, None, over_start_interval=(-6.0, -1.0)), "between", "between the twin, which is one other retraining, and the original"),
        (placed((90.0, 99.0), (-1.0, 40.0), over_start_interval=(50.0, 90.0)), "beyond", "than the original was before unlearning"),
        # Damage is said although the test has no power for more; it is never good news.
        (placed((2.0, 6.0), (-1.0, 19.0)), "further", "how far on the way to the original, these 24 examples cannot tell"),
        (placed((2.0, 6.0), None, start=None), "further, no start", "without the original nobody knows how far"),
        (placed((2.0, 6.0), (8.0, 10.0), 0.5, (0.25, 0.75), ideal=5.5, start=10.0, direction="reference"), "past", "went past the reference"),
        (placed((-2.0, 6.0), None, start=None), "no start", "without the original nobody knows whether these 24 examples could tell"),
        (placed(None, None, floor=None), "no floor", "there is no noise floor"),
        (placed(None, None, floor=None, ideal=None, direction="reference"), "no ideal", "is not known here, so it is shown and not judged"),
        (placed(None, None), "no interval", "without an interval of the difference"),
        (placed(None, None, clusters=2), "too few", "at least 3 clusters"),
    ],
)  # fmt: skip
def test_known_verdicts(result: MetricResult, kind: str, words: str):
    found = verdict(result)
    assert (found.kind, words in found.words) == (kind, True)


def _cases() -> list[tuple]:
    return next(mark for mark in test_known_verdicts.pytestmark if mark.name == "parametrize").args[1]


def test_every_kind_has_a_case():
    cases = _cases()
    assert {kind for _, kind, _ in cases} == set(WORDS) - {"none"}
    nothing = MetricResult(1.0, None, 24, "share", "none", floor=1.0, over_floor_interval=(0.0, 1.0))
    assert verdict(nothing).kind == "none" and verdict(nothing).words == ""


FALSE_WITHOUT_A_REFERENCE = ("another retraining", "as good as retraining", "the reference", "the twin", "noise floor")


@pytest.mark.parametrize("leak", [0.3, 0.6, None])
@pytest.mark.parametrize("floor_of", ["stand-in", "continued", "something that a later version has"])
@pytest.mark.parametrize(("result", "kind"), [case[:2] for case in _cases()])
def test_counterfactual_numbers_have_words_of_their_own(
    result: MetricResult, kind: str, floor_of: str, leak: float | None
):
    """Every kind of verdict says what it rests on, and nothing of retrained models that nobody had; a position only beside continued models and a
    stand-in that is known not to leak."""
    details = {} if leak is None else {"leak": leak}
    found = verdict(dataclasses.replace(result, assumes="counterfactual", floor_of=floor_of, details=details))
    is_placed = floor_of == "continued" and leak == 0.3
    assert found.kind == kind
    assert not any(word in found.words for word in FALSE_WITHOUT_A_REFERENCE) and "{" not in found.words
    assert found.words.endswith("(counterfactual, assumes that subjects are exchangeable)")
    if kind in ("closer", "as retrained"):
        assert "not distinguishable from a subject that the model has never seen" in found.words
    if kind in ("between", "past", "undecided", "further", "further, no start", "beyond"):
        unknown = "retraining noise was not estimated: this ranks candidates made from one original and is no test"
        assert (unknown in found.words) is (floor_of != "continued")
        assert ("is no test" in found.words) is not is_placed
        assert ("it lies between" in found.words) is (is_placed and kind == "between")


def test_the_numbers_that_decided_are_said():
    assert verdict(placed((-0.25, 0.5), (8.0, 10.0), 0.1, (-0.1, 0.2))).numbers == (
        "difference from the floor -0.25 to 0.50; relative 0.10, interval -0.10 to 0.20"
    )
    assert (
        verdict(placed((2.0, 6.0), (8.0, 10.0), 0.5, (0.25, 0.75))).numbers == "relative 0.50, interval 0.25 to 0.75"
    )
    assert (
        verdict(placed((-2.0, 6.0), (-1.0, 19.0))).numbers
        == "difference from the floor -2.00 to 6.00, the original's -1.00 to 19.00"
    )
    assert (
        spoken(2e-9, -3.0) == ["0.00", "-3.00"]
        and spoken(0.0) == ["0.00"]
        and spoken(-8.5e-19, 1.0) == ["0.00", "1.00"]
    )


def test_an_overshoot_is_a_distance():
    """The start is below the ideal, the floor above: what counts is how far from it."""
    assert verdict(placed((-2.0, 6.0), (-9.0, -7.0), ideal=1.0, floor=11.0, start=0.5)).kind == "no yardstick"
    assert verdict(placed((-2.0, 6.0), (-1.0, 7.0), ideal=1.0, floor=0.9, start=-3.0)).kind == "no power"


_CENTRES, _WIDTHS = st.floats(-20, 20), st.floats(0.01, 30)


def _audit(
    centre: float, start: float, width: float, shapes: tuple[float, float], with_relative: bool
) -> MetricResult:
    """Intervals around the same values, all in proportion to `width`."""
    relative = centre / start if with_relative and start > 0.1 else None
    spread = width * shapes[1]
    bounds = None if relative is None else (relative - spread, relative + spread)
    half = width * shapes[0]
    return placed((centre - width, centre + width), (start - half, start + half), relative, bounds, start=1.0 + start)


@given(
    _CENTRES, _CENTRES, _WIDTHS, st.floats(1.0, 10.0), st.tuples(st.floats(0.1, 3), st.floats(0.01, 3)), st.booleans()
)
def test_a_smaller_audit_never_reads_better(centre, start, width, factor, shapes, with_relative):
    """Wider intervals around the same values: what speaks for the candidate was said by the larger audit too, with a smaller upper bound."""
    large = _audit(centre, start, width, shapes, with_relative)
    small = _audit(centre, start, width * factor, shapes, with_relative)
    ranks = {"closer": 2, "as retrained": 1, "between": 1}
    of_large, of_small = verdict(large).kind, verdict(small).kind
    assert ranks.get(of_small, 0) <= ranks.get(of_large, 0)
    if of_small in GOOD:
        assert small.over_floor_interval[1] >= large.over_floor_interval[1]
        high = small.relative_confidence_interval
        assert high is None or high[1] >= large.relative_confidence_interval[1]


@given(st.floats(-5, 20), _WIDTHS, st.booleans())
def test_an_untouched_original_never_reads_well(difference: float, width: float, with_relative: bool):
    """However few the examples: it is as far as itself."""
    interval = (difference - width, difference + width)
    relative = (1.0, (1.0, 1.0)) if with_relative and difference > 0 else (None, None)
    assert verdict(placed(interval, interval, *relative, start=1.0 + difference)).kind not in GOOD


@given(*(st.floats(-3, 3) for _ in range(4)), st.integers(3, 30), st.integers(0, 1000))
def test_reports_and_comparisons_say_the_same(
    candidate: float, twin: float, original: float, spread: float, n: int, seed: int
):
    """`Comparison.verdict` is about estimates, `verdict` about what a report holds of them: one rule."""
    generator = np.random.default_rng(seed)
    means = {"candidate": candidate, "twin": twin, "original": original}
    estimates = {role: mean_estimate(mean + abs(spread) * generator.normal(size=n)) for role, mean in means.items()}
    found = compare(estimates, ideal=0.0, bootstrap=Bootstrap(num_resamples=50))
    result = placed(
        found.over_floor, found.start_over_floor, nearer_floor_interval=found.nearer_floor,
        floor=estimates["twin"].value, start=estimates["original"].value,
    )  # fmt: skip
    kinds = {
        "closer": ("closer",),
        "indistinguishable": ("as retrained",),
        "cannot tell": ("cannot tell", "no power", "no yardstick"),
    }
    further = ("between", "undecided", "beyond", "further", "past")
    assert verdict(result).kind in kinds.get(found.verdict, further)


def test_nearness_to_the_stand_in_does_not_undo_what_is_still_known():
    near = dataclasses.replace(
        placed((-0.25, 0.5), (8.0, 10.0), 0.1, (-0.1, 0.2)), assumes="counterfactual", floor_of="stand-in"
    )
    assert "not distinguishable from a subject" in verdict(near).words
    known = dataclasses.replace(near, details={"forget_probability_over_stand_in_low": 0.1})
    assert "it still knows them" in verdict(known).words and "not distinguishable" not in verdict(known).words
    as_unknown = dataclasses.replace(near, details={"forget_probability_over_stand_in_low": -0.1})
    assert verdict(as_unknown) == verdict(near)
