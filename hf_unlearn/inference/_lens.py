"""The logit lens: what a model's own final norm and output layer read of the answer at each of its layers.

Knows how to find the way from the last block to the logits, and to see that it was found. Does not know which answers are read.
"""

import logging
from dataclasses import replace

import torch
from peft import PeftModel

from hf_unlearn.inference._batching import Batch
from hf_unlearn.inference._consistency import resolution
from hf_unlearn.inference._hidden import HiddenReader, NoHiddenStatesError
from hf_unlearn.inference._logits import LogitReader
from hf_unlearn.inference._memory import is_out_of_memory
from hf_unlearn.inference._models import base_model
from hf_unlearn.inference._views import View


logger = logging.getLogger(__name__)
FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "ln_out")


def hidden_reader(view: View, sample: Batch) -> HiddenReader:
    """A reader of the model's blocks.

    Raises:
        NoHiddenStatesError: They are not found.
    """
    reader = HiddenReader(view, {"input_ids": sample.input_ids[:1, : int(sample.attention_mask[0].sum())]})
    check_blocks(reader)
    return reader


def check_blocks(reader: HiddenReader) -> None:
    """Refuse a model of which single layers cannot be read or replaced."""
    if not reader.has_blocks:
        raise NoHiddenStatesError(
            f"the blocks of {type(reader.view.model).__name__} were not found, so single layers cannot be read or replaced."
        )


class LogitLens:
    """One model's final norm, output layer, and soft caps or scales after it, applied to the states of any layer.

    Args:
        reader: Of its layers.
        logits: Of its logits.
        sample: A batch, on whose first sequence the way from the last block to the logits is tried.

    Attributes:
        found: Whether it was found, so that at the last layer the lens is the model; if not, the log says so.

    Raises:
        NoHiddenStatesError: The model's blocks are not found.
    """

    def __init__(self, reader: HiddenReader, logits: LogitReader, sample: Batch):
        check_blocks(reader)
        self.reader = reader
        inner = base_model(reader.view.model)
        self.rest = logits
        if isinstance(inner, PeftModel):
            # A soft prompt ends where the layers begin: what follows them is the model's without it.
            self.rest = LogitReader(replace(reader.view, model=inner.get_base_model()))
        self._norm = self._find_norm(sample)
        self.found = self._norm is not None
        if not self.found:
            logger.warning(
                "no logit lens for %s: what it makes of its last block's output (a final norm, then the output layer) was not found.",
                type(inner).__name__,
            )

    def log_probs(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Log-probability of each target token, nats; float64 on the CPU, shape `(tokens,)`.

        Args:
            states: A block's outputs where the targets are predicted, shape `(tokens, width)`.
            targets: Shape `(tokens,)`.
        """
        assert self._norm is not None
        return self.rest.log_probs(self._norm(states), targets)

    def _find_norm(self, sample: Batch) -> torch.nn.Module | None:
        """The module that turns the last block's output into what the rest of the model goes on from, tried on real input."""
        places = [tensor.to(self.reader.device) for tensor in (*sample.inputs.values(), *sample.answers[:2])]
        states = self.rest.states(*places)
        if self.rest.body is None or not len(states):
            return None
        last, final = self.reader.before_and_after(self.rest.body, sample.inputs)
        candidates = [
            module
            for name, module in self.rest.body.named_modules()
            if name.rsplit(".", 1)[-1] in FINAL_NORMS and name.count(".") <= 1
        ]
        for module in (*candidates, torch.nn.Identity()):
            try:
                normed = module(last).to(final.device)
            except (RuntimeError, TypeError) as error:
                if is_out_of_memory(error):
                    raise
                continue
            size = max(1.0, float(final.abs().max()))
            near = 8 * resolution(self.reader.view.model) * size
            if normed.shape == final.shape and (normed - final).abs().max() <= near:
                return module
        return None
