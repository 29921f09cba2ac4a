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
"""Tokens of work per round, at least."""
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
    """This process's share of each round; a round has a batch for every process, as long as there are any."""
    start, size = 0, 0
    for end, work in enumerate(plan, start=1):
        size += tokens(work)
        if end == len(plan) or (size >= ROUND and end - start >= num_processes()):
            yield plan[start + process_rank() : end : num_processes()]
            start, size = end, 0
