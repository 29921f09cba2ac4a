"""In TRL's SFTTrainer: what is compared with the original is, whatever the trainer puts on the model and however it packs its rows."""

from pathlib import Path

import pytest
import torch
from runs import examples
from sft import conversations, sft_trainer, tokenizer
from test_objectives_in_training import with_alternatives
from world import build, with_lora

from hf_unlearn import OBJECTIVES, UnlearningCallback


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))


PACKED = {"packing": True, "packing_strategy": "bfd"}
PADDING_FREE = {"padding_free": True, "max_length": None}


def run(tmp_path: Path, *, model=None, rows=None, forget=None, options=None, **overrides):
    trainer = sft_trainer(tmp_path, model=model or build("llama", vocab_size=97), rows=rows, **overrides)
    forget = with_alternatives(examples(11, seed=2)) if forget is None else forget
    callback = UnlearningCallback(trainer, forget_dataset=forget, **{"forget_batch_size": 4, **(options or {})})
    trainer.add_callback(callback)
    trainer.train()
    return trainer, callback, [log for log in trainer.state.log_history if "forget_loss" in log]


@pytest.mark.parametrize("way", ["frozen copy", "first adapter weights"])
@pytest.mark.parametrize("retain_term", ["kl", "hidden"])
def test_the_retain_term_holds_against_a_fixed_original(retain_term: str, way: str, tmp_path: Path):
    """0 before the first step, and above it once the model has moved: with a copy that follows the model it stayed 0."""
    model = build("llama", vocab_size=97)
    model = with_lora(model, "llama") if way == "first adapter weights" else model
    _, callback, logs = run(
        tmp_path, model=model, options={"objective": "grad_ascent", "retain_term": retain_term}, learning_rate=0.05
    )
    assert callback.loss.retain.original.way == way
    assert logs[0]["retain_loss"] == pytest.approx(0, abs=1e-5)
    assert logs[1]["retain_loss"] > 1e-4


@pytest.mark.parametrize("objective", [name for name, kind in OBJECTIVES.items() if "original_logits" in kind().needs])
def test_an_objective_that_reads_the_original_reads_a_fixed_one(objective: str, tmp_path: Path):
    """The same losses as with a plain copy of the model made before the SFTTrainer was."""
    model, untouched = build("llama", vocab_size=97), build("llama", vocab_size=97)
    _, callback, _ = run(tmp_path, model=model, options={"objective": objective}, learning_rate=0.05)
    batch = {name: value for name, value in callback.forget.batch([0, 1]).items() if name != "labels"}
    with torch.no_grad():
        expected = untouched(**batch).logits
        assert not torch.allclose(model.eval()(**batch).logits, expected, atol=1e-2)
    torch.testing.assert_close(callback.loss.term._kept.logits(batch), expected)


@pytest.mark.parametrize("layout", [PACKED, PADDING_FREE, {}], ids=["packing", "padding-free", "padded"])
@pytest.mark.parametrize("retain_term", ["nll", "kl", "hidden"])
def test_rows_may_be_packed(retain_term: str, layout: dict, tmp_path: Path):
    _, _, logs = run(
        tmp_path,
        rows=conversations(40),
        options={"objective": "npo", "retain_term": retain_term},
        **{"max_length": 32, **layout},
    )
    if retain_term != "nll":
        assert logs[0]["retain_loss"] == pytest.approx(0, abs=1e-5)
        assert logs[1]["retain_loss"] > 1e-6


@pytest.mark.parametrize("retain_term", ["kl", "hidden"])
def test_a_packed_row_is_the_rows_in_it(retain_term: str, tmp_path: Path):
    """The original read through position ids, without padding: the same value as of the padded rows one by one."""
    values = []
    for layout in (PADDING_FREE, {}):
        _, _, logs = run(
            tmp_path,
            rows=conversations(8),
            forget=conversations(8, first=50),
            options={"objective": "npo", "retain_term": retain_term, "processing_class": tokenizer()},
            per_device_train_batch_size=8,
            **layout,
        )
        values.append([log["retain_loss"] for log in logs])
    assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-6)


def test_conversations_are_forgotten(tmp_path: Path):
    _, _, logs = run(
        tmp_path,
        rows=conversations(20),
        forget=conversations(8, first=50),
        options={"objective": "npo", "processing_class": tokenizer()},
        max_steps=20,
        learning_rate=0.05,
    )
    assert logs[-1]["forget_loss"] < 0.7 * logs[0]["forget_loss"]
