"""Forward passes with gradient but without noise, in the middle of a training that has noise.

What the original says is computed in eval mode, so what is compared with it must be too: dropout, stochastic depth, router jitter and
NEFTune would look like forgetting. And normalisation layers must not learn from examples that are to be forgotten.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from transformers.modeling_layers import GradientCheckpointingLayer


@contextmanager
def quiet(model: torch.nn.Module) -> Iterator[None]:
    """Inside, every module of the model computes as in eval mode, gradients are recorded, and checkpointing goes on.

    A checkpointed block runs again in the backward pass, when this context has long been left; it is quiet then too, or the gradient
    would be that of another loss. Modes are set one by one: `train()` and `eval()` are overridden here and there and do more.

    Args:
        model: In training mode, and so again afterwards.
    """
    with ExitStack() as stack:
        stack.enter_context(_all_in_eval_mode(model))
        for module in model.modules():
            if isinstance(module, CheckpointWrapper):
                stack.enter_context(_replaced(module, "checkpoint_fn"))
            elif isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
                stack.enter_context(_replaced(module, "_gradient_checkpointing_func"))
                module.training = True  # it checkpoints in no other mode
        yield


@contextmanager
def _all_in_eval_mode(model: torch.nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _replaced(module: torch.nn.Module, name: str) -> Iterator[None]:
    """Let a module checkpoint a function that is quiet whenever it runs."""
    checkpoint = getattr(module, name)
    setattr(module, name, partial(_checkpoint_quietly, module, checkpoint))
    try:
        yield
    finally:
        setattr(module, name, checkpoint)


def _checkpoint_quietly(
    module: torch.nn.Module, checkpoint: Callable, function: Callable, *args: Any, **kwargs: Any
) -> Any:
    def run(*inner_args: Any, **inner_kwargs: Any) -> Any:
        with _all_in_eval_mode(module):
            return function(*inner_args, **inner_kwargs)

    return checkpoint(run, *args, **kwargs)
