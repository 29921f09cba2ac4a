"""Hidden states of one block of the model in training, with gradient, in forward passes that go no further than needed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from hf_unlearn.inference import HiddenReader, undisturbed
from hf_unlearn.training._compute import Compute


class _LayerReached(Exception):
    """Carries a hidden state out of a forward pass that need not go on."""

    def __init__(self, hidden: torch.Tensor):
        super().__init__()
        self.hidden = hidden


class HiddenStates:
    """The blocks of a model, whoever of it, the current one or the original, is asked.

    Args:
        compute: Whose model it is.
        probe: What the model takes, of one example.

    Attributes:
        reader: Of the model's blocks.

    Raises:
        ValueError: The blocks were not found.
    """

    def __init__(self, compute: Compute, probe: Mapping[str, torch.Tensor]):
        self._compute, self._probe = compute, probe
        with undisturbed(compute.model):
            self.reader = HiddenReader(compute.model, probe)
        if not self.reader.has_blocks:
            raise ValueError(
                f"the blocks of {type(compute.model).__name__} were not found; hidden states cannot be trained."
            )
        self._others: dict[torch.nn.Module, HiddenReader] = {}

    @property
    def blocks(self) -> tuple[torch.nn.Module, ...]:
        """In order."""
        assert self.reader.blocks is not None
        return tuple(self.reader.blocks)

    def check_layer(self, layer: int, owner: str) -> int:
        """The layer itself.

        Raises:
            ValueError: The model does not have it; says who wanted it.
        """
        if not 1 <= layer <= self.reader.depth:
            raise ValueError(f"{owner} cannot use layer {layer}: the model has layers 1 to {self.reader.depth}.")
        return int(layer)

    def read(self, model: torch.nn.Module, inputs: Mapping[str, Any], layer: int) -> torch.Tensor:
        """Output of a block, shape `(batch, length, width)`; the forward pass stops there where no other process would wait.

        Args:
            model: The model, perhaps wrapped.
            inputs: As its forward takes them; packed rows bring more than tensors.
            layer: From 1.
        """
        return self._read(model, inputs, layer, self.reader)

    def read_original(self, asked: torch.nn.Module, inputs: Mapping[str, Any], layer: int) -> torch.Tensor:
        """The same of the original: the model itself with other weights, or a copy with blocks of its own."""
        return self._read(asked, inputs, layer, self._reader_of(asked))

    @contextmanager
    def collecting(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]
    ) -> Iterator[dict[int, torch.Tensor]]:
        """All blocks' outputs, by layer, of the one forward pass inside; shape `(batch, length, width)` each.

        Args:
            model: The model in training, perhaps wrapped, or the original.
            inputs: What that pass will take.
        """
        found: dict[int, torch.Tensor] = {}
        length = inputs["input_ids"].shape[1]

        def take(layer: int, hidden: torch.Tensor) -> None:
            found[layer] = hidden[:, -length:]

        reader = self._reader_of(model)
        with reader.listening(range(1, reader.depth + 1), take):
            yield found

    def _reader_of(self, model: torch.nn.Module) -> HiddenReader:
        """The model in training has its own, whatever it is wrapped in; a copy of it another."""
        if any(module is self._compute.model for module in model.modules()):
            return self.reader
        if model not in self._others:
            # Not on a batch's inputs: a packed one holds more than tensors.
            self._others[model] = HiddenReader(model, self._probe)
        return self._others[model]

    def _read(
        self, model: torch.nn.Module, inputs: Mapping[str, Any], layer: int, reader: HiddenReader
    ) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        stops = self._compute.accelerator.num_processes == 1

        def take(_: int, hidden: torch.Tensor) -> None:
            if stops:
                raise _LayerReached(hidden)
            kept.append(hidden)

        with reader.listening([layer], take):
            try:
                model(**inputs)
            except _LayerReached as reached:
                kept.append(reached.hidden)
        return kept[0][:, -inputs["input_ids"].shape[1] :]
