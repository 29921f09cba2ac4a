"""The forget pass has no noise and teaches normalisation layers nothing; checkpointing goes on, and the Trainer's own pass is as ever."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from runs import arguments, examples, largest_difference, trainer_with_callback, weights
from test_objectives_in_training import FOR_CLASSIFIERS, tokenizer, with_alternatives
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from transformers import Trainer
from transformers.integrations.neftune import activate_neftune
from world import build

from hf_unlearn import NPO, OBJECTIVES, HiddenRetain, KLRetain, UnlearningCallback
from hf_unlearn.training._quiet import quiet
from hf_unlearn.training._retain_part import RetainPart


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))


TWO_LN_TWO = 4 * float(torch.tensor(2.0).log())
"""NPO's first loss at β = ½, where nothing has moved."""


def noisy(name: str, *, lora: bool = False, neftune: bool = False, **overrides):
    """With every noise that the architecture knows, and more."""
    model = build(name, dropout=0.3, vocab_size=97, **overrides)
    if lora:
        targets = ["c_attn"] if name == "gpt2" else ["q_proj", "down_proj"]
        model = get_peft_model(
            model, LoraConfig(r=4, target_modules=targets, lora_dropout=0.4, init_lora_weights=False)
        )
        model.enable_input_require_grads()
    if neftune:
        activate_neftune(model, 15.0)
    return model.train()


def loss_and_gradients(model, inputs, *, calm: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    if calm:
        model.eval()
        logits = model(**inputs).logits
    else:
        with quiet(model):
            logits = model(**inputs).logits
        assert model.training
    loss = logits.float().log_softmax(-1)[..., 2].sum()
    loss.backward()  # outside: checkpointed blocks run again here
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.train()
    return loss.detach(), found


@pytest.mark.parametrize("checkpointing", ["none", "reentrant", "not reentrant", "wrapper"])
@pytest.mark.parametrize(
    "name", ["llama", "llama lora neftune", "gpt2 lora", "opt neftune", "mixtral", "mamba", "bert", "vit"]
)
def test_a_quiet_pass_is_the_pass_in_eval_mode_with_its_gradient(name: str, checkpointing: str):
    name, *extras = name.split()
    settings = {"router_jitter_noise": 0.3} if name == "mixtral" else {}
    model = noisy(name, lora="lora" in extras, neftune="neftune" in extras, **settings)
    model.config.use_cache = False  # as the Trainer does
    inputs = {"input_ids": torch.tensor([[1, 5, 9, 20, 3]] * 3)}
    if name == "vit":
        inputs = {"pixel_values": torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    expected = loss_and_gradients(model, inputs, calm=True)
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    if checkpointing == "wrapper":
        for at, block in enumerate(blocks):
            blocks[at] = checkpoint_wrapper(block)
    elif checkpointing != "none":
        if checkpointing == "reentrant" and not extras:
            model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": checkpointing == "reentrant"})
    passes = []
    inner = next(module for module in blocks[0].modules() if isinstance(module, torch.nn.Linear))
    inner.register_forward_hook(lambda *_: passes.append(1))
    noise = loss_and_gradients(model, inputs, calm=False)
    assert len(passes) == (1 if checkpointing == "none" else 2)  # it did checkpoint
    torch.testing.assert_close(noise[0], expected[0])
    for key, gradient in noise[1].items():
        torch.testing.assert_close(gradient, expected[1][key.replace("_checkpoint_wrapped_module.", "")])
    if name != "mamba":  # which has no noise of its own
        assert not torch.allclose(model(**inputs).logits, model(**inputs).logits)  # the noise is still there


@pytest.mark.parametrize("noise", ["attention dropout", "lora dropout and checkpointing", "neftune"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_reads_the_model_without_noise(objective: str, noise: str, tmp_path: Path):
    """Twice the same, and what the model without noise gives."""
    model = noisy("llama", lora="lora" in noise)
    _, callback = trainer_with_callback(
        tmp_path,
        model=model,
        forget=with_alternatives(examples(11, seed=2)),
        options={"objective": objective, "retain_term": "kl", "processing_class": tokenizer(), "forget_batch_size": 8},
    )
    if noise == "neftune":
        activate_neftune(model, 15.0)
    if "checkpointing" in noise:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    indices = np.arange(4)
    expected = callback.loss.term.losses(model.eval(), indices)[0]
    state = torch.get_rng_state()
    assert torch.equal(callback.loss.term.losses(model.train(), indices)[0], expected)
    assert torch.equal(torch.get_rng_state(), state)
    batch = callback.trainer.data_collator([callback.trainer.train_dataset[index] for index in range(4)])
    for term in (KLRetain(), HiddenRetain(layer=1)):
        losses, _ = RetainPart(term, callback.loss.term, counts=True).losses(model, batch)
        assert float(losses.detach().mean()) == pytest.approx(0, abs=1e-6), term


@pytest.mark.parametrize("trainer_kind", ["Trainer", "SFTTrainer"])
def test_noise_does_not_look_like_forgetting(trainer_kind: str, tmp_path: Path):
    """Before the first step NPO's loss is (2/β) log 2 and KL is 0, under dropout, LoRA dropout, NEFTune and checkpointing together."""
    settings = {"neftune_noise_alpha": 15.0, "gradient_checkpointing": True}
    options = {"objective": NPO(beta=0.5), "retain_term": "kl"}
    if trainer_kind == "Trainer":
        trainer, _ = trainer_with_callback(tmp_path, model=noisy("llama", lora=True), options=options, **settings)
    else:
        from sft import sft_trainer

        trainer = sft_trainer(tmp_path, model=noisy("llama", lora=True), **settings)
        trainer.add_callback(UnlearningCallback(trainer, forget_dataset=examples(11, seed=2), **options))
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["forget_loss"] == pytest.approx(TWO_LN_TWO, rel=1e-4)
    assert first["retain_loss"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("objective", ["npo", "undial"])
def test_noise_changes_nothing_where_only_forget_examples_train(objective: str, tmp_path: Path):
    """Six steps to the same weights at every dropout: before, the same steps forgot less the more noise there was."""
    found = []
    for dropout in (0.0, 0.3):
        trainer, _ = trainer_with_callback(
            tmp_path,
            model=build("llama", dropout=dropout, vocab_size=97),
            options={"objective": objective, "retain_weight": 0.0},
            max_steps=6,
            neftune_noise_alpha=15.0 if dropout else None,
        )
        trainer.train()
        found.append(weights(trainer.model))
    assert largest_difference(*found) == 0
    assert largest_difference(found[0], weights(build("llama", vocab_size=97))) > 1e-5


def images(count: int, seed: int) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 3, 16, 16, generator=generator) * 3 + seed
    with torch.no_grad():
        labels = build("resnet")(pixels).logits.argmax(-1)  # what the model knows
    return Dataset.from_dict({"pixel_values": pixels.tolist(), "labels": labels.tolist()})


@pytest.mark.parametrize("objective", FOR_CLASSIFIERS)
def test_normalisation_layers_learn_nothing_from_forget_batches(
    objective: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Forget-only passes at a learning rate of zero leave everything where it is, and nothing is called a collapse."""
    model = build("resnet")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, max_steps=4, learning_rate=0.0, per_device_train_batch_size=4),
        train_dataset=images(16, 0),
    )
    options = {"objective": objective, "retain_weight": 0.0, "forget_batch_size": 8}
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=images(8, 3), **options))
    trainer.train()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert "destroying the model" not in caplog.text


def test_normalisation_layers_go_on_learning_from_retain_batches(tmp_path: Path):
    """Exactly what they learn without a forget term."""
    learnt = []
    for forgets in (False, True):
        trainer = Trainer(
            model=build("resnet"),
            args=arguments(tmp_path, max_steps=3, learning_rate=0.0, per_device_train_batch_size=4),
            train_dataset=images(16, 0),
        )
        if forgets:
            trainer.add_callback(UnlearningCallback(trainer, forget_dataset=images(8, 3), forget_batch_size=8))
        trainer.train()
        learnt.append({name: buffer for name, buffer in trainer.model.named_buffers() if "running" in name})
    for name, value in learnt[0].items():
        assert torch.equal(learnt[1][name], value), name
        assert not torch.equal(value, dict(build("resnet").named_buffers())[name])
