"""Commands about audits on the Hub: publish, verify, compare, push-metrics."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._show import bounds, number


def publish(
    report: Annotated[Path, typer.Argument(help="Folder of the audit, with report.json.")],
    repo_id: Annotated[str, typer.Option(help="Of the model on the Hub, owner/name.")],
    forgotten: Annotated[
        str | None, typer.Option(help="What was forgotten, in your words; it will be public.")
    ] = None,
    objective: Annotated[str | None, typer.Option(help="How it was forgotten.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Hub id of the model before unlearning.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Hub id of a public data set; may be repeated.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Also publish this folder's model (safetensors only).")] = None,
    private: Annotated[bool, typer.Option("--private", help="If the repository is made here.")] = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Ask for the change instead of making it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
) -> None:
    """Publish an audit on the model's page: card section, report and figures in one commit; nothing of the data."""
    with readable_errors(
        lambda: (
            "all is sent in one commit, so either all of it or nothing is on the Hub; the same command sends what is missing"
        )
    ):
        from hf_unlearn.publishing import printable
        from hf_unlearn.publishing import publish as run

        done = run(
            report,
            repo_id,
            forgotten=forgotten,
            objective=objective,
            base_model=base_model,
            datasets=dataset or (),
            weights=weights,
            private=private or None,
            create_pr=create_pr,
            dry_run=dry_run,
        )
        if dry_run:
            console.print(escape(printable(done.diff)), highlight=False)
            console.print(f"would be sent: {escape(', '.join(done.files))}", highlight=False)
            return
        console.print(f"published: {escape(str(done.url))}", highlight=False)
        console.print(
            f"keep {escape(str(done.folder / 'data_key.txt'))}: with it a verifier can see that data is the audited data",
            highlight=False,
        )


def verify(
    repo_id: Annotated[str, typer.Argument(help="Of the audited model.")],
    forget: Annotated[str | None, typer.Option(help="Your copy of the forget set.")] = None,
    retain: Annotated[str | None, typer.Option(help="Of the retain set.")] = None,
    holdout: Annotated[str | None, typer.Option(help="Of the holdout set.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="Of a further set, NAME=DATA, by the name the report has. May be repeated."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="Take the sets from a benchmark, NAME:CONFIGURATION or a file, as in `audit`; those given besides count."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A folder with the benchmark's files, or a copy on the Hub.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="The retrained model; default: the one in the report.")] = None,
    original: Annotated[str | None, typer.Option(help="The model before unlearning.")] = None,
    twin: Annotated[str | None, typer.Option(help="The second reference.")] = None,
    continued: Annotated[
        list[str] | None, typer.Option(help="What the original became by further training. May be repeated.")
    ] = None,
    harness_tasks: Annotated[
        list[str] | None, typer.Option(help="Ask the harness tasks of the report again. May be repeated.")
    ] = None,
    harness_include_path: Annotated[str | None, typer.Option(help="Folder with harness tasks of your own.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one published with the model.")] = None,
    data_key: Annotated[str | None, typer.Option(help="The publisher's data_key.txt.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    batch_size: Annotated[int, typer.Option(help="Rows at a time.")] = 64,
) -> None:
    """Recompute what a published audit claims; ends with 1 if anything is not reproduced."""
    with readable_errors():
        from hf_unlearn.publishing import one_line
        from hf_unlearn.publishing import verify as run

        main = {"forget": forget, "retain": retain, "holdout": holdout}
        given, further = _all_data({name: found for name, found in main.items() if found}, sets, benchmark, data)
        checks = run(
            repo_id,
            **given,
            sets=further,
            reference=reference,
            original=original,
            twin=twin,
            continued=continued or None,
            harness_tasks=[name for given in harness_tasks or () for name in given.split(",")],
            harness_include_path=harness_include_path,
            processing_class=tokenizer,
            data_key=data_key,
            revision=revision,
            batch_size=batch_size,
        )
    table = Table(title=f"audit of {escape(repo_id)}", title_justify="left")
    for column in ("claim", "published", "interval", "recomputed", "outcome"):
        right = column in ("published", "interval", "recomputed")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    colours = {"reproduced": "green", "not reproduced": "bold red", "not checkable": "yellow"}
    reasons: dict[tuple[str, str], list[str]] = {}
    for check in checks:
        numbers = (number(check.published), bounds(check.interval), number(check.recomputed))
        table.add_row(escape(one_line(check.name)), *numbers, f"[{colours[check.outcome]}]{check.outcome}[/]")
        if check.outcome != "reproduced":
            reasons.setdefault((check.outcome, one_line(check.reason)), []).append(one_line(check.name))
    console.print(table)
    for (outcome, reason), names in reasons.items():
        console.print(
            f"[{colours[outcome]}]{outcome}[/] {escape(', '.join(names))}: {escape(reason)}", highlight=False
        )
    if any(check.outcome == "not reproduced" for check in checks):
        raise typer.Exit(1)


def _all_data(
    given: dict[str, Any], sets: list[str] | None, benchmark: str | None, place: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Main and further sets: a benchmark's, and in their place those that were named."""
    further: dict[str, Any] = {}
    if benchmark is not None:
        from hf_unlearn.benchmarks import load_benchmark

        found = load_benchmark(benchmark, data=place).sets
        further = {name: rows for name, rows in found.items() if name not in ("forget", "retain", "holdout")}
        given = {name: rows for name, rows in found.items() if name not in further} | given
    elif place is not None:
        raise ValueError("--data is for --benchmark, which is not given.")
    return given, further | _named_data(sets or [])


def _named_data(given: list[str]) -> dict[str, str]:
    """Data by name from `NAME=DATA`.

    Raises:
        ValueError: Not of that form, or a name twice.
    """
    found: dict[str, str] = {}
    for part in given:
        name, _, data = part.partition("=")
        if not (name and data):
            raise ValueError(f"--set is NAME=DATA, for example facts=me/facts, got {part!r}.")
        if name in found:
            raise ValueError(f"the set {name!r} is there twice.")
        found[name] = data
    return found


def compare(repo_ids: Annotated[list[str], typer.Argument(help="Audited models on the Hub.")]) -> None:
    """Published audits side by side: value, and where there is one the relative value."""
    with readable_errors():
        from hf_unlearn.publishing import compare_audits, one_line

        rows = compare_audits(repo_ids)
    table = Table(title="published audits; value [relative: 0 retrained, 1 nothing unlearned]", title_justify="left")
    for column in ("metric", *repo_ids):
        table.add_column(escape(column), justify="left" if column == "metric" else "right")
    for row in rows:
        cells = [
            "–"
            if result is None
            else number(result.value) + ("" if result.relative is None else f" [{result.relative:.2f}]")
            for result in (row.results[name] for name in repo_ids)
        ]
        table.add_row(escape(one_line(row.name)), *map(escape, cells))
    console.print(table)
    console.print("They compare only where data and reference were the same; ask the publishers.", style="dim")


def push_metrics(
    org: Annotated[str, typer.Option(help="Organization or user the Spaces belong to.")],
    metric: Annotated[list[str] | None, typer.Option(help="Name; may be repeated; default: all.")] = None,
    private: Annotated[bool, typer.Option("--private", help="If a Space is made here.")] = False,
) -> None:
    """Publish the Evaluate modules as Spaces, so that evaluate.load("<org>/fade") works."""
    with readable_errors(lambda: "each Space is one commit; the same command sends those that are missing"):
        from hf_unlearn.publishing import push_metrics as run

        for name, url in run(org, names=metric, private=private or None).items():
            console.print(f"{escape(name)}: {escape(url)}", highlight=False)
