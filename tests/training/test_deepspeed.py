"""DeepSpeed ZeRO in two processes gives the weights of one plain process; skipped where DeepSpeed is not installed."""

import os
from pathlib import Path

import pytest
from deepspeed_training import train
from launch import torchrun
from transformers import AutoModelForCausalLM


@pytest.mark.distributed
@pytest.mark.parametrize("stage", [2, 3])
def test_zero_gives_the_weights_of_one_process(stage: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed (pip install deepspeed)")
    monkeypatch.setitem(os.environ, "DS_ACCELERATOR", "cpu")
    torchrun(Path(__file__).parent / "deepspeed_training.py", str(tmp_path), "sharded", str(stage))
    train(tmp_path, "whole", None)
    whole, sharded = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "sharded"))
    for (name, expected), (_, value) in zip(whole.named_parameters(), sharded.named_parameters(), strict=True):
        assert (expected - value).abs().max().item() < 1e-5, name
