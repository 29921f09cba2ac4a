"""Batches that do not fit into memory are read in halves: what was read stays, and nothing is read twice.

Knows what running out of memory looks like. Does not know what is read.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from weakref import WeakSet

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from hf_unlearn.inference._loading import LoadedModel
from hf_unlearn.inference._models import in_pieces


logger = logging.getLogger(__name__)
Work = TypeVar("Work")
Result = TypeVar("Result")
_WARNED: WeakSet[torch.nn.Module] = WeakSet()
"""Models whose batches were halved before: of each it is said aloud once."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether fewer rows at a time may help: what Accelerate takes for that, and errors of devices and Python that it does not know."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or should_reduce_batch_size(error):
        return True
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


def halves(batch: Sequence[int]) -> Sequence[list[int]]:
    """Both halves of a batch; nothing where it has one row.

    Example:
        >>> halves([7, 3, 5])
        ([7, 3], [5])
        >>> halves([7])
        ()
    """
    middle = (len(batch) + 1) // 2
    return (list(batch[:middle]), list(batch[middle:])) if len(batch) > 1 else ()


class Halving(Generic[Work, Result]):
    """Reads batches; one that does not fit into memory in halves, and so on down to one row. No later batch is as large as one that failed.

    Args:
        read: What is done with a batch. Where it fails it is called again on parts, so it keeps nothing of what it did not return.
        models: That it runs.
        tokens: How much work a batch is.
        split: Its halves; nothing where it cannot be divided.
        label: Names the reading.
    """

    def __init__(
        self,
        read: Callable[[Work], Result],
        models: Sequence[LoadedModel],
        tokens: Callable[[Work], int],
        split: Callable[[Work], Sequence[Work]],
        label: str,
    ):
        self._read, self._models, self._tokens, self._split, self._label = read, models, tokens, split, label
        self._most: int | None = None

    def __call__(self, work: Work) -> list[tuple[Work, Result]]:
        """What was read of a batch: itself, or its parts with theirs.

        Raises:
            torch.OutOfMemoryError: Not even one row fits.
        """
        waiting, done = deque([work]), list[tuple[Work, Result]]()
        while waiting:
            part = waiting.popleft()
            smaller = self._split(part) if self._most is not None and self._tokens(part) > self._most else ()
            if not smaller:
                try:
                    done.append((part, self._read(part)))
                    continue
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    said = f"{type(error).__name__}: {error}"
                # Only here: the exception held what the pass had computed so far.
                clear_device_cache(garbage_collection=True)
                smaller = self._smaller(part, said)
            waiting.extendleft(reversed(smaller))
        return done

    def _smaller(self, part: Work, said: str) -> Sequence[Work]:
        """Parts of a batch that has just failed."""
        smaller = () if any(map(in_pieces, self._models)) else self._split(part)
        if not smaller:
            raise torch.OutOfMemoryError(
                f"{self._label}: out of memory. A batch of {self._tokens(part)} tokens does not fit and cannot be divided: take shorter texts, "
                f"fewer new tokens, half precision (dtype='bfloat16') or several devices (device_map='auto'). ({said})"
            )
        self._most = min(self._most or self._tokens(part), max(map(self._tokens, smaller)))
        is_new = not _WARNED.issuperset(self._models)
        _WARNED.update(self._models)
        logger.log(
            logging.WARNING if is_new else logging.INFO,
            "%s: out of memory with %d tokens at a time; goes on with at most %d. A smaller batch_size saves the attempt; results are the same.",
            self._label,
            self._tokens(part),
            self._most,
        )
        return smaller
