"""Where the original's outputs come from, decided in one place by what is there: an adapter to switch off, an adapter's first weights
to put back, or a frozen copy. Whichever it is, it is shown to stay where it is when the weights in training move."""

import contextlib
import copy
import functools
import logging
from collections.abc import Iterator, Mapping

import torch
from peft import PeftModel
from transformers import PreTrainedModel


logger = logging.getLogger(__name__)
TOLERANCE = 0.05
"""Of the largest logit: between two answers that should be the same, in whatever precision and order of summation they are computed."""


class OriginalModel:
    """The model as it is now, to be asked later while training has moved on.

    * A PEFT adapter that does nothing yet is switched off when the original is asked, which costs no memory. Whether it does nothing is
      checked by running the model with and without it.
    * Any other PEFT model (trained before, with an initialisation that changed the base weights: PiSSA, OLoRA, FILA, or with base
      weights that train too) keeps a copy of its trainable weights, which take the places of the current ones while the original is
      asked.
    * A model without adapter keeps a frozen copy of itself. A `forward` that somebody has put on the model's instances is left behind:
      TRL's, for one, closes over the model itself, so that the copy would answer with the weights in training.

    All of them are tried out: with every weight in training moved away, the original must still give the same answer.

    Args:
        model: On its device; its weights, mode and random state are not touched.
        probe: A batch of inputs to check on.

    Attributes:
        way: "adapter off", "first adapter weights" or "frozen copy".

    Raises:
        RuntimeError: The original would follow the model, or differs from it already.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, probe: Mapping[str, torch.Tensor]):
        self._model = model
        self._first: dict[str, torch.Tensor] = {}
        if isinstance(model, PeftModel):
            self._first = {name: buffer.detach().clone() for name, buffer in _running(model)}
            self.way = "adapter off"
            if not _adapter_does_nothing(model, probe) or not self._stays(model, probe):
                self.way = "first adapter weights"
                self._first |= {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        else:
            self.way = "frozen copy"
            self._model = _frozen_copy(model)
            with _in_eval_mode(model), torch.no_grad():
                answer = model(**probe).logits
            if not _alike(answer, self.logits(probe)):
                raise RuntimeError(
                    f"a copy of {type(model).__name__} answers differently from the model itself, so that it cannot stand for the "
                    "original: its instance has a forward of its own. Put what that changes into the model's class."
                )
        if not self._stays(model, probe):
            raise RuntimeError(
                f"the original ({self.way}) of {type(model).__name__} still depends on the weights in training, so that every comparison "
                "with it would be one of the model with itself: a hook or a method of the model refers to the model. Remove it, or "
                "train an adapter."
            )
        logger.info("the original's outputs come from: %s", self.way)

    @contextlib.contextmanager
    def asked(self) -> Iterator[PreTrainedModel | PeftModel]:
        """The original, without gradient and without dropout; inside, the training model must not be used."""
        with torch.no_grad():
            if self.way == "frozen copy":
                yield self._model
                return
            current = {name: value.data for name, value in _tensors(self._model) if name in self._first}
            try:
                with _in_eval_mode(self._model):
                    self._put(self._first)
                    assert isinstance(self._model, PeftModel)
                    with self._model.disable_adapter() if self.way == "adapter off" else contextlib.nullcontext():
                        yield self._model
            finally:
                self._put(current)

    def logits(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The original's logits; shape `(batch, length, vocabulary)`, of a classifier `(batch, classes)`."""
        with self.asked() as model:
            return model(**inputs).logits

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Let parameters and buffers point at other tensors; what autograd has kept is not touched."""
        if weights:
            for name, value in _tensors(self._model):
                if name in weights:
                    value.data = weights[name]

    def _stays(self, model: PreTrainedModel | PeftModel, probe: Mapping[str, torch.Tensor]) -> bool:
        """Whether the answer is the same while all weights in training are elsewhere."""
        answer = self.logits(probe)
        with _moved_away(model):
            return _alike(answer, self.logits(probe))


def _frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    copied = copy.deepcopy(model)
    for module in copied.modules():
        # Accelerate's, which places inputs on devices, finds its module as an argument and is copied with it.
        placed = hasattr(module, "_hf_hook") and isinstance(vars(module).get("forward"), functools.partial)
        if not placed:
            vars(module).pop("forward", None)
    return copied.eval().requires_grad_(False)


@contextlib.contextmanager
def _moved_away(model: torch.nn.Module) -> Iterator[None]:
    """Every weight in training points at one and the same number, which costs no memory; then back at what it was."""
    trained = [p for p in model.parameters() if p.requires_grad and type(p.data) is torch.Tensor]
    places = [p.data for p in trained]
    try:
        for parameter in trained:
            parameter.data = parameter.data.new_full((), 0.5).expand(parameter.shape)
        yield
    finally:
        for parameter, place in zip(trained, places, strict=True):
            parameter.data = place


@contextlib.contextmanager
def _in_eval_mode(model: torch.nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def _adapter_does_nothing(model: PeftModel, probe: Mapping[str, torch.Tensor]) -> bool:
    with _in_eval_mode(model):
        active = model(**probe).logits
        with model.disable_adapter():
            return torch.equal(active, model(**probe).logits)


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one.float() - other.float()).abs().max() <= TOLERANCE * one.float().abs().max())


def _running(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What normalisation layers learn without being trained."""
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            yield name, buffer


def _tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from _running(model)
