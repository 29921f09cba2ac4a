"""The command that measures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._config import Config
from hf_unlearn.cli._options import with_options
from hf_unlearn.cli._show import print_report
from hf_unlearn.config import AuditConfig


if TYPE_CHECKING:
    from hf_unlearn.audit import AuditSet


@with_options(AuditConfig)
def audit(
    candidate: Annotated[str, typer.Option(help="Path or Hub id of the unlearned model.")],
    reference: Annotated[str, typer.Option(help="A model trained the same way without the forget set.")],
    forget: Annotated[str, typer.Option(help="What had to go: file, folder or Hub id, with :configuration.")],
    output_dir: Annotated[
        Path, typer.Option(help="Where report, figure and evidence go; an interrupted audit resumes.")
    ],
    config: Config = None,
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
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the models.")] = None,
    *,
    options: AuditConfig,
) -> None:
    """Compare an unlearned model with one that never saw the data."""
    with readable_errors(lambda: _kept(output_dir)):
        from hf_unlearn.audit import audit as run
        from hf_unlearn.inference import join_processes

        join_processes()
        report = run(
            candidate,
            reference=reference,
            forget=forget,
            retain=retain,
            holdout=holdout,
            sets=_sets(sets or []),
            original=original,
            twin=twin or None,
            processing_class=tokenizer,
            output_dir=output_dir,
            **vars(options),
        )
        print_report(report, "audit")
        console.print(f"report in [cyan]{escape(str(output_dir))}[/cyan]")


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
