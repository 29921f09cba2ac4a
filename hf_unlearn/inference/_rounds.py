"""The loop over every reading: batches go out to the processes in rounds, and what they found comes back before the next round.

So a reading can be kept round by round, and a kill loses one round. Knows batches and processes, not what is read.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from transformers.utils import logging as hf_logging

from hf_unlearn.inference._loading import LoadedModel
from hf_unlearn.inference._memory import Halving
from hf_unlearn.inference._models import undisturbed
from hf_unlearn.inference._sharding import gather, is_main_process, num_processes, process_rank


ROUND = 4096
"""Tokens of work per round and process, at least."""
Work = TypeVar("Work")
Result = TypeVar("Result")


def rounds(
    plan: Sequence[Work],
    read: Callable[[Work], Result],
    *,
    models: Sequence[LoadedModel],
    tokens: Callable[[Work], int],
    split: Callable[[Work], Sequence[Work]],
    label: str,
    progress: bool = True,
) -> Iterator[list[tuple[Work, Result]]]:
    """Read batch after batch; every process gets every result. A batch that does not fit into memory is read in halves.

    Between two rounds the models are as they were, gradients are recorded again, and random states are the caller's.

    Args:
        plan: All batches, equal on all processes, those of like cost next to each other.
        read: Called for this process's share of them, with the models undisturbed.
        models: That it runs.
        tokens: How much work a batch is.
        split: Its halves; nothing where it cannot be divided.
        label: What the progress bar says.
        progress: Whether to show it (on the main process).

    Yields:
        Each batch of a round, or each part of it, with what was read; in no particular order.

    Raises:
        torch.OutOfMemoryError: Not even one row fits.
    """
    within_memory = Halving(read, models, tokens, split, label)
    dealt = list(_dealt(plan, tokens))
    total = sum(len(mine) for mine in dealt)
    hidden = not progress or not is_main_process() or not total
    with hf_logging.tqdm(total=total, desc=label, disable=hidden, leave=False) as bar:
        for mine in dealt:
            done = []
            with undisturbed(*models):
                for work in mine:
                    done += within_memory(work)
                    bar.update()
            yield gather(done)


def _dealt(plan: Sequence[Work], tokens: Callable[[Work], int]) -> Iterator[Sequence[Work]]:
    """This process's share of each round; a round has equally many batches for every process, as long as there are any."""
    count, start, size = num_processes(), 0, 0
    for end, work in enumerate(plan, start=1):
        size += tokens(work)
        if end == len(plan) or (size >= count * ROUND and (end - start) % count == 0):
            yield shares(plan[start:end], tokens, count)[process_rank()]
            start, size = end, 0


def shares(plan: Sequence[Work], tokens: Callable[[Work], int], count: int) -> list[list[Work]]:
    """A round divided by work: the largest batch first, each to whoever has least; of several the last, since the main process writes too.

    Example:
        >>> shares([5, 4, 3, 3, 3], int, 2)
        [[4, 3, 3], [5, 3]]
    """
    loads, owner = [0] * count, dict[int, int]()
    for place in sorted(range(len(plan)), key=lambda place: -tokens(plan[place])):
        owner[place] = min(range(count), key=lambda rank: (loads[rank], -rank))
        loads[owner[place]] += tokens(plan[place])
    return [[work for place, work in enumerate(plan) if owner[place] == rank] for rank in range(count)]
