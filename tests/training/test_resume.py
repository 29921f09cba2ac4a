"""A checkpoint is gone on with only by the run that it belongs to, and only if it is whole; and training leaves nothing behind."""

import logging
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from runs import examples, largest_difference, trainer_with_callback, weights
from toys import tiny_llama
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback

from hf_unlearn import NPO, RMU, UnlearningCallback
from hf_unlearn.training._resume import last_whole_checkpoint


KEPT = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    trainer, _ = trainer_with_callback(tmp_path / "run", options={"objective": NPO(beta=0.3)}, **KEPT)
    trainer.train()
    return tmp_path / "run" / "checkpoint-1"


def resume(checkpoint: Path, *, model=None, forget=None, retain=None, arguments=None, **options):
    options = {"objective": NPO(beta=0.3), **options}
    trainer, _ = trainer_with_callback(
        checkpoint.parent, model=model, forget=forget, retain=retain, options=options, **{**KEPT, **(arguments or {})}
    )
    trainer.train(resume_from_checkpoint=str(checkpoint))
    return trainer


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objective": NPO(beta=0.4)}, r"objective was .*'beta': 0.3.* and is .*'beta': 0.4"),
        ({"objective": "grad_ascent"}, "objective was .*npo.* and is .*grad_ascent"),
        ({"retain_term": "kl"}, "retain_term was .*nll.* and is .*kl"),
        ({"forget_weight": 0.5}, "forget_weight was 1.0 and is 0.5"),
        ({"retain_weight": 2.0}, "retain_weight was 1.0 and is 2.0"),
        ({"forget": examples(11, seed=9)}, "forget_set was"),
        ({"forget_batch_size": 4}, "forget_batch_size was 8 and is 4"),
        ({"seed": 7}, "seed was 3 and is 7"),
        ({"saliency": 0.5}, "saliency was None and is 0.5"),
        ({"retain": examples(20, seed=8)}, "retain_set was .*'rows': 20.* and is .*'rows': 20"),
        ({"retain": examples(19, seed=1)}, "retain_set was .*'rows': 20.* and is .*'rows': 19"),
        ({"arguments": {"learning_rate": 0.001}}, "learning_rate was 0.01 and is 0.001"),
        ({"arguments": {"lr_scheduler_type": "linear"}}, "lr_scheduler_type was constant and is linear"),
        ({"arguments": {"weight_decay": 0.5}}, "weight_decay was 0.0 and is 0.5"),
        (
            {"arguments": {"per_device_train_batch_size": 4}, "forget_batch_size": 8},
            "retain_batch_size was 8 and is 4",
        ),
        ({"model": tiny_llama(5)}, "it started from another model"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(changed: dict, message: str, checkpoint: Path):
    with pytest.raises(ValueError, match="the checkpoint belongs to another run: .*" + message):
        resume(checkpoint, **changed)


def test_the_same_run_goes_on(checkpoint: Path, caplog: pytest.LogCaptureFixture):
    assert resume(checkpoint).state.global_step == 2
    assert not [
        record
        for record in caplog.records
        if record.levelno >= logging.WARNING and "checkpoint itself" in record.message
    ]


def test_an_adapter_goes_on_from_its_base_but_from_no_other(tmp_path: Path):
    """A fresh adapter has other first weights each time, which the checkpoint replaces."""

    def adapted(seed: int, base: int = 0):
        torch.manual_seed(seed)
        return get_peft_model(tiny_llama(base), LoraConfig(r=2, target_modules=["q_proj"]))

    trainer, _ = trainer_with_callback(tmp_path, model=adapted(0), options={"objective": NPO(beta=0.3)}, **KEPT)
    trainer.train()
    assert resume(tmp_path / "checkpoint-1", model=adapted(1)).state.global_step == 2
    with pytest.raises(ValueError, match="started from another model"):
        resume(tmp_path / "checkpoint-1", model=adapted(1, base=5))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lora_alpha": 99}, "run: adapter's lora_alpha was 8 and is 99[.]"),
        ({"r": 4}, "run: adapter's r was 2 and is 4[.]"),
        ({"target_modules": ["v_proj"]}, r"adapter's target_modules was \['q_proj'\] and is \['v_proj'\]"),
        (None, "run: adapter was LORA and is None[.]"),
    ],
)
def test_another_adapter_is_refused_before_it_is_loaded(changed: dict | None, message: str, tmp_path: Path):
    def adapted(**changed: object):
        return get_peft_model(tiny_llama(), LoraConfig(**{"r": 2, "target_modules": ["q_proj"], **changed}))

    trainer, _ = trainer_with_callback(tmp_path, model=adapted(), options={"objective": NPO(beta=0.3)}, **KEPT)
    trainer.train()
    with pytest.raises(ValueError, match=message):
        resume(tmp_path / "checkpoint-1", model=tiny_llama() if changed is None else adapted(**changed))


def test_smaller_micro_batches_are_the_same_run(checkpoint: Path):
    """Where memory ran out one goes on with less of it, to the same weights but for rounding."""
    whole, cut = (
        resume(checkpoint, arguments={"per_device_train_batch_size": size, "gradient_accumulation_steps": 8 // size})
        for size in (8, 4)
    )
    assert largest_difference(weights(whole.model), weights(cut.model)) < 1e-5


def test_a_run_that_is_done_says_that_nothing_is_left(checkpoint: Path, caplog: pytest.LogCaptureFixture):
    resume(checkpoint)
    assert "nothing is left to train" not in caplog.text
    last = checkpoint.with_name("checkpoint-2")
    resume(last)
    assert "the checkpoint has done 2 of 2 optimisation steps: nothing is left to train" in caplog.text


def test_a_model_that_is_the_checkpoint_is_said_to_be_no_original(checkpoint: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        resume(checkpoint, model=AutoModelForCausalLM.from_pretrained(checkpoint))
    assert sum("the model given to the Trainer is the checkpoint itself" in r.message for r in caplog.records) == 1


def test_saliency_is_that_of_the_start_also_after_resuming(tmp_path: Path):
    options = {"objective": NPO(beta=0.3), "saliency": 0.2}
    whole, _ = trainer_with_callback(tmp_path, options=options, **KEPT)
    whole.train()
    again = resume(tmp_path / "checkpoint-1", saliency=0.2)
    assert largest_difference(weights(whole.model), weights(again.model)) == 0


@pytest.mark.parametrize("harm", ["no state", "half a state", "half the weights", "half the optimizer"])
def test_a_checkpoint_that_was_cut_off_is_passed_over(harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    settings = {"options": {"objective": NPO(beta=0.3)}, **KEPT}
    whole, _ = trainer_with_callback(tmp_path, **settings)
    whole.train()
    last = tmp_path / "checkpoint-2"
    broken = last / {"half the weights": "model.safetensors", "half the optimizer": "optimizer.pt"}.get(
        harm, "trainer_state.json"
    )
    if harm == "no state":
        broken.unlink()
    else:
        broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1")
    assert f"checkpoint-2 is incomplete ({'no readable' if 'state' in harm else broken.name}" in caplog.text
    again, _ = trainer_with_callback(tmp_path, **settings)
    again.train(resume_from_checkpoint=True)
    assert largest_difference(weights(whole.model), weights(again.model)) == 0


def test_without_a_whole_checkpoint_nothing_is_resumed(tmp_path: Path):
    assert last_whole_checkpoint(tmp_path) is None and last_whole_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-3").mkdir()
    with pytest.raises(ValueError, match=r"no checkpoint in .* is complete"):
        last_whole_checkpoint(tmp_path)


class Raise(TrainerCallback):
    def __init__(self, error: type[BaseException]):
        self.error = error

    def on_step_end(self, args, state, control, **kwargs):
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("objective", ["npo", RMU(layer=1)], ids=["npo", "rmu"])
def test_whatever_ends_the_training_the_trainer_and_the_model_are_as_they_were(error, objective, tmp_path: Path):
    model = tiny_llama()
    trainer, _ = trainer_with_callback(
        tmp_path, model=model, options={"objective": objective}, callbacks=[Raise(error)]
    )
    with pytest.raises(error):
        trainer.train()
    assert not {"compute_loss", "log"} & set(vars(trainer))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("has_trained", [False, True])
def test_a_callback_in_another_trainer_is_refused(has_trained: bool, tmp_path: Path):
    """There it would stand in for the methods of the first one, and do nothing."""
    trainer, callback = trainer_with_callback(tmp_path)
    if has_trained:
        trainer.train()
    other = Trainer(
        model=trainer.model,
        args=trainer.args,
        train_dataset=trainer.train_dataset,
        data_collator=trainer.data_collator,
    )
    other.add_callback(callback)
    with pytest.raises(ValueError, match="made for another Trainer"):
        other.train()


def test_a_trainer_may_train_again(tmp_path: Path):
    trainer, _ = trainer_with_callback(tmp_path)
    trainer.train()
    before = weights(trainer.model)
    trainer.train()
    assert largest_difference(before, weights(trainer.model)) > 1e-3
    assert "forget_loss" in trainer.state.log_history[0]


def test_the_forget_batch_shrinks_with_the_batch(tmp_path: Path):
    """Memory runs out while a step holds more than five forget examples; so it would at any retain batch, if theirs stayed."""
    seen = []

    class Hungry:
        name, reduction, needs = "hungry", "example", ()

        def __call__(self, batch):
            seen.append(len(batch.log_probs))
            if len(batch.log_probs) > 5:
                raise RuntimeError("CUDA out of memory. Tried to allocate")
            return batch.log_probs * 0.001

    trainer, callback = trainer_with_callback(
        tmp_path, options={"objective": Hungry()}, auto_find_batch_size=True, num_train_epochs=1
    )
    trainer.train()
    assert seen[0] == 8 and seen[-1] <= 5
    assert callback.loss.stream.per_step == trainer._train_batch_size == seen[-1]
    assert isinstance(callback, UnlearningCallback)
