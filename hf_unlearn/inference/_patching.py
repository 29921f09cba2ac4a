"""What each layer contributes to the answer: activation patching between models.

Causal language models only. Gives drops of log-probabilities per layer and example; does not know what follows from them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

import pyarrow as pa
import torch

from hf_unlearn.inference._batching import (
    Batch,
    Example,
    asked_for,
    batches,
    chosen_items,
    copies,
    group_equal,
    right_padded,
    unpadded,
)
from hf_unlearn.inference._hidden import HiddenReader
from hf_unlearn.inference._lens import hidden_reader
from hf_unlearn.inference._logits import LogitReader, Pass, joined, passes
from hf_unlearn.inference._memory import halves
from hf_unlearn.inference._models import rope_switch, undisturbed
from hf_unlearn.inference._rounds import rounds
from hf_unlearn.inference._views import Viewable, open_view, tell_apart


def patching_effects(
    original: Viewable,
    donor: Viewable,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "patching",
) -> torch.Tensor:
    """How much of the answer the original loses when one of its layers gives the donor's states instead: `patching_tables`, kept.

    Returns:
        Drop of the mean token log-probability, nats per token; float64, shape `(examples, layers)`, on every process.

    Raises:
        ValueError: As `patching_tables`.
    """
    tables = patching_tables(original, donor, examples, batch_size=batch_size, progress=progress, label=label)
    found = pa.concat_tables(list(tables)).sort_by("item")
    return torch.tensor(found["effects"].to_pylist(), dtype=torch.float64)


def patching_tables(
    original: Viewable,
    donor: Viewable,
    examples: Sequence[Example],
    *,
    items: Sequence[int] | None = None,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "patching",
) -> Iterator[pa.Table]:
    """How much of the answer the original loses when one of its layers gives the donor's states instead (after arXiv 2605.24614).

    At the positions that predict answer tokens, the output of one block of the original is replaced by the donor's, one block at a
    time: one forward pass per layer, one of the donor and one of the original as it is.

    Args:
        original: The model before unlearning.
        donor: Reference or candidate, of the same depth and width; told apart from the original where they share weights.
        examples: `input_ids` and `labels`.
        items: Which of them to give out, by number; default: all. Their batches are read whole (`asked_for`).
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Tables, together every item once, in no particular order, on every process: `item`, and `effects`, per layer from the first the drop
        of the mean token log-probability, nats per token.

    Raises:
        ValueError: No examples, models whose blocks are not found, or that differ in depth or width.
    """
    if not len(examples):
        raise ValueError("there are no examples to read.")
    chosen = chosen_items(items, len(examples))
    contents = [unpadded(example) for example in examples]
    groups = group_equal((ids.tobytes(), labels.tobytes()) for ids, labels in contents)
    lengths = [len(contents[group[0]][0]) for group in groups]
    same = original is donor
    pair = {"original": original} if same else tell_apart({"original": original, "donor": donor})
    views = [open_view(model) for model in pair.values()] * (2 if same else 1)
    models = [view.model for view in views]

    def read(rows: list[int]) -> tuple[list[int], list[list[float]]]:
        drops = _patch_batch(logits, readers, right_padded([examples[groups[row][0]] for row in rows]))
        wanted = copies(rows, groups, chosen)
        return [item for _, item in wanted], [drops[place].tolist() for place, _ in wanted]

    plan = asked_for(batches(lengths, batch_size, views), groups, chosen)
    if not plan:
        return
    with undisturbed(*models):
        readers = [hidden_reader(view, right_padded([examples[0]])) for view in views]
        if readers[0].depth != readers[1].depth:
            raise ValueError(f"patching needs models of equal depth, got {readers[0].depth} and {readers[1].depth}.")
        logits = LogitReader(views[0])
    work = readers[0].depth + 2

    def tokens(rows: list[int]) -> int:
        return work * len(rows) * lengths[rows[0]]

    for done in rounds(plan, read, models=models, tokens=tokens, split=halves, label=label, progress=progress):
        numbers = [item for _, (found, _) in done for item in found]
        effects = [values for _, (_, found) in done for values in found]
        yield pa.table({"item": pa.array(numbers, pa.int64()), "effects": pa.array(effects, pa.list_(pa.float64()))})


def _patch_batch(logits: LogitReader, readers: Sequence[HiddenReader], batch: Batch) -> torch.Tensor:
    """Drops of the mean log-probability; float64, shape `(sequences, layers)`."""
    rows, positions, targets = batch.answers
    given = _states_at(readers[1], batch)
    device = readers[0].device
    moved = [tensor.to(device) for tensor in (*batch.inputs.values(), rows, positions)]
    counts = torch.bincount(rows, minlength=len(batch))

    def answer(around: Callable[[Pass], AbstractContextManager[None]] | None = None) -> torch.Tensor:
        values = logits.log_probs(logits.states(*moved, around=around), targets)
        return torch.zeros(len(batch), dtype=torch.float64).index_add_(0, rows, values) / counts

    untouched = answer()
    drops = [untouched - answer(partial(_patched, readers[0], layer, states)) for layer, states in given.items()]
    return torch.stack(drops, 1)


def _states_at(reader: HiddenReader, batch: Batch) -> dict[int, torch.Tensor]:
    """Block outputs at the places that predict answer tokens, shape `(places, width)` each."""
    kept: dict[int, list[torch.Tensor]] = {layer: [] for layer in range(1, reader.depth + 1)}
    parts = passes(batch.input_ids, batch.attention_mask, *batch.answers[:2], rope_switch(reader.view.model))
    for part in parts:
        found: dict[int, torch.Tensor] = {}

        def keep(layer: int, hidden: torch.Tensor, part: Pass = part, found: dict[int, torch.Tensor] = found) -> None:
            own = hidden[:, -part.input_ids.shape[1] :]
            found[layer] = own[part.rows.to(hidden.device), part.positions.to(hidden.device)]

        reader.read({"input_ids": part.input_ids, "attention_mask": part.attention_mask}, kept, keep)
        for layer, states in found.items():
            kept[layer].append(states)
    return {layer: joined(parts, values) for layer, values in kept.items()}


def _patched(reader: HiddenReader, layer: int, states: torch.Tensor, part: Pass) -> AbstractContextManager[None]:
    """A pass in which a block gives these states at the places that are read from it."""

    def change(hidden: torch.Tensor) -> torch.Tensor:
        if hidden.shape[-1] != states.shape[-1]:
            raise ValueError(f"patching needs equal widths, got {hidden.shape[-1]} and {states.shape[-1]}.")
        hidden = hidden.clone()
        wanted = states[part.places.to(states.device)]
        places = (part.rows.to(hidden.device), part.positions.to(hidden.device))
        hidden[:, -part.input_ids.shape[1] :][places] = wanted.to(hidden)
        return hidden

    return reader.replacing(layer, change)
