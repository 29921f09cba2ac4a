"""TOFU's metrics through a whole audit: sets with and without paraphrases, `compatible`, and what is read for them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_audits as small
from datasets import Dataset

from hf_unlearn.audit import METRICS, AuditSet, audit
from hf_unlearn.audit._selection import united_needs
from hf_unlearn.audit.domains._variants import load_variants
from hf_unlearn.data import Pocket, load_pocket, pocket_tokenizer, tokenize_examples
from hf_unlearn.functional import model_utility, normalized_probability, truth_ratio
from hf_unlearn.inference import read_answers


NAMES = (
    "normalized_probability",
    "truth_ratio_true_better",
    "forget_quality",
    "model_utility",
    "carlini_exposure",
    "rouge_l",
)


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def arguments(pocket: Pocket) -> dict[str, Any]:
    return {
        "reference": pocket.reference(),
        "processing_class": pocket.tokenizer,
        "forget": pocket.forget_request,
        "retain": pocket.retain.select(range(12)),
        "sets": {"facts": pocket.retain.select(range(12, 24)).remove_columns("paraphrased_answer")},
        "max_examples": 12,
        "progress": False,
    }


def _mean_log_probs(model: Any, pocket: Pocket, rows: list[tuple[str, str]]) -> list[float]:
    tokens = tokenize_examples(
        Dataset.from_dict({"question": [q for q, _ in rows], "answer": [a for _, a in rows]}), pocket.tokenizer
    )
    return [float(reading.log_probs.mean()) for reading in read_answers(model, tokens.to_list(), progress=False)]


def test_a_whole_audit_is_what_single_passes_give(pocket: Pocket, arguments: dict[str, Any]) -> None:
    """The metric-by-metric way, one pass for each kind of answer, gives the same numbers."""
    model = pocket.original()
    report = audit(model, metrics=NAMES, **arguments)
    retain, facts = arguments["retain"], arguments["sets"]["facts"]
    components = []
    for name, rows in (("retain", retain), ("facts", facts)):
        own = _mean_log_probs(model, pocket, list(zip(rows["question"], rows["answer"], strict=True)))
        other = (
            own
            if name == "facts"
            else _mean_log_probs(model, pocket, list(zip(rows["question"], rows["paraphrased_answer"], strict=True)))
        )
        wrong = [
            _mean_log_probs(model, pocket, [(row["question"], text) for text in row["perturbed_answer"]])
            for row in rows
        ]
        shares = [normalized_probability(p, others) for p, others in zip(own, wrong, strict=True)]
        ratios = np.array([truth_ratio(p, others) for p, others in zip(other, wrong, strict=True)])
        assert report.metrics[f"normalized_probability/{name}"].value == pytest.approx(np.mean(shares), rel=1e-5)
        better = np.maximum(0, 1 - ratios).mean()
        assert report.metrics[f"truth_ratio_true_better/{name}"].value == pytest.approx(better, rel=1e-5)
        components += [np.mean(shares) if name == "facts" else np.exp(own).mean(), better]
    utility = report.metrics["model_utility/retain"]
    parts = {name: value for name, value in utility.details.items() if not name.startswith(("components", "rouge"))}
    assert list(parts.values()) == pytest.approx(components, rel=1e-5)
    assert utility.details["components"] == 6 and not [
        note for note in report.notes if "Model utility is without" in note
    ]
    assert utility.details["rouge_l_facts"] == report.metrics["rouge_l/facts"].value
    assert utility.value == pytest.approx(model_utility([v for k, v in utility.details.items() if k != "components"]))
    assert "model_utility/facts" not in report.metrics, "it is one number over all sets"
    assert 0 <= report.metrics["forget_quality/forget"].value <= 1
    assert report.metrics["carlini_exposure/forget"].details["candidates_are_wrong_answers"] == 1.0
    assert any("forget quality" in line.lower() or "Kolmogorov" in line for line in report.reading())
    assert report.metrics == type(report).from_json(report.to_json()).metrics


def test_compatible_is_an_option_of_the_audit(pocket: Pocket, arguments: dict[str, Any]) -> None:
    """Without the last token, and never below 1 / length: other numbers on the same evidence, and the report says which were asked for."""
    names = ["exact_memorization", "extraction_strength"]
    plain = audit(pocket.twin(), metrics=names, **arguments)
    theirs = audit(pocket.twin(), metrics=names, compatible=True, **arguments)
    assert theirs.provenance.settings["compatible"] is True
    assert theirs.metrics["extraction_strength"].value != plain.metrics["extraction_strength"].value
    assert theirs.metrics["exact_memorization"].value != plain.metrics["exact_memorization"].value


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (
            {"paraphrased_answer": ["p", None], "perturbed_answer": [["x", "y"], ["z"]]},
            [(0, False), (0, True), (0, True)],
        ),
        ({"perturbed_answer": [["x", ""], None]}, [(0, True)]),
        ({"paraphrased_answer": [None, ""], "perturbed_answer": [["x"], ["y"]]}, [(0, True), (1, True)]),
        ({"paraphrased_answer": ["p", "q"], "perturbed_answer": [[], None]}, []),
        ({"paraphrased_answer": ["p", "q"]}, []),
    ],
)
def test_which_other_answers_a_set_has(columns: dict[str, list], wanted: list[tuple[int, bool]]) -> None:
    """Mixing true answers and paraphrases would compare what was learnt by heart with what was not: one kind in a set."""
    rows = Dataset.from_dict({"question": ["a?", "b?"], "answer": ["1", "2"], **columns})
    assert [(found.example, found.is_wrong) for found in load_variants(rows, pocket_tokenizer(), None)] == wanted


def test_a_wrong_answer_that_is_no_list_is_refused() -> None:
    """A text is a list of letters, each of which would be a wrong answer."""
    rows = Dataset.from_dict({"question": ["a?"], "answer": ["1"], "perturbed_answer": ["two"]})
    with pytest.raises(ValueError, match="Row 0, column 'perturbed_answer': expected a list of texts, got str"):
        load_variants(rows, pocket_tokenizer(), None)


@pytest.mark.shared_data
def test_tofus_sets_have_the_other_answers_that_tofu_compares(shared_data: Path) -> None:
    """300 of forget10's 400 rows stand in the logs; each has five wrong answers, real authors and world facts three and no paraphrase."""
    for name, wrong, paraphrased in (("forget10", 5, True), ("real_authors", 3, False), ("world_facts", 3, False)):
        lines = (shared_data / "tofu" / f"{name}_perturbed.json").read_text().splitlines()
        rows = [json.loads(line) for line in lines[:20]]
        found = load_variants(Dataset.from_list(rows), pocket_tokenizer(), None)
        assert {sum(v.is_wrong for v in found if v.example == at) for at in range(20)} == {wrong}
        assert any(not v.is_wrong for v in found) is paraphrased


def test_further_sets_of_what_must_go_have_forget_quality_of_their_own(
    pocket: Pocket, arguments: dict[str, Any]
) -> None:
    sets = {"more": AuditSet(pocket.forget, role="forget", metrics=("forget_quality",))}
    report = audit(pocket.original(), metrics=["forget_quality", "truth_ratio"], **(arguments | {"sets": sets}))
    assert {key for key in report.metrics if key.startswith("forget_quality")} == {
        "forget_quality/forget",
        "forget_quality/more",
    }


def test_candidates_are_read_where_a_set_has_none_of_its_own() -> None:
    """Rows of tokens have no wrong answers: the holdout set is read for this metric alone; without one it is absent with the reason, not an error."""
    report = audit(**small.arguments(metrics=["carlini_exposure", "model_utility"]))
    found = report.metrics["carlini_exposure/forget"]
    assert found.details["candidates"] == 8.0 and found.details["candidates_are_wrong_answers"] == 0.0
    assert any("holdout set's answers" in note for note in report.notes)
    assert any("Model utility is without" in note and "truth ratio of retain" in note for note in report.notes)
    without = audit(**small.arguments(metrics=["carlini_exposure", "probability"], holdout=None))
    assert "carlini_exposure/forget" not in without.metrics
    assert any("needs wrong answers, or a holdout set" in note for note in without.notes)


def test_what_a_metric_can_do_without_is_no_need() -> None:
    sets = {name: type("Set", (), {"name": name, "role": name, "metrics": None})() for name in ("forget", "holdout")}
    metric = [METRICS["carlini_exposure"]()]
    assert set(united_needs(metric, sets)) == {("answers", "forget"), ("variants", "forget"), ("answers", "holdout")}
    del sets["holdout"]
    assert set(united_needs(metric, sets)) == {("answers", "forget"), ("variants", "forget")}
