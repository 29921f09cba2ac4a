"""Where the models of an audit lie, and in which precision they are opened."""

from pathlib import Path

import pytest
import torch
from places import PLACES
from small_audits import ROLES, arguments, numbers

from hf_unlearn.audit import audit
from hf_unlearn.inference import load_model


def test_an_audit_of_offloaded_models(tmp_path: Path):
    """Every number of the report, features and patching among them."""
    given = arguments(num_resamples=50)
    alone = audit(**given)
    for role, place in {"candidate": "disk", "reference": "memory", "original": "split"}.items():
        given[role] = PLACES[place](given[role], tmp_path / role)
    report = audit(**given)
    assert numbers(report) == numbers(alone) and len(numbers(report)) > 200
    described = report.provenance.models, alone.provenance.models
    assert described[0] == described[1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    given, folder = arguments(), tmp_path_factory.mktemp("models")
    for role in ROLES:
        given[role].save_pretrained(folder / role)
    return {role: str(folder / role) for role in ROLES}


QUICK = {"metrics": ["probability", "cka", "fade"], "num_resamples": 50, "twin": None}


@pytest.mark.parametrize("where", ["auto", "cpu"])
def test_where_models_are_put_changes_no_number(folders: dict[str, str], where: str):
    given = arguments(**{**folders, **QUICK})
    found, expected = audit(**given, device_map=where), audit(**given)
    assert numbers(found) == numbers(expected)
    assert found.provenance.settings == expected.provenance.settings and "device_map" not in found.provenance.settings


@pytest.mark.parametrize("given", ["bfloat16", torch.bfloat16])
def test_models_opened_in_a_precision_are_those_loaded_in_it(folders: dict[str, str], given: str | torch.dtype):
    """By numbers, fingerprints and provenance; and they are others than in float32."""
    options = arguments(**{**folders, **QUICK})
    opened = audit(**options, dtype=given)
    loaded = {role: load_model(path, dtype=torch.bfloat16) for role, path in folders.items() if role != "twin"}
    by_hand = audit(**options | loaded, dtype=given)
    assert numbers(opened) == numbers(by_hand) != numbers(audit(**options))
    for role, described in opened.provenance.models.items():
        assert described["dtype"] == "bfloat16"
        assert described["weights_sha256"] == by_hand.provenance.models[role]["weights_sha256"]
    assert opened.provenance.settings["dtype"] == "bfloat16"


def test_a_loaded_model_of_another_precision_is_refused(folders: dict[str, str]):
    given = arguments(**{**folders, **QUICK, "original": load_model(folders["original"])})
    with pytest.raises(ValueError, match="the original is loaded in float32, not in dtype='bfloat16'"):
        audit(**given, dtype="bfloat16")


def test_a_device_that_is_not_there_is_named(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="device_map='npu:7' is no device that is there"):
        load_model(folders["candidate"], device_map="npu:7")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="take them from each other"):
        load_model(folders["candidate"], device_map="auto")
    assert load_model(folders["candidate"], device_map="cpu").device.type == "cpu"
