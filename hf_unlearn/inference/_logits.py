"""A model's logits at answer positions, a chunk at a time, so that memory follows the chunk and not positions × vocabulary.

Knows how to stop a model before its output layer and to let it go on from there later, soft caps and scales included. Does not know
what is computed from logits.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from hf_unlearn.inference._consistency import check_causal, resolution
from hf_unlearn.inference._memory import is_out_of_memory
from hf_unlearn.inference._models import base_model, rope_switch
from hf_unlearn.inference._placement import input_device
from hf_unlearn.inference._views import Viewable, open_view


logger = logging.getLogger(__name__)

# Logits held at once. On a CPU a chunk should stay near the cache; an accelerator wants fewer, larger kernels.
CPU_CHUNK = 1 << 21
ACCELERATOR_CHUNK = 1 << 25
LOOKED_AT = 16
"""Tokens of the first sequence on which a model is tried before it is read."""


@dataclass(frozen=True)
class Pass:
    """One forward pass over rows of a batch, and the places that are read from it.

    Attributes:
        input_ids: Shape `(rows, length)`.
        attention_mask: Of the same shape.
        rows: Of the places, counted in this pass; shape `(places,)`.
        positions: Shape `(places,)`.
        places: Which of all places these are; shape `(places,)`.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    rows: torch.Tensor
    positions: torch.Tensor
    places: torch.Tensor


def passes(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    rows: torch.Tensor,
    positions: torch.Tensor,
    switch: int | None,
) -> list[Pass]:
    """How a batch is read so that each prefix is met as in generation: where the model turns positions otherwise beyond a length
    (`rope_switch`), no longer row may change how a shorter prefix is read.

    Args:
        input_ids: Right-padded, shape `(batch, length)`.
        attention_mask: Of the same shape.
        rows: Shape `(places,)`.
        positions: Shape `(places,)`.
        switch: That length.
    """
    everything = torch.arange(len(rows), device=rows.device)
    if switch is None or input_ids.shape[1] <= switch or not len(rows):
        return [Pass(input_ids, attention_mask, rows, positions, everything)]
    early, found = positions < switch, []
    if early.any():
        short = (input_ids[:, :switch], attention_mask[:, :switch])
        found.append(Pass(*short, rows[early], positions[early], everything[early]))
    if not early.all():
        kept, renumbered = rows[~early].unique(return_inverse=True)
        found.append(Pass(input_ids[kept], attention_mask[kept], renumbered, positions[~early], everything[~early]))
    return found


def joined(parts: Sequence[Pass], values: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the passes gave, in the order of all places."""
    order = torch.cat([part.places for part in parts]).argsort()
    return torch.cat(list(values))[order.to(values[0].device)]


class LogitReader:
    """Reads one model: first the states before the output layer, then logits for some of them.

    Where the output layer, or the rest of the model's own `forward` after its body, does not turn the body's states into the model's
    logits (prompt learning, no such parts), which is tried on real input, the states are the logits themselves: right, but as large
    as they are.

    Args:
        model: A causal language model, or one in its role.

    Attributes:
        view: The model in its role.
        model: What is asked.
        device: Where its inputs are put.
        body: What comes before the output layer; None where states are logits (known after the first reading).

    Raises:
        ValueError: From the first reading: a model that looks ahead.
    """

    def __init__(self, model: Viewable):
        self.view = open_view(model)
        self.model = base_model(self.view.model)
        self.device = input_device(self.model)
        self.body: torch.nn.Module | None = _body(self.model)
        self._head = self.model.get_output_embeddings()
        self._switch = rope_switch(self.model)
        self._answer: type | None = None
        self._tried = False

    def states(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        rows: torch.Tensor,
        positions: torch.Tensor,
        *,
        around: Callable[[Pass], AbstractContextManager[None]] | None = None,
    ) -> torch.Tensor:
        """What the output layer receives at the given places.

        Args:
            input_ids: Right-padded, shape `(batch, length)`.
            attention_mask: Of the same shape.
            rows: Shape `(positions,)`.
            positions: Shape `(positions,)`; as from `functional.answer_positions`.
            around: What each forward pass happens in.

        Returns:
            Shape `(positions, width)`: hidden states, or logits where the two cannot be told apart safely.
        """
        with self.view.active():
            if not self._tried:
                self._try(input_ids[:1, : min(LOOKED_AT, int(attention_mask[0].sum()))])
            parts, values = passes(input_ids, attention_mask, rows, positions, self._switch), []
            for part in parts:
                with around(part) if around is not None else nullcontext():
                    states = self._all_states(part.input_ids, part.attention_mask)
                values.append(states[part.rows.to(states.device), part.positions.to(states.device)])
            return joined(parts, values)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits for some of the states, shape `(states, vocabulary)`."""
        if self.body is None:
            return states
        with self.view.active():
            return self._head(states) if self._answer is None else self._go_on(states)

    def chunks(self, states: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Logits for all of the states, a chunk at a time: which states, and logits of shape `(chunk, vocabulary)`."""
        if len(states):
            length = chunk_length(self.logits(states[:1]).shape[-1], states.device)
            for start in range(0, len(states), length):
                at = slice(start, start + length)
                yield at, self.logits(states[at])

    def log_probs(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Log-probability of one token after each state, nats; float64 on the CPU, shape `(states,)`."""
        found = []
        for at, logits in self.chunks(states):
            log_p = log_softmax(logits)
            found.append(log_p.gather(1, targets[at, None].to(log_p.device))[:, 0].double().cpu())
        return torch.cat(found)

    def _all_states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
        if self.body is None:
            # Virtual tokens of a soft prompt come first and have logits too.
            return self.model(**inputs).logits[:, -input_ids.shape[1] :]
        return self.body(**inputs).last_hidden_state

    def _go_on(self, states: torch.Tensor) -> torch.Tensor:
        """The model's own `forward` with the body's answer given, so that whatever follows the output layer is applied."""
        assert self.body is not None and self._answer is not None
        given, kept = self._answer(last_hidden_state=states[None]), vars(self.body).get("forward")
        vars(self.body)["forward"] = lambda *args, **kwargs: given
        try:
            placeholder = torch.zeros(1, len(states), dtype=torch.int64, device=states.device)
            return self.model.forward(input_ids=placeholder, use_cache=False).logits[0]
        finally:
            del vars(self.body)["forward"]
            if kept is not None:
                vars(self.body)["forward"] = kept

    def _try(self, input_ids: torch.Tensor) -> None:
        """See on one sequence that the model does not look ahead, and where its states can be taken."""
        if input_ids.shape[1] > 1:
            # Without a wrapper: where an adapter begins (aLoRA) may hang on later tokens without the model looking ahead.
            check_causal(self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model, input_ids)
        if self.body is not None and self._answer is None:
            self._find_body(self.body, input_ids)
        self._tried = input_ids.shape[1] > 1

    def _find_body(self, whole: torch.nn.Module, input_ids: torch.Tensor) -> None:
        try:
            for body in (whole, getattr(whole, "decoder", None)):
                if isinstance(body, torch.nn.Module) and self._can_stop_at(body, input_ids):
                    return
        except BaseException:  # half tried is not tried: memory may suffice the next time
            self.body, self._answer = whole, None
            raise
        logger.info("%s does not go on from given states; reading its full logits.", type(self.model).__name__)
        self.body = None

    def _can_stop_at(self, body: torch.nn.Module, input_ids: torch.Tensor) -> bool:
        found: dict[str, Any] = {}
        self.body = body
        if _head_is_all(self.model, body, self._head, input_ids, found):
            return True
        if "answer" not in found:
            return False
        self._answer = type(found["answer"])
        if self._goes_on_alike(input_ids):
            return True
        self._answer = None
        return False

    def _goes_on_alike(self, input_ids: torch.Tensor) -> bool:
        whole = self.model(input_ids=input_ids, use_cache=False).logits[0].float()
        try:
            states = self._all_states(input_ids, torch.ones_like(input_ids))[0]
            alike = self._go_on(states).float().to(whole.device)
        except (TypeError, AttributeError, RuntimeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            return False
        tolerance = resolution(self.model) * max(1.0, float(whole.abs().max()))
        return alike.shape == whole.shape and bool(((alike - whole).abs() <= 8 * tolerance).all())


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities over the vocabulary, float32 or wider."""
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)


def chunk_length(vocabulary: int, device: torch.device) -> int:
    """How many positions' logits to hold at once."""
    budget = CPU_CHUNK if device.type == "cpu" else ACCELERATOR_CHUNK
    return max(1, budget // vocabulary)


def _body(model: PreTrainedModel | PeftModel) -> torch.nn.Module | None:
    """What comes before the output layer, or nothing where the model is not made of these two."""
    body = None if isinstance(model, PeftModel) else getattr(model, model.base_model_prefix or "_", None)
    if not isinstance(body, torch.nn.Module) or body is model or model.get_output_embeddings() is None:
        return None
    return body


def _head_is_all(
    model: PreTrainedModel,
    body: torch.nn.Module,
    head: torch.nn.Module,
    input_ids: torch.Tensor,
    found: dict[str, Any],
) -> bool:
    """Whether the logits are what the output layer makes of the body's states, and nothing else.

    The output layer's answer is replaced by known numbers, large ones too: a cap or a scale shows whatever the weights are, and in any
    precision.
    """

    def after_body(module: torch.nn.Module, arguments: tuple, answer: Any) -> None:
        found["answer"] = answer

    def after_head(module: torch.nn.Module, arguments: tuple, logits: torch.Tensor) -> torch.Tensor:
        found["received"] = arguments[0] if arguments else None
        known = torch.linspace(-100, 100, logits.shape[-1], dtype=logits.dtype, device=logits.device)
        found["known"] = known.expand_as(logits)
        return found["known"]

    with ExitStack() as hooks:
        for module, hook in ((body, after_body), (head, after_head)):
            hooks.callback(module.register_forward_hook(hook).remove)
        logits = model(input_ids=input_ids, use_cache=False).logits
    states, received = getattr(found.get("answer"), "last_hidden_state", None), found.get("received")
    if states is None or received is None or not torch.equal(received, states.to(received.device)):
        return False
    return torch.equal(logits.float(), found["known"].float().to(logits.device))
