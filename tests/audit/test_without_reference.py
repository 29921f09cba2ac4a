"""An audit without a retrained model: everything that can be said is, nothing is compared with nobody, and the report says what is missing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import small_audits
from counterfactual_toys import FORBIDDEN, Strangeness
from report_violations import violations

from hf_unlearn.audit import METRICS, AuditReport, audit, report_schema
from hf_unlearn.audit._selection import needs_reference
from hf_unlearn.data import load_pocket


def given(**changes: Any) -> dict[str, Any]:
    models = small_audits.relatives(roles=("candidate", "original", "continued"))
    plain = {"reference": None, "twin": None, "holdout": None, **models, "metrics": ["standard", Strangeness()]}
    return small_audits.arguments(**{**plain, **changes})


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return audit(**given())


def test_what_compares_with_a_reference_is_quietly_absent(report: AuditReport):
    names = {result.name for result in report.metrics.values()}
    assert {"probability", "extraction_strength", "strangeness"} <= names
    assert not names & {"fade", "exposure", "residual_ratio", "progress", "cka", "forget_quality", "excess_over_twins"}
    missing = [note for note in report.notes if "No reference was given" in note]
    assert len(missing) == 1 and "FADE" in missing[0] and "need a retrained model" in missing[0]
    assert not any("twin" in note for note in report.notes)
    assert len(" ".join(report.notes)) < 2500


def test_every_metric_has_a_value_or_is_absent_with_the_reason():
    """Whoever asks for all of them by name, on all sets."""
    names = list(METRICS)
    report = audit(**given(metrics=names, holdout=small_audits.token_rows(4)))
    found = {result.name for result in report.metrics.values()}
    compared = {name for name in names if needs_reference(METRICS[name].from_settings({}).spec)}
    assert len(compared) > 15 and not found & compared
    assert {"probability", "probe_auc", "relative_exposure_to_original"} <= found
    said = " ".join(report.notes)
    assert all(f"{name}/" in said for name in names if name not in found | compared)
    assert all(result.ideal is not None for result in report.metrics.values() if result.relative is not None)
    assert AuditReport.from_json(report.to_json()) == report


def test_values_of_one_model_are_shown_with_their_start_and_not_judged(report: AuditReport):
    found = report.metrics["probability/forget"]
    assert found.start is not None and found.ideal is None and found.relative is None and found.floor is None
    assert found.over_floor_interval is None and found.over_start_interval is None
    assert found.relative_reason == "the ideal is not defined: it needs the reference"
    (said,) = [line for line in report.reading() if line.startswith("Probability") and "forget set" in line]
    assert "before unlearning" in said and "not judged" in said
    assert not any(word in " ".join(report.reading()) for word in FORBIDDEN)


def test_counterfactual_metrics_have_their_own_floor_start_and_relative(report: AuditReport):
    found = report.metrics["strangeness"]
    assert (found.assumes, found.floor_of) == ("counterfactual", "continued")
    assert None not in (found.floor, found.start, found.relative, found.over_floor_interval)
    assert found.floor == pytest.approx(0.01, abs=1e-9) and found.start == found.others["original"]
    assert set(found.others) == {"original", "continued"}


def test_the_report_survives_and_fits_the_schema(report: AuditReport, tmp_path: Path):
    again = AuditReport.from_json(report.to_json())
    assert again == report and again.reading() == report.reading()
    assert again.spec("strangeness").assumes == "counterfactual"
    schema = report_schema()
    assert violations(json.loads(report.to_json()), schema, schema) == []
    report.save(tmp_path)
    figures = {path.stem for path in tmp_path.glob("*.png")}
    assert "strangeness" in figures and "probability" in figures and "representation" not in figures


def test_an_assumption_cannot_be_edited_out_of_one_place(report: AuditReport):
    for change in (
        lambda plain: plain["specs"]["strangeness"].update(assumes=""),
        lambda plain: plain["metrics"]["strangeness/forget"].pop("assumes"),
        lambda plain: plain["metrics"]["strangeness/forget"].update(assumes="nothing much"),
    ):
        plain = json.loads(report.to_json())
        change(plain)
        with pytest.raises(ValueError, match="assumes"):
            AuditReport.from_json(json.dumps(plain))


def test_a_twin_of_nobody_is_refused_before_anything_is_opened():
    with pytest.raises(ValueError, match="a twin is a second reference, and there is no first one"):
        audit(**given(twin="nowhere/at-all"))


def test_where_nothing_could_be_measured_it_is_refused():
    with pytest.raises(ValueError, match="fade, exposure: all of this compares with a retrained model"):
        audit(**given(metrics=["fade", "exposure"]))


def test_with_a_reference_both_are_reported_and_their_agreement():
    models = small_audits.relatives(roles=("candidate", "reference", "original", "twin", "continued"))
    whole = audit(**given(**models, metrics=["fade", "probability", Strangeness()]))
    both = dataclasses.replace(whole, findings=())  # nothing was learnt here
    assert {"fade/forget", "strangeness/forget"} <= set(both.metrics)
    assert set(both.metrics["strangeness"].others) == {"reference", "original", "twin", "continued"}
    (said,) = [line for line in both.reading() if line.startswith("How far distance to strangers (counterfactual)")]
    assert "themselves come out at reference" in said and "twin" in said and "continued models" in said
    (own,) = [line for line in both.reading() if line.startswith("Distance to strangers (counterfactual)")]
    assert not any(word in own for word in FORBIDDEN) and "a retrained model 0" not in own


def test_more_continued_models_make_one_floor():
    models = small_audits.relatives(roles=("candidate", "original", "one", "other"))
    continued = [models.pop("one"), models.pop("other")]
    found = audit(**given(**models, continued=continued, metrics=[Strangeness()])).metrics["strangeness"]
    assert found.others["continued"] == pytest.approx(0.01, abs=1e-9)
    assert found.others["continued 2"] > found.others["continued"]
    assert found.floor == pytest.approx((found.others["continued"] + found.others["continued 2"]) / 2, abs=1e-9)


def test_a_continued_model_that_is_none_is_refused():
    models = small_audits.relatives(roles=("candidate", "original"))
    for role in models:
        with pytest.raises(ValueError, match=f"{role} and continued are equal .*further training, so the floor means"):
            audit(**given(**models, continued=models[role], metrics=[Strangeness()]))


def test_without_any_floor_nothing_is_judged():
    found = audit(**given(continued=None, metrics=[Strangeness()]))
    result = found.metrics["strangeness"]
    assert result.floor is None and result.relative is None and result.floor_of == ""
    assert result.relative_reason == "needs a floor: unseen names, or continued models"
    assert any("there is no floor, so the distance cannot be judged" in line for line in found.reading())


# Was there anything to forget?


@pytest.fixture(scope="module")
def pocket():
    return load_pocket("nano")


def on_pocket(pocket, forget, **changes: Any) -> AuditReport:
    return audit(
        pocket.original(),
        original=pocket.original(),
        forget=small_audits.by_prompt(forget),
        processing_class=pocket.tokenizer,
        max_examples=24,
        metrics=["probability"],
        progress=False,
        **changes,
    )


def test_the_original_is_asked_about_the_holdout_set_instead(pocket, caplog: pytest.LogCaptureFixture):
    found = on_pocket(pocket, pocket.forget, holdout=small_audits.by_prompt(pocket.holdout)).findings
    (known,) = [finding for finding in found if finding.kind == "known before"]
    assert known.other == "holdout" and known.interval[0] > 0.05
    rest = pocket.holdout.select(range(len(pocket.holdout) // 2, len(pocket.holdout)))
    first = pocket.holdout.select(range(len(pocket.holdout) // 2))
    report = on_pocket(pocket, first, holdout=small_audits.by_prompt(rest))
    (sentence,) = report.reading()
    assert sentence.startswith("Nothing can be said about forgetting") and "holdout set" in sentence
    assert "reference" not in sentence and sentence in caplog.text


def test_without_anything_to_compare_it_is_not_checked(pocket):
    (found,) = [finding for finding in on_pocket(pocket, pocket.forget).findings if finding.kind == "not checked"]
    assert "a reference, unseen subjects, or a holdout set" in found.sentence
