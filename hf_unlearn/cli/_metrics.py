"""The command that lists what can be measured; all it knows of a metric is its spec."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hf_unlearn.cli._app import console, readable_errors


if TYPE_CHECKING:
    from hf_unlearn.audit import MetricSpec
    from hf_unlearn.audit._contracts import Reading


_WIDTHS = {"what, and its unit": 4, "splits": 2, "cost": 2}
"""Of the columns that share what names leave."""


def metrics(
    as_json: Annotated[bool, typer.Option("--json", help="Print a list for programs, without tables.")] = False,
) -> None:
    """List what an audit can measure: names for --metrics, units, the value of a retrained model, and what is read for it."""
    with readable_errors():
        from hf_unlearn.audit.metrics import METRICS

        specs = [metric.from_settings({}).spec for metric in METRICS.values()]
    if as_json:
        typer.echo(json.dumps([_described(spec) for spec in specs], indent=2))
        return
    for family in dict.fromkeys(spec.family for spec in specs):
        console.print(_table(family, [spec for spec in specs if spec.family == family]))
    console.print("* is not in the standard audit: name it in --metrics.", style="dim", highlight=False)


def _described(spec: "MetricSpec") -> dict[str, Any]:
    names = ("name", "title", "unit", "ideal", "bounds", "family", "splits", "requires", "headline", "standard")
    return {name: getattr(spec, name) for name in names} | {"cost": _cost(spec.needs)}


def _table(family: str, specs: "list[MetricSpec]") -> Table:
    table = Table(title=escape(family), title_justify="left", expand=True)
    for column in ("name", "what, and its unit", "ideal", "splits", "cost"):
        table.add_column(column, no_wrap=column in ("name", "ideal"), overflow="fold", ratio=_WIDTHS.get(column))
    for spec in specs:
        ideal = "–" if spec.ideal is None else f"{spec.ideal:g}" if isinstance(spec.ideal, float) else str(spec.ideal)
        name = spec.name if spec.standard else f"{spec.name} *"
        what = f"{escape(spec.title)}\n[dim]{escape(spec.unit)}[/dim]"
        table.add_row(escape(name), what, escape(ideal), escape(", ".join(spec.splits)), escape(_cost(spec.needs)))
    return table


def _cost(needs: "Iterable[Reading]") -> str:
    """What must be read of each model; metrics that read the same share it."""
    return ", ".join(
        dict.fromkeys(
            need.name + (f" with {' and '.join(sorted(need.parts))}" if need.parts else "") for need in needs
        )
    )
