"""An audit's report as tables in the terminal, one for each family of metrics; generated from specs and results."""

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from hf_unlearn.cli._app import console


if TYPE_CHECKING:
    from hf_unlearn.audit import AuditReport, MetricResult

COLUMNS = ("metric", "set", "ideal", "floor\n(twin)", "candidate", "interval", "start\n(orig.)", "relative")


def print_report(report: "AuditReport", title: str) -> None:
    """Tables, and what they say."""
    from hf_unlearn.publishing import one_line

    console.rule(escape(title), align="left")
    families: dict[str, list[MetricResult]] = {}
    for result in report.metrics.values():
        families.setdefault(report.spec(result.name).family, []).append(result)
    for family, results in families.items():
        console.print(_table(report, one_line(family), results))
    for sentence in report.reading():
        console.print(escape(one_line(sentence)), highlight=False)
    for note in report.notes:
        console.print(f"[dim]note: {escape(one_line(note))}[/dim]", highlight=False)


def _table(report: "AuditReport", family: str, results: "list[MetricResult]") -> Table:
    """Headline metrics first, the sets and conditions of one metric below each other; by layer there is the figure."""
    from hf_unlearn.audit._verdict import has_power
    from hf_unlearn.publishing import one_line

    means = ", means over layers" if all(result.by_layer for result in results) else ""
    table = Table(
        title=escape(family.capitalize() + means),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    for column in COLUMNS:
        words = column in ("metric", "set")
        # Words are wrapped where the terminal is narrow; numbers never are.
        width = {"metric": 11, "set": 7}.get(column)
        table.add_column(
            column, justify="left" if words else "right", no_wrap=not words, min_width=width, overflow="fold"
        )
    order = {name: place for place, name in enumerate(dict.fromkeys(result.name for result in results))}
    previous = ""
    for result in sorted(results, key=lambda result: (not report.spec(result.name).headline, order[result.name])):
        spec = report.spec(result.name)
        ideal = f"{spec.ideal:g}" if isinstance(spec.ideal, float | int) else number(result.ideal)
        table.add_row(
            escape(one_line(spec.title)) if result.name != previous else "",
            escape(one_line(result.split + (f"@{result.condition}" if result.condition else ""))),
            *(ideal, number(result.floor), number(result.value), bounds(result.confidence_interval)),
            *(
                number(result.others.get("original") if result.start is None else result.start),
                number(result.relative if has_power(result) else None),
            ),
        )
        previous = result.name
    return table


def number(value: float | None) -> str:
    """Two decimals, or a dash; what rounds to 0 has no sign."""
    if value is None:
        return "–"
    return f"{value:.2e}" if abs(value) >= 1e6 else f"{round(value, 2) + 0.0:.2f}"


def bounds(interval: tuple[float, float] | None) -> str:
    """Of an interval, or a dash."""
    return "–" if interval is None else " … ".join(map(number, interval))
