"""One optimisation step in progress: which forget examples it takes, and what its parts add up to, on this process and on all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator

from hf_unlearn.inference._sharding import gather, process_rank


PARTS = ("forget_loss", "retain_loss")


@dataclass
class Step:
    """What a step has taken and seen so far.

    Attributes:
        number: From 1.
        micro_batches: Indices of this process's forget examples, one array per micro-batch.
        normaliser: Over what the sum of the forget losses of the whole step is divided.
        sums: By part of the loss, its value over this process's micro-batches.
        answers: Sum and number of what counts of this process's answer tokens, see `Collapse.counted`.
        means: By "forget" and "retain", the loss over all processes, once the step is agreed on; None where there was none.
    """

    number: int
    micro_batches: list[np.ndarray]
    normaliser: float
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    answers: tuple[float, int] = (0.0, 0)
    means: dict[str, float | None] = field(default_factory=dict)
    _taken: int = 0

    def take(self, *, last: bool = False) -> np.ndarray:
        """The next micro-batch's examples; of the last one all that are left."""
        start, self._taken = self._taken, len(self.micro_batches) if last else self._taken + 1
        return np.concatenate(self.micro_batches[start : self._taken])

    def add(self, part: str, value: torch.Tensor) -> None:
        """One micro-batch's share of a part of the loss."""
        self.sums[part] = self.sums.get(part, torch.zeros_like(value)) + value

    def add_answers(self, counted: torch.Tensor) -> None:
        """One number per answer token, as the step has found them."""
        self.answers = (self.answers[0] + float(counted.float().sum()), self.answers[1] + counted.numel())

    def fault(self, names: Mapping[str, str]) -> Exception | None:
        """A part of the loss that is not a number.

        Args:
            names: By part, what it is called.
        """
        for part, value in self.sums.items():
            if not torch.isfinite(value):
                return FloatingPointError(
                    f"{part} ({names[part]}) became {value.item()} at step {self.number}; the weights are those of the step before. "
                    "Lower the learning rate or the forget weight, or use a bounded objective such as npo."
                )
        return None

    def missing_gradients(self, model: torch.nn.Module) -> Exception | None:
        """A training that reaches no weight would look like one that runs."""
        if any(p.grad is not None for p in model.parameters() if p.requires_grad):
            return None
        return RuntimeError(
            f"no gradient reached any trainable weight at step {self.number}. Causes seen: a bitsandbytes base on the CPU, whose weights "
            "are packed for inference by the first evaluation; reentrant checkpointing without enable_input_require_grads()."
        )

    def agree(self, accelerator: Accelerator, fault: Exception | None) -> float | None:
        """What all processes together make of the step; its `means` are known afterwards.

        Every process decides alike, whatever only one of them has seen, or the others would wait for it for ever.

        Args:
            accelerator: Of the training.
            fault: What is wrong on this process.

        Returns:
            Mean of what counts of the step's answer tokens over all processes; None if there were none.

        Raises:
            Exception: The first process's fault, on every process.
        """
        losses = [float(self.sums.get(part, 0.0)) for part in PARTS]
        own = torch.tensor([*self.answers, float(fault is not None), *losses], device=accelerator.device)
        total, count, faults, *losses = (float(value) for value in accelerator.reduce(own, reduction="sum"))
        if faults:
            raise _first(fault)
        shared = [value / accelerator.num_processes for value in losses]
        self.means = {
            part.removesuffix("_loss"): value if part in self.sums else None
            for part, value in zip(PARTS, shared, strict=True)
        }
        return total / count if count else None


@dataclass
class Window:
    """Parts of the loss since they were last logged."""

    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    steps: int = 0

    def add(self, step: Step) -> None:
        """A step that is complete."""
        for part, value in step.sums.items():
            self.sums[part] = self.sums.get(part, torch.zeros_like(value)) + value
        self.steps += 1

    def means(self, accelerator: Accelerator) -> dict[str, float]:
        """Mean of each part over steps and processes; the window is empty afterwards."""
        found = {
            part: float(accelerator.reduce(value / self.steps, reduction="mean")) for part, value in self.sums.items()
        }
        self.sums, self.steps = {}, 0
        return found


def _first(fault: Exception | None) -> Exception:
    found = gather([(process_rank(), fault)])
    rank, first = next((rank, other) for rank, other in found if other is not None)
    return first if rank == process_rank() else type(first)(f"process {rank}: {first}")
