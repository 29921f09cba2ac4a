"""Every figure that TOFU published of two models, from their logs by example, through the library's own formulas; and models that were destroyed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hmean, ks_2samp

from hf_unlearn.functional import (
    AGGREGATIONS,
    forget_quality,
    model_utility,
    normalized_probability,
    truth_ratio,
    truth_ratio_scores,
)


SETS = {
    "forget": "eval_log_forget.json",
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
finite = st.floats(-30, 0)


def _log(folder: Path, model: str, name: str) -> dict[str, np.ndarray]:
    """Negative mean losses and recalls by example."""
    log = json.loads((folder / "tofu_gold_logs" / f"llama2-7b_{model}_wd0.01.json").read_text())[SETS[name]]
    order = list(log["avg_gt_loss"])

    def column(key: str) -> np.ndarray:
        return np.array([log[key][at] for at in order])

    return {
        "true": -column("avg_gt_loss"),
        "paraphrased": -column("avg_paraphrased_loss"),
        "wrong": -column("average_perturb_loss"),
        "rouge_l": column("rougeL_recall"),
    }


def _ratios(log: dict[str, np.ndarray], **settings: Any) -> np.ndarray:
    return np.array(
        [truth_ratio(own, wrong, **settings) for own, wrong in zip(log["paraphrased"], log["wrong"], strict=True)]
    )


@pytest.mark.shared_data
@pytest.mark.parametrize("settings", [{}, {"compatible": True}])
@pytest.mark.parametrize(
    ("model", "ratio", "probability", "recall"),
    [("full", 0.51599, 0.99094, 0.98545), ("retain90", 0.67402, 0.14756, 0.40824)],
)
def test_gold_of_the_forget_set(
    shared_data: Path, model: str, ratio: float, probability: float, recall: float, settings: dict[str, bool]
) -> None:
    log = _log(shared_data, model, "forget")
    scores = truth_ratio_scores(_ratios(log, **settings), "closer_to_1_better", **settings)
    assert len(scores) == 300 and round(scores.mean(), 5) == ratio
    assert round(np.exp(log["true"]).mean(), 5) == probability and round(log["rouge_l"].mean(), 5) == recall


@pytest.mark.shared_data
@pytest.mark.parametrize("settings", [{}, {"compatible": True}])
def test_gold_of_forget_quality(shared_data: Path, settings: dict[str, bool]) -> None:
    one, other = (_ratios(_log(shared_data, model, "forget"), **settings) for model in ("full", "retain90"))
    found = forget_quality(one, other)
    assert (round(found.statistic, 6), f"{found.p_value:.5e}") == (0.396667, "1.83407e-21")
    assert (found.n, found.n_reference) == (300, 300)
    assert forget_quality(1 / one, 1 / other).p_value == pytest.approx(found.p_value, rel=1e-12), "the field's is 1/R"
    assert forget_quality(other, other).p_value == 1.0


@pytest.mark.shared_data
@pytest.mark.parametrize("settings", [{}, {"compatible": True}])
@pytest.mark.parametrize(("model", "utility"), [("full", 0.622677), ("retain90", 0.613745)])
def test_gold_of_model_utility(shared_data: Path, model: str, utility: float, settings: dict[str, bool]) -> None:
    components = []
    for name in ("retain", "real_authors", "world_facts"):
        log = _log(shared_data, model, name)
        options = [
            normalized_probability(own, wrong, **settings)
            for own, wrong in zip(log["true"], log["wrong"], strict=True)
        ]
        probability = np.exp(log["true"]) if name == "retain" else np.array(options)
        ratios = truth_ratio_scores(_ratios(log, **settings), "true_better", **settings)
        components += [probability.mean(), log["rouge_l"].mean(), ratios.mean()]
    assert len(components) == 9 and round(model_utility(components), 6) == utility


def test_without_knowledge_all_answers_are_alike() -> None:
    """Equal probabilities of one true and three wrong answers: ¼; R = 1; min(R, 1/R) = 1; 1 − R = 0; 1/(1 + R) = ½."""
    for alike in (-0.1, -3.0, -700.0, -5000.0):
        assert normalized_probability(alike, [alike] * 3) == pytest.approx(0.25, rel=1e-9)
        ratio = truth_ratio(alike, [alike] * 3)
        assert [truth_ratio_scores([ratio], name).item() for name in AGGREGATIONS] == [1.0, 1.0, 0.0, 0.5]


def test_the_common_implementation_calls_a_destroyed_model_truthful() -> None:
    """All answers at e^-700: there R = 1e-304 / 1e-10, so that 1 − R = 1, and the model has the best utility of all; its options have 0."""
    ratio = truth_ratio(-700.0, [-700.0], compatible=True)
    assert truth_ratio_scores([ratio], "true_better", compatible=True).item() == 1.0
    assert truth_ratio_scores([ratio], "closer_to_1_better", compatible=True).item() < 1e-290
    assert normalized_probability(-700.0, [-700.0], compatible=True) < 1e-290


def test_ratios_without_end() -> None:
    """A true answer that is denied without end: R = ∞, which no bounded aggregation may turn into NaN; nothing at all has no ratio."""
    assert truth_ratio(-np.inf, [-1.0, -2.0]) == np.inf and truth_ratio(-1.0, [-np.inf, -1.0]) == 0.0
    assert truth_ratio(-2000.0, [-1.0]) == np.inf
    assert np.isnan(truth_ratio(-np.inf, [-np.inf]))
    scores = [truth_ratio_scores([np.inf, 0.0, np.nan], name).tolist() for name in AGGREGATIONS[1:]]
    assert [part[:2] for part in scores] == [[0.0, 0.0], [0.0, 1.0], [0.0, 1.0]] and np.isnan(
        [s[2] for s in scores]
    ).all()
    assert np.isnan(normalized_probability(-np.inf, [-np.inf]))
    assert normalized_probability(-np.inf, [-1.0]) == 0.0 and normalized_probability(-1.0, [-np.inf]) == 1.0


@given(st.lists(finite, min_size=1, max_size=8), finite)
def test_bounds_and_relations(wrong: list[float], own: float) -> None:
    ratio = truth_ratio(own, wrong)
    mean, closer, better, share = (truth_ratio_scores([ratio], name).item() for name in AGGREGATIONS)
    assert mean == ratio and 0 <= closer <= 1 and 0 <= better <= 1
    assert share == pytest.approx(normalized_probability(own, [float(np.mean(wrong))]), rel=1e-9)
    assert better == pytest.approx(1 - closer if ratio < 1 else 0.0, abs=1e-12)
    p, q = np.exp(own), np.exp(wrong)
    assert normalized_probability(own, wrong) == pytest.approx(p / (p + q.sum()), rel=1e-9)
    assert truth_ratio(own, wrong) == pytest.approx(np.prod(q ** (1 / len(q))) / p, rel=1e-9), "a geometric mean"


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.lists(st.integers(0, 5), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore:ks_2samp")
def test_forget_quality_is_scipys_test_whatever_the_ties(one: list[int], other: list[int]) -> None:
    found, wanted = forget_quality(one, other), ks_2samp(one, other)
    assert found.statistic == wanted.statistic and found.p_value == pytest.approx(min(1, wanted.pvalue), rel=1e-12)
    assert forget_quality(other, one).p_value == pytest.approx(found.p_value, rel=1e-9)


def test_forget_quality_of_odd_ratios() -> None:
    """Infinite ratios are the largest there are; none are no ratios. One against one tells nothing: p = 1."""
    assert forget_quality([np.inf, np.nan, 1.0, 2.0], [3.0, 4.0, 5.0]) == forget_quality(
        [9.0, 1.0, 2.0], [3.0, 4.0, 5.0]
    )
    assert forget_quality([1.0], [2.0]).p_value == 1.0
    with pytest.raises(ValueError, match="got 0 and 2"):
        forget_quality([np.nan], [1.0, 2.0])


def test_forget_quality_raises_a_false_alarm_as_often_as_it_says() -> None:
    """Independent ratios of one population, 60 against 60: at 5 % in 2,000 draws 40 to 160 alarms (the exact test of few ratios is at most 5 %)."""
    generator = np.random.default_rng(0)
    values = [forget_quality(*generator.lognormal(size=(2, 60))).p_value for _ in range(2000)]
    assert 40 <= sum(value < 0.05 for value in values) <= 120


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@pytest.mark.filterwarnings("ignore:overflow")
def test_model_utility_is_scipys_harmonic_mean(components: list[float]) -> None:
    assert model_utility(components) == pytest.approx(hmean(components), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("components", [[], [0.5, float("nan")], [1.2], [-0.1, 0.5]])
def test_model_utility_refuses_what_is_no_share(components: list[float]) -> None:
    with pytest.raises(ValueError, match="numbers in"):
        model_utility(components)


@pytest.mark.parametrize("wrong", [[], np.empty((0,))])
def test_wrong_answers_are_needed(wrong: Any) -> None:
    for function in (normalized_probability, truth_ratio):
        with pytest.raises(ValueError, match="at least one wrong answer"):
            function(-1.0, wrong)
    with pytest.raises(ValueError, match="unknown aggregation 'median'"):
        truth_ratio_scores([1.0], "median")
    with pytest.raises(ValueError, match="at least 0"):
        truth_ratio_scores([-1.0], "mean")
