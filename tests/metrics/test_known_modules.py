"""What each Evaluate module of plain values gives: known answers, third-party oracles, figures that others published, and inputs of its own."""

import json
import math
from pathlib import Path

import evaluate
import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

import hf_unlearn
from hf_unlearn.functional import (
    Bootstrap,
    harmonic_mean,
    independent,
    mean_estimate,
    truth_ratio,
    truth_ratio_scores,
)
from hf_unlearn.modules import MODULES


GOLD = {
    "forget": "eval_log_forget.json",
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
KEYS = ("avg_gt_loss", "avg_paraphrased_loss", "average_perturb_loss", "rougeL_recall")
"""Of TOFU's logs by example."""


def load(name: str) -> evaluate.EvaluationModule:
    return evaluate.load(hf_unlearn.metric_path(name))


def test_an_interval_is_the_librarys():
    """On the scale of the metric's bounds, over clusters, with its own confidence and seed."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, 5, (12, 6))
    first = np.where(generator.random((12, 6)) < 0.7, true, 9)
    clusters = ["a", "b", "c", "d", "e", "f"] * 2
    options = {"confidence": 0.8, "num_resamples": 300, "seed": 5}
    result = load("exact_memorization").compute(predictions=first, references=true, clusters=clusters, **options)
    values = (first == true).mean(1)
    expected = Bootstrap(**options).interval(mean_estimate(values, clusters, scale="logit"))
    assert result["exact_memorization"] == pytest.approx(values.mean())
    assert result["confidence_interval"] == pytest.approx(expected)
    assert result["confidence_interval_note"] == "over 6 independent prompts an interval holds less than it says"


def test_components_about_the_same_questions_are_paired():
    """By cluster; without clusters each component's examples are its own. Both as the estimates themselves say it."""
    generator = np.random.default_rng(1)
    one = generator.uniform(0.2, 0.9, 20)
    other = np.clip(one + generator.normal(0, 0.05, 20), 0, 1)
    columns = {"values": [*one, *other], "components": ["one"] * 20 + ["other"] * 20}
    module, bootstrap = load("model_utility"), Bootstrap()
    paired = module.compute(**columns, clusters=list(range(20)) * 2)
    apart = module.compute(**columns)
    estimates = [mean_estimate(values) for values in (one, other)]
    assert paired["model_utility"] == apart["model_utility"] == pytest.approx(hmean([one.mean(), other.mean()]))
    assert paired["confidence_interval"] == pytest.approx(bootstrap.interval(harmonic_mean(estimates)))
    assert apart["confidence_interval"] == pytest.approx(bootstrap.interval(harmonic_mean(independent(*estimates))))
    assert np.diff(paired["confidence_interval"]) > 1.2 * np.diff(apart["confidence_interval"])


def test_a_component_that_was_lost_is_not_made_up_for():
    result = load("model_utility").compute(values=[0.0, 0.9, 0.8], components=["lost", "kept", "kept"])
    assert result["model_utility"] == 0.0 and result["components"] == {"lost": 0.0, "kept": pytest.approx(0.85)}
    assert result["confidence_interval"] is None and "1 independent" in result["confidence_interval_note"]


def test_membership_is_sklearns_and_clusters_are_members_first_or_not():
    generator = np.random.default_rng(2)
    member = generator.random(300) < 0.5
    scores = (generator.normal(member, 1.0) * 4).round()  # ties
    result = load("membership_inference").compute(scores=scores, is_member=member)
    assert result["membership_inference"] == pytest.approx(roc_auc_score(member, scores))
    low, high = result["confidence_interval"]
    assert low < result["membership_inference"] < high and result["num_members"] == member.sum()
    assert result["tpr_at_1_percent_fpr"] is not None
    people = generator.integers(0, 25, 300)
    order = generator.permutation(300)
    found, shuffled = (
        load("membership_inference").compute(scores=scores[at], is_member=member[at], clusters=people[at])
        for at in (np.arange(300), order)
    )
    assert found["confidence_interval"] == pytest.approx(shuffled["confidence_interval"], abs=1e-9)
    assert found["tpr_at_1_percent_fpr_interval"] is None
    with pytest.raises(ValueError, match="all 2 rows have is_member True"):
        load("membership_inference").compute(scores=[1.0, 2.0], is_member=[1, 1])


def test_privleak_needs_one_reference():
    rows = {"scores": [3.0, 4.0, 1.0, 2.0], "is_member": [True, False, True, False]}
    module = load("privleak")
    same = module.compute(**rows, reference_scores=rows["scores"])
    assert same["privleak"] == 0.0 and same["auc"] == same["reference_auc"] == 0.25
    with pytest.raises(ValueError, match="either reference_scores, one for each of scores, or reference_auc"):
        module.compute(**rows)
    with pytest.raises(ValueError, match="reference_scores has 3"):
        module.compute(**rows, reference_scores=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"reference_scores\[1\] is NaN"):
        module.compute(**rows, reference_scores=[1.0, float("nan"), 3.0, 4.0])
    with pytest.raises(TypeError, match="reference_auc must be a number"):
        module.compute(**rows, reference_auc="0.5")


def test_forget_quality_needs_a_reference():
    module = load("forget_quality")
    with pytest.raises(ValueError, match="forget_quality needs reference_truth_ratios= beside its rows"):
        module.compute(truth_ratios=[1.0])
    with pytest.raises(ValueError, match=r"reference_truth_ratios\[0\] must be at least 0"):
        module.compute(truth_ratios=[1.0], reference_truth_ratios=[-1.0])
    infinite = module.compute(truth_ratios=[1.0, float("inf")], reference_truth_ratios=[1.0, 2.0])
    assert infinite["forget_quality"] == 1.0 and infinite["confidence_interval_note"] == "a p-value has no interval"


def test_a_true_answer_without_any_probability():
    """Where the ratio is infinite its mean is none; bounded aggregations say what it means."""
    rows = {"paraphrased": [-math.inf, -1.0], "perturbed": [[-1.0], [-1.0]]}
    with pytest.raises(
        ValueError, match="row 0 has no probability at all, so that its ratio is infinite: choose another"
    ):
        load("truth_ratio").compute(**rows)
    assert load("truth_ratio").compute(**rows, aggregation="closer_to_1_better")["truth_ratio"] == 0.5
    assert load("truth_ratio").compute(**rows, aggregation="true_better")["truth_ratio"] == 0.0
    assert load("truth_ratio").compute(**rows, aggregation="prob_mean")["truth_ratio"] == 0.25
    with pytest.raises(ValueError, match="unknown aggregation 'max'; choose one of mean"):
        load("truth_ratio").compute(**rows, aggregation="max")
    with pytest.raises(ValueError, match=r"log_probs\[1\] is -inf: an answer without any probability"):
        load("generalized_exposure").compute(log_probs=[-1.0, -math.inf], reference_log_probs=[-1.0, -1.0])


def test_first_choices_are_of_the_true_answers_positions():
    with pytest.raises(ValueError, match=r"predictions\[1\] has 3 tokens, references\[1\] 2: .* not generated text"):
        load("exact_memorization").compute(predictions=[[1], [1, 2, 3]], references=[[1], [1, 2]])
    with pytest.raises(TypeError, match=r"predictions\[0\]\[1\] must be a token id, a whole number, got 1.5"):
        load("extraction_strength").compute(predictions=[[1, 1.5]], references=[[1, 2]])
    with pytest.raises(
        ValueError, match=r"references\[0\]\[1\] is -100, which is no token id; leave masked positions"
    ):
        load("exact_memorization").compute(predictions=[[1, 2]], references=[[1, -100]])
    with pytest.raises(ValueError, match=r"references\[0\] is empty"):
        load("extraction_strength").compute(predictions=[[1]], references=[[]])
    with pytest.raises(ValueError, match=r"references\[1\] is one token, of which open-unlearning"):
        load("exact_memorization").compute(predictions=[[1, 2], [1]], references=[[1, 2], [1]], compatible=True)


def test_texts_of_every_script_and_none():
    """Cyrillic counts, as it does not with rouge-score; a true text without words says nothing; a silent model says nothing again."""
    module = load("rouge_l_recall")
    rows = {"predictions": ["Она живёт в Осло", "", "well"], "references": ["Она живёт в Осло.", "Bergen", "?!"]}
    result = module.compute(**rows)
    assert (result["rouge_l_recall"], result["n"], result["n_without_words"]) == (0.5, 2, 1)
    assert module.compute(**rows, compatible=True)["rouge_l_recall"] == 0.0
    with pytest.raises(ValueError, match="no reference has a word in it"):
        module.compute(predictions=["a", "b"], references=["", "…"])
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    predictions, references = MODULES["rouge_l_recall"].spec.page.values()
    expected = [scorer.score(*pair)["rougeL"].recall for pair in zip(references, predictions, strict=True)]
    found = module.compute(predictions=predictions, references=references)
    assert found["rouge_l_recall"] == pytest.approx(np.mean(expected))


@pytest.mark.shared_data
def test_figures_that_tofu_published(shared_data: Path):
    """From its logs by example, through the modules: truth ratio of the forget set, forget quality, model utility."""
    logs = {}
    for model in ("full", "retain90"):
        log = json.loads((shared_data / "tofu_gold_logs" / f"llama2-7b_{model}_wd0.01.json").read_text())
        logs[model] = {
            name: {key: np.array(list(log[file][key].values())) for key in KEYS} for name, file in GOLD.items()
        }
    ratios = {}
    for model, expected in (("full", 0.51599), ("retain90", 0.67402)):
        forget = logs[model]["forget"]
        rows = {"paraphrased": -forget["avg_paraphrased_loss"], "perturbed": -forget["average_perturb_loss"]}
        found = load("truth_ratio").compute(**rows, aggregation="closer_to_1_better")
        assert round(found["truth_ratio"], 5) == expected and found["n"] == 300
        low, high = found["confidence_interval"]
        assert low < found["truth_ratio"] < high
        pairs = zip(rows["paraphrased"], rows["perturbed"], strict=True)
        ratios[model] = [truth_ratio(true, wrong) for true, wrong in pairs]
    found = load("forget_quality").compute(truth_ratios=ratios["full"], reference_truth_ratios=ratios["retain90"])
    assert f"{found['forget_quality']:.5e}" == "1.83407e-21" and round(found["ks_statistic"], 6) == 0.396667
    for model, expected in (("full", 0.622677), ("retain90", 0.613745)):
        values, components, clusters = [], [], []
        for name, own in logs[model].items():
            if name == "forget":
                continue
            probability = np.exp(-own["avg_gt_loss"])
            if name != "retain":
                probability = probability / (probability + np.exp(-own["average_perturb_loss"]).sum(1))
            pairs = zip(-own["avg_paraphrased_loss"], -own["average_perturb_loss"], strict=True)
            ratio = truth_ratio_scores([truth_ratio(true, wrong) for true, wrong in pairs], "true_better")
            for part, each in (("probability", probability), ("rouge", own["rougeL_recall"]), ("ratio", ratio)):
                values += list(each)
                components += [f"{name} {part}"] * len(each)
                clusters += [f"{name} {at}" for at in range(len(each))]
        found = load("model_utility").compute(values=values, components=components, clusters=clusters)
        assert round(found["model_utility"], 6) == expected and len(found["components"]) == 9
        assert found["confidence_interval"][0] < expected < found["confidence_interval"][1]
