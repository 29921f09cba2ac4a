"""A model's logits at answer positions, a chunk at a time, so that memory follows the chunk and not positions × vocabulary.

Knows how to stop a model before its output layer and to apply that layer later. Does not know what is computed from logits.
"""

import logging

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from hf_unlearn.inference._models import base_model


logger = logging.getLogger(__name__)

# Logits held at once. On a CPU a chunk should stay near the cache; an accelerator wants fewer, larger kernels.
CPU_CHUNK = 1 << 21
ACCELERATOR_CHUNK = 1 << 25


class LogitReader:
    """Reads one model: first the states before the output layer, then logits for some of them.

    Where the body followed by the output embedding does not give the model's own logits (soft-capped or scaled logits, prompt
    learning, no such parts), which is checked on real input, the states are the logits themselves: right, but as large as
    they are.

    Args:
        model: A causal language model.
    """

    def __init__(self, model: PreTrainedModel | PeftModel):
        self.model = base_model(model)
        self._body, self._head = _parts(self.model)
        self._checked = False

    def states(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """What the output layer receives at the given places.

        Args:
            input_ids: Right-padded, shape `(batch, length)`.
            attention_mask: Of the same shape.
            rows: Shape `(positions,)`.
            positions: Shape `(positions,)`; as from `functional.answer_positions`.

        Returns:
            Shape `(positions, width)`: hidden states, or logits where the two cannot be told apart safely.
        """
        if self._body is not None and not self._checked:
            self._check(input_ids[:1], attention_mask[:1])
        if self._body is None:
            logits = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
            return logits[rows, positions]
        return self._hidden(input_ids, attention_mask)[rows, positions]

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits for some of the states, shape `(states, vocabulary)`."""
        return states if self._head is None else self._head(states)

    def _hidden(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        assert self._body is not None
        return self._body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state

    def _check(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> None:
        """Compare the two ways on one sequence's real tokens; keep the short one only if they agree."""
        self._checked = True
        assert self._head is not None
        length = int(attention_mask.sum())
        input_ids, attention_mask = input_ids[:, :length], attention_mask[:, :length]
        whole = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits[0, -1].float()
        short = self._head(self._hidden(input_ids, attention_mask)[0, -1]).float()
        tolerance = 1e-4 if self.model.dtype == torch.float32 else 2e-2
        if whole.shape != short.shape or not torch.allclose(whole, short, rtol=tolerance, atol=tolerance):
            logger.info("%s does more than its output layer; reading its full logits.", type(self.model).__name__)
            self._body = self._head = None


def chunk_length(vocabulary: int, device: torch.device) -> int:
    """How many positions' logits to hold at once."""
    budget = CPU_CHUNK if device.type == "cpu" else ACCELERATOR_CHUNK
    return max(1, budget // vocabulary)


def _parts(model: PreTrainedModel | PeftModel) -> tuple[torch.nn.Module | None, torch.nn.Module | None]:
    """The body and the output layer, or nothing where the model is not made of these two."""
    body = None if isinstance(model, PeftModel) else getattr(model, model.base_model_prefix or "_", None)
    head = model.get_output_embeddings()
    if body is None or body is model or head is None:
        return None, None
    return body, head
