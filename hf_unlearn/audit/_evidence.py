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
from safetensors.numpy import load_file, save_file

from hf_unlearn._files import write_atomically
from hf_unlearn.inference import AnswerRows, ScoredRows, is_main_process, load_rows, on_all_processes


logger = logging.getLogger(__name__)
Rows = TypeVar("Rows", ScoredRows, AnswerRows)


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
        if on_all_processes(path.is_file()):
            logger.info("using %s", path)
            return load_rows(path)  # type: ignore[return-value]
        rows = compute()
        self._keep(path, lambda target: pyarrow.parquet.write_table(rows.table, target))
        return rows

    def arrays(self, name: str, key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The same for arrays by name, as safetensors."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}-{key}.safetensors"
        if on_all_processes(path.is_file()):
            logger.info("using %s", path)
            return load_file(path)
        arrays = compute()
        self._keep(path, lambda target: save_file(arrays, target))
        return arrays

    def _keep(self, path: Path, write: Callable[[Path], object]) -> None:
        if is_main_process():
            try:
                write_atomically(path, write)
            except OSError as error:
                logger.warning("could not keep %s (%s); the run goes on, but cannot resume from here.", path, error)


def content_key(*parts: object) -> str:
    """A short key of what determines a result. Batch size does not."""
    plain = [_plain(part) for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:20]


def _plain(part: object) -> object:
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        values = dataclasses.asdict(part)
        values.pop("batch_size", None)
        return values
    return part
