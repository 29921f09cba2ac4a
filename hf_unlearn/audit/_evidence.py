"""Evidence: rows on disk, keyed by model + data + settings, so that a long audit resumes and nothing computed is lost.

Knows files and hashes. Rows may hold indices and numbers about forget data, never texts; still they stay on this machine.
"""

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow.parquet
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hf_unlearn._files import write_atomically
from hf_unlearn.inference import AnswerRows, ScoredRows, is_main_process, load_rows, on_all_processes


logger = logging.getLogger(__name__)
Rows = TypeVar("Rows", ScoredRows, AnswerRows)
Kept = TypeVar("Kept")
EVIDENCE_VERSION = 2
"""Counted up whenever equal models, data and settings would leave other rows or arrays than before."""


class EvidenceStore:
    """Rows and arrays by name and key, in one folder.

    Args:
        folder: Created if needed; None keeps nothing.
    """

    def __init__(self, folder: str | os.PathLike | None):
        self.folder = None if folder is None else Path(folder)

    def rows(self, name: str, key: str, compute: Callable[[], Rows]) -> Rows:
        """What was kept under this name and key, or else what `compute` gives, which is then kept.

        A disk that cannot take the rows costs the resumption, not the result: it is logged and the rows are returned.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}-{key}.parquet"
        kept = _read(path, load_rows)
        if kept is not None:
            return kept  # type: ignore[return-value]
        rows = compute()
        self._keep(path, lambda target: pyarrow.parquet.write_table(rows.table, target))
        return rows

    def arrays(self, name: str, key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The same for arrays by name, as safetensors."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}-{key}.safetensors"
        kept = _read(path, load_file)
        if kept is not None:
            return kept
        arrays = compute()
        self._keep(path, lambda target: save_file(arrays, target))
        return arrays

    def _keep(self, path: Path, write: Callable[[Path], object]) -> None:
        if is_main_process():
            try:
                write_atomically(path, write)
            except (OSError, SafetensorError) as error:
                logger.warning("could not keep %s (%s); the run goes on, but cannot resume from here.", path, error)


def _read(path: Path, load: Callable[[Path], Kept]) -> Kept | None:
    """What is in a file, or None where it is missing or damaged; the same answer on every process."""
    kept = None
    if path.is_file():
        try:
            kept = load(path)
        except (OSError, ValueError, SafetensorError, pyarrow.ArrowException) as error:
            logger.warning("%s is damaged and is computed again (%s).", path, error)
    if not on_all_processes(kept is not None):
        return None
    logger.info("using %s", path)
    return kept


def content_key(*parts: object) -> str:
    """A short key of what determines a result, this library's way of computing it included. Batch size does not."""
    plain = [EVIDENCE_VERSION, *(_plain(part) for part in parts)]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:20]


def _plain(part: object) -> object:
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        values = dataclasses.asdict(part)
        values.pop("batch_size", None)
        return values
    return part
