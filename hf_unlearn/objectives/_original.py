"""Where the original's logits come from, decided in one place by what is there: an adapter to switch off, or a frozen copy."""

import copy
import logging
from collections.abc import Mapping

import torch
from peft import PeftModel
from transformers import PreTrainedModel


logger = logging.getLogger(__name__)


class OriginalModel:
    """The model as it is now, to be asked later while training has moved on.

    A PEFT adapter that does nothing yet is switched off when the original is asked, which costs no memory. Whether it does nothing is
    checked by running the model with and without it: an adapter that was trained before, or one whose initialisation changed the
    base weights (PiSSA, OLoRA), does not pass, and a frozen copy is kept, as for a model without adapter.

    Args:
        model: On its device; its mode and random state are not touched.
        probe: A batch (`input_ids`, `attention_mask`) to check on.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, probe: Mapping[str, torch.Tensor]):
        self._switchable = isinstance(model, PeftModel) and _adapter_does_nothing(model, probe)
        self._model = model
        if not self._switchable:
            logger.info("keeping a frozen copy of the original for the retain term")
            self._model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def logits(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The original's logits, without gradient and without dropout; shape `(batch, length, vocabulary)`."""
        if not self._switchable:
            return self._model(**inputs).logits
        modes = [(module, module.training) for module in self._model.modules()]
        try:
            self._model.eval()
            with self._model.disable_adapter():
                return self._model(**inputs).logits
        finally:
            for module, training in modes:
                module.training = training


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
