"""The command that measures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._config import Config
from hf_unlearn.cli._options import with_options
from hf_unlearn.cli._show import bounds, print_report
from hf_unlearn.config import AuditConfig, options_of


if TYPE_CHECKING:
    from hf_unlearn.audit import AuditReport, AuditSet
    from hf_unlearn.benchmarks import LoadedBenchmark


@with_options(AuditConfig)
def audit(
    context: typer.Context,
    candidate: Annotated[str, typer.Option(help="Path or Hub id of the unlearned model.")],
    output_dir: Annotated[
        Path, typer.Option(help="Where report, figure and evidence go; an interrupted audit resumes.")
    ],
    config: Config = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="Data, metrics and published models of a benchmark, NAME:CONFIGURATION, which `hf-unlearn benchmarks` lists, or of a YAML or "
            "Python file (which is run); what is given besides counts instead."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A folder with the benchmark's files, or a copy on the Hub.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(help="What the candidate was made from: the benchmark's models of that base are used."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="A model trained the same way without the forget set; without one, counterfactual metrics."),
    ] = None,
    forget: Annotated[
        str | None,
        typer.Option(help="What had to go: file, folder or Hub id, with :configuration. Needed without a benchmark."),
    ] = None,
    retain: Annotated[str | None, typer.Option(help="What had to stay.")] = None,
    holdout: Annotated[str | None, typer.Option(help="Never trained on.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A further set, NAME=ROLE:DATA with role forget, retain or holdout. May be repeated."
        ),
    ] = None,
    original: Annotated[str | None, typer.Option(help="The model before unlearning; gives start.")] = None,
    twin: Annotated[
        list[str] | None, typer.Option(help="A second reference, another seed; gives the floor. May be repeated.")
    ] = None,
    continued: Annotated[
        list[str] | None,
        typer.Option(
            help="The original trained on for a while; the floor of counterfactual metrics. May be repeated."
        ),
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the models.")] = None,
    *,
    options: AuditConfig,
) -> None:
    """Compare an unlearned model with one that never saw the data."""
    with readable_errors(lambda: _kept(output_dir)):
        from hf_unlearn.inference import join_processes

        if not options.harness_tasks and (options.harness_limit or options.harness_include_path):
            raise ValueError("--harness-limit and --harness-include-path are about --harness-tasks, which names none.")
        given = {
            "reference": reference,
            "forget": forget,
            "retain": retain,
            "holdout": holdout,
            "sets": _sets(sets or []),
            "original": original,
            "twin": twin or None,
            "continued": continued or None,
            "processing_class": tokenizer,
        }
        if benchmark is None:
            _check_alone(given, {"data": data, "base_model": base_model})
            join_processes()
            report = _audit(candidate, output_dir=output_dir, **given, **vars(options))
        else:
            from hf_unlearn.benchmarks import load_benchmark

            loaded = load_benchmark(benchmark, data=data, base_model=base_model)
            given = {name: value for name, value in given.items() if value}
            join_processes()
            report = loaded.audit(candidate, output_dir=output_dir, **given, **_chosen(options, context))
        print_report(report, "audit" if benchmark is None else str(report.provenance.settings["benchmark"]))
        if benchmark is not None:
            _print_headline(loaded, report)
        console.print(f"report in [cyan]{escape(str(output_dir))}[/cyan]")


def _audit(candidate: str, **given: Any) -> "AuditReport":
    from hf_unlearn.audit import audit as run

    return run(candidate, **given)


def _check_alone(given: Mapping[str, Any], of_benchmarks: Mapping[str, Any]) -> None:
    """What a benchmark would bring must be given without one.

    Raises:
        ValueError: It is not; or options that only a benchmark has are.
    """
    lacking = [] if given["forget"] is not None else ["--forget"]
    if given["reference"] is None and given["original"] is None:
        lacking.append("--reference (or --original, for counterfactual metrics)")
    if lacking:
        raise ValueError(f"give {' and '.join(lacking)}, or --benchmark, which brings its own.")
    idle = [f"--{name.replace('_', '-')}" for name, value in of_benchmarks.items() if value is not None]
    if idle:
        raise ValueError(f"{' and '.join(idle)} is for --benchmark, which is not given.")


def _chosen(options: AuditConfig, context: typer.Context) -> dict[str, Any]:
    """Options that were given, on the command line or in a file; the benchmark has the others."""
    names = [each.name for each in options_of(AuditConfig) if each.cli is not None]
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source is not None and source.name != "DEFAULT"]
    return {name: getattr(options, name) for name in given}


def _print_headline(loaded: "LoadedBenchmark", report: "AuditReport") -> None:
    from hf_unlearn.audit._assumed import titled

    for key, result in loaded.headline(report).items():
        interval = "" if result.confidence_interval is None else f" ({bounds(result.confidence_interval)})"
        title = titled(report.spec(result.name))
        console.print(f"[bold]{escape(key)}[/bold]  {result.value:.4g}{interval}  {escape(title)}", highlight=False)


def _sets(given: list[str]) -> "dict[str, AuditSet]":
    """Further sets from `NAME=ROLE:DATA`.

    Raises:
        ValueError: Not of that form, or a name twice.
    """
    from hf_unlearn.audit import AuditSet

    found: dict[str, AuditSet] = {}
    for part in given:
        name, named, place = part.partition("=")
        role, colon, data = place.partition(":")
        if not (name and named and colon and data):
            raise ValueError(f"--set is NAME=ROLE:DATA, for example facts=retain:me/facts, got {part!r}.")
        if name in found:
            raise ValueError(f"the set {name!r} is there twice.")
        found[name] = AuditSet(data, role)
    return found


def _kept(output_dir: Path) -> str:
    if any(output_dir.glob("evidence/*")):
        return f"what was read so far is in {output_dir / 'evidence'}; the same command goes on from there"
    return "nothing was kept yet; the same command starts anew"
