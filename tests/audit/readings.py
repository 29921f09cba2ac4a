"""A reading for tests of the evidence: rows with the types that readings use, and a log of what was computed."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa


COUNT = 24


def rows(items: Sequence[int], seed: int = 0) -> pa.Table:
    """One row per item, the same wherever and whenever it is computed."""
    drawn = [np.random.default_rng((seed, item + 1)) for item in items]
    states = [random.normal(size=6).astype(np.float32) for random in drawn]
    return pa.table(
        {
            "item": pa.array(items, pa.int64()),
            "log_prob": pa.array([-random.exponential() for random in drawn], pa.float64()),
            "correct": pa.array([bool(random.integers(2)) for random in drawn]),
            "text": pa.array([None if item % 5 == 0 else f"answer {item}" for item in items]),
            "token_log_probs": pa.array(
                [random.normal(size=random.integers(4)) for random in drawn], pa.list_(pa.float64())
            ),
            "states": pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(states or [np.empty(0)])), 6),
        }
    )


class Reading:
    """Computes rows in batches and remembers for which items.

    Args:
        batch: Items per yielded table.
        seed: Of the rows.
        order: What becomes of the items before they are computed.
    """

    def __init__(self, batch: int = 3, seed: int = 0, order: Callable[[Sequence[int]], Sequence[int]] = list):
        self.batch, self.seed, self.order = batch, seed, order
        self.computed: list[int] = []

    def __call__(self, missing: Sequence[int]) -> Iterator[pa.Table]:
        items = self.order(missing)
        for start in range(0, len(items), self.batch):
            part = list(items[start : start + self.batch])
            self.computed += part
            yield rows(part, self.seed)


def never(missing: Sequence[int]) -> Iterator[pa.Table]:
    """A reading that should not have been computed again."""
    raise AssertionError(f"computed again: {missing}")
