"""An audit whose roles share one base in memory says what it says of models that were loaded for themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from hf_unlearn.audit import audit, measure_representation
from hf_unlearn.data import load_pocket


@pytest.fixture(scope="module")
def pocket():
    return load_pocket("nano")


def adapted(base, adapter: str = "default", seed: int = 0) -> PeftModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        return get_peft_model(base, config, adapter_name=adapter).eval()


def run(pocket, folder: Path | None = None, **models):
    options = {"processing_class": pocket.tokenizer, "forget": pocket.forget, "num_samples": 1, "max_examples": 5}
    return audit(**models, **options, max_new_tokens=6, progress=False, output_dir=folder)


def values(report) -> dict[str, float | None]:
    return {
        f"{name} {part}": getattr(metric, part)
        for name, metric in report.metrics.items()
        for part in ("value", "floor", "start")
    }


def test_an_audit_of_two_adapters_and_their_base(pocket, tmp_path: Path):
    base, reference = pocket.original(), pocket.reference()
    shared = {"candidate": adapted(base, "new"), "twin": adapted(base, "other", seed=1), "original": base}
    together = run(pocket, tmp_path, reference=reference, **shared)
    apart = run(
        pocket,
        tmp_path / "apart",
        reference=reference,
        candidate=adapted(pocket.original(), "new"),
        twin=adapted(pocket.original(), "other", seed=1),
        original=pocket.original(),
    )
    found, expected = values(together), values(apart)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-6)), name
    fade = together.metrics["fade"]
    assert abs(fade.value - fade.start) > 0.01 and abs(fade.value - fade.floor) > 0.01
    again = run(pocket, tmp_path, reference=reference, **shared)  # from evidence, which knows the roles apart
    assert values(again) == found


def test_representations_of_a_base_and_its_adapter(pocket):
    texts = [{"input_ids": [1, *np.random.default_rng(at).integers(3, 90, 6)]} for at in range(8)]
    base = pocket.original()
    options = {"texts": texts, "progress": False}
    together = measure_representation(candidate=adapted(base), reference=base, **options).to_dict()
    apart = measure_representation(candidate=adapted(pocket.original()), reference=pocket.original(), **options)
    assert together["cka"] == pytest.approx(apart.to_dict()["cka"], abs=1e-5)
    assert together["cka"] < 0.999
    assert together["space"] == "feature"


def test_one_adapter_in_two_roles_is_refused_before_anything_runs(pocket, monkeypatch: pytest.MonkeyPatch):
    base = pocket.original()
    candidate = adapted(base)
    monkeypatch.setattr(base, "forward", None)
    with pytest.raises(ValueError, match=r"(original and candidate|candidate and original) share weights"):
        run(pocket, reference=pocket.reference(), candidate=candidate, original=candidate)
