"""What an objective declares is done in a training: its layer, its weights, its word after each step; by the callback as by the core."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from runs import examples, trainer_with_callback, weights
from toys import tiny_llama
from transformers import TrainerCallback


class Watching:
    """One matrix trains; the retain weight grows by a tenth of what the step came to."""

    name, reduction, needs = "watching", "token", ()

    def __init__(self):
        self.seen, self.steps = [], []

    def prepare(self, model):
        self.seen.append(model.module)
        return self

    def trainable(self, model):
        assert model.module is self.seen[0] and not model.blocks
        return ["model.layers.0.mlp.up_proj.weight"]

    def after_step(self, losses):
        self.steps.append(losses)
        return losses.retain_weight + 0.1 * losses.retain

    def __call__(self, batch):
        return 0.01 * batch.token_log_probs


def test_the_whole_lifecycle(tmp_path: Path):
    objective, model = Watching(), tiny_llama()
    before = weights(model)
    trainer, callback = trainer_with_callback(tmp_path, model=model, options={"objective": objective}, weight_decay=0)
    assert callback.objective is objective and objective.seen == [model]
    trainer.train()
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert moved == {"model.layers.0.mlp.up_proj.weight"} and all(p.requires_grad for p in model.parameters())
    logs = [log for log in trainer.state.log_history if "forget_loss" in log]
    assert [step.forget for step in objective.steps] == pytest.approx([log["forget_loss"] for log in logs], rel=1e-5)
    assert [step.retain for step in objective.steps] == pytest.approx([log["retain_loss"] for log in logs], rel=1e-5)
    assert callback.retain_weight == pytest.approx(1 + 0.1 * sum(step.retain for step in objective.steps), rel=1e-6)
    assert objective.steps[1].retain_weight == pytest.approx(1 + 0.1 * objective.steps[0].retain)


def test_the_retain_weight_of_an_objective_of_ones_own_survives_resuming(tmp_path: Path):
    settings = {"save_strategy": "steps", "save_steps": 1}
    whole, callback = trainer_with_callback(tmp_path, options={"objective": Watching()}, **settings)
    whole.train()
    again, resumed = trainer_with_callback(tmp_path, options={"objective": Watching()}, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert resumed.retain_weight == callback.retain_weight != 1.0
    assert all(torch.equal(value, weights(again.model)[name]) for name, value in weights(whole.model).items())


def test_without_a_retain_term_nothing_is_told_of_one(tmp_path: Path):
    class Told(Watching):
        def after_step(self, losses):
            self.steps.append(losses)

    objective = Told()
    trainer, callback = trainer_with_callback(tmp_path, options={"objective": objective, "retain_weight": 0})
    trainer.train()
    assert len(objective.steps) == 3 and all(step.retain is None for step in objective.steps)
    assert all(step.forget < 0 for step in objective.steps) and callback.retain_weight == 0


def test_hidden_states_for_an_objective_of_ones_own(tmp_path: Path):
    """Four members and no layer: the block that RMU would take, the matrices that RMU would train, or the adapter."""

    class Shrink:
        name, reduction, needs = "shrink", "token", ("hidden",)

        def __call__(self, batch):
            return (batch.hidden.norm(dim=-1) / batch.original_hidden_norm - 0.5).pow(2)

    for model in (tiny_llama(), get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"]))):
        before = weights(model)
        options = {"objective": Shrink(), "retain_term": "hidden"}
        trainer, callback = trainer_with_callback(tmp_path, model=model, options=options, learning_rate=0.05)
        assert callback.loss.term.layer == callback.loss.retain.layer == 1
        trainer.train()
        moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
        assert moved and all(("lora_" in name) or name == "model.layers.0.mlp.down_proj.weight" for name in moved)


def test_a_preparation_that_gives_nothing_is_named(tmp_path: Path):
    class Forgetful(Watching):
        def prepare(self, model):
            self.seen.append(model.module)

    with pytest.raises(TypeError, match="a NoneType is no objective"):
        trainer_with_callback(tmp_path, options={"objective": Forgetful()})


def test_a_trainer_is_out_of_training_after_an_exception(tmp_path: Path):
    """It stays in it by itself, and what is evaluated then would be taken for part of the training."""

    class Fail(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise KeyboardInterrupt

    trainer, _ = trainer_with_callback(tmp_path, callbacks=[Fail()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.is_in_train is False
    trainer.evaluate(examples(6, seed=4))
