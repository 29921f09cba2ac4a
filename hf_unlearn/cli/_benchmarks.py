"""The command that lists benchmarks; all it knows of one is its spec."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hf_unlearn.cli._app import console, readable_errors


if TYPE_CHECKING:
    from hf_unlearn.benchmarks import Benchmark, BenchmarkSet, Configuration


def benchmarks(
    name: Annotated[
        str | None,
        typer.Argument(help="One in full: NAME, NAME:CONFIGURATION, or a YAML or Python file (which is run)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them for programs, without tables.")] = False,
) -> None:
    """List the benchmarks of `hf-unlearn audit --benchmark`, or one in full: sets, roles, metrics, published models, licence."""
    with readable_errors():
        from hf_unlearn._arguments import known_name
        from hf_unlearn.benchmarks import BENCHMARKS, find_benchmark

        chosen = ""
        if name is None:
            found = list(BENCHMARKS.values())
        else:
            one, chosen = find_benchmark(name)
            found = [one]
            if chosen and one.select is None:
                known_name(f"configuration of {one.name}", chosen, one.configurations)
    if as_json:
        plain = [_plain(each) for each in found]
        typer.echo(json.dumps(plain if name is None else plain[0], indent=2, ensure_ascii=False))
    elif name is None:
        console.print(_table(found))
        console.print("hf-unlearn benchmarks NAME says more of one.", style="dim", highlight=False)
    else:
        _print_one(found[0], chosen)


def _plain(benchmark: "Benchmark") -> dict[str, Any]:
    """Everything of it that JSON can hold: of a model that is made here, that it is made here."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(part) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(part) for part in value]
        return "made here" if callable(value) else value

    found: dict[str, Any] = plain(asdict(benchmark))
    return found


def _table(found: "list[Benchmark]") -> Table:
    table = Table(title="benchmarks", title_justify="left", expand=True)
    for column in ("name", "configurations", "what", "sets", "reference"):
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for each in found:
        first = next(iter(each.configurations.values()))
        names = [*each.configurations, *([f"one {each.select}"] if each.select else [])]
        references = [models.reference for models in first.models.values() if models.reference]
        published = (
            "made here" if any(map(callable, references)) else "published" if references else "none: give yours"
        )
        what = f"{escape(each.title)}\n[dim]{escape(each.citation.text)}[/dim]"
        cells = (
            ", ".join(names),
            what,
            escape(", ".join(first.sets)),
            published,
        )
        table.add_row(escape(each.name), *cells)
    return table


def _print_one(found: "Benchmark", chosen: str) -> None:
    console.print(f"[bold]{escape(found.name)}[/bold]  {escape(found.title)}", highlight=False)
    source = found.citation.text + (f", arXiv {found.citation.arxiv}" if found.citation.arxiv else "")
    lines = {"from": source, "licence": found.licence, "data": found.data or "", "version": str(found.version)}
    for name, text in lines.items():
        if text:
            console.print(f"{name}: {escape(text)}", highlight=False)
    if found.select:
        console.print(f"one {escape(found.select)} alone: {escape(found.name)}:VALUE", highlight=False)
    for name, configuration in found.configurations.items():
        if chosen in ("", name) or chosen not in found.configurations:
            _print_configuration(f"{found.name}:{name}", configuration)
    console.print(escape(found.note), highlight=False)


def _print_configuration(name: str, configuration: "Configuration") -> None:
    if configuration.data:
        name += f" ({configuration.data})"
    table = Table(title=escape(name), title_justify="left", expand=True)
    for column in ("set", "role", "rows", "metrics", "questions"):
        table.add_column(column, overflow="fold")
    for each, found in configuration.sets.items():
        measured = ", ".join(found.metrics) or "all that are measured on its role"
        cells = (each, found.role, _rows_of(found), measured, _questions(found))
        table.add_row(*map(escape, cells))
    console.print(table)
    console.print(f"headline: {escape(', '.join(configuration.headline))}", highlight=False)
    for base, models in configuration.models.items():
        roles = {role: getattr(models, role) for role in ("reference", "original", "twin")}
        shown = [f"{role} {'made here' if callable(model) else model}" for role, model in roles.items() if model]
        console.print(f"models of {escape(base)}: {escape(', '.join(shown))}", highlight=False)
    if not configuration.models:
        console.print("models: nobody has published a reference; give one with --reference.", highlight=False)
    if configuration.options:
        options = ", ".join(f"{name} = {value}" for name, value in configuration.options.items())
        console.print(f"options: {escape(options)}", highlight=False)
    if configuration.note:
        console.print(escape(configuration.note), highlight=False)


def _rows_of(found: "BenchmarkSet") -> str:
    source = found.source
    place = source.data or ""
    named = source.name or ""
    parts = [part for part in (place, named, "" if source.split == "train" else source.split) if part]
    return ", ".join(parts) + (" (optional)" if found.optional else "")


def _questions(found: "BenchmarkSet") -> str:
    template = "" if found.prompt_template is None else repr(found.prompt_template)
    return template + (" after in-context examples" if found.examples else "")
