"""Where this library's Evaluate modules lie, in a checkout and in an installed wheel."""

import difflib
from importlib.resources import files
from pathlib import Path


def metric_path(name: str) -> str:
    """The path that `evaluate.load` takes for one of this library's metrics.

    Args:
        name: For example "fade".

    Returns:
        A local folder, so that loading needs no network.

    Raises:
        KeyError: No such metric; names those there are.

    Example:
        >>> metric_path("fade").endswith("fade")
        True
    """
    roots = [Path(str(files("hf_unlearn"))) / "_metrics", Path(__file__).resolve().parents[2] / "metrics"]
    known: dict[str, Path] = {}
    for root in roots:
        for script in root.glob("*/*.py"):
            if script.stem == script.parent.name:
                known.setdefault(script.stem, script.parent)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise KeyError(f"no metric {name!r}; there are {', '.join(sorted(known))}.{hint}")
    return str(known[name])
