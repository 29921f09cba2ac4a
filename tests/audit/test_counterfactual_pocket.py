"""Counterfactual metrics on the pocket benchmark, names found and drawn by itself: what is said, with whom, and by whose clusters."""

import sys

import pytest
from counterfactual_toys import FORBIDDEN
from small_audits import by_prompt

from hf_unlearn.audit import audit
from hf_unlearn.audit._narrative import sentences
from hf_unlearn.data import load_pocket


TEMPLATE = "{% for m in messages %}{{ 'Question: ' ~ m.content ~ '\nAnswer:' if m.role == 'user' else ' ' ~ m.content }}{% endfor %}"
"""As its models were trained."""


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_without_a_reference(template: str | None):
    """The number comes with its assumption and what it does not see. (Three people are too few for an order of the models.)"""
    pocket = load_pocket("nano")
    tokenizer = pocket.tokenizer
    tokenizer.chat_template = template
    report = audit(
        pocket.reference(),
        original=pocket.original(),
        forget=by_prompt(pocket.forget),
        holdout=by_prompt(pocket.holdout),
        processing_class=tokenizer,
        metrics=["counterfactual_fade", "probability"],
        num_counterfactuals=4,
        progress=False,
    )
    found, details = report.metrics["counterfactual_fade/forget"], report.metrics["counterfactual_fade/forget"].details
    assert report.provenance.settings["chat_template"] is (template is not None)
    assert found.clusters == 3, "people, though no column names them"
    assert details["forget_probability"] == pytest.approx(report.metrics["probability/forget"].value)
    assert details["holdout_probability"] == pytest.approx(report.metrics["probability/holdout"].value)
    known, unknown = report.metrics["probability/forget"].start, details["stand_in_holdout_probability"]
    assert unknown == pytest.approx(report.metrics["probability/holdout"].start)
    assert details["leak"] == pytest.approx((details["stand_in_forget_probability"] - unknown) / (known - unknown))
    assert details["num_samples"] == 4 and 0 <= details["stand_in_forget_answers"] <= 1
    if template is None:
        assert found.floor < found.start
        assert details["forget_probability"] < 0.5 and details["candidate_forget_answers"] < 0.2
    (said,) = [text for text in sentences(report) if text.startswith("Counterfactual FADE")]
    assert "assumes that subjects are exchangeable" in said and "Beside it: the candidate gives forget answers" in said
    assert not any(word in said for word in FORBIDDEN)
    assert any("exchangeable" in note for note in report.notes)
    assert not any(name in report.to_json() for name in pocket.forget["subject"])


def test_data_that_cannot_be_asked_about_others_is_refused_before_a_model_is_read(monkeypatch: pytest.MonkeyPatch):
    pocket = load_pocket("nano")
    monkeypatch.setattr(sys.modules["hf_unlearn.audit.domains._causal_lm"], "open_subject", None)
    settings = {"forget": pocket.forget, "processing_class": pocket.tokenizer, "metrics": "counterfactual"}
    with pytest.raises(ValueError, match=r"author.*column|column.*author"):
        audit(pocket.reference(), original=pocket.original(), subject_column="author", **settings)


def test_hidden_states_are_compared_with_both_references():
    """What stands in has no hidden states of its own beside the models' that true metrics compare."""
    pocket = load_pocket("nano")
    report = audit(
        pocket.twin(),
        reference=pocket.reference(),
        original=pocket.original(),
        processing_class=pocket.tokenizer,
        forget=pocket.forget,
        retain=pocket.retain,
        metrics=["residual_ratio", "counterfactual_residual_ratio", "counterfactual_fade"],
        num_counterfactuals=2,
        max_new_tokens=8,
        progress=False,
    )
    alone, counterfactual = (
        report.metrics[f"{name}/forget"] for name in ("residual_ratio", "counterfactual_residual_ratio")
    )
    assert alone.start == pytest.approx(1.0) and not alone.assumes
    assert counterfactual.start == pytest.approx(1.0) and counterfactual.floor_of == "stand-in"
    assert "stand-in" not in alone.others and "reference" in counterfactual.others
