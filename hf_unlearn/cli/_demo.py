"""The command that tells the whole story."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._show import print_report


def demo(
    output_dir: Annotated[Path, typer.Option(help="Where reports and figures go.")] = Path("hf-unlearn-demo"),
    size: Annotated[str, typer.Option(help="nano (seconds) or small (about three minutes on two cores).")] = "small",
    seed: Annotated[int, typer.Option(help="Of data and models.")] = 0,
) -> None:
    """The whole story on the pocket benchmark: train, retrain without the forget set, unlearn, measure."""
    with readable_errors(lambda: f"what was finished is in {output_dir}; the same command starts anew"):
        from hf_unlearn._demo import Step, run_demo

        for step in run_demo(output_dir, size=size, seed=seed):
            if isinstance(step, Step):
                console.print(f"[bold]{escape(step.title)}[/bold]  {escape(step.text)}")
            else:
                print_report(step.report, step.title)
                console.print(
                    f"figures and report in [cyan]{escape(str(step.folder))}[/cyan], the card in publication/\n"
                )
