"""This library as a wheel, made from what is installed here: so that a Space is served from its own repository.

No package index vouches for the name; whoever took it there could run code on every machine that follows a published install line.
"""

import base64
import hashlib
import zipfile
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from hf_unlearn.audit import metric_path


_PUBLISHED = (".py", ".jinja", ".typed")
_OF_METRICS = (".py", ".md", ".txt")
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive: the same library gives the same bytes, so nothing is pushed twice."""


def build_wheel(folder: Path) -> Path:
    """Write the wheel of this very library, metric modules included, into a folder.

    Returns:
        The file; its name holds the version.

    Raises:
        OSError: The folder cannot be written to.
        PackageNotFoundError: The library was not installed (a folder on the path is no installation).
    """
    installed = distribution("hf-unlearn")
    info = f"hf_unlearn-{installed.version}.dist-info"
    said = {name: installed.read_text(name) for name in ("METADATA", "entry_points.txt", "licenses/LICENSE")}
    # From inside a checkout what setuptools left there is found first, and calls the same text by its older name.
    said["METADATA"] = said["METADATA"] or installed.read_text("PKG-INFO")
    said["WHEEL"] = "Wheel-Version: 1.0\nGenerator: hf_unlearn\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = _sources() | {f"{info}/{name}": text.encode() for name, text in said.items() if text}
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in sorted(content.items()))
    content[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    path = folder / f"hf_unlearn-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in sorted(content.items()):
            archive.writestr(zipfile.ZipInfo(name, _FIRST_DATE), data, zipfile.ZIP_DEFLATED, 9)
    return path


def _sources() -> dict[str, bytes]:
    """Names in the wheel, and bytes; metric modules lie beside the package in a checkout, and inside it in an installation."""
    package, metrics = Path(str(files("hf_unlearn"))), Path(metric_path("fade")).parent
    found = {
        f"hf_unlearn/{path.relative_to(package).as_posix()}": path
        for path in package.rglob("*")
        if path.suffix in _PUBLISHED and metrics not in path.parents
    }
    found |= {
        f"hf_unlearn/_metrics/{path.relative_to(metrics).as_posix()}": path
        for path in metrics.rglob("*")
        if path.suffix in _OF_METRICS
    }
    return {name: path.read_bytes() for name, path in found.items()}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
