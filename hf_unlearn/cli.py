"""The command line: parses, calls, prints. Everything it does can be done with the public functions."""

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from hf_unlearn.audit import AuditReport, MetricResult, ReportNotSavedError
from hf_unlearn.inference import join_processes, leave_processes
from hf_unlearn.publishing import one_line, printable
from hf_unlearn.training import ResultNotSavedError


app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Unlearn inside the Hugging Face Trainer, and prove it."
)
LAYER_METRICS = {
    "progress": "1",
    "directional_agreement": "1",
    "residual_ratio": "0",
    "cka": "1",
    "anchored_erasure": "1",
    "unlearning_depth_score": "1",
    "logit_lens_erasure": "1",
    "probe_auc": "",
}
"""What the table of hidden states shows, and the value of a retrained model; the probe's is measured."""
console = Console()
errors = Console(stderr=True)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and log more.")] = False,
) -> None:
    """Set up what all commands share."""
    handler = RichHandler(console=errors, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[handler], format="%(message)s")
    if int(os.environ.get("RANK", "0")) > 0:  # under torchrun one process speaks
        console.quiet = True
    if not debug:
        warnings.filterwarnings("ignore", module=r"(transformers|peft|torch|datasets)\b")
    app.pretty_exceptions_enable = debug


@app.command()
def demo(
    output_dir: Annotated[Path, typer.Option(help="Where reports and figures go.")] = Path("hf-unlearn-demo"),
    size: Annotated[str, typer.Option(help="nano (seconds) or small (about three minutes on two cores).")] = "small",
    seed: Annotated[int, typer.Option(help="Of data and models.")] = 0,
) -> None:
    """The whole story on the pocket benchmark: train, retrain without the forget set, unlearn, measure."""
    from hf_unlearn._demo import Step, run_demo

    with _readable_errors():
        for step in run_demo(output_dir, size=size, seed=seed):
            if isinstance(step, Step):
                console.print(f"[bold]{escape(step.title)}[/bold]  {escape(step.text)}")
            else:
                _print_report(step.report, step.title)
                console.print(
                    f"figures and report in [cyan]{escape(str(step.folder))}[/cyan], the card in publication/\n"
                )


@app.command()
def unlearn(
    model: Annotated[str, typer.Option(help="Path or Hub id of the model that must forget.")],
    forget: Annotated[str, typer.Option(help="What must go: file, folder or Hub id, with :configuration.")],
    retain: Annotated[str, typer.Option(help="What must stay.")],
    output_dir: Annotated[Path, typer.Option(help="Where the unlearned model goes.")],
    objective: Annotated[str, typer.Option(help="For example npo, simnpo, rmu or grad_diff.")] = "npo",
    retain_term: Annotated[str | None, typer.Option(help="nll (the Trainer's own loss), kl or hidden.")] = None,
    forget_weight: Annotated[float, typer.Option(help="Of the forget term.")] = 1.0,
    retain_weight: Annotated[float, typer.Option(help="Of the retain term.")] = 1.0,
    epochs: Annotated[float, typer.Option(help="Passes over the retain set.")] = 5.0,
    learning_rate: Annotated[float | None, typer.Option(help="Default: 1e-5, or 1e-4 with LoRA.")] = None,
    batch_size: Annotated[int, typer.Option(help="Rows per device and step.")] = 8,
    lora_r: Annotated[int, typer.Option(help="LoRA rank; 0 trains all weights.")] = 0,
    seed: Annotated[int, typer.Option(help="Of training.")] = 0,
    allow_overlap: Annotated[bool, typer.Option(help="Accept forget rows that are also in retain.")] = False,
    stop_on_collapse: Annotated[bool, typer.Option(help="End when the model is being destroyed.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in output_dir.")] = False,
    trust_remote_code: Annotated[bool, typer.Option(help="Let code from the model's repository run.")] = False,
) -> None:
    """Unlearn a forget set while training on a retain set; saves model, tokenizer and settings."""
    from peft import LoraConfig

    from hf_unlearn.training import unlearn as run

    with _readable_errors():
        result = run(
            model,
            forget=forget,
            retain=retain,
            objective=objective,
            retain_term=retain_term,
            forget_weight=forget_weight,
            retain_weight=retain_weight,
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=batch_size,
            peft_config=LoraConfig(r=lora_r, lora_alpha=2 * lora_r, task_type="CAUSAL_LM") if lora_r else None,
            output_dir=output_dir,
            seed=seed,
            allow_overlap=allow_overlap,
            stop_on_collapse=stop_on_collapse,
            resume_from_checkpoint=resume,
            trust_remote_code=trust_remote_code,
        )
        console.print(f"unlearned model in [cyan]{escape(str(result.output_dir))}[/cyan]")
        console.print(
            f"next: hf-unlearn audit --candidate {escape(str(result.output_dir))} --reference …", highlight=False
        )


@app.command()
def audit(
    candidate: Annotated[str, typer.Option(help="Path or Hub id of the unlearned model.")],
    reference: Annotated[str, typer.Option(help="A model trained the same way without the forget set.")],
    forget: Annotated[str, typer.Option(help="What had to go: file, folder or Hub id, with :configuration.")],
    output_dir: Annotated[
        Path, typer.Option(help="Where report, figure and evidence go; an interrupted audit resumes.")
    ],
    retain: Annotated[str | None, typer.Option(help="What had to stay.")] = None,
    holdout: Annotated[str | None, typer.Option(help="Never trained on.")] = None,
    original: Annotated[str | None, typer.Option(help="The model before unlearning; gives start.")] = None,
    twin: Annotated[str | None, typer.Option(help="A second reference, another seed; gives the floor.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the models.")] = None,
    num_samples: Annotated[int, typer.Option(help="Completions per prompt and model.")] = 8,
    max_new_tokens: Annotated[int | None, typer.Option(help="Default: the longest answer in the data.")] = None,
    max_examples: Annotated[int, typer.Option(help="Use at most so many rows of each set.")] = 400,
    estimator: Annotated[str, typer.Option(help="exact_step or sampled.")] = "exact_step",
    layers: Annotated[str | None, typer.Option(help="Layers to compare, as 3,7,11; default: all.")] = None,
    pooling: Annotated[str, typer.Option(help="Of hidden states: answer_mean or last_token.")] = "answer_mean",
    space: Annotated[str, typer.Option(help="Of hidden states: auto, feature or gram.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Rows at a time.")] = 64,
    seed: Annotated[int, typer.Option(help="Of sampling and bootstrap.")] = 0,
    allow_overlap: Annotated[bool, typer.Option(help="Accept forget rows that are also in retain.")] = False,
) -> None:
    """Compare an unlearned model with one that never saw the data."""
    from hf_unlearn.audit import audit as run

    join_processes()
    with _readable_errors():
        report = run(
            candidate,
            reference=reference,
            forget=forget,
            retain=retain,
            holdout=holdout,
            original=original,
            twin=twin,
            processing_class=tokenizer,
            output_dir=output_dir,
            num_samples=num_samples,
            max_new_tokens=max_new_tokens,
            max_examples=max_examples,
            estimator=estimator,
            layers=None if layers is None else _layer_numbers(layers),
            pooling=pooling,
            space=space,
            batch_size=batch_size,
            seed=seed,
            allow_overlap=allow_overlap,
        )
        _print_report(report, "audit")
        console.print(f"report in [cyan]{escape(str(output_dir))}[/cyan]")


@app.command()
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
    from hf_unlearn.publishing import publish as run

    with _readable_errors():
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


@app.command()
def verify(
    repo_id: Annotated[str, typer.Argument(help="Of the audited model.")],
    forget: Annotated[str | None, typer.Option(help="Your copy of the forget set.")] = None,
    retain: Annotated[str | None, typer.Option(help="Of the retain set.")] = None,
    holdout: Annotated[str | None, typer.Option(help="Of the holdout set.")] = None,
    reference: Annotated[str | None, typer.Option(help="The retrained model; default: the one in the report.")] = None,
    original: Annotated[str | None, typer.Option(help="The model before unlearning.")] = None,
    twin: Annotated[str | None, typer.Option(help="The second reference.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one published with the model.")] = None,
    data_key: Annotated[str | None, typer.Option(help="The publisher's data_key.txt.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    batch_size: Annotated[int, typer.Option(help="Rows at a time.")] = 64,
) -> None:
    """Recompute what a published audit claims; ends with 1 if anything is not reproduced."""
    from hf_unlearn.publishing import verify as run

    with _readable_errors():
        checks = run(
            repo_id,
            forget=forget,
            retain=retain,
            holdout=holdout,
            reference=reference,
            original=original,
            twin=twin,
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
        numbers = (_number(check.published), _bounds(check.interval), _number(check.recomputed))
        table.add_row(escape(one_line(check.name)), *numbers, f"[{colours[check.outcome]}]{check.outcome}[/]")
        if check.outcome != "reproduced" or "not recomputed" in check.reason:
            reasons.setdefault((check.outcome, one_line(check.reason)), []).append(one_line(check.name))
    console.print(table)
    for (outcome, reason), names in reasons.items():
        console.print(
            f"[{colours[outcome]}]{outcome}[/] {escape(', '.join(names))}: {escape(reason)}", highlight=False
        )
    if any(check.outcome == "not reproduced" for check in checks):
        raise typer.Exit(1)


@app.command()
def compare(repo_ids: Annotated[list[str], typer.Argument(help="Audited models on the Hub.")]) -> None:
    """Published audits side by side: value, and where there is one the relative value."""
    from hf_unlearn.publishing import compare_audits

    with _readable_errors():
        rows = compare_audits(repo_ids)
    table = Table(title="published audits; value [relative: 0 retrained, 1 nothing unlearned]", title_justify="left")
    for column in ("metric", *repo_ids):
        table.add_column(escape(column), justify="left" if column == "metric" else "right")
    for row in rows:
        cells = [
            "–"
            if result is None
            else _number(result.value) + ("" if result.relative is None else f" [{result.relative:.2f}]")
            for result in (row.results[name] for name in repo_ids)
        ]
        table.add_row(escape(one_line(row.name)), *map(escape, cells))
    console.print(table)
    console.print("They compare only where data and reference were the same; ask the publishers.", style="dim")


@app.command()
def push_metrics(
    org: Annotated[str, typer.Option(help="Organization or user the Spaces belong to.")],
    metric: Annotated[list[str] | None, typer.Option(help="Name; may be repeated; default: all.")] = None,
    private: Annotated[bool, typer.Option("--private", help="If a Space is made here.")] = False,
) -> None:
    """Publish the Evaluate modules as Spaces, so that evaluate.load("<org>/fade") works."""
    from hf_unlearn.publishing import push_metrics as run

    with _readable_errors():
        for name, url in run(org, names=metric, private=private or None).items():
            console.print(f"{escape(name)}: {escape(url)}", highlight=False)


def main() -> None:
    """The `hf-unlearn` command."""
    try:
        app()
    finally:
        leave_processes()


def _layer_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--layers must be numbers separated by commas, got {text!r}.") from error


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    """What the user can mend is said in one sentence; everything else, and everything under --debug, keeps its traceback."""
    try:
        yield
    except (ReportNotSavedError, ResultNotSavedError) as error:
        rescue = Path(tempfile.mkdtemp(prefix="hf-unlearn-"))
        unsaved = error.report if isinstance(error, ReportNotSavedError) else error.result
        unsaved.save(rescue)
        _fail(f"{error} It was saved to {rescue} instead.", error)
    except (ValueError, TypeError, OSError, KeyError) as error:
        _fail(str(error), error)


def _fail(message: str, error: Exception) -> None:
    if app.pretty_exceptions_enable:
        raise error
    errors.print(f"[bold red]error:[/bold red] {escape(printable(message))}", highlight=False, soft_wrap=True)
    raise typer.Exit(1) from error


def _print_report(report: AuditReport, title: str) -> None:
    console.rule(escape(title), align="left")
    distances = {name: result for name, result in report.metrics.items() if result.unit == "nats per sequence"}
    table = Table(title="FADE, distance to the reference in nats per sequence (0 = equal)", title_justify="left")
    for column in ("prompts", "floor\n(twin)", "candidate", "interval", "start\n(original)", "relative"):
        table.add_column(column, justify="left" if column == "prompts" else "right", no_wrap=True)
    for name, result in distances.items():
        prompts = "forget" if name == "fade" else name.removesuffix("_fade")
        table.add_row(
            prompts,
            *map(_number, (result.floor, result.value)),
            _interval(result),
            *map(_number, (result.start, result.relative)),
        )
    console.print(table)
    table = Table(title="Probability of the true answer", title_justify="left")
    for column in ("answers", "candidate", "interval", "reference", "original"):
        table.add_column(column, justify="left" if column == "answers" else "right", no_wrap=True)
    for name, result in report.metrics.items():
        if name.endswith("_probability"):
            others = (_number(result.others.get(role)) for role in ("reference", "original"))
            table.add_row(name.removesuffix("_probability"), _number(result.value), _interval(result), *others)
    console.print(table)
    _print_layers(report)
    for sentence in report.reading():
        console.print(escape(sentence), highlight=False)
    for note in report.notes:
        console.print(f"[dim]note: {escape(note)}[/dim]", highlight=False)


def _print_layers(report: AuditReport) -> None:
    """Hidden states: means over layers; by layer they are in the figure."""
    shown = [name for name in LAYER_METRICS if name in report.metrics]
    if not shown:
        return
    table = Table(title="Hidden states of the forget examples, mean over layers", title_justify="left")
    for column in ("metric", "ideal", "floor", "candidate", "interval", "start"):
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for name in shown:
        result = report.metrics[name]
        reference = result.others.get("reference")
        table.add_row(
            name.removesuffix("_score").replace("_", " "),
            LAYER_METRICS[name] if reference is None else f"{reference:.2f}",
            *map(_number, (result.floor, result.value)),
            _interval(result),
            _number(result.others.get("original") if result.start is None else result.start),
        )
    console.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(result: MetricResult) -> str:
    return _bounds(result.confidence_interval)


def _bounds(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.2f} … {interval[1]:.2f}"
