"""A hand-written loop with Accelerate ends at the weights of a Trainer with the callback, for whatever an objective needs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from launch import torchrun
from peft import LoraConfig, get_peft_model
from runs import arguments, examples, largest_difference, weights
from torch.utils.data import DataLoader, SequentialSampler
from toys import tiny_llama
from transformers import Trainer
from world import build

from hf_unlearn import NPO, PDU, RMU, UnlearningCallback
from hf_unlearn.data import AnswerCollator
from hf_unlearn.training import UnlearningLoop


STEPS, SIZE = 3, 4


TOGETHER = {
    "npo": {"objective": NPO(beta=0.3), "retain_term": "kl"},
    "rmu": {"objective": RMU(layer=2), "retain_term": "hidden"},
    "pdu": {"objective": PDU(step_size=0.5), "forget_weight": 0.01},
}
"""What two processes do as one."""


def retain_rows() -> Dataset:
    """Equally long, so that the mean over a step is the mean of its micro-batches; two of these each step."""
    rows = [{"input_ids": [1, 5 + i, 9, 20 + i, 40 + i], "labels": [-100, -100, 9, 20 + i, 40 + i]} for i in range(24)]
    return Dataset.from_list(rows)


class InOrder(Trainer):
    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(self.train_dataset)


def by_trainer(folder: Path, model: torch.nn.Module, **options) -> tuple[dict, list[dict]]:
    trainer = InOrder(
        model=model,
        args=arguments(folder, per_device_train_batch_size=SIZE, gradient_accumulation_steps=2, max_steps=STEPS),
        train_dataset=retain_rows(),
        data_collator=AnswerCollator(0),
    )
    callback = UnlearningCallback(trainer, forget_dataset=examples(11, seed=2), seed=3, **options)
    trainer.add_callback(callback)
    trainer.train()
    return weights(model), [log for log in trainer.state.log_history if "forget_loss" in log]


def by_loop(
    model: torch.nn.Module,
    *,
    steps: int = STEPS,
    size: int = SIZE,
    together: int = 1,
    start: Callable | None = None,
    **options,
) -> tuple[dict, list[dict], UnlearningLoop]:
    """What the docstring of `UnlearningLoop` shows."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=8 // (size * together))
    unlearning = UnlearningLoop(
        model, accelerator, forget_dataset=examples(11, seed=2), forget_batch_size=8, seed=3, **options
    )
    if start is not None:
        start(unlearning)
    loader = DataLoader(retain_rows(), batch_size=size, collate_fn=AnswerCollator(0))
    wrapped, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01), loader)
    wrapped.train()
    logs = []
    for batch in loader:
        if unlearning.step == steps:
            break
        with accelerator.accumulate(wrapped):
            unlearning.backward(wrapped, unlearning.retain_loss(wrapped, batch))
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            logs.append(unlearning.logged())
    unlearning.close()
    return weights(model), logs, unlearning


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (tiny_llama, {"objective": NPO(beta=0.3)}),
        (tiny_llama, {"objective": "kl_min", "forget_weight": 0.1}),
        (tiny_llama, {"objective": RMU(layer=2), "retain_term": "hidden"}),
        (tiny_llama, {"objective": PDU(step_size=0.5), "forget_weight": 0.01}),
        (tiny_llama, {"objective": "undial", "saliency": 0.3}),
        (tiny_llama, {"objective": "grad_ascent", "retain_weight": 0.0, "forget_weight": 0.1}),
        (lambda: build("gpt2", vocab_size=97), {"objective": NPO(beta=0.3), "retain_term": "kl"}),
        (lambda: build("llama", vocab_size=97), {"objective": "scrub", "forget_weight": 0.1}),
    ],
    ids=["npo", "kl_min", "rmu", "pdu", "saliency", "forget only", "gpt2", "scrub"],
)
def test_a_loop_ends_where_a_trainer_ends(make, options: dict, tmp_path: Path):
    expected, theirs = by_trainer(tmp_path, make(), **options)
    found, ours, _ = by_loop(make(), **options)
    assert largest_difference(found, weights(make())) > 1e-4
    assert largest_difference(found, expected) < 1e-6
    assert len(ours) == len(theirs) == STEPS
    for mine, other in zip(ours, theirs, strict=True):
        for part in mine:
            assert mine[part] == pytest.approx(other[part], rel=1e-5, abs=1e-6)


def test_an_adapter_trains_alone(tmp_path: Path):
    def adapted():
        torch.manual_seed(0)
        return get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"]))

    options = {"objective": NPO(beta=0.3), "retain_term": "kl"}
    expected, _ = by_trainer(tmp_path, adapted(), **options)
    assert largest_difference(by_loop(adapted(), **options)[0], expected) < 1e-6


def test_how_a_step_is_cut_changes_nothing():
    whole, *others = (by_loop(tiny_llama(), size=size, objective="npo")[0] for size in (8, 4, 2))
    assert all(largest_difference(whole, other) < 1e-6 for other in others)


@pytest.mark.distributed
def test_two_processes_end_where_one_ends(tmp_path: Path):
    torchrun(Path(__file__).parent / "two_processes_loop.py", str(tmp_path))
    for name, options in TOGETHER.items():
        one, _, _ = by_loop(tiny_llama(), size=8, **options)
        assert largest_difference(one, torch.load(tmp_path / f"{name}.pt")) < 2e-6, name


def test_a_step_cut_short_takes_all_its_forget_examples():
    """24 rows in steps of five micro-batches of four: the second step has one, and still its eight forget examples."""
    taken = []
    model, accelerator = tiny_llama(), Accelerator(cpu=True, gradient_accumulation_steps=5)
    unlearning = UnlearningLoop(
        model, accelerator, forget_dataset=examples(11, seed=2), forget_batch_size=8, retain_weight=0.0
    )
    losses = unlearning.loss.term.losses
    unlearning.loss.term.losses = lambda model, indices, visit: (
        taken.append((unlearning.step, *indices)) or losses(model, indices, visit=visit)
    )
    loader = DataLoader(retain_rows(), batch_size=4, collate_fn=AnswerCollator(0))
    model, loader = accelerator.prepare(model, loader)
    for _ in loader:
        with accelerator.accumulate(model):
            unlearning.backward(model, None)
    assert unlearning.step == 2
    for step in range(2):
        seen = [index for number, *indices in taken if number == step for index in indices]
        assert seen == unlearning.loss.stream.step(step).tolist()


def test_a_loop_goes_on_from_a_checkpoint():
    """With the weights of its model and its own state: the same examples and retain weight as without the break."""
    options = {"objective": PDU(step_size=0.5), "forget_weight": 0.01}
    whole, _, _ = by_loop(tiny_llama(), steps=2, size=8, **options)
    model = tiny_llama()
    first, _, broken_off = by_loop(model, steps=1, size=8, **options)
    state = broken_off.state_dict()
    assert state["step"] == 1 and state["retain_weight"] != 1

    again = tiny_llama()

    def go_on(unlearning: UnlearningLoop) -> None:
        unlearning.load_state_dict(state)
        again.load_state_dict(model.state_dict())

    # The loader starts anew, so the second step reads the first rows: let the uninterrupted run do the same.
    found, _, resumed = by_loop(again, steps=2, size=8, start=go_on, **options)
    assert resumed.step == 2 and largest_difference(found, first) > 1e-5
    twice = tiny_llama()
    _, _, unlearning = by_loop(twice, steps=1, size=8, **options)
    assert largest_difference(found, continued(twice, unlearning)) < 1e-7 and whole.keys() == found.keys()


def continued(model: torch.nn.Module, unlearning: UnlearningLoop) -> dict:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    batch = AnswerCollator(0)(retain_rows().select(range(8)).to_list())
    unlearning.backward(model, unlearning.retain_loss(model, batch))
    optimizer.step()
    return weights(model)


def test_a_loss_that_is_not_a_number_ends_before_the_step():
    class Broken:
        name, reduction, needs = "broken", "example", ()

        def __call__(self, batch):
            return batch.log_probs * float("nan")

    model = tiny_llama()
    with pytest.raises(FloatingPointError, match=r"forget_loss .broken. became nan at step 1"):
        by_loop(model, objective=Broken())
    assert largest_difference(weights(model), weights(tiny_llama())) == 0


def test_other_weights_are_frozen_only_until_the_end():
    model = tiny_llama()
    unlearning = UnlearningLoop(
        model, Accelerator(cpu=True), forget_dataset=examples(11, seed=2), objective=RMU(layer=1), forget_batch_size=8
    )
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["model.layers.0.mlp.down_proj.weight"]
    unlearning.close()
    assert all(p.requires_grad for p in model.parameters())


def test_bad_settings_are_refused(tmp_path: Path):
    accelerator, rows = Accelerator(cpu=True), examples(11, seed=2)
    for options, message in (
        ({"objective": "nop", "forget_batch_size": 8}, "Did you mean 'npo'"),
        ({"forget_batch_size": 12}, "has 11 rows, but each optimisation step takes 12"),
        ({"forget_batch_size": 0}, "forget_batch_size must be at least 1"),
        ({"forget_batch_size": 8, "saliency": 2}, "saliency must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            UnlearningLoop(tiny_llama(), accelerator, forget_dataset=rows, **options)
    with pytest.raises(ValueError, match="all weights of the model are frozen"):
        UnlearningLoop(tiny_llama().requires_grad_(False), accelerator, forget_dataset=rows, forget_batch_size=8)
