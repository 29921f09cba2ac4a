"""Where and how the model in training computes. Knows Accelerate; no Trainer."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from hf_unlearn.inference import LoadedModel


@dataclass
class Compute:
    """What a forget term needs to know of the training that it is part of.

    Attributes:
        model: Not wrapped for several processes.
        accelerator: Places, precision and processes.
        eval_batch_size: Rows at a time where nothing trains.
        progress: Whether long readings show a bar.
    """

    model: LoadedModel
    accelerator: Accelerator
    eval_batch_size: int = 8
    progress: bool = True

    @property
    def is_sharded(self) -> bool:
        """Whether weights lie in pieces on several devices (DeepSpeed, FSDP), gathered where they are needed only."""
        state = self.accelerator.state
        return any(getattr(state, plugin, None) is not None for plugin in ("deepspeed_plugin", "fsdp_plugin"))

    def on_device(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A batch where the model is."""
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}
