"""The retain term of the loss where it compares with the original, on whatever batches the training has.

Knows a model and a retain term. Does not know forget examples, steps, weights or a Trainer.
"""

from typing import Any

import torch

from hf_unlearn.functional import step_divergence
from hf_unlearn.objectives import OriginalModel, RetainTerm, completed_retain
from hf_unlearn.training._forget_term import ForgetTerm
from hf_unlearn.training._quiet import quiet


class RetainPart:
    """What takes the place of the training's own loss.

    Args:
        retain_term: The retain term.
        term: Of the forget set; knows the model and its layers.
        counts: Whether the retain term has a weight at all; without one nothing is compared.

    Attributes:
        original: To compare with; None: the training's own loss is the term.
        layer: Whose hidden states are compared; None: logits are.

    Raises:
        ValueError: A layer that the model does not have, or hidden states of a classifier.
    """

    def __init__(self, retain_term: RetainTerm, term: ForgetTerm, *, counts: bool):
        self.retain_term, self.term = completed_retain(retain_term), term
        self.original: OriginalModel | None = term.original() if retain_term.needs_original and counts else None
        self.layer = self._find_layer() if self.retain_term.compares == "hidden" else None

    def losses(
        self, model: torch.nn.Module, inputs: dict[str, Any], *, whole: bool = False
    ) -> tuple[torch.Tensor, Any]:
        """The retain term of each labelled token (or classified example), without the training's noise, see `quiet`.

        Args:
            model: The model in training, perhaps wrapped.
            inputs: A batch with `labels`.
            whole: Whether somebody wants the outputs, so that the pass may not stop at the layer.

        Returns:
            Shape `(labelled tokens,)`, with gradient; and the model's outputs, None where hidden states were enough.
        """
        assert self.original is not None
        plain = {name: value for name, value in inputs.items() if name != "labels"}
        with quiet(self.term.compute.model):
            if self.layer is None:
                return self._by_logits(self.original, model, plain, inputs["labels"])
            outputs = model(**plain) if whole else None
            hidden = self.term.states().read(model, plain, self.layer)
            with self.original.asked() as asked, self.term.compute.accelerator.autocast():
                before = self.term.states().read_original(asked, plain, self.layer)
            return self.retain_term(hidden, before, inputs["labels"]), outputs

    def _by_logits(
        self, original: OriginalModel, model: torch.nn.Module, inputs: dict[str, Any], labels: torch.Tensor
    ) -> tuple[torch.Tensor, Any]:
        outputs = model(**inputs)
        with self.term.compute.accelerator.autocast():
            before = original.logits(inputs)
        if self.term.forget.is_classification:
            return step_divergence(before, outputs.logits), outputs  # KL(p_o‖p_θ) of classes
        return self.retain_term(outputs.logits, before, labels), outputs

    def _find_layer(self) -> int:
        if self.term.forget.is_classification:
            raise ValueError("retain term 'hidden' is for language models; the model is a classifier.")
        wanted = self.retain_term.layer
        return self.term.layer if wanted is None else self.term.states().check_layer(wanted, "retain term 'hidden'")
