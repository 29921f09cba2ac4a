"""A published report beside the recomputed one, by hand: every part of it counts, both ways."""

import dataclasses

import pytest
from reports import metric, report

from hf_unlearn.audit import AuditReport, MetricResult, MetricResults
from hf_unlearn.publishing._claims import check_metric, unchecked
from hf_unlearn.publishing._report_claims import check_report, unchecked_report


BOUNDS = {
    "confidence_interval": (11.0, 14.0),
    "floor_confidence_interval": (1.0, 2.0),
    "start_confidence_interval": (20.0, 30.0),
    "relative_confidence_interval": (0.4, 0.5),
}
TRUE = metric(
    12.4, **BOUNDS, floor=1.5, start=25.0, relative=0.46, others={"reference": 0.3}, details={"excess_low": 0.02},
    by_layer={"1": metric(0.7), "2": metric(0.9)}, undefined={"3": "nothing changes there"}, clusters=8, ideal=0.0,
    over_floor_interval=(9.0, 12.5), start_over_floor_interval=(20.0, 28.0),
)  # fmt: skip
LIES = {
    "value": 1.0, "floor": 14.0, "start": 99.0, "relative": 0.01, "confidence_interval": (-1e300, 1e300),
    "start_confidence_interval": (0.0, 1e9), "floor_confidence_interval": (0.0, 11.0), "relative_confidence_interval": (0.0, 0.47),
    "others": {"reference": 9.0}, "details": {"excess_low": -0.02}, "by_layer": {**TRUE.by_layer, "1": metric(9.0)}, "n": 100_000,
    "unit": "percent", "direction": "higher", "relative_reason": "certified", "undefined": {"3": "it was erased"},
    "clusters": 12, "ideal": 12.4, "family": "utility", "over_floor_interval": (-1.0, 12.5), "start_over_floor_interval": (20.0, 99.0),
}  # fmt: skip
ADDED = {
    "others": {**TRUE.others, "twin": 0.3}, "details": {**TRUE.details, "certified": 1.0},
    "by_layer": {**TRUE.by_layer, "4": metric(0.1)}, "undefined": {**TRUE.undefined, "5": "it was erased"},
}  # fmt: skip
LEFT_OUT = {
    name: {} if name in ("others", "details", "by_layer", "undefined") else None
    for name in LIES
    if name not in ("value", "n", "unit", "direction", "relative_reason", "family")
}


def outcome(published: MetricResult, again: MetricResult = TRUE, lacking: str = "") -> str:
    (check,) = check_metric("fade", published, again, lacking)
    return check.outcome


def test_what_agrees_is_reproduced():
    assert outcome(TRUE) == "reproduced"
    # Other hardware: everything moves by a tenth of its interval's width.
    moved = dataclasses.replace(
        TRUE, value=12.7, confidence_interval=(11.3, 14.3), floor=1.6, details={"excess_low": 0.0205}
    )
    assert outcome(moved) == "reproduced"


@pytest.mark.parametrize("part", LIES)
def test_a_changed_part_is_a_difference(part: str):
    (found,) = check_metric("fade", dataclasses.replace(TRUE, **{part: LIES[part]}), TRUE)
    assert found.outcome == "not reproduced" and "differ" in found.reason


def test_an_interval_without_end_excuses_nothing():
    """Two or three clusters: ours is as wide as theirs."""
    wide = dataclasses.replace(TRUE, confidence_interval=(0.0, 1e9), start_confidence_interval=(0.0, 1e304))
    assert outcome(dataclasses.replace(wide, value=12.7, start=25.5), wide) == "reproduced"
    for lie in (
        {"value": 500.0},
        {"start": 90.0},
        {"others": {"reference": 29.0}},
        {"details": {"excess_low": 0.002}},
    ):
        assert outcome(dataclasses.replace(wide, **lie), wide) == "not reproduced"


@pytest.mark.parametrize("part", ADDED)
def test_an_added_part_is_a_difference(part: str):
    assert outcome(dataclasses.replace(TRUE, **{part: ADDED[part]})) == "not reproduced"


@pytest.mark.parametrize("part", LEFT_OUT)
def test_a_part_left_out_is_a_difference_though_something_is_lacking(part: str):
    """It was recomputed, so it could have been published."""
    less = dataclasses.replace(TRUE, **{part: LEFT_OUT[part]})
    checks = check_metric("fade", less, TRUE, "the retain")
    assert checks[0].outcome == "not reproduced"


@pytest.mark.parametrize("part", ["floor", "start", "relative", "others", "by_layer"])
def test_what_cannot_be_recomputed_is_not_checkable(part: str):
    """With all that the report names it is an invention; without the twin, say, nobody can tell."""
    interval = {f"{part}_confidence_interval": None} if f"{part}_confidence_interval" in BOUNDS else {}
    again = dataclasses.replace(TRUE, **{part: LEFT_OUT[part]}, **interval)
    assert outcome(TRUE, again) == "not reproduced"
    first, rest = check_metric("fade", TRUE, again, "the twin")
    assert (first.outcome, rest.outcome) == ("reproduced", "not checkable")
    assert "the twin" in rest.reason and part.split("_")[-1] in rest.reason.replace("value of the reference", "others")


@pytest.mark.parametrize("part", ["floor", "start", "relative"])
def test_an_interval_without_its_value_is_never_a_claim(part: str):
    """Not with the data, and not with the report alone."""
    forged = dataclasses.replace(TRUE, **{part: None})
    assert outcome(forged, dataclasses.replace(forged, **{f"{part}_confidence_interval": None})) == "not reproduced"
    alone = unchecked("fade", forged, "needs a forget set")
    assert alone.outcome == "not reproduced" and f"interval of {part} without" in alone.reason
    layer = unchecked("fade", dataclasses.replace(TRUE, by_layer={"7": forged}), "needs a forget set")
    assert layer.outcome == "not reproduced" and "of layer 7" in layer.reason
    assert unchecked("fade", TRUE, "needs a forget set").outcome == "not checkable"
    backwards = dataclasses.replace(TRUE, confidence_interval=(14.0, 11.0))
    assert unchecked("fade", backwards, "needs a forget set").outcome == "not reproduced"


def outcomes(published: AuditReport, again: AuditReport, lacking: tuple[str, ...] = ()) -> dict[str, str]:
    return {check.name: check.outcome for check in check_report(published, again, lacking)}


def test_a_report_is_compared_as_a_whole():
    true = report()
    assert set(outcomes(true, true).values()) == {"reproduced"}
    metrics = dict(true.metrics)
    less = dataclasses.replace(
        true, metrics=MetricResults({name: metrics[name] for name in metrics if name != "fade/forget"})
    )
    assert outcomes(less, true)["fade/forget"] == "not reproduced"  # left out
    assert outcomes(true, less)["fade/forget"] == "not reproduced"  # invented
    assert outcomes(true, less, ("the retain",))["fade/forget"] == "not checkable"
    for notes in ((), ("a limit", "Audited by an independent laboratory"), ("no limit",), ("a limit", "a limit")):
        forged = dataclasses.replace(true, notes=notes)
        assert outcomes(forged, true)["notes"] == "not reproduced"
        assert outcomes(forged, true, ("the twin",))["notes"] == "not checkable"
    for settings in ({"seed": 1, "confidence": 0.95}, {"seed": 0}, {"seed": 0, "confidence": 0.95, "certified": True}):
        provenance = dataclasses.replace(true.provenance, settings=settings)
        assert outcomes(dataclasses.replace(true, provenance=provenance), true)["settings"] == "not reproduced"


def test_the_reading_must_follow_from_what_was_recomputed():
    """Bounds moved by less than any tolerance, across the line between two sentences."""
    bounds = {"floor": 1.5, "start": 12.0, "start_over_floor_interval": (9.0, 12.0)}
    true = report({"fade": metric(3.0, over_floor_interval=(0.05, 4.0), **bounds)})
    nicer = report({"fade": metric(3.0, over_floor_interval=(-0.05, 4.0), **bounds)})
    assert true.reading() != nicer.reading()
    found = outcomes(nicer, true)
    assert found["fade/forget"] == "reproduced" and found["reading"] == "not reproduced"


def test_a_report_alone_reproduces_nothing():
    checks = unchecked_report(report(), "needs a forget set")
    assert {"settings", "notes", "reading", *report().metrics} == {check.name for check in checks}
    assert {check.outcome for check in checks} == {"not checkable"}
