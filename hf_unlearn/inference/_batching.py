"""Sequences as models take them: which are read together, and padded how. The only padder and the only planner of batches.

Knows token ids and lengths. Does not know what is read.
"""

import itertools
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from hf_unlearn.functional import IGNORE_INDEX, answer_positions
from hf_unlearn.inference._models import rope_switch
from hf_unlearn.inference._views import View


Example = Mapping[str, Any]
"""`input_ids` and `labels` of one sequence; labels are −100 outside the answer, and without any every token is its answer."""
PADDING = 1.1
"""How many tokens a batch may have, padding included, per token that is read."""
CALL_WORK = 1e7
"""What a forward pass costs before it reads anything, in weights × tokens: about a millisecond on a core. Small models are slowed by many
passes more than by padding."""
Content = TypeVar("Content", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences behind each other, right-padded, and where their answers are predicted.

    Attributes:
        input_ids: int64, shape `(sequences, longest)`, 0 after the end.
        attention_mask: 1 up to the end, from lengths; same shape.
        labels: −100 outside the answer; same shape.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What a model's `forward` takes."""
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}

    @property
    def answers(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`(rows, positions, targets)` as from `functional.answer_positions`."""
        return answer_positions(self.labels)

    @property
    def is_answer(self) -> torch.Tensor:
        """Which tokens are of the answer; never the first, which nothing predicts. bool, shape of `input_ids`."""
        wanted = self.labels != IGNORE_INDEX
        wanted[:, 0] = False
        return wanted

    def by_row(self, values: np.ndarray | torch.Tensor) -> list[np.ndarray]:
        """Values of answer tokens, shape `(answer tokens, …)`, cut into one array per sequence."""
        counts = torch.bincount(self.answers[0], minlength=len(self)).numpy()
        return np.split(np.asarray(values), counts.cumsum()[:-1])


def right_padded(examples: Sequence[Example]) -> Batch:
    """A batch of examples; padding that they bring (`attention_mask`) is left out."""
    sequences = [unpadded(example) for example in examples]
    longest = max(len(ids) for ids, _ in sequences)
    input_ids = torch.zeros(len(sequences), longest, dtype=torch.int64)
    attention_mask, labels = torch.zeros_like(input_ids), torch.full_like(input_ids, IGNORE_INDEX)
    for row, (ids, wanted) in enumerate(sequences):
        input_ids[row, : len(ids)] = torch.from_numpy(ids)
        labels[row, : len(ids)] = torch.from_numpy(wanted)
        attention_mask[row, : len(ids)] = 1
    return Batch(input_ids, attention_mask, labels)


def unpadded(example: Example) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels of one sequence without its padding, int64; the ids are the labels where it has none."""
    ids = np.asarray(example["input_ids"], dtype=np.int64)
    labels = ids if example.get("labels") is None else np.asarray(example["labels"], dtype=np.int64)
    if example.get("attention_mask") is None:
        return ids, labels
    real = np.asarray(example["attention_mask"], dtype=bool)
    return ids[real], labels[real]


def batches(
    lengths: Sequence[int], batch_size: int, views: Iterable[View] = (), *, padding: float = PADDING
) -> list[list[int]]:
    """Which sequences are read together: neighbours in length, longest first, so that too large a batch fails at once.

    The plan does not depend on the number of processes.

    Args:
        lengths: Of the sequences (0 of what has none).
        batch_size: Sequences at a time.
        views: Models that read them. No batch has rows on two sides of a length at which one of them changes (`rope_switch`).
        padding: How many tokens a batch may have, padding included, per token of its sequences, or as much more as another pass costs
            (`call_cost`); 1 puts only equal lengths together.

    Raises:
        ValueError: `batch_size` below 1.

    Example:
        >>> batches([2, 9, 8, 2, 9], batch_size=3)
        [[1, 4, 2], [0, 3]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    views = list(views)
    allowed = call_cost(views) if padding > 1 else 0.0
    switches = [switch for view in views if (switch := rope_switch(view.model)) is not None]
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    alike = itertools.groupby(order, key=lambda index: [lengths[index] > switch for switch in switches])
    plan: list[list[int]] = []
    for _, members in alike:
        current: list[int] = []
        tokens = 0
        for index in members:
            tokens += lengths[index]
            padded = (len(current) + 1) * lengths[current[0]] if current else tokens
            if current and (len(current) == batch_size or padded > max(padding * tokens, tokens + allowed)):
                plan.append(current)
                current, tokens = [], lengths[index]
            current.append(index)
        plan.append(current)
    return plan


def call_cost(views: Sequence[View]) -> float:
    """How many tokens could be read for what a pass costs by itself, with the smallest of the models; 0 without models."""
    weights = [sum(weight.numel() for weight in view.model.parameters()) for view in views]
    return CALL_WORK / max(1, min(weights)) if weights else 0.0


def group_equal(contents: Iterable[Content]) -> list[list[int]]:
    """Items of equal content, in order of their first: what is read once for all of them.

    Example:
        >>> group_equal(["a", "b", "a"])
        [[0, 2], [1]]
    """
    groups: dict[Content, list[int]] = {}
    for item, content in enumerate(contents):
        groups.setdefault(content, []).append(item)
    return list(groups.values())


def asked_for(plan: Iterable[list[int]], groups: Sequence[Sequence[int]], chosen: Collection[int]) -> list[list[int]]:
    """The batches with a sequence of which a chosen item is one. They stay whole, so that what is read of an item does not hang on which
    others are asked for: a reading that goes on after a kill ends in the same numbers, to the last bit.

    Args:
        plan: Batches of sequences.
        groups: Items of each sequence.
        chosen: Items that are asked for.
    """
    return [batch for batch in plan if any(item in chosen for row in batch for item in groups[row])]


def copies(batch: Sequence[int], groups: Sequence[Sequence[int]], chosen: Collection[int]) -> list[tuple[int, int]]:
    """For every chosen item of a batch, its sequence's place in the batch, and the item."""
    return [(place, item) for place, row in enumerate(batch) for item in groups[row] if item in chosen]


def chosen_items(items: Sequence[int] | None, count: int) -> frozenset[int]:
    """Which of `count` items are wanted; all where none are named.

    Raises:
        ValueError: One that does not exist.
    """
    chosen = frozenset(range(count) if items is None else map(int, items))
    unknown = sorted(chosen.difference(range(count)))
    if unknown:
        raise ValueError(f"there is no item {unknown[0]}; items go from 0 to {count - 1}.")
    return chosen
