"""Writing files so that a reader finds all of one or nothing, and noticing early that one cannot write. Knows nothing else."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError


CONFIGURATIONS = ("adapter_config.json", "config.json")
"""Without them nobody opens a model's folder."""


def cache_root() -> Path:
    """Where this library keeps what it can make again: `$HF_UNLEARN_CACHE`, else `$HF_HOME/hf_unlearn`."""
    root = os.environ.get("HF_UNLEARN_CACHE")
    return Path(root).expanduser() if root else Path(HF_HOME) / "hf_unlearn"


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `path`, then move it into place: complete, or not there.

    Raises:
        OSError: Whatever the disk says; nothing half-written is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        with disk_errors():
            write(temporary)
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def fill_atomically(folder: Path, write: Callable[[Path], Any], *, stale: Collection[str] = ()) -> None:
    """Let `write` fill a folder beside the files of `folder`, then put what it wrote in their place.

    Until all of it is there, the folder has no configuration, without which neither transformers nor PEFT opens it: a kill leaves the old
    model, the new one, or one that visibly is none, never new files over old weights.

    Args:
        folder: Made if need be; files that `write` does not write stay.
        write: Fills the folder it is given.
        stale: Patterns of files that must not stay beside the new ones.

    Raises:
        OSError: Whatever the disk says; while `write` was at work, `folder` is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".saving-"))
    try:
        with disk_errors():
            write(temporary)
        written = sorted(temporary.iterdir(), key=lambda path: (path.name in CONFIGURATIONS, path.name))
        for path in temporary.rglob("*"):
            if path.is_file():
                _flush(path)
        gone = {path for pattern in stale for path in folder.glob(pattern)}
        if any(path.name in CONFIGURATIONS for path in written):
            gone |= {folder / name for name in CONFIGURATIONS if (temporary / name).exists()}
        for path in sorted(gone, key=lambda path: (path.name not in CONFIGURATIONS, path.name)):
            path.unlink(missing_ok=True)
        for path in written:
            if path.is_dir():
                shutil.rmtree(folder / path.name, ignore_errors=True)
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def disk_errors() -> Iterator[None]:
    """safetensors has an error of its own for what the disk says; inside, it is an `OSError` like everybody's."""
    try:
        yield
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def _flush(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())


def check_writable(folder: str | os.PathLike) -> Path:
    """Refuse a folder that cannot be written to, before anything expensive.

    Raises:
        OSError: Says which folder, why, and what to do.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        message = f"cannot write to {str(path)!r} ({error.strerror or error}); choose another output_dir or make room."
        raise type(error)(error.errno, message) from error
    return path
