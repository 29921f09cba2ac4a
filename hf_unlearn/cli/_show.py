"""An audit's report as tables in the terminal, one for each family of metrics; generated from specs and results."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.segment import Segments
from rich.table import Table

from hf_unlearn.cli._app import console


if TYPE_CHECKING:
    from hf_unlearn.audit import AuditReport, MetricResult

Rows = list[tuple[str, ...]]
COLUMNS = ("metric", "set", "ideal", "floor\n(twin)", "candidate", "interval", "start\n(orig.)", "relative")
LEFT_OUT = tuple(COLUMNS[place] for place in (2, 3, 6, 5, 7))
"""What a narrow terminal does not show, in this order: a column is whole or not there."""
_WORDS = 2
"""The first so many columns hold words, the others numbers."""
_PIPE, _WORD = 100, 20
"""Width where output is no terminal, at least; and characters of a word that is not broken, at most."""


def print_report(report: "AuditReport", title: str) -> None:
    """Tables, and what they say."""
    from hf_unlearn.publishing import one_line

    console.rule(escape(title), align="left")
    families: dict[str, list[MetricResult]] = {}
    for result in report.metrics.values():
        families.setdefault(report.spec(result.name).family, []).append(result)
    _print_tables(report, families)
    for line in _of_floors(report):
        console.print(f"[dim]{escape(line)}[/dim]", highlight=False)
    for sentence in report.reading():
        console.print(escape(one_line(sentence)), highlight=False)
    for note in report.notes:
        console.print(f"[dim]note: {escape(one_line(note))}[/dim]", highlight=False)


def _of_floors(report: "AuditReport") -> list[str]:
    """What the floors are that are no twin's, and what those rows rest on."""
    from hf_unlearn.audit._assumed import EXCHANGEABLE, FLOORS

    floors = dict.fromkeys(FLOORS.get(r.floor_of, "none") for r in report.metrics.values() if r.assumes and r.floor_of)
    is_there = any(result.assumes for result in report.metrics.values())
    said = f"; the floor of those rows: {', '.join(floors)}" if floors else ""
    return (
        [f"{EXCHANGEABLE}: the original's answers about unseen names stand in for a retrained model's{said}"]
        if is_there
        else []
    )


def _print_tables(report: "AuditReport", families: "dict[str, list[MetricResult]]") -> None:
    """The same columns in all of them: those for which the widest has room."""
    from hf_unlearn.publishing import one_line

    room = console.width if console.is_terminal else max(console.width, _PIPE)
    rows, full = (
        {family: _rows(report, results, short=short) for family, results in families.items()}
        for short in (True, False)
    )
    left_out: list[str] = []
    while console.is_terminal and _needed(rows.values(), left_out) > room and len(left_out) < len(LEFT_OUT):
        left_out.append(LEFT_OUT[len(left_out)])
    if _needed(full.values(), left_out) <= room:
        rows = full
    # No digit is ever cut: where nothing more can be left out, lines are longer than the terminal is wide.
    room = max(room, _needed(rows.values(), left_out))
    options = console.options.update_width(room)
    for family, results in families.items():
        means = ", means over layers" if all(result.by_layer for result in results) else ""
        table = _table(escape(one_line(family).capitalize() + means), rows[family], left_out, room)
        console.print(Segments(console.render(table, options)), crop=False)
    if left_out:
        names = ", ".join(" ".join(name.split()) for name in left_out)
        console.print(f"[dim]no room for: {names}; a wider terminal or report.json has them[/dim]", highlight=False)


def _rows(report: "AuditReport", results: "list[MetricResult]", *, short: bool) -> Rows:
    """Headline metrics first, the sets and conditions of one metric below each other; by layer there is the figure."""
    from hf_unlearn.audit._relative import shown_relative
    from hf_unlearn.publishing import one_line

    order = {name: place for place, name in enumerate(dict.fromkeys(result.name for result in results))}
    rows: Rows = []
    previous = ""
    for result in sorted(results, key=lambda result: (not report.spec(result.name).headline, order[result.name])):
        spec = report.spec(result.name)
        ideal = f"{spec.ideal:g}" if isinstance(spec.ideal, float | int) else number(result.ideal)
        start = result.others.get("original") if result.start is None else result.start
        numbers = (ideal, number(result.floor), number(result.value), bounds(result.confidence_interval))
        rows.append(
            (
                one_line(_title(report, result.name, short)) if result.name != previous else "",
                one_line(result.split + (f"@{result.condition}" if result.condition else "")),
                *(*numbers, number(start), number(shown_relative(result))),
            )
        )
        previous = result.name
    return rows


def _title(report: "AuditReport", name: str, short: bool) -> str:
    """Of a metric; its short one, where the report means the metric that is known here by its name."""
    from hf_unlearn.audit._assumed import marked
    from hf_unlearn.audit._narrative import known_spec

    spec, known = report.spec(name), known_spec(name) if short else None
    brief = known.short if known is not None and known.short and known.title == spec.title else spec.title
    return marked(brief, spec.assumes)


def _needed(tables: Collection[Rows], left_out: Collection[str] = ()) -> int:
    """Characters of the widest table."""
    kept = [place for place, column in enumerate(COLUMNS) if column not in left_out]
    return max((sum(_width(rows, place) + 1 for place in kept) for rows in tables), default=0)


def _width(rows: Rows, place: int) -> int:
    """The least of a column: words are wrapped, and broken only where they are very long; numbers are neither."""
    cells = [row[place] for row in rows]
    if place >= _WORDS:
        return max(map(cell_len, [*COLUMNS[place].split("\n"), *cells]))
    words = [word for text in (COLUMNS[place], *cells) for word in text.split()]
    return min(_WORD, max(map(cell_len, words)))


def _table(title: str, rows: Rows, left_out: Collection[str], room: int) -> Table:
    """What room is left is the titles'."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    widths = {place: _width(rows, place) for place, column in enumerate(COLUMNS) if column not in left_out}
    longest = max(cell_len(row[0]) for row in rows)
    widths[0] = max(widths[0], min(longest, room - sum(widths.values()) + widths[0] - len(widths)))
    for place, width in widths.items():
        words = place < _WORDS
        table.add_column(
            COLUMNS[place], justify="left" if words else "right", no_wrap=not words, width=width, overflow="fold"
        )
    for row in rows:
        table.add_row(*(escape(row[place]) for place in widths))
    return table


def number(value: float | None) -> str:
    """Two decimals, or a dash; what rounds to 0 has no sign."""
    if value is None:
        return "–"
    return f"{value:.2e}" if abs(value) >= 1e6 else f"{round(value, 2) + 0.0:.2f}"


def bounds(interval: tuple[float, float] | None) -> str:
    """Of an interval, or a dash."""
    return "–" if interval is None else " … ".join(map(number, interval))
