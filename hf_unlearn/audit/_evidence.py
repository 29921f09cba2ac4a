"""Evidence: rows on disk, keyed by model + data + settings, so that a long audit resumes and nothing computed is lost.

Knows when rows hold and when they are kept. Rows may hold numbers about forget data and token ids that models drew for it, so they stay
where the user put them and are never published.
"""

import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from hf_unlearn.audit._shards import DamagedShardError, ShardError, Shelf, items_of, storage
from hf_unlearn.inference import agreed, is_main_process, on_all_processes


logger = logging.getLogger(__name__)
EVIDENCE_VERSION = 3
"""Counted up whenever equal models, data and settings would leave other rows than before."""
SHARD_SECONDS = 2.0
"""At least this much work is worth a file; of a long reading, a fiftieth of the time it has taken."""


class EvidenceStore:
    """Rows by label and key, in one folder, in shards that are written while a reading is under way.

    Args:
        folder: A path, or a URL of fsspec ("s3://…"); created if needed. None keeps nothing.
    """

    def __init__(self, folder: str | os.PathLike | None):
        self._storage = None if folder is None else storage(folder)

    def table(
        self,
        label: str,
        key: str,
        count: int,
        compute: Callable[[Sequence[int]], Iterable[pa.Table]],
        *,
        whole: int = 1,
    ) -> pa.Table:
        """The rows of a reading: those that were kept, and what `compute` gives for all others, which is then kept.

        A file that is damaged, or not of this reading, is warned of, computed again and replaced. Storage that cannot take rows costs the
        resumption, not the result: that is warned of too. Under several processes everyone gets all rows, and the main one writes.

        Args:
            label: Names reading, split and subject, for people; equal keys under different labels share nothing.
            key: From `content_key`, of everything that determines the rows, the reading's version included.
            count: How many items there are, numbered from 0; one row each.
            compute: Given the missing items in ascending order, yields their rows in any order; with a column `item` (int64), each item
                once. Under several processes all call it, for the same items, and each yields all rows.
            whole: Items come in groups of so many consecutive ones, which are kept and computed together.

        Returns:
            `count` rows, sorted by item.

        Raises:
            ValueError: There are no items, `count` is no multiple of `whole`, or `compute` yields other items or columns than it should.
        """
        if count < 1 or whole < 1 or count % whole:
            raise ValueError(f"{label}: expected a positive number of items in groups of {whole}, got {count}.")
        shelf = None if self._storage is None else Shelf(*self._storage, label, key)
        kept = {} if shelf is None else _kept(shelf, count, whole)
        held = {item for rows in kept.values() for item in items_of(rows).tolist()}
        missing = [item for item in range(count) if item not in held]
        logger.info("%s: %d of %d rows were kept.", label, len(held), count)
        fresh = list(_fresh(shelf, label, missing, compute, whole)) if missing else []
        if kept and fresh and fresh[0].schema != next(iter(kept.values())).schema:
            logger.warning("the rows kept of %s have other columns than now; they are computed again.", label)
            if shelf is not None and is_main_process():
                for name in kept:
                    shelf.remove(name)
            kept = {}
            fresh += _fresh(shelf, label, sorted(held), compute, whole)
        rows = pa.concat_tables([*kept.values(), *fresh])
        return rows.take(np.argsort(items_of(rows)))


def content_key(*parts: object) -> str:
    """A short key of what determines a result, this library's way of computing it included. Batch size does not.

    Args:
        parts: Plain values, and dataclasses of them: their class counts too.

    Raises:
        TypeError: Anything else.
    """
    plain = json.dumps([EVIDENCE_VERSION, *parts], sort_keys=True, default=_plain)
    return hashlib.sha256(plain.encode()).hexdigest()[:20]


def _plain(part: object) -> object:
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        raise TypeError(f"a key is made of plain values and dataclasses, got {type(part).__name__}.")
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    values.pop("batch_size", None)
    return [type(part).__name__, values]


def _kept(shelf: Shelf, count: int, whole: int) -> dict[str, pa.Table]:
    """The rows of all shards that hold, by file; the same on every process."""
    found = _valid(shelf, count, whole) if is_main_process() else {}
    names = agreed(list(found))
    if not is_main_process():
        found = _readable(shelf, names)
    if on_all_processes(list(found) == names):
        return found
    return agreed(found if is_main_process() else {})  # the others look at another disk


def _valid(shelf: Shelf, count: int, whole: int) -> dict[str, pa.Table]:
    """The rows of all shards that hold; the files of those that never will are removed."""
    found: dict[str, pa.Table] = {}
    held: set[int] = set()
    for name in shelf.names():
        try:
            rows = shelf.read(name)
            items = items_of(rows)
            _check_items(items, held, count, whole)
            if found and rows.schema != next(iter(found.values())).schema:
                raise DamagedShardError("it has other columns than the shards before it")
        except ShardError as error:
            logger.warning("%s is not used, what only it holds is computed again: %s.", shelf.path(name), error)
            if isinstance(error, DamagedShardError):
                shelf.remove(name)
        else:
            found[name] = rows
            held.update(items.tolist())
    return found


def _check_items(items: np.ndarray, held: set[int], count: int, whole: int) -> None:
    if len(items) == 0 or items.min() < 0 or items.max() >= count:
        raise DamagedShardError(f"it should hold items from 0 to {count - 1}")
    if len(np.unique(items)) != len(items) or not held.isdisjoint(items.tolist()):
        raise DamagedShardError("it holds items that are there already")
    if not _complete(items, whole).all():
        raise DamagedShardError(f"it holds parts of a group of {whole} items")


def _complete(items: np.ndarray, whole: int) -> np.ndarray:
    """Which items are there with their whole group; shape `(items,)`, bool."""
    _, group, size = np.unique(items // whole, return_inverse=True, return_counts=True)
    return size[group] == whole


def _readable(shelf: Shelf, names: list[str]) -> dict[str, pa.Table]:
    found = {}
    for name in names:
        try:
            found[name] = shelf.read(name)
        except ShardError:
            break
    return found


def _fresh(
    shelf: Shelf | None,
    label: str,
    missing: list[int],
    compute: Callable[[Sequence[int]], Iterable[pa.Table]],
    whole: int,
) -> Iterator[pa.Table]:
    """What `compute` yields, checked, and kept on the way."""
    pending = _Pending(shelf if is_main_process() else None, whole)
    left, schema = set(missing), None
    try:
        for found in compute(missing):
            rows = found.replace_schema_metadata()
            schema = schema or rows.schema
            items = items_of(rows).tolist()
            if rows.schema != schema:
                raise ValueError(f"{label}: rows with the columns\n{rows.schema}\nfollowed rows with\n{schema}")
            if len(set(items)) != len(items) or not left.issuperset(items):
                raise ValueError(f"{label}: rows of {items[:5]}… came twice or were not asked for.")
            left.difference_update(items)
            pending.add(rows)
            yield rows
    finally:
        pending.write()
    if left:
        raise ValueError(f"{label}: no rows came for {len(left)} of {len(missing)} items, {min(left)} among them.")


class _Pending:
    """Rows that wait until they are worth a file."""

    def __init__(self, shelf: Shelf | None, whole: int):
        self.shelf, self.whole = shelf, whole
        self.rows: list[pa.Table] = []
        self.failed = False
        self.started = self.written = time.monotonic()
        self.patience = SHARD_SECONDS

    def add(self, rows: pa.Table) -> None:
        """Take rows, and write what there is if it is time."""
        self.rows.append(rows)
        if time.monotonic() - self.written >= self.patience:
            self.write()

    def write(self) -> None:
        """Write all whole groups; where that fails they go on waiting."""
        if self.shelf is None or not self.rows:
            return
        rows = pa.concat_tables(self.rows)
        ready = _complete(items_of(rows), self.whole)
        try:
            if ready.any():
                self.shelf.write(rows.filter(pa.array(ready)))
            self.rows = [rows.filter(pa.array(~ready))]
            self.patience = max(SHARD_SECONDS, (time.monotonic() - self.started) / 50)
        except Exception as error:  # every kind of storage has errors of its own
            if not self.failed:
                text = "could not keep rows in %s (%s: %s); the run goes on, but cannot resume from here."
                logger.warning(text, self.shelf.folder, type(error).__name__, error)
            self.failed = True
            self.patience *= 2
        self.written = time.monotonic()
