"""Shards: files that each hold some rows of one reading, and prove it when they are read.

Knows file systems and bytes. A shard's name holds the checksum of all its bytes, its Parquet metadata say whose rows they are: what was
changed, cut off, renamed or put in another's place is told apart from what was written.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from hf_unlearn._files import write_atomically


logger = logging.getLogger(__name__)
ITEM = "item"
"""The column that says what a row is about."""
_OWNER = b"hf_unlearn"
_NAME = re.compile(r"-\d+-(?P<checksum>[0-9a-f]{20})\.parquet")


class ShardError(ValueError):
    """A file that is not used; says why."""


class DamagedShardError(ShardError):
    """It can go: it carries a name of ours and will never be of use."""


@dataclass(frozen=True)
class Shelf:
    """Where the shards of one reading lie.

    Args:
        files: The file system.
        folder: On it; made when something is written.
        label: Names the reading for people.
        key: Of everything that determines its rows.
    """

    files: AbstractFileSystem
    folder: str
    label: str
    key: str

    @property
    def stem(self) -> str:
        """How the names of all its files begin."""
        return quote(f"{self.label}-{self.key}", safe="@=+,")

    @property
    def _owner(self) -> bytes:
        return json.dumps([self.label, self.key]).encode()

    def path(self, name: str) -> str:
        """Of one of its files."""
        return f"{self.folder.rstrip('/')}/{name}"

    def names(self) -> list[str]:
        """All files that claim to be its shards, those of older versions of this library among them."""
        try:
            self.files.invalidate_cache()
            found = [path.rstrip("/").rsplit("/", 1)[-1] for path in self.files.ls(self.folder, detail=False)]
        except FileNotFoundError:
            return []
        except Exception as error:  # every kind of storage has errors of its own
            logger.warning("%s cannot be listed, so nothing kept there is used (%s).", self.folder, _said(error))
            return []
        return sorted(name for name in found if name.startswith((f"{self.stem}-", f"{self.stem}.")))

    def read(self, name: str) -> pa.Table:
        """The rows in a shard, if it is one of this reading and as it was written.

        Raises:
            ShardError: It is not, or the storage does not give it.
        """
        match = _NAME.fullmatch(name.removeprefix(self.stem))
        if match is None:
            raise ShardError("its name is not that of a shard of this version")
        try:
            if not self.files.isfile(self.path(name)):  # reading from a pipe would wait for ever
                raise FileNotFoundError("no file, or out of reach")
            content = self.files.cat_file(self.path(name))
        except Exception as error:
            raise ShardError(f"it cannot be read ({_said(error)})") from error
        if _checksum(content) != match["checksum"]:
            raise DamagedShardError("its content has another checksum than its name says")
        try:
            rows = pyarrow.parquet.read_table(pa.BufferReader(content))
            items_of(rows)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedShardError(f"it holds no rows that this version can read ({_said(error)})") from error
        if (owner := (rows.schema.metadata or {}).get(_OWNER, b"nobody")) != self._owner:
            raise DamagedShardError(
                f"it holds rows of {owner.decode(errors='replace')}, not of {self._owner.decode()}"
            )
        return rows.replace_schema_metadata()

    def write(self, rows: pa.Table) -> None:
        """Keep rows in a new file: all of it is there afterwards, or nothing that would be taken for a shard.

        Raises:
            Exception: Whatever the storage says.
        """
        name, content = self._packed(rows)
        if self.files.isdir(self.path(name)):
            name, content = self._packed(rows, salt=uuid4().hex)
        if isinstance(self.files, LocalFileSystem):
            write_atomically(Path(self.path(name)), lambda path: path.write_bytes(content))
        else:
            self.files.makedirs(self.folder, exist_ok=True)
            self.files.pipe_file(self.path(name), content)

    def remove(self, name: str) -> None:
        """Take a file away, if that can be done."""
        with contextlib.suppress(Exception):
            self.files.rm_file(self.path(name))

    def _packed(self, rows: pa.Table, salt: str = "") -> tuple[str, bytes]:
        stream = pa.BufferOutputStream()
        pyarrow.parquet.write_table(
            rows.replace_schema_metadata({_OWNER: self._owner, b"salt": salt}),
            stream,
            compression="zstd",
            use_compliant_nested_type=False,
        )
        content = stream.getvalue().to_pybytes()
        return f"{self.stem}-{items_of(rows).min():06d}-{_checksum(content)}.parquet", content


def storage(folder: str | os.PathLike) -> tuple[AbstractFileSystem, str]:
    """The file system and the path on it; a text with "://" is a URL of fsspec.

    Raises:
        ImportError: The URL needs a package; says which.
        ValueError: No such kind of URL.
    """
    if isinstance(folder, str) and "://" in folder:
        return url_to_fs(folder)
    return LocalFileSystem(), Path(folder).absolute().as_posix()


def items_of(rows: pa.Table) -> np.ndarray:
    """What the rows are about; shape `(rows,)`.

    Raises:
        ValueError: There is no such column of integers.
    """
    fields = [field.type for field in rows.schema if field.name == ITEM]
    if fields != [pa.int64()] or rows.column(ITEM).null_count:
        raise ValueError(f"expected one column {ITEM!r} of int64 without gaps; the columns are\n{rows.schema}")
    return rows.column(ITEM).to_numpy()


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
