"""Writing files so that a reader finds all of one or nothing, and noticing early that one cannot write. Knows nothing else."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HOME


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
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def fill_atomically(folder: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a folder beside the files of `folder`, then move what it wrote into place, file by file.

    Raises:
        OSError: Whatever the disk says; `folder` is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".saving-"))
    try:
        write(temporary)
        for path in sorted(temporary.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
