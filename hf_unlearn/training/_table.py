"""A table in the terminal that grows by a row with every measurement. Knows values by name; no Trainer."""

import io
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm


_COLUMNS = {
    "forget p": "forget_probability",
    "retain p": "retain_probability",
    "extraction": "forget_extraction_strength",
    "truth ratio": "forget_truth_ratio",
    "FADE": "fade",
    "relative": "fade_relative",
    "residual": "residual_ratio",
    "exposure": "exposure_mean",
    "score": "forgetting_score",
    "seconds": "tracking_seconds",
}


class TerminalTable:
    """Rows between the Trainer's progress bars.

    The Trainer's bars redraw themselves, and so does `rich.live`; two of them on one terminal overwrite each other. Rows are therefore
    written once, above the bars.

    Args:
        shown: Whether to write at all; default: when standard output is a terminal.
    """

    def __init__(self, shown: bool | None = None):
        self._shown, self._names = shown, list[str]()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One row; before the first one the names of what was measured.

        Args:
            step: Of the training.
            values: By name; what is not shown is in the file.
        """
        if not (sys.stdout.isatty() if self._shown is None else self._shown):
            return
        first = not self._names
        if first:
            self._names = [title for title, name in _COLUMNS.items() if name in values]
        table = Table(show_header=first, box=None, padding=(0, 1))
        for title in ("step", *self._names):
            table.add_column(title, justify="right", width=max(8, len(title)), no_wrap=True)
        table.add_row(str(step), *(_short(values.get(_COLUMNS[title])) for title in self._names))
        width = 2 + sum(max(8, len(title)) + 2 for title in ("step", *self._names))
        text = io.StringIO()
        Console(file=text, force_terminal=sys.stdout.isatty(), width=width).print(table)
        tqdm.write(text.getvalue().rstrip("\n"))


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
