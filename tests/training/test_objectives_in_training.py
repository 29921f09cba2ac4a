"""Every objective through the callback, enrolled by listing: accumulation, gradients, adapters, and what each asks of the original."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from runs import Gradients, arguments, examples, trainer_with_callback
from toys import tiny_llama, word_tokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    ViTConfig,
    ViTForImageClassification,
)

from hf_unlearn import OBJECTIVES, PDU, RMU, RandomLabel
from hf_unlearn.data import AnswerCollator
from hf_unlearn.functional import token_log_probs
from hf_unlearn.training import UnlearningCallback


FOR_CLASSIFIERS = ("grad_ascent", "npo", "undial", "ce_u", "wga", "sat_imp", "ihl", "pdu", "scrub", "random_label")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))


def tokenizer():
    return word_tokenizer(*(f"w{index}" for index in range(95)))


def with_alternatives(forget: Dataset) -> Dataset:
    """And counterfactual questions: all that an objective may want of rows."""
    questions = [[f"w{at} w30", f"w{at} w31 w32", "w33"] for at in range(len(forget))]
    rows = forget.add_column("alternative_answer", ["w7 w8 w9"] * len(forget))
    return rows.add_column("counterfactual_question", questions)


def run(tmp_path: Path, name, *, model=None, options=None, steps: int = 2, **overrides):
    gradients = Gradients()
    trainer, callback = trainer_with_callback(
        tmp_path,
        model=model,
        forget=with_alternatives(examples(11, seed=2)),
        callbacks=[gradients],
        options={
            "objective": name, "processing_class": tokenizer(), "forget_weight": 0.01, "forget_batch_size": 8, **(options or {}),
        },
        max_steps=steps,
        **overrides,
    )  # fmt: skip
    trainer.train()
    return trainer, callback, gradients.first


@pytest.mark.parametrize("name", OBJECTIVES)
def test_accumulation_does_not_change_the_trajectory(name: str, tmp_path: Path):
    """8×1, 4×2, 1×8: the same gradient to float precision, whatever the objective needs."""
    found = [
        run(tmp_path / str(size), name, per_device_train_batch_size=size, gradient_accumulation_steps=8 // size)
        for size in (8, 4, 1)
    ]
    for trainer, _, gradients in found[1:]:
        assert set(gradients) == set(found[0][2])
        for key, value in gradients.items():
            torch.testing.assert_close(value, found[0][2][key], rtol=2e-4, atol=2e-6)
        assert trainer.state.log_history[0]["forget_loss"] == pytest.approx(
            found[0][0].state.log_history[0]["forget_loss"], rel=1e-4
        )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_under_lora_only_the_adapter_moves(name: str, tmp_path: Path):
    model = get_peft_model(
        tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    )
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    _, callback, gradients = run(tmp_path, name, model=model, options={"forget_weight": 1.0, "retain_weight": 0.1})
    moved = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
    assert moved and all("lora_" in key for key in moved)
    adapter = {key for key in before if "lora_" in key}
    # RMU's forward pass stops at a layer, so what lies behind it may stay without a gradient.
    assert set(gradients) <= adapter and gradients if name == "rmu" else set(gradients) == adapter
    if callback.loss.term._kept is not None:
        assert callback.loss.term._kept.way == "first adapter weights"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_reference_does_not_move(name: str, tmp_path: Path):
    """What the original said before training is what it says after, though the model has changed."""
    model = tiny_llama()
    trainer, callback = trainer_with_callback(
        tmp_path,
        model=model,
        forget=with_alternatives(examples(11, seed=2)),
        options={"objective": name, "processing_class": tokenizer(), "retain_term": "kl", "forget_batch_size": 8, "forget_weight": 0.05},
        max_steps=3,
    )  # fmt: skip
    batch = {key: value for key, value in callback.forget.batch([0, 1]).items() if key != "labels"}
    before = callback.loss.retain.original.logits(batch)
    trainer.train()
    assert torch.equal(callback.loss.retain.original.logits(batch), before)
    with torch.no_grad():
        assert not torch.equal(model.eval()(**batch).logits, before)
    assert all(p.requires_grad for p in model.parameters())


def test_rmu_trains_three_matrices_and_stops_at_its_layer(tmp_path: Path):
    before = {key: p.detach().clone() for key, p in tiny_llama(num_hidden_layers=4).named_parameters()}
    passes: dict[int, list] = {2: [], 4: []}
    for steps, seen in passes.items():
        model = tiny_llama(num_hidden_layers=4)
        model.model.layers[3].register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        options = {"retain_term": "hidden", "forget_weight": 1.0}
        _, callback, gradients = run(
            tmp_path, RMU(layer=3), model=model, options=options, steps=steps, weight_decay=0.0
        )
    assert len(passes[2]) == len(passes[4])  # only when layers and original were looked for; never in training
    assert set(gradients) == {f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1, 2)}
    assert {key for key, p in model.named_parameters() if not torch.equal(p, before[key])} == set(gradients)
    assert callback.loss.retain.layer == 3
    with pytest.raises(ValueError, match="rmu cannot use layer 5: the model has layers 1 to 4"):
        run(tmp_path / "far", RMU(layer=5), model=model)


def test_hidden_states_are_pushed_along_the_direction(tmp_path: Path):
    """On one batch, many steps: states approach c·u, which is `scale` times as long as the original's."""
    objective = RMU(layer=1, scale=2.0)
    trainer, callback, _ = run(
        tmp_path, objective, options={"retain_weight": 0.0, "forget_weight": 1.0}, steps=60, learning_rate=0.5
    )
    losses = [log["forget_loss"] for log in trainer.state.log_history if "forget_loss" in log]
    assert losses[-1] < losses[0] / 2
    assert callback.loss.term._hidden_norm > 0


def test_the_primal_dual_weight_moves_and_survives_resuming(tmp_path: Path):
    """λ grows by η (L − ε) while the retain loss is above its bound; an interrupted run goes on with the λ of its checkpoint."""
    options = {
        "options": {
            "objective": PDU(bound=0.3, step_size=0.5),
            "processing_class": tokenizer(),
            "forget_weight": 0.001,
        }
    }
    settings = {
        "save_strategy": "steps",
        "save_steps": 2,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        **options,
    }
    whole, callback = trainer_with_callback(tmp_path / "whole", **settings)
    whole.train()
    logs = [log["retain_loss"] for log in whole.state.log_history if "retain_loss" in log]
    assert callback.retain_weight == pytest.approx(1 + 0.5 * sum(loss - 0.3 for loss in logs), rel=1e-4)
    again, resumed = trainer_with_callback(tmp_path / "again", **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert resumed.retain_weight == callback.retain_weight
    for (name, expected), (_, value) in zip(
        whole.model.named_parameters(), again.model.named_parameters(), strict=True
    ):
        assert torch.equal(expected, value), name


def test_what_the_original_says_is_computed_once_and_again_when_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from hf_unlearn.training import _original_scores

    calls = []
    real = _original_scores.score
    monkeypatch.setattr(_original_scores, "score", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    for step, (model, seed) in enumerate([(0, 2), (0, 2), (1, 2), (0, 3)]):
        trainer_with_callback(
            tmp_path / str(step), model=tiny_llama(model), forget=examples(11, seed=seed), options={"objective": "npo"}
        )
        assert len(calls) == (1, 1, 2, 3)[step]  # the same again; another model; other data


def test_alternatives_come_from_where_the_objective_says(tmp_path: Path):
    forget = examples(11, seed=2)
    with pytest.raises(ValueError, match=r"needs alternative answers in a column 'alternative_answer'.*idk_dpo"):
        trainer_with_callback(tmp_path, forget=forget, options={"objective": "dpo", "processing_class": tokenizer()})
    with pytest.raises(ValueError, match="need a tokenizer"):
        trainer_with_callback(tmp_path, forget=forget, options={"objective": "idk"})
    _, callback = trainer_with_callback(
        tmp_path, forget=forget, options={"objective": "altpo", "processing_class": tokenizer()}
    )
    for example, alternative in zip(callback.forget.examples, callback.loss.term.alternatives, strict=True):
        start = next(at for at, label in enumerate(example["labels"]) if label != -100)
        assert alternative["input_ids"][:start] == example["input_ids"][:start]
        assert alternative["input_ids"] != example["input_ids"]
    named = Dataset.from_dict(
        {"question": ["w1?", "w2?"], "answer": ["w3", "w4"], "alternative_answer": [["w5", "w6"], ["w7", "w8"]]}
    )
    _, callback = trainer_with_callback(
        tmp_path,
        forget=named,
        options={"objective": "dpo", "processing_class": tokenizer(), "forget_batch_size": 2},
    )
    assert len(callback.loss.term.alternatives) == 2


def test_a_collapse_is_said_and_stops_if_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    options = {"objective": "grad_ascent", "retain_weight": 0.0}
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        trainer, _ = trainer_with_callback(tmp_path / "on", options=options, max_steps=30, learning_rate=0.02)
        trainer.train()
    assert trainer.state.global_step == 30
    assert sum("destroying the model" in record.message for record in caplog.records) == 1
    trainer, _ = trainer_with_callback(
        tmp_path / "off", options={**options, "stop_on_collapse": True}, max_steps=30, learning_rate=0.02
    )
    trainer.train()
    assert trainer.state.global_step < 30


def test_a_saliency_mask_lets_its_share_of_the_weights_move(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model = tiny_llama()
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    run(tmp_path, RandomLabel(), model=model, options={"saliency": 0.1}, weight_decay=0.0)
    moved = sum(int((p != before[key]).sum()) for key, p in model.named_parameters())
    total = sum(p.numel() for p in model.parameters())
    assert 0.05 < moved / total <= 0.1 + 1e-3
    assert "weight_decay" not in caplog.text
    run(tmp_path / "decay", RandomLabel(), options={"saliency": 0.1}, weight_decay=0.1)
    assert "weight_decay=0.1 moves the weights that saliency=0.1 leaves out" in caplog.text
    with pytest.raises(ValueError, match="saliency must be above 0 and at most 1, got 2"):
        run(tmp_path / "much", RandomLabel(), options={"saliency": 2})


def classification_rows(count: int, seed: int) -> Dataset:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    ids = [[1, *(10 + 5 * label + generator.integers(0, 5, 6)).tolist()] for label in labels]
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * 7] * count, "labels": labels.tolist()})


def classifier() -> BertForSequenceClassification:
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(**settings, vocab_size=40, num_labels=3))


def train_classifier(tmp_path: Path, model, retain: Dataset, forget: Dataset | None = None, options=None, **overrides):
    settings = {
        "optim": "adamw_torch",
        "learning_rate": 0.01,
        "num_train_epochs": 12,
        "logging_strategy": "no",
        **overrides,
    }
    trainer = Trainer(model=model, args=arguments(tmp_path, **settings), train_dataset=retain)
    if forget is not None:
        trainer.add_callback(UnlearningCallback(trainer, forget_dataset=forget, **options))
    trainer.train()
    return model.eval()


def class_probability(model, rows: Dataset) -> float:
    with torch.no_grad():
        logits = model(torch.tensor(rows["input_ids"])).logits
    return float(logits.softmax(-1).gather(1, torch.tensor(rows["labels"])[:, None]).mean())


@pytest.mark.parametrize("name", FOR_CLASSIFIERS)
def test_a_classifier_forgets_its_examples(name: str, tmp_path: Path):
    """Examples whose label contradicts the rule are learnt by heart, and then forgotten; the rule stays."""
    retain, odd = classification_rows(48, 0), classification_rows(8, 1)
    odd = odd.map(lambda row: {"labels": (row["labels"] + 1) % 3, "input_ids": [2, *row["input_ids"][1:]]})
    both = Dataset.from_list([*retain, *odd])
    model = train_classifier(tmp_path / "learn", classifier(), both, num_train_epochs=40)
    before = class_probability(model, odd), class_probability(model, retain)
    assert min(before) > 0.8
    weight = {"grad_ascent": 0.03, "npo": 0.03, "scrub": 0.03, "pdu": 0.03}.get(
        name, 0.3
    )  # those that push without bound
    objective = PDU(bound=0.02, step_size=1.0) if name == "pdu" else name  # its bound is what retain may cost
    options = {"objective": objective, "forget_weight": weight, "forget_batch_size": 8}
    slowly = {"learning_rate": 0.003, "num_train_epochs": 24} if name == "pdu" else {}  # or its weight overshoots
    model = train_classifier(tmp_path / "forget", model, retain, odd, options, **slowly)
    assert class_probability(model, odd) < before[0] / 2
    assert class_probability(model, retain) > 0.9 * before[1]


def test_an_image_classifier_goes_the_same_road_with_kl(tmp_path: Path):
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = ViTForImageClassification(ViTConfig(**settings, image_size=8, patch_size=4, num_labels=3))
    images = torch.randn(28, 3, 8, 8).tolist()
    rows = Dataset.from_dict({"pixel_values": images, "labels": [index % 3 for index in range(28)]})
    options = {"objective": "grad_ascent", "retain_term": "kl", "forget_weight": 0.1, "saliency": 0.5}
    trainer = Trainer(model=model, args=arguments(tmp_path, max_steps=4), train_dataset=rows.select(range(20)))
    trainer.add_callback(
        UnlearningCallback(trainer, forget_dataset=rows.select(range(20, 28)), forget_batch_size=8, **options)
    )
    trainer.train()
    logs = [log for log in trainer.state.log_history if "forget_loss" in log]
    assert logs[0]["retain_loss"] == pytest.approx(0, abs=1e-6)
    assert logs[-1]["forget_loss"] < logs[0]["forget_loss"] < 0


def test_language_objectives_are_refused_for_classifiers(tmp_path: Path):
    trainer = Trainer(model=classifier(), args=arguments(tmp_path), train_dataset=classification_rows(20, 0))
    for name in ("rmu", "dpo", "idk"):
        with pytest.raises(ValueError, match=f"objective '{name}' is for language models"):
            UnlearningCallback(trainer, forget_dataset=classification_rows(8, 1), objective=name, allow_overlap=True)
    with pytest.raises(ValueError, match="forget_dataset: rows for a classifier need a label"):
        UnlearningCallback(trainer, forget_dataset=Dataset.from_dict({"text": ["a"] * 9}), objective="npo")
    with pytest.raises(ValueError, match="20 of 20 forget rows are also in"):
        UnlearningCallback(trainer, forget_dataset=classification_rows(20, 0), objective="npo")


def test_the_trainer_reads_what_the_objective_reads(tmp_path: Path):
    """IDK's first loss, by hand: the mean NLL of all refusal tokens of the step under the untouched model."""
    trainer, callback, _ = run(tmp_path, "idk", steps=1)
    whole = callback.loss.stream.step(0)
    batch = AnswerCollator(0)([callback.loss.term.alternatives[index] for index in whole])
    with torch.no_grad():
        log_probs = token_log_probs(tiny_llama()(batch["input_ids"], attention_mask=batch["attention_mask"]).logits, batch["labels"])  # fmt: skip
    tokens = int((batch["labels"][:, 1:] != -100).sum())
    assert trainer.state.log_history[0]["forget_loss"] == pytest.approx(-float(log_probs.sum()) / tokens, rel=1e-5)
