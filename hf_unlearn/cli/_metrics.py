"""The command that says what can be measured; all it knows of a metric is its spec, and what its class says of itself."""

import inspect
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hf_unlearn.cli._app import console, readable_errors


if TYPE_CHECKING:
    from hf_unlearn.audit import BaseMetric, Citation, MetricSpec
    from hf_unlearn.audit._contracts import Reading


_WIDTHS = {"what, and its unit": 4, "splits": 2, "cost": 2}
"""Of the columns that share what names leave."""
_FACTS = (
    "definition",
    "unit",
    "direction",
    "range",
    "floor",
    "does not show",
    "measured on",
    "needs a model as",
    "reads",
    "options",
    "source",
)


def metrics(
    name: Annotated[
        str | None, typer.Argument(help="A metric to describe in full; without it all are listed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what programs read, without tables.")] = False,
) -> None:
    """List what an audit can measure: names for --metrics, units, the value of a retrained model, and what is read for it.

    With a NAME: that metric in full, and what it does not show.
    """
    with readable_errors():
        from hf_unlearn._arguments import known_name
        from hf_unlearn.audit.metrics import METRICS

        chosen = list(METRICS) if name is None else [known_name("metric", name, METRICS)]
        known = {each: METRICS[each].from_settings({}) for each in chosen}
    if as_json:
        entries = [_described(metric) for metric in known.values()]
        typer.echo(json.dumps(entries if name is None else entries[0], indent=2))
    elif name is not None:
        _print_one(known[name])
    else:
        _print_list([metric.spec for metric in known.values()])


def _described(metric: "BaseMetric") -> dict[str, Any]:
    spec = metric.spec
    names = (
        "name", "title", "unit", "ideal", "bounds", "direction", "range", "without_knowledge", "does_not_show", "family", "splits", "across",
        "requires", "compares", "by_layer", "headline", "standard",
    )  # fmt: skip
    citation = {part: getattr(spec.citation, part) for part in ("text", "arxiv", "note")}
    return {
        **{name: getattr(spec, name) for name in names},
        "definition": _definition(metric),
        "cost": _cost(spec.needs),
        "options": {option: {"default": default, "help": text} for option, default, text in _options(spec)},
        "citation": citation,
    }


def _print_list(specs: "list[MetricSpec]") -> None:
    for family in dict.fromkeys(spec.family for spec in specs):
        console.print(_table(family, [spec for spec in specs if spec.family == family]))
    console.print("* is not in the standard audit: name it in --metrics.", style="dim", highlight=False)
    console.print("hf-unlearn metrics NAME says what one of them shows, and what it does not.", style="dim")


def _table(family: str, specs: "list[MetricSpec]") -> Table:
    from hf_unlearn.audit._assumed import titled

    table = Table(title=escape(family), title_justify="left", expand=True)
    for column in ("name", "what, and its unit", "ideal", "splits", "cost"):
        table.add_column(column, no_wrap=column in ("name", "ideal"), overflow="fold", ratio=_WIDTHS.get(column))
    for spec in specs:
        ideal = "–" if spec.ideal is None else f"{spec.ideal:g}" if isinstance(spec.ideal, float) else str(spec.ideal)
        name = spec.name if spec.standard else f"{spec.name} *"
        what = f"{escape(titled(spec))}\n[dim]{escape(spec.unit)}[/dim]"
        table.add_row(escape(name), what, escape(ideal), escape(", ".join(spec.splits)), escape(_cost(spec.needs)))
    return table


def _print_one(metric: "BaseMetric") -> None:
    from hf_unlearn.audit._assumed import titled

    spec = metric.spec
    options = (f"{name} ({default}): {text}" for name, default, text in _options(spec))
    said = (
        _definition(metric),
        spec.unit,
        spec.direction_in_words,
        spec.range,
        spec.without_knowledge,
        spec.does_not_show,
        _places(spec),
        ", ".join(spec.requires),
        _cost(spec.needs),
        "\n".join(options),
        _source(spec.citation),
    )
    title = f"[bold]{escape(spec.name)}[/bold]: {escape(titled(spec))} [dim]({escape(spec.family)})[/dim]"
    console.print(title, highlight=False)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for fact, text in zip(_FACTS, said, strict=True):
        if text:
            table.add_row(fact, escape(text))
    console.print(table, highlight=False)


def _definition(metric: "BaseMetric") -> str:
    """What its class says of it, up to its arguments; one paragraph a line."""
    text = inspect.cleandoc(type(metric).__doc__ or "").split("\n\nArgs:")[0]
    return "\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _places(spec: "MetricSpec") -> str:
    sets = ", ".join(spec.splits) + (", layer by layer" if spec.by_layer else "")
    together = "; one value over all sets of a role" if spec.across else ""
    return sets + together + ("" if spec.standard else "; not in the standard audit: name it in --metrics")


def _source(citation: "Citation") -> str:
    arxiv = f"arXiv {citation.arxiv}" if citation.arxiv else ""
    return "; ".join(part for part in (citation.text, arxiv, citation.note) if part)


def _options(spec: "MetricSpec") -> "list[tuple[str, Any, str]]":
    """Name, default and help of those that change its value."""
    from hf_unlearn.config import AuditConfig, options_of

    known = {option.name: option for option in options_of(AuditConfig)}
    return [(name, known[name].default, known[name].help) for name in spec.options]


def _cost(needs: "Iterable[Reading]") -> str:
    """What must be read of each model; metrics that read the same share it."""
    return ", ".join(
        dict.fromkeys(
            need.name + (f" with {' and '.join(sorted(need.parts))}" if need.parts else "") for need in needs
        )
    )
