"""Small training runs that the tests of the callback compare with each other."""

from pathlib import Path

import torch
from datasets import Dataset
from toys import tiny_llama
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_unlearn.data import AnswerCollator
from hf_unlearn.training import UnlearningCallback


def examples(count: int, *, seed: int) -> Dataset:
    """Token sequences of 6 to 14 tokens with a prompt of 2 to 4."""
    generator = torch.Generator().manual_seed(seed)
    rows = {"input_ids": [], "labels": []}
    for _ in range(count):
        length, start = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((6, 15), (2, 5)))
        ids = [1, *torch.randint(3, 97, (length - 1,), generator=generator).tolist()]
        rows["input_ids"].append(ids)
        rows["labels"].append([-100] * start + ids[start:])
    return Dataset.from_dict(rows)


def arguments(output_dir: Path, **overrides) -> TrainingArguments:
    settings = {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": 8,
        "num_train_epochs": 1,
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    return TrainingArguments(**{**settings, **overrides})


def trainer_with_callback(
    output_dir: Path,
    *,
    model=None,
    retain=None,
    forget=None,
    callbacks=(),
    trainer_class=Trainer,
    options=None,
    evaluated=None,
    **overrides,
) -> tuple[Trainer, UnlearningCallback]:
    """A Trainer on 20 retain rows (so the last step of an epoch is smaller) with 11 forget rows."""
    model = tiny_llama() if model is None else model
    trainer = trainer_class(
        model=model,
        args=arguments(output_dir, **overrides),
        train_dataset=examples(20, seed=1) if retain is None else retain,
        eval_dataset=evaluated,
        data_collator=AnswerCollator(0),
    )
    forget = examples(11, seed=2) if forget is None else forget
    callback = UnlearningCallback(trainer, forget_dataset=forget, **(options or {}))
    for added in (callback, *callbacks):
        trainer.add_callback(added)
    return trainer, callback


class Gradients(TrainerCallback):
    """Keeps the gradients of the first optimisation step."""

    def __init__(self) -> None:
        self.first: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if not self.first:
            self.first = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def largest_difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one)
