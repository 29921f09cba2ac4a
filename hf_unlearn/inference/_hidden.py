"""A model's hidden states, layer by layer, as they appear: block outputs through hooks, so that no layer has to wait for the others.

Layer 0 is what the first block receives, layer ℓ what block ℓ gives. transformers' own `hidden_states[-1]` is after the final norm, which
is why the blocks themselves are asked; where they cannot be found, which is checked on real input, `hidden_states` is taken as it is.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft import PeftModel

from hf_unlearn.inference._models import base_model
from hf_unlearn.inference._placement import input_device
from hf_unlearn.inference._views import Viewable, open_view


logger = logging.getLogger(__name__)
Consume = Callable[[int, torch.Tensor], None]
"""Takes a layer's number and its states, shape `(batch, tokens, width)`, at once or never: they are not kept."""


class NoHiddenStatesError(ValueError):
    """A model whose layers cannot be read."""


class HiddenReader:
    """Reads the layers of one model.

    Args:
        model: Any transformers or PEFT model that has hidden states, or one in its role.
        sample: Inputs of one example, to see where the layers are.

    Attributes:
        depth: Number of layers after the embeddings.
        blocks: The blocks themselves, or None.
        has_blocks: Whether block outputs are read (and can be replaced); else `hidden_states` as the model gives them.

    Raises:
        NoHiddenStatesError: The model gives no hidden states, or none of shape `(batch, tokens, width)`.
    """

    def __init__(self, model: Viewable, sample: Mapping[str, torch.Tensor]):
        self.view = open_view(model, kind="any")
        whole = base_model(self.view.model)
        body = getattr(whole, getattr(whole, "base_model_prefix", "") or "_", None)
        self.body: torch.nn.Module = whole
        # A soft prompt is put in by the wrapper; the body alone would not see it.
        if isinstance(body, torch.nn.Module) and not isinstance(whole, PeftModel):
            self.body = body
        self.device = input_device(self.view.model)
        soft = self.view.model.active_peft_config if isinstance(self.view.model, PeftModel) else None
        self._virtual = int(soft.num_virtual_tokens) if soft is not None and soft.is_prompt_learning else 0
        self._arguments = {"use_cache": False} if hasattr(whole.config.get_text_config(), "use_cache") else {}
        self._maps = "pixel_values" in sample and "input_ids" not in sample
        self.blocks, self.depth = self._find(sample)
        self.has_blocks = self.blocks is not None

    def read(self, inputs: Mapping[str, torch.Tensor], layers: Collection[int], consume: Consume) -> None:
        """One forward pass; hands over each wanted layer.

        Args:
            inputs: Of a batch, as the model's `forward` takes them.
            layers: Numbers from 0 to `depth`.
            consume: Receives them.

        Raises:
            NoHiddenStatesError: States that are not of the tokens that were given.
        """
        if self.blocks is None:
            states = self._forward(inputs, output_hidden_states=True).hidden_states
            for layer in sorted(layers):
                consume(layer, self.of_tokens(layer, states[layer], inputs))
            return
        with self.listening(layers, lambda layer, states: consume(layer, self.of_tokens(layer, states, inputs))):
            self._forward(inputs)

    @contextmanager
    def listening(self, layers: Collection[int], consume: Consume) -> Iterator[None]:
        """Hand over layers of whatever forward passes happen inside."""
        assert self.blocks is not None
        with ExitStack() as hooks:
            for layer in layers:
                hooks.enter_context(_tap(self.blocks, layer, consume, maps=self._maps))
            yield

    @contextmanager
    def replacing(self, layer: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Let a block's output (layers from 1) be replaced in the forward passes inside."""
        assert self.blocks is not None

        def hook(module: torch.nn.Module, arguments: tuple, output: Any) -> Any:
            if isinstance(output, torch.Tensor):
                return change(output)
            return (change(output[0]), *output[1:])

        handle = self.blocks[layer - 1].register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def before_and_after(
        self, body: torch.nn.Module, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last block's output, and what the model's body makes of it, for the same tokens; shape `(batch, tokens, width)`."""
        last: dict[int, torch.Tensor] = {}
        final: list[torch.Tensor] = []
        handle = body.register_forward_hook(lambda module, arguments, answer: final.append(answer.last_hidden_state))
        try:
            with self.listening([self.depth], last.__setitem__):
                self._forward(inputs)
        finally:
            handle.remove()
        return last[self.depth], final[0]

    def _forward(self, inputs: Mapping[str, torch.Tensor], **arguments: bool) -> Any:
        moved = {name: value.to(self.device) for name, value in inputs.items()}
        with self.view.active():
            return self.body(**moved, **self._arguments, **arguments, return_dict=True)

    def _find(self, sample: Mapping[str, torch.Tensor]) -> tuple[torch.nn.ModuleList | None, int]:
        """The list of blocks whose outputs are the model's own hidden states, up to the last one, which may be normed later."""
        seen: dict[int, dict[int, torch.Tensor]] = {}
        lists = [module for module in self.body.modules() if isinstance(module, torch.nn.ModuleList) and len(module)]
        with ExitStack() as hooks:
            for number, blocks in enumerate(lists):
                outputs = seen.setdefault(number, {})
                for layer in range(1, len(blocks) + 1):
                    hooks.enter_context(_tap(blocks, layer, outputs.__setitem__, maps=self._maps))
            try:
                states = getattr(self._forward(sample, output_hidden_states=True), "hidden_states", None)
            except TypeError:  # a forward that does not know the argument
                states = None
        if not states:
            raise NoHiddenStatesError(
                f"{type(self.body).__name__} gives no hidden_states, so its layers cannot be compared; pass features instead."
            )
        depth = len(states) - 1
        for number, blocks in enumerate(lists):
            if len(blocks) == depth and _are_hidden_states(seen[number], states):
                return blocks, depth
        logger.info("the blocks of %s were not found; its hidden_states are used.", type(self.body).__name__)
        for layer, layer_states in enumerate(states):
            self.of_tokens(layer, layer_states, sample)
        return None, depth

    def of_tokens(self, layer: int, states: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """States of shape `(batch, tokens, width)`, of the very tokens that were given; a soft prompt adds its own in front."""
        tokens = _as_tokens(states, maps=self._maps)
        text = "input_ids" in inputs
        given = inputs["input_ids"].shape if text else next(iter(inputs.values())).shape
        lengths = {given[1], given[1] + self._virtual} if text else None
        if tokens is None or len(tokens) != given[0] or (lengths is not None and tokens.shape[1] not in lengths):
            expected = (given[0], given[1] if text else "tokens", "width")
            raise NoHiddenStatesError(
                f"layer {layer} of {type(self.body).__name__} has states of shape {tuple(states.shape)}, not {expected} as one state per "
                "token would have, so its layers cannot be compared; pass features instead."
            )
        return tokens


def _are_hidden_states(outputs: Mapping[int, torch.Tensor], states: Sequence[torch.Tensor]) -> bool:
    """Whether blocks gave what the model calls its hidden states; these begin before the first block, or (Mamba) after it. The last one
    may have been normed since."""
    depth = len(states) - 1
    if set(outputs) != set(range(1, depth + 1)):
        return False
    own = [outputs[layer][..., -states[layer].shape[-2] :, :] for layer in range(1, depth + 1)]
    if own[-1].shape != states[-1].shape:
        return False
    before = all(_equal(own[layer - 1], states[layer]) for layer in range(1, depth))
    return before or all(_equal(own[layer - 1], states[layer - 1]) for layer in range(1, depth + 1))


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b.to(a.device))


@contextmanager
def _tap(blocks: torch.nn.ModuleList, layer: int, consume: Consume, *, maps: bool) -> Iterator[None]:
    """Hands over what is of the shape of hidden states, and nothing else."""
    if layer == 0:

        def before(module: torch.nn.Module, arguments: tuple, named: dict[str, torch.Tensor]) -> None:
            received = arguments[0] if arguments else named["hidden_states"]
            tokens = _as_tokens(received, maps=maps)
            consume(0, received if tokens is None else tokens)

        handle = blocks[0].register_forward_pre_hook(before, with_kwargs=True)
    else:

        def after(module: torch.nn.Module, arguments: tuple, output: Any) -> None:
            states = (
                output
                if isinstance(output, torch.Tensor)
                else output[0]
                if isinstance(output, (tuple, list))
                else None
            )
            tokens = _as_tokens(states, maps=maps) if isinstance(states, torch.Tensor) else None
            if tokens is not None:
                consume(layer, tokens)

        handle = blocks[layer - 1].register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _as_tokens(states: torch.Tensor, *, maps: bool) -> torch.Tensor | None:
    """States of shape `(batch, tokens, width)`, or None; of images feature maps `(batch, channels, height, width)` are tokens too."""
    if maps and states.dim() == 4:
        return states.flatten(2).transpose(1, 2)
    return states if states.dim() == 3 else None
