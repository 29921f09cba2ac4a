"""What each layer contributes to the answer: activation patching between models, and the logit lens.

Causal language models only. Gives log-probabilities per layer and example; does not know what follows from them.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import torch
from peft import PeftModel

from hf_unlearn.functional import answer_positions
from hf_unlearn.inference._consistency import resolution
from hf_unlearn.inference._features import batches
from hf_unlearn.inference._hidden import HiddenReader, NoHiddenStatesError
from hf_unlearn.inference._models import base_model, rope_switch, undisturbed
from hf_unlearn.inference._reading import LogitReader, Pass, chunk_length, joined, passes
from hf_unlearn.inference._scoring import Example, _right_padded
from hf_unlearn.inference._sharding import gather, my_share
from hf_unlearn.inference._views import View, Viewable, open_view, tell_apart


logger = logging.getLogger(__name__)
FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "ln_out")


def patching_effects(
    original: Viewable,
    donor: Viewable,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "patching",
) -> torch.Tensor:
    """How much of the answer the original loses when one of its layers gives the donor's states instead (after arXiv 2605.24614).

    At the positions that predict answer tokens, the output of one block of the original is replaced by the donor's, one block at a
    time: one forward pass per layer.

    Args:
        original: The model before unlearning.
        donor: Reference or candidate, of the same depth and width; told apart from the original where they share weights.
        examples: `input_ids` and `labels`, unpadded.
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Drop of the mean token log-probability, nats per token; float64, shape `(examples, layers)`, on every process.

    Raises:
        ValueError: No examples, models whose blocks are not found, or that differ in depth or width.
    """
    same = original is donor
    pair = {"original": original} if same else tell_apart({"original": original, "donor": donor})
    views = [open_view(model) for model in pair.values()] * (2 if same else 1)
    with undisturbed(*(view.model for view in views)):
        readers = [_hidden_reader(view, examples) for view in views]
        if readers[0].depth != readers[1].depth:
            raise ValueError(f"patching needs models of equal depth, got {readers[0].depth} and {readers[1].depth}.")
        result = torch.zeros(len(examples), readers[0].depth, dtype=torch.float64)
        logits, done = LogitReader(views[0]), []
        for batch in my_share(batches(examples, batch_size, views), label=label, progress=progress):
            done.append((batch, _patch_batch(logits, readers, [examples[index] for index in batch])))
    for batch, drops in gather(done):
        result[batch] = drops
    return result


def lens_log_probs(
    model: Viewable,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "logit lens",
) -> torch.Tensor | None:
    """What the model's own final norm, output layer, and soft caps or scales after it, read of the answer at each layer.

    Args:
        model: A causal language model.
        examples: `input_ids` and `labels`, unpadded.
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Mean token log-probability, nats per token; float64, shape `(examples, layers)`, on every process; at the last layer it is the
        model's own. None, and the log says why, where that does not hold, because the way from the last block to the logits is not found.

    Raises:
        ValueError: No examples, or a model whose blocks are not found.
    """
    view = open_view(model)
    with undisturbed(view.model):
        reader = _hidden_reader(view, examples)
        inner = base_model(view.model)
        # A soft prompt ends where the layers begin: what follows them is the model's without it.
        rest = LogitReader(replace(view, model=inner.get_base_model() if isinstance(inner, PeftModel) else inner))
        norm = _final_norm(reader, rest, examples)
        if norm is None:
            logger.warning(
                "no logit lens for %s: what it makes of its last block's output (a final norm, then the output layer) was not found.",
                type(inner).__name__,
            )
            return None
        result = torch.zeros(len(examples), reader.depth, dtype=torch.float64)
        done = []
        for batch in my_share(batches(examples, batch_size, [view]), label=label, progress=progress):
            rows, positions, targets, inputs = _answers([examples[index] for index in batch])
            kept = _states_at(reader, inputs, rows, positions)
            columns = [
                _mean_log_prob(lambda states: rest.logits(norm(states)), kept[layer], targets, rows, len(batch))
                for layer in range(1, reader.depth + 1)
            ]
            done.append((batch, torch.stack(columns, 1)))
    for batch, values in gather(done):
        result[batch] = values
    return result


def _hidden_reader(view: View, examples: Sequence[Example]) -> HiddenReader:
    if not len(examples):
        raise ValueError("there are no examples to read.")
    reader = HiddenReader(view, {"input_ids": torch.tensor([list(examples[0]["input_ids"])])})
    if not reader.has_blocks:
        raise NoHiddenStatesError(
            f"the blocks of {type(view.model).__name__} were not found, so single layers cannot be read or replaced."
        )
    return reader


def _answers(
    examples: Sequence[Example],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    input_ids, attention_mask, labels = _right_padded(examples)
    rows, positions, targets = answer_positions(labels)
    return rows, positions, targets, {"input_ids": input_ids, "attention_mask": attention_mask}


def _states_at(
    reader: HiddenReader, inputs: Mapping[str, torch.Tensor], rows: torch.Tensor, positions: torch.Tensor
) -> dict[int, torch.Tensor]:
    """Block outputs at the places that predict answer tokens, shape `(places, width)` each."""
    kept: dict[int, list[torch.Tensor]] = {layer: [] for layer in range(1, reader.depth + 1)}
    parts = passes(inputs["input_ids"], inputs["attention_mask"], rows, positions, rope_switch(reader.view.model))
    for part in parts:

        def keep(layer: int, hidden: torch.Tensor, part: Pass = part) -> None:
            own = hidden[:, -part.input_ids.shape[1] :]
            kept[layer].append(own[part.rows.to(hidden.device), part.positions.to(hidden.device)])

        reader.read({"input_ids": part.input_ids, "attention_mask": part.attention_mask}, kept, keep)
    return {layer: joined(parts, values) for layer, values in kept.items()}


def _patch_batch(logits: LogitReader, readers: Sequence[HiddenReader], examples: Sequence[Example]) -> torch.Tensor:
    rows, positions, targets, inputs = _answers(examples)
    given = _states_at(readers[1], inputs, rows, positions)
    device = readers[0].device
    places = [tensor.to(device) for tensor in (rows, positions)]
    moved = [inputs[name].to(device) for name in ("input_ids", "attention_mask")]

    def answer(around: Callable[[Pass], AbstractContextManager[None]] | None = None) -> torch.Tensor:
        states = logits.states(*moved, *places, around=around)
        return _mean_log_prob(logits.logits, states, targets, rows, len(examples))

    untouched = answer()
    drops = [untouched - answer(partial(_patched, readers[0], layer, states)) for layer, states in given.items()]
    return torch.stack(drops, 1)


def _patched(reader: HiddenReader, layer: int, states: torch.Tensor, part: Pass) -> AbstractContextManager[None]:
    """A pass in which a block gives these states at the places that are read from it."""

    def change(hidden: torch.Tensor) -> torch.Tensor:
        if hidden.shape[-1] != states.shape[-1]:
            raise ValueError(f"patching needs equal widths, got {hidden.shape[-1]} and {states.shape[-1]}.")
        hidden = hidden.clone()
        wanted = states[part.places.to(states.device)]
        hidden[:, -part.input_ids.shape[1] :][part.rows, part.positions] = wanted.to(hidden)
        return hidden

    return reader.replacing(layer, change)


def _mean_log_prob(
    head: Callable[[torch.Tensor], torch.Tensor],
    states: torch.Tensor,
    targets: torch.Tensor,
    rows: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """Mean log-probability of the answer tokens of each example; float64, shape `(examples,)`."""
    values, start = [], 0
    length = chunk_length(head(states[:1]).shape[-1], states.device)
    while start < len(targets):
        at = slice(start, start + length)
        log_probs = head(states[at]).float().log_softmax(-1)
        values.append(log_probs.gather(1, targets[at, None].to(log_probs.device))[:, 0].double().cpu())
        start += length
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, rows.cpu(), torch.cat(values))
    return sums / torch.bincount(rows.cpu(), minlength=count)


def _final_norm(reader: HiddenReader, rest: LogitReader, examples: Sequence[Example]) -> torch.nn.Module | None:
    """The module that turns the last block's output into what the rest of the model goes on from, tried on real input."""
    rows, positions, _, inputs = _answers(examples[:1])
    at = [tensor.to(reader.device) for tensor in (rows, positions)]
    states = rest.states(*(inputs[name].to(reader.device) for name in ("input_ids", "attention_mask")), *at)
    if rest.body is None or not len(states):
        return None
    last, final = reader.before_and_after(rest.body, inputs)
    candidates = [
        module
        for name, module in rest.body.named_modules()
        if name.rsplit(".", 1)[-1] in FINAL_NORMS and name.count(".") <= 1
    ]
    for module in (*candidates, torch.nn.Identity()):
        try:
            normed = module(last)
        except (RuntimeError, TypeError):
            continue
        size = max(1.0, float(final.abs().max()))
        if normed.shape == final.shape and (normed - final).abs().max() <= 8 * resolution(reader.view.model) * size:
            return module
    return None
