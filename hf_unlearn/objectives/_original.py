"""Where the original's outputs come from, decided in one place by what is there: an adapter to switch off, an adapter's first weights
to put back, or a frozen copy."""

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping

import torch
from peft import PeftModel
from transformers import PreTrainedModel


logger = logging.getLogger(__name__)


class OriginalModel:
    """The model as it is now, to be asked later while training has moved on.

    * A PEFT adapter that does nothing yet is switched off when the original is asked, which costs no memory. Whether it does nothing is
      checked by running the model with and without it.
    * Any other PEFT model (trained before, or with an initialisation that changed the base weights: PiSSA, OLoRA, FILA) keeps a copy of
      its trainable weights, which take the places of the current ones while the original is asked.
    * A model without adapter keeps a frozen copy of itself.

    Args:
        model: On its device; its mode and random state are not touched.
        probe: A batch of inputs to check on.

    Attributes:
        way: "adapter off", "first adapter weights" or "frozen copy".
    """

    def __init__(self, model: PreTrainedModel | PeftModel, probe: Mapping[str, torch.Tensor]):
        self._model = model
        self._first: dict[str, torch.Tensor] = {}
        if isinstance(model, PeftModel) and _adapter_does_nothing(model, probe):
            self.way = "adapter off"
        elif isinstance(model, PeftModel):
            self.way = "first adapter weights"
            self._first = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        else:
            self.way = "frozen copy"
            self._model = copy.deepcopy(model).eval().requires_grad_(False)
        logger.info("the original's outputs come from: %s", self.way)

    @contextlib.contextmanager
    def asked(self) -> Iterator[PreTrainedModel | PeftModel]:
        """The original, without gradient and without dropout; inside, the training model must not be used."""
        with torch.no_grad():
            if self.way == "frozen copy":
                yield self._model
                return
            modes = [(module, module.training) for module in self._model.modules()]
            current = {name: p.data for name, p in self._model.named_parameters() if name in self._first}
            try:
                self._model.eval()
                self._put(self._first)
                assert isinstance(self._model, PeftModel)
                with self._model.disable_adapter() if self.way == "adapter off" else contextlib.nullcontext():
                    yield self._model
            finally:
                self._put(current)
                for module, training in modes:
                    module.training = training

    def logits(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The original's logits; shape `(batch, length, vocabulary)`, of a classifier `(batch, classes)`."""
        with self.asked() as model:
            return model(**inputs).logits

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Let parameters point at other tensors; what autograd has kept is not touched."""
        if weights:
            for name, parameter in self._model.named_parameters():
                if name in weights:
                    parameter.data = weights[name]


@torch.no_grad()
def _adapter_does_nothing(model: PeftModel, probe: Mapping[str, torch.Tensor]) -> bool:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        active = model(**probe).logits
        with model.disable_adapter():
            return torch.equal(active, model(**probe).logits)
    finally:
        for module, training in modes:
            module.training = training
