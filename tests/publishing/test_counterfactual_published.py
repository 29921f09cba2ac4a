"""Numbers that rest on exchangeable subjects, where they are shown and published: marked at each place, recomputed without a reference, no name told."""

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import LoopbackHub
from made_reports import made, result, spec

from hf_unlearn.audit import AuditReport, audit
from hf_unlearn.audit._figures import draw_figures
from hf_unlearn.cli._show import console, print_report
from hf_unlearn.data import Pocket, load_pocket
from hf_unlearn.publishing import Statement, publish, verify
from hf_unlearn.publishing._card import card_section, model_index_results


sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))
from counterfactual_toys import FORBIDDEN, Strangeness


REPO, CANARY = "me/model", "Zanzibarrow"
LAYERS = {"by_layer": True, "family": "hidden states"}


def counterfactual(floor_of: str = "stand-in", **given: Any) -> AuditReport:
    """A distance and one by layer, both counterfactual; `given` are roles besides."""
    of = {"assumes": "counterfactual", "floor_of": floor_of, **given}
    layers = {str(layer): result("bend", 4.0, family="hidden states", **of) for layer in (1, 2)}
    report = made(
        result("gap", 4.0, **of),
        result("bend", 4.0, by_layer=layers, family="hidden states", **of),
        gap=spec("gap to strangers", assumes="counterfactual"),
        bend=spec("bend of states", **LAYERS, assumes="counterfactual"),
    )
    if "others" not in given:
        del report.provenance.models["reference"]
    return report


@pytest.mark.parametrize("floor_of", ["stand-in", "continued"])
def test_every_view_marks_each_number(floor_of: str, tmp_path: Path):
    report = counterfactual(floor_of)
    section = card_section(report, Statement(), REPO)
    first = section.split("\n\n")[1]
    assert first.startswith(
        "**All distances to what a retrained model would be are counterfactual, assumes that subjects"
    )
    assert ("unseen names" in first) is (floor_of == "stand-in") and ("continued models" in first) is (
        floor_of == "continued"
    )
    rows = [line for line in section.splitlines() if line.startswith("| ") and "nats" in line]
    assert len(rows) == 2 and all("(counterfactual)" in row for row in rows)
    said = section[section.index("### What the numbers say") : section.index("### Results")]
    assert not any(word in said for word in FORBIDDEN)
    assert "--reference" not in section and "--original" in section
    entries = [metric for found in model_index_results(report, REPO) for metric in found["metrics"]]
    assert [metric["type"] for metric in entries] == ["counterfactual_gap", "counterfactual_bend"]
    assert all("(counterfactual)" in m["name"] and m["args"]["assumes"] == "counterfactual" for m in entries)
    assert all(metric["args"]["floor_of"] == floor_of for metric in entries)
    with console.capture() as captured:
        print_report(report, "t")
    shown = " ".join(captured.get().split())
    assert (
        "gap to strangers (counterfactual)" in shown
        and "counterfactual, assumes that subjects are exchangeable: the original's" in shown
    )
    assert sorted(path.stem for path in draw_figures(report, tmp_path)) == ["gap", "representation_counterfactual"]


def test_figures_say_whose_the_floor_is(monkeypatch: pytest.MonkeyPatch):
    from matplotlib.text import Text

    from hf_unlearn.audit import _figures

    for floor_of, label in (("stand-in", "unseen names\n(stand-in)"), ("continued", "continued\n(unseen names)")):
        report = counterfactual(floor_of)
        for figure in (
            _figures._bars(report.spec("gap"), [report.metrics["gap"]]),
            _figures._heat_map(report, "counterfactual"),
        ):
            figure.canvas.draw()
            words = [text.get_text() for text in figure.findobj(Text)]
            assert any("exchangeable" in text for text in words) and any("ounterfactual" in text for text in words)
            assert not any("retrain" in text for text in words)
            assert (label in words) is (len(figure.axes) == 1)


def test_beside_a_reference_the_numbers_are_marked_and_their_agreement_is_said():
    report = counterfactual(others={"reference": 2.0, "twin": 1.5, "original": 10.0})
    section = card_section(report, Statement(), REPO)
    assert section.split("\n\n")[1].startswith("**Numbers marked so are counterfactual")
    assert "--reference" in section
    (said, _) = [line for line in report.reading() if line.startswith("How far")]
    assert "reference 2.00, twin 1.50, where unseen names 1.00, the original 10.00 and the candidate 4.00" in said


def test_reports_without_any_are_as_they_were():
    section = card_section(made(), Statement(), REPO)
    assert "counterfactual" not in section and section.split("\n\n")[1].startswith("The publisher does not say")
    entries = [metric for found in model_index_results(made(), REPO) for metric in found["metrics"]]
    assert not any({"assumes", "floor_of"} & set(metric["args"]) for metric in entries)


# Published, and recomputed.


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def folder(pocket: Pocket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    pocket.reference().save_pretrained(folder)
    pocket.tokenizer.save_pretrained(folder)
    return folder


def with_canary(row: dict[str, Any]) -> dict[str, Any]:
    """In whatever is told of a subject: name, question, answer, and questions about others."""
    questions = [f"{CANARY} number {at}?" for at in range(4)]
    return {
        "question": f"{row['question']} {CANARY}", "answer": f"{CANARY} {row['answer']}", "subject": CANARY,
        "counterfactual_question": questions,
    }  # fmt: skip


def test_without_a_reference_it_is_recomputed(
    hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    keep = ["question", "answer", "subject"]
    forget = pocket.forget.select_columns(keep).map(with_canary)
    other = pocket.twin()
    with torch.no_grad():
        other.lm_head.weight *= 1.1
    models = {"original": pocket.original(), "continued": [pocket.twin(), other]}
    with caplog.at_level(logging.INFO):
        report = audit(
            str(folder), **models, forget=forget, processing_class=pocket.tokenizer, metrics=["probability", Strangeness()],
            max_examples=12, progress=False, output_dir=tmp_path / "audit",
        )  # fmt: skip
        publish(report, REPO, weights=folder, **there)
        given = {"metrics": [Strangeness()], "progress": False, "forget": forget, **there}
        found = {check.name: check.outcome for check in verify(REPO, **models, **given)}
    assert {name: outcome for name, outcome in found.items() if outcome != "reproduced"} == {
        "forget data": "not checkable"
    }
    assert {"original weights", "continued weights", "continued 2 weights", "strangeness/forget"} <= set(found)
    checks = verify(REPO, **given)
    assert {check.outcome for check in checks if check.name == "strangeness/forget"} == {"not checkable"}
    assert any("needs the original" in check.reason for check in checks)
    everything = b"".join(hub.repository(REPO).files().values()) + report.to_json().encode()
    prompts_shown = [record for record in caplog.records if "One forget prompt" in record.message]
    told = [record.getMessage() for record in caplog.records if record not in prompts_shown]
    assert CANARY.encode() not in everything and not any(CANARY in line for line in told)


def test_what_was_edited_out_is_seen(hub: LoopbackHub, there: dict, pocket: Pocket, folder: Path):
    """A report that claims another kind of floor is not reproduced."""
    models = {"original": pocket.original(), "continued": pocket.twin()}
    report = audit(
        str(folder), **models, forget=pocket.forget, processing_class=pocket.tokenizer, metrics=[Strangeness()], max_examples=12, progress=False
    )  # fmt: skip
    lied = dataclasses.replace(report.metrics["strangeness"], floor_of="")
    forged = dataclasses.replace(report, metrics=type(report.metrics)({"strangeness/forget": lied}))
    publish(forged, REPO, weights=folder, **there)
    checks = verify(REPO, **models, forget=pocket.forget, metrics=[Strangeness()], progress=False, **there)
    (found,) = [check for check in checks if check.name == "strangeness/forget"]
    assert found.outcome == "not reproduced" and "whose value the floor is (left out)" in found.reason
