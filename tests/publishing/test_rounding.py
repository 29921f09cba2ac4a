"""Published digits: as many as an interval supports, and no line crossed by rounding."""

import dataclasses
import json
import logging
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import metric, report

from hf_unlearn.publishing import Statement, card_section, stage
from hf_unlearn.publishing._card import model_index_results
from hf_unlearn.publishing._claims import check_metric
from hf_unlearn.publishing._public import public_report
from hf_unlearn.publishing._rounding import reworded, round_number, rounded, unit


KEY = bytes(32)
LONG = re.compile(r"[1-9]\d*\.\d{6,}|(?<!\d)0\.0*[1-9]\d{4,}")
"""Digits that no interval here supports."""


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (12.3456789, (11.2, 13.5), 12.3),  # half-width 1.15: tenths
        (12.3456789, (12.0, 12.7), 12.35),  # half-width 0.35: hundredths
        (1234.5678, (1000.1, 1500.1), 1230.0),  # half-width 250: tens
        (0.0123456, (0.012, 0.0127), 0.01235),  # half-width 0.00035: fifth decimal
        (0.0123456, None, 0.0123),
        (1.83407e-21, None, 1.83e-21),
        (-98765.4321, None, -98800.0),
        (0.5, (0.5, 0.5), 0.5),  # no width: as without
        (1024.0, None, 1024.0),  # counts stay exact
        (117_480.0, (100_000.0, 130_000.0), 117_480.0),
        (0.0, (0.0, 0.3), 0.0),
        (0.99996, (0.9, 1.0), 0.99996),  # not certain, however wide the interval
        (0.0004321, (0.0, 0.2), 0.0004),
        (1.0000321, (0.5, 1.5), 1.00003),
        (-0.0000321, (-0.5, 0.5), -0.00003),
    ],
)  # fmt: skip
def test_known_digits(value: float, interval: tuple[float, float] | None, expected: float):
    assert round_number(value, interval) == expected


_NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(_NUMBERS, _NUMBERS, _NUMBERS)
def test_rounding_stays_near_keeps_its_side_and_is_done_once(value: float, one: float, other: float):
    interval = (min(one, other), max(one, other))
    for bounds in (interval, None):
        found = round_number(value, bounds)
        assert abs(found - value) <= unit(value, bounds) * (0.5 + 1e-6)
        for line in (0.0, 1.0):
            assert (found < line, found > line) == (value < line, value > line)
    result = metric(value, confidence_interval=interval, floor=one, others={"reference": other}, details={"n": value})
    once = rounded(report({"fade": result}))
    assert rounded(once) == once
    low, high = once.metrics["fade"].confidence_interval
    assert low <= high


@given(_NUMBERS, st.floats(1e-9, 1e6), st.floats(0, 1))
def test_a_rounded_claim_is_reproduced(value: float, width: float, place: float):
    """Whatever an honest report says, rounding must not turn it into a false one."""
    true = metric(value, confidence_interval=(value - place * width, value + (1 - place) * width), floor=value / 3)
    published = rounded(report({"fade": true})).metrics["fade"]
    assert [check.outcome for check in check_metric("fade", published, true)] == ["reproduced"]


def test_a_line_between_two_sentences_is_not_crossed():
    """Candidate and original are apart by less than a published digit: digits are added until the reading keeps its words."""
    apart = metric(
        5.0123456, floor=1.5, start=12.0, over_floor_interval=(5.0, 8.0441), start_over_floor_interval=(8.0449, 11.0)
    )
    true = report({"fade": apart, "fade/retain": metric(1.2345678)})
    assert "between the twin, which is one other retraining, and the original" in true.reading()[0]
    found = rounded(true)
    assert reworded(found.reading()[0]) == reworded(true.reading()[0])
    low, high = found.metrics["fade"].start_over_floor_interval[0], found.metrics["fade"].over_floor_interval[1]
    assert low > high and len(str(low)) <= 6
    # Without a line near, the same interval has two digits of its half-width.
    assert round_number(8.0441, (5.0, 8.0441)) == round_number(8.0449, (8.0449, 11.0)) == 8.0


@pytest.mark.parametrize("bounds", [(0.01, 4.0), (-4.0, -0.01), (0.004, 0.9996), (1.0004, 3.0)])
def test_rounding_moves_no_bound_across_a_line(bounds: tuple[float, float]):
    """Whether a difference reaches 0, and a relative 1, is what verdicts are about."""
    result = metric(
        3.0, floor=1.0, start=9.0, over_floor_interval=bounds, start_over_floor_interval=bounds, relative=0.5,
        relative_confidence_interval=bounds,
    )  # fmt: skip
    found = rounded(report({"fade": result})).metrics["fade"]
    for name in ("over_floor_interval", "start_over_floor_interval", "relative_confidence_interval"):
        for before, after in zip(bounds, getattr(found, name), strict=True):
            assert [(before > line, before < line) for line in (0, 1)] == [
                (after > line, after < line) for line in (0, 1)
            ]


def test_float_dust_is_0_and_a_small_number_is_not():
    """−8.5e-19 is what adding up leaves of 0 beside an ideal of 1; beside numbers of its own size it would be a number."""
    dusty = metric(
        0.05, ideal=1.0, floor=0.97, start=-8.5e-19, start_confidence_interval=(-8.5e-19, -8.5e-19), relative=3e-17,
        others={"original": 2e-19}, details={"p_value": 1.83e-21},
    )  # fmt: skip
    tiny = metric(1.83407e-21, confidence_interval=None, floor=2e-20)
    found = rounded(
        report({"progress": dusty, "other": tiny, "progress/retain": metric(0.1, by_layer={"1": dusty})})
    ).metrics
    for result in (found["progress"], found["progress/retain"].by_layer["1"]):
        assert (result.start, result.start_confidence_interval, result.relative) == (0.0, (0.0, 0.0), 0.0)
        assert (
            str(result.start) == "0.0"
            and result.others == {"original": 0.0}
            and result.details == {"p_value": 1.83e-21}
        )
    assert found["other"].value == 1.83e-21


def test_everything_published_is_rounded_and_the_own_report_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    shift = math.pi / 1e4
    exact = {
        name: dataclasses.replace(
            result,
            value=float(result.value) + shift,
            confidence_interval=tuple(end + shift for end in result.confidence_interval),
            others={role: value + shift for role, value in result.others.items()},
            details={"excess_low": shift, "num_samples": 1024.0},
        )
        for name, result in report().metrics.items()
    }
    own = report(exact)
    assert LONG.search(own.to_json())
    with caplog.at_level(logging.WARNING, "hf_unlearn"):
        bundle = stage(own, Statement(), "me/model", tmp_path)
    published = (tmp_path / "hf_unlearn_upload" / "unlearning_audit" / "report.json").read_text()
    texts = [published, card_section(bundle.report, Statement(), "me/model")]
    texts.append(json.dumps(model_index_results(bundle.report, "me/model")))
    assert not [LONG.search(text)[0] for text in texts if LONG.search(text)]
    assert json.loads(published)["metrics"]["fade/forget"]["details"] == {
        "excess_low": 0.000314,
        "num_samples": 1024.0,
    }
    assert own.metrics["fade"].value == exact["fade/forget"].value
    assert public_report(bundle.report, KEY).metrics == bundle.report.metrics
    assert "forget set of this audit has 12 rows" in caplog.text
    caplog.clear()
    own.provenance.data["forget"]["rows"] = 20
    with caplog.at_level(logging.WARNING, "hf_unlearn"):
        stage(own, Statement(), "me/model", tmp_path)
    assert "rows" not in caplog.text
