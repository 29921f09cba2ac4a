"""A table in the terminal that grows by a row with every measurement. Knows values by name; no Trainer."""

import io
import shutil
import sys
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm


class TerminalTable:
    """Rows between the Trainer's progress bars.

    The Trainer's bars redraw themselves, and so does `rich.live`; two of them on one terminal overwrite each other. Rows are therefore
    written once, above the bars, when all that belongs to their step has come.

    Args:
        columns: Titles to names of values. What a narrow terminal does not show goes from the right; everything is in the file.
        shown: Whether to write at all; default: when standard output is a terminal.
    """

    def __init__(self, columns: Mapping[str, str], shown: bool | None = None):
        self._columns, self._shown, self._titles = columns, shown, list[str]()
        self._step, self._row = 0, dict[str, float]()

    @property
    def shown(self) -> bool:
        """Whether rows are written."""
        return sys.stdout.isatty() if self._shown is None else self._shown

    def takes(self, names: Iterable[str]) -> bool:
        """Whether any of these is a column."""
        return not set(self._columns.values()).isdisjoint(names)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Put values into the row of a step; the row before it is written.

        Args:
            step: Of the training.
            values: By name; what is not shown is in the file.
        """
        if not self.shown:
            return
        if step != self._step:
            self.flush()
        self._step = step
        self._row |= {title: values[name] for title, name in self._columns.items() if name in values}

    def flush(self) -> None:
        """Write the row; above it the names of the columns, where there are others than before."""
        if not self._row:
            return
        wanted = [title for title in self._columns if title in self._row or title in self._titles]
        has_new = wanted != self._titles
        self._titles = wanted
        titles = ["step", *_fitting(wanted)]
        table = Table(show_header=has_new, box=None, padding=(0, 1))
        for title in titles:
            table.add_column(title, justify="right", width=_width(title), no_wrap=True)
        table.add_row(str(self._step), *(_short(self._row.get(title)) for title in titles[1:]))
        text = io.StringIO()
        console = Console(file=text, force_terminal=sys.stdout.isatty(), width=_total(titles))
        console.print(table)
        tqdm.write(text.getvalue().rstrip("\n"))
        self._row = {}


def _fitting(titles: list[str]) -> list[str]:
    """Those for which the terminal has room; all of them where there is none."""
    if not sys.stdout.isatty():
        return titles
    room, shown = shutil.get_terminal_size().columns, list(titles)
    while len(shown) > 1 and _total(["step", *shown]) > room:
        shown.pop()
    return shown


def _total(titles: list[str]) -> int:
    return 2 + sum(_width(title) + 2 for title in titles)


def _width(title: str) -> int:
    return max(8, len(title))


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
