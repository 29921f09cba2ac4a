"""A published audit with harness tasks: they are asked again where the verifier says so, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest
from harness_files import CHOICE, choice_rows, write_task
from loopback_hub import LoopbackHub

from hf_unlearn.audit import audit
from hf_unlearn.data import load_pocket
from hf_unlearn.publishing import publish, verify


pytest.importorskip("lm_eval")
REPO = "me/model"


def test_harness_tasks_are_asked_again_where_the_verifier_names_them(hub: LoopbackHub, there: dict, tmp_path: Path):
    pocket, folder = load_pocket("nano"), tmp_path / "model"
    pocket.original().save_pretrained(folder)
    pocket.tokenizer.save_pretrained(folder)
    write_task(tmp_path / "tasks", "people", CHOICE, choice_rows(pocket, 6))
    asked: dict[str, Any] = {"harness_tasks": ["people"], "harness_include_path": tmp_path / "tasks"}
    given = {"forget": pocket.forget, "reference": pocket.reference(), "progress": False}
    report = audit(
        str(folder), processing_class=pocket.tokenizer, metrics="probability", max_examples=6, **given, **asked
    )
    key = publish(report, REPO, weights=folder, **there).folder / "data_key.txt"
    again = verify(REPO, data_key=key, **given, **asked, **there)
    assert {c.name: c.reason for c in again if c.outcome != "reproduced"} == {}
    assert {"people_acc/harness", "harness data", "settings"} <= {c.name for c in again}
    without = {c.name: c for c in verify(REPO, data_key=key, **given, **there)}
    assert without["people_acc/harness"].outcome == "not checkable"
    assert "harness_tasks=['people']" in without["people_acc/harness"].reason
    assert without["probability/forget"].outcome == without["settings"].outcome == "reproduced"
