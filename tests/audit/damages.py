"""What can happen to a folder of evidence: by kind, a function that does it to one shard (or more) of a reading."""

import gzip
import hashlib
import os
import random
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.numpy


LABEL, KEY = "answers-forget-candidate", "0123456789abcdef0123"
OTHERS = (("answers-forget-twin", KEY), (LABEL, "3210fedcba9876543210"))
"""Readings in the same folder: another subject's, and the same one's of another model."""


@dataclass
class Folder:
    """Evidence of `LABEL` and of `OTHERS`, in shards of the same items.

    Args:
        path: Where it lies.
    """

    path: Path

    def __post_init__(self) -> None:
        self.shards = self.of(LABEL, KEY)
        self.shard = self.shards[3]

    def of(self, label: str, key: str) -> list[Path]:
        return sorted(self.path.glob(f"{label}-{key}-*.parquet"))

    def edit(self, change: Callable[[pa.Table], pa.Table], **options) -> None:
        """As somebody with pyarrow would: read, change, write under the same name."""
        pyarrow.parquet.write_table(change(pyarrow.parquet.read_table(self.shard)), self.shard, **options)

    def replace(
        self, change: Callable[[pa.Table], pa.Table], which: int = 3, owner: tuple[str, str] = (LABEL, KEY)
    ) -> None:
        """A shard with a checksum that is right."""
        rows = pyarrow.parquet.read_table(self.of(*owner)[which])
        stream = pa.BufferOutputStream()
        pyarrow.parquet.write_table(change(rows).replace_schema_metadata(rows.schema.metadata), stream)
        checksum = hashlib.sha256(content := stream.getvalue().to_pybytes()).hexdigest()[:20]
        self.shards[which].unlink()
        (self.path / f"{LABEL}-{KEY}-{3 * which:06d}-{checksum}.parquet").write_bytes(content)


def _cut(keep: Callable[[int], int]) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        os.truncate(folder.shard, keep(folder.shard.stat().st_size))

    return damage


def _flip(share: float) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        content = bytearray(folder.shard.read_bytes())
        content[round(share * (len(content) - 1))] ^= 0b100
        folder.shard.write_bytes(content)

    return damage


def _content(make: Callable[[bytes], bytes]) -> Callable[[Folder], None]:
    return lambda folder: (folder.shard.write_bytes(make(folder.shard.read_bytes())), None)[1]


def _values(column: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[pa.Table], pa.Table]:
    def edited(rows: pa.Table) -> pa.Table:
        place = rows.column_names.index(column)
        values = pa.array(change(rows[column].to_numpy().copy()), rows.schema.field(column).type)
        return rows.set_column(place, rows.schema.field(column), values)

    return edited


def _typed(column: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.set_column(rows.column_names.index(column), column, rows[column].cast(kind))


def _first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[0] = value
        return values

    return change


def _ipc(content: bytes) -> bytes:
    rows = pyarrow.parquet.read_table(pa.BufferReader(content))
    stream = pa.BufferOutputStream()
    with pa.ipc.new_file(stream, rows.schema) as writer:
        writer.write_table(rows)
    return stream.getvalue().to_pybytes()


def _overlap(folder: Folder) -> None:
    """One shard reaches into the next: two audits wrote here at a time."""
    following = pyarrow.parquet.read_table(folder.shards[4]).slice(0, 1)
    folder.replace(lambda rows: pa.concat_tables([rows.slice(1), following]))


def _gaps(rows: pa.Table) -> pa.Table:
    return rows.set_column(0, "item", pa.array([None] * len(rows), pa.int64()))


def _aside(folder: Folder, name: str) -> None:
    folder.shard.rename(folder.path / name)


def _swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _directory(folder: Folder, *, filled: bool = False) -> None:
    folder.shard.unlink()
    folder.shard.mkdir()
    if filled:
        (folder.shard / "notes.txt").write_text("mine")


def _all_directories(folder: Folder) -> None:
    for shard in folder.shards:
        folder.shard = shard
        _directory(folder, filled=True)


def _link(folder: Folder, target: Path) -> None:
    folder.shard.unlink()
    folder.shard.symlink_to(target)


def _pipe(folder: Folder) -> None:
    folder.shard.unlink()
    os.mkfifo(folder.shard)


def _socket(folder: Folder) -> None:
    folder.shard.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(folder.path)  # the path of a socket may have 108 letters
        try:
            made.bind(folder.shard.name)
        finally:
            os.chdir(here)


def _old_arrays(folder: Folder) -> None:
    folder.shard.unlink()
    arrays = {"1": np.zeros(3)}
    safetensors.numpy.save_file(arrays, folder.path / f"{LABEL}-{KEY}.safetensors")


def _copies(folder: Folder) -> None:
    """The same rows once more under a later number: the folder was put together from two."""
    checksum = folder.shard.stem.rsplit("-", 1)[1]
    shutil.copy(folder.shard, folder.path / f"{LABEL}-{KEY}-000999-{checksum}.parquet")


CUTS = {
    f"cut to {name}": _cut(keep)
    for name, keep in {
        "nothing": lambda size: 0,
        "a byte": lambda size: 1,
        "the first mark": lambda size: 4,
        "a tenth": lambda size: size // 10,
        "half": lambda size: size // 2,
        "nine tenths": lambda size: size * 9 // 10,
        "all but the last mark": lambda size: size - 4,
        "all but a byte": lambda size: size - 1,
        "more, with zeros": lambda size: size + 1,
        "more, with many zeros": lambda size: size + 4096,
    }.items()
}
FLIPS = {f"bit flipped at {share:.2f}": _flip(share) for share in np.linspace(0, 1, 17)}
CONTENTS = {
    f"content: {name}": _content(make)
    for name, make in {
        "zeros": lambda content: bytes(len(content)),
        "noise": lambda content: random.Random(0).randbytes(len(content)),
        "twice": lambda content: content * 2,
        "backwards": lambda content: content[::-1],
        "text": lambda content: b"once upon a time\n",
        "an error page": lambda content: b"<!doctype html><title>403 Forbidden</title>",
        "a pointer of Git LFS": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "gzip": gzip.compress,
        "Arrow IPC": _ipc,
        "line endings converted": lambda content: content.replace(b"\n", b"\r\n") + b"\r\n",
    }.items()
}
BY_HAND = {
    f"by hand: {name}": lambda folder, change=change: folder.edit(change)
    for name, change in {
        "not a number": _values("log_prob", _first(np.nan)),
        "infinite": _values("log_prob", _first(-np.inf)),
        "another sign": _values("log_prob", np.negative),
        "the last digit": _values("log_prob", lambda values: np.nextafter(values, 0)),
        "items shifted": _values("item", lambda items: items + 1),
        "rows turned round": lambda rows: rows.take(list(range(len(rows)))[::-1]),
        "a row left out": lambda rows: rows.slice(1),
        "a row twice": lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
        "no rows": lambda rows: rows.slice(0, 0),
        "a column more": lambda rows: rows.append_column("note", pa.nulls(len(rows), pa.string())),
        "a column less": lambda rows: rows.drop_columns("states"),
        "a column renamed": lambda rows: rows.rename_columns(["id", *rows.column_names[1:]]),
        "columns in another order": lambda rows: rows.select(rows.column_names[::-1]),
        "less precision": _typed("log_prob", pa.float32()),
        "nothing, only written again": lambda rows: rows.replace_schema_metadata(),
    }.items()
} | {"by hand: another compression": lambda folder: folder.edit(lambda rows: rows, compression="gzip")}
RIGHT_CHECKSUM = {
    f"right checksum: {name}": lambda folder, change=change: folder.replace(change)
    for name, change in {
        "items beyond the last": _values("item", lambda items: items + 1000),
        "items below the first": _values("item", lambda items: items - 1000),
        "no rows": lambda rows: rows.slice(0, 0),
        "an item twice": lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
        "items in fewer bits": _typed("item", pa.int32()),
        "no column of items": lambda rows: rows.drop_columns("item"),
        "items left out": _gaps,
        "a column more": lambda rows: rows.append_column("note", pa.nulls(len(rows), pa.string())),
        "a column less": lambda rows: rows.drop_columns("states"),
        "less precision": _typed("log_prob", pa.float32()),
    }.items()
} | {
    "right checksum: another subject's": lambda folder: folder.replace(lambda rows: rows, owner=OTHERS[0]),
    "right checksum: another model's": lambda folder: folder.replace(lambda rows: rows, owner=OTHERS[1]),
    "right checksum: an item of the next shard": _overlap,
    "right checksum: other columns in the first shard": lambda folder: folder.replace(
        lambda rows: rows.drop_columns("states"), which=0
    ),
}
PLACES = {
    "two shards swapped": lambda folder: _swap(folder.shard, folder.shards[5]),
    "another subject's content": lambda folder: shutil.copy(folder.of(*OTHERS[0])[3], folder.shard),
    "another model's content": lambda folder: shutil.copy(folder.of(*OTHERS[1])[3], folder.shard),
    "another subject's file renamed": lambda folder: (
        folder.shard.unlink(),
        shutil.copy(found := folder.of(*OTHERS[0])[3], folder.path / found.name.replace(OTHERS[0][0], LABEL)),
    ),
    "another model's file renamed": lambda folder: (
        folder.shard.unlink(),
        shutil.copy(found := folder.of(*OTHERS[1])[3], folder.path / found.name.replace(OTHERS[1][1], KEY)),
    ),
    "its file twice": _copies,
    "renamed as a copy": lambda folder: _aside(folder, f"{folder.shard.stem} (copy).parquet"),
    "renamed to another checksum": lambda folder: _aside(folder, f"{LABEL}-{KEY}-000009-{'0' * 20}.parquet"),
    "renamed without checksum": lambda folder: _aside(folder, f"{LABEL}-{KEY}-000009.parquet"),
    "renamed as in the version before": lambda folder: _aside(folder, f"{LABEL}-{KEY}.parquet"),
    "arrays of the version before": _old_arrays,
    "capitals": lambda folder: _aside(folder, f"{LABEL}-{KEY}-000009-{'A' * 20}.PARQUET"),
    "an empty directory": _directory,
    "a directory with files": lambda folder: _directory(folder, filled=True),
    "directories only": _all_directories,
    "a link to nothing": lambda folder: _link(folder, folder.path / "gone"),
    "a link to itself": lambda folder: _link(folder, folder.shard),
    "a link to another shard": lambda folder: _link(folder, folder.shards[5]),
    "a link to the folder": lambda folder: _link(folder, folder.path),
    "a pipe": _pipe,
    "a socket": _socket,
    "every shard cut": lambda folder: [os.truncate(path, 99) for path in folder.shards] and None,
    "every shard exchanged": lambda folder: [
        _swap(*pair) for pair in zip(folder.shards, folder.of(*OTHERS[0]), strict=True)
    ],
}
DAMAGES = CUTS | FLIPS | CONTENTS | BY_HAND | RIGHT_CHECKSUM | PLACES


def _moved(folder: Folder) -> None:
    """A shard kept elsewhere, with a link in its place, as tools for data versions do."""
    kept = folder.path.parent / "kept.parquet"
    folder.shard.rename(kept)
    folder.shard.symlink_to(kept)


HARMLESS = {
    "a file of the system": lambda folder: (folder.path / ".DS_Store").write_bytes(b"\0" * 99),
    "what a killed process was writing": lambda folder: (folder.path / f".{folder.shard.stem}-x.parquet").write_bytes(
        b"PAR1"
    ),
    "a note": lambda folder: (folder.path / "README.txt").write_text("mine"),
    "other readings gone": lambda folder: [path.unlink() for other in OTHERS for path in folder.of(*other)],
    "other readings damaged": lambda folder: [os.truncate(path, 9) for other in OTHERS for path in folder.of(*other)],
    "touched": lambda folder: os.utime(folder.shard, (0, 0)),
    "a link to where it was moved": _moved,
}
GONE = {
    "a shard": lambda folder: folder.shard.unlink(),
    "the first": lambda folder: folder.shards[0].unlink(),
    "the last": lambda folder: folder.shards[-1].unlink(),
    "all shards": lambda folder: [path.unlink() for path in folder.shards],
    "the folder": lambda folder: shutil.rmtree(folder.path),
}
