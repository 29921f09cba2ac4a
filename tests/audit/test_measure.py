"""From readings to results: distances with several twins and over layers, what a metric may give, and what is refused."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from hf_unlearn.audit import BaseMetric, FunctionMetric, MetricSpec, Reading, Rows, SubjectKey, mean_of
from hf_unlearn.audit._measure import measure
from hf_unlearn.audit._rows import Evidence
from hf_unlearn.audit._selection import choose_conditions, choose_metrics
from hf_unlearn.functional import Bootstrap, Estimate


SPEC = MetricSpec(
    name="share",
    title="Share",
    unit="share",
    ideal="reference",
    bounds=(0.0, 1.0),
    family="outputs",
    splits=("forget",),
    needs=(Reading("numbers"),),
)


def evidence(**values: float) -> Evidence:
    """Forty examples of each role, a little apart; roles with several values have them by layer."""
    split = SimpleNamespace(name="forget", groups=np.arange(40), clusters=np.arange(40))
    sized = type("Split", (), {"__len__": lambda self: 40, **vars(split)})()
    found = Evidence({"forget": sized}, {})
    noise = np.random.default_rng(0).normal(scale=0.01, size=40)
    for role, value in values.items():
        columns = {f"feature_{layer}": (part + noise)[:, None] for layer, part in enumerate(np.atleast_1d(value), 1)}
        arrays = {name: pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 1) for name, rows in columns.items()}
        key = SubjectKey(role.replace("_", " "))
        found.tables["answers", key, "forget"] = pa.table({"item": np.arange(40), **arrays})
    return found


class Share(BaseMetric):
    spec = dataclasses.replace(SPEC, by_layer=True)

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        return mean_of(rows.features()[:, 0], rows)


def test_distances_to_twins_are_averaged_not_the_twins():
    """Two twins on either side of the reference are .1 away from it each, not 0: the candidate at .05 is closer than either."""
    models = {"candidate": 0.45, "reference": 0.5, "original": 0.9}
    one = measure(Share(), evidence(**models, twin=0.4), "forget", "", Bootstrap())
    both = measure(Share(), evidence(**models, twin=0.4, twin_2=0.6), "forget", "", Bootstrap())
    assert (
        one.relative == pytest.approx((0.05 - 0.1) / (0.4 - 0.1), abs=1e-6) == pytest.approx(both.relative, abs=1e-6)
    )
    assert both.floor == pytest.approx(np.mean([0.4, 0.6]), abs=0.01)


def test_too_much_and_too_little_at_different_layers_are_both_far():
    """Twice as far as retraining at one layer, nothing at the other: as far as the original at each, and so together."""
    metric = Share()
    metric.spec = dataclasses.replace(Share.spec, ideal=1.0, bounds=(None, None), compares=True)
    models = {"candidate": [2.0, 0.0], "twin": [0.8, 0.8], "original": [0.0, 0.0]}
    found = measure(metric, evidence(**models), "forget", "", Bootstrap())
    assert found.value == pytest.approx(1.0, abs=0.01)
    assert found.relative == pytest.approx(1.0, abs=0.02)
    assert found.over_start_interval[0] < 0 < found.over_start_interval[1] or found.over_start_interval == (0.0, 0.0)


def test_differences_are_no_larger_than_bounds_allow():
    found = measure(
        Share(), evidence(candidate=0.02, reference=0.5, original=0.98, twin=0.5), "forget", "", Bootstrap()
    )
    for interval in (found.over_floor_interval, found.start_over_floor_interval, found.over_start_interval):
        assert -1 <= interval[0] <= interval[1] <= 1


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (lambda rows: np.ones(3), TypeError, r"shape \(40,\).*it gave shape \(3,\)"),
        (lambda rows: [[1.0]] * 40, TypeError, r"it gave shape \(40, 1\)"),
        (lambda rows: ["a"] * 40, TypeError, "must give one number per example"),
        (lambda rows: np.full(40, np.inf), ValueError, "infinite values; NaN says"),
    ],
)
def test_what_a_function_may_give(values, error: type[Exception], words: str):
    given = evidence(candidate=0.5, reference=0.5)
    with pytest.raises(error, match=words):
        measure(FunctionMetric(SPEC, values), given, "forget", "", Bootstrap())


def test_a_value_outside_of_its_bounds_is_none():
    given = evidence(candidate=0.5, reference=0.5)
    why = measure(FunctionMetric(SPEC, lambda rows: np.full(40, -99.0)), given, "forget", "", Bootstrap())
    assert why == "it gives -99, outside of its bounds (0.0, 1.0)"


def test_examples_without_a_value_do_not_count():
    values = np.where(np.arange(40) < 10, 0.5 + np.arange(40) / 100, np.nan)
    found = measure(FunctionMetric(SPEC, lambda rows: values), evidence(candidate=0.5), "forget", "", Bootstrap())
    assert found.n == 10


class NoEstimate(Share):
    spec = dataclasses.replace(SPEC, name="bare")

    def __call__(self, rows: Rows, uncertainty: Bootstrap):
        return 0.5


def test_a_metric_gives_an_estimate():
    with pytest.raises(TypeError, match=r"'bare' must give an Estimate.*got float"):
        measure(NoEstimate(), evidence(candidate=0.5), "forget", "", Bootstrap())


def test_names_and_specs_that_cannot_be():
    taken = FunctionMetric(dataclasses.replace(SPEC, name="fade"), lambda rows: np.ones(40))
    with pytest.raises(ValueError, match="there is a metric 'fade' already"):
        choose_metrics([taken], {})
    with pytest.raises(ValueError, match="splits of 'share' must be some of forget"):
        dataclasses.replace(SPEC, splits=("forgotten",))
    with pytest.raises(ValueError, match="bounds of 'share' must ascend"):
        dataclasses.replace(SPEC, bounds=(1.0, 0.0))
    attack = SimpleNamespace(name="int8", roles=("candidate",), metrics=("probabilty",), apply=lambda subject: subject)
    with pytest.raises(ValueError, match="asks for the metric 'probabilty', which is not among those chosen"):
        choose_conditions([attack], ["probability"])
