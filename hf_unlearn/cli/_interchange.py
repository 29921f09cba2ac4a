"""Commands about evaluations of others: import-eval and export-eval."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segments
from rich.table import Table

from hf_unlearn.cli._app import console, errors, readable_errors


if TYPE_CHECKING:
    from hf_unlearn.audit.interchange import EvalFigure


def import_eval(
    file: Annotated[Path, typer.Argument(help="open-unlearning's *_EVAL.json or *_SUMMARY.json, or a log of TOFU.")],
    retain_logs: Annotated[
        Path | None, typer.Option(help="The same of a retrained model, for forget quality and PrivLeak.")
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="A report of ours, or its folder, to put beside.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what programs read, without tables.")] = False,
) -> None:
    """Read somebody else's evaluation: its numbers, the same from its examples with intervals, and where they differ and why."""
    with readable_errors():
        from hf_unlearn.audit.interchange import import_eval as run
        from hf_unlearn.publishing import one_line

        found = run(file, retain_logs=retain_logs, compare=compare)
    if as_json:
        typer.echo(json.dumps(found.to_plain(), indent=2))
        return
    title = f"{found.kind}: {escape(one_line(file.name))}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    columns = (
        "metric",
        "file",
        "examples",
        "interval",
        "n",
        *(("report", "interval") if compare else ()),
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for figure in (*found.figures, *found.unknown):
        table.add_row(*_row(figure, bool(compare)))
    # No digit is ever cut: lines may be longer than the terminal is wide.
    needed = Measurement.get(console, console.options.update_width(1000), table).maximum
    options = console.options.update_width(max(console.width, needed))
    console.print(Segments(console.render(table, options)), crop=False)
    remarks: dict[str, list[str]] = {}
    for figure in (*found.figures, *found.unknown):
        if figure.remark:
            remarks.setdefault(one_line(figure.remark), []).append(one_line(figure.name))
    for remark, names in remarks.items():
        console.print(f"{escape(', '.join(names))}: {escape(remark)}.", highlight=False)
    for note in found.notes:
        console.print(f"[dim]note: {escape(one_line(note))}[/dim]", highlight=False)


def export_eval(
    report: Annotated[Path, typer.Argument(help="Folder of the audit, or its report.json.")],
    output: Annotated[Path, typer.Option(help="File to write, for example TOFU_EVAL.json.")],
    summary: Annotated[bool, typer.Option("--summary", help="Numbers alone, as in *_SUMMARY.json.")] = False,
    evidence_dir: Annotated[
        Path | None,
        typer.Option(help="Add probabilities per example from the audit's evidence; they are forget data."),
    ] = None,
) -> None:
    """Write a report's values as open-unlearning writes its own."""
    with readable_errors():
        from hf_unlearn.audit.interchange import export_eval as run
        from hf_unlearn.audit.interchange._write import GUESSED
        from hf_unlearn.publishing import one_line

        done = run(report, output, summary=summary, evidence_dir=evidence_dir)
    console.print(f"{len(done.names)} metrics in [cyan]{escape(str(done.path))}[/cyan]", highlight=False)
    if done.left_out:
        console.print(f"without a name there: {escape(one_line(', '.join(done.left_out)))}", highlight=False)
    if evidence_dir is not None:
        errors.print(f"[yellow]{GUESSED}[/yellow]", highlight=False)


def _row(figure: "EvalFigure", compared: bool) -> list[str]:
    from hf_unlearn.publishing import one_line

    cells = [
        _shown(figure.file_value),
        _shown(figure.value),
        _bounds(figure.confidence_interval),
        str(figure.n or "–"),
    ]
    cells += [_shown(figure.report_value), _bounds(figure.report_interval)] if compared else []
    return [escape(one_line(figure.name)), *cells]


def _shown(value: float | None) -> str:
    """Four digits: shares and p-values alike."""
    if value is None:
        return "–"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"


def _bounds(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else " … ".join(map(_shown, interval))
