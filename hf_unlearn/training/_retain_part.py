"""The retain term of the loss: the Trainer's own, or one that compares with the original on the Trainer's batches.

Knows a Trainer's model and a retain term. Does not know forget examples, steps or weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import Trainer

from hf_unlearn.inference import HiddenReader
from hf_unlearn.objectives import OriginalModel, RetainTerm
from hf_unlearn.training._forget_term import ForgetTerm, kl_losses
from hf_unlearn.training._quiet import quiet


class RetainPart:
    """What `compute_loss` gives, or what takes its place.

    Args:
        trainer: Whose loss it is.
        retain_term: The retain term.
        term: Of the forget set; knows the model's layers.
        original: To compare with; None: the Trainer's own loss.

    Attributes:
        original: As given.
        layer: Whose hidden states are compared; None: logits are.

    Raises:
        ValueError: A layer that the model does not have, or hidden states of a classifier.
    """

    def __init__(self, trainer: Trainer, retain_term: RetainTerm, term: ForgetTerm, original: OriginalModel | None):
        self.trainer, self.retain_term, self.term, self.original = trainer, retain_term, term, original
        self.layer = self._find_layer()
        self._reader: HiddenReader | None = None

    def loss(
        self,
        compute_loss: Callable,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool,
        num_items_in_batch: Any,
    ) -> Any:
        """What `compute_loss` would give: the loss, with the outputs if they are asked for."""
        if self.original is None:
            return compute_loss(model, inputs, return_outputs, num_items_in_batch)
        plain = {name: value for name, value in inputs.items() if name != "labels"}
        with quiet(self.trainer.model):
            outputs, losses = self._against_original(model, plain, inputs["labels"], return_outputs)
        if not losses.numel():  # rows without a labelled token ask for nothing
            loss = losses.sum()
        elif (
            num_items_in_batch is None
        ):  # the Trainer counts nothing: a mean per micro-batch, as its own loss would be
            loss = losses.mean()
        else:
            # As the Trainer treats its own loss: over all labelled tokens of the step, undoing the mean over processes.
            shared = self.trainer.args.world_size if self.trainer.args.average_tokens_across_devices else 1
            loss = losses.sum() / num_items_in_batch * shared
        return (loss, outputs) if return_outputs else loss

    def _against_original(
        self, model: torch.nn.Module, inputs: dict[str, Any], labels: torch.Tensor, whole: bool
    ) -> tuple[Any, torch.Tensor]:
        """The model's outputs (None where hidden states were enough) and the retain term's losses."""
        assert self.original is not None
        if self.layer is None:
            outputs = model(**inputs)
            with self.trainer.accelerator.autocast():
                original = self.original.logits(inputs)
            if self.term.forget.is_classification:
                return outputs, kl_losses(outputs.logits, original)
            return outputs, self.retain_term(outputs.logits, original, labels)
        outputs = model(**inputs) if whole else None  # somebody wants them, so the pass may not stop at the layer
        hidden = self.term.hidden(model, inputs, self.layer)
        with self.original.asked() as asked, self.trainer.accelerator.autocast():
            before = self._hidden_before(asked, inputs, self.layer)
        return outputs, self.retain_term(hidden, before, labels)

    def _hidden_before(self, asked: torch.nn.Module, inputs: dict[str, Any], layer: int) -> torch.Tensor:
        if asked is self.trainer.model:
            return self.term.hidden(asked, inputs, layer)
        if self._reader is None:
            # Not on these inputs: a packed batch holds more than tensors.
            self._reader = HiddenReader(asked, self.term.probe())
        return self.term.hidden(asked, inputs, layer, self._reader)

    def _find_layer(self) -> int | None:
        if not hasattr(self.retain_term, "layer"):
            return None
        if self.term.forget.is_classification:
            raise ValueError("retain term 'hidden' is for language models; the model is a classifier.")
        if self.term.reader is None:
            self.term.open_layers()
        assert self.term.reader is not None
        layer = self.retain_term.layer or self.term.layer
        if not 1 <= layer <= self.term.reader.depth:
            raise ValueError(
                f"retain term 'hidden' cannot use layer {layer}: the model has layers 1 to {self.term.reader.depth}."
            )
        return int(layer)
