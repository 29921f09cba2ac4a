"""What all commands share: the application, its consoles, and how it fails."""

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape


app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Unlearn inside the Hugging Face Trainer, and prove it."
)
console = Console()
errors = Console(stderr=True)
INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C has ended."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from hf_unlearn import __version__

        console.print(f"hf-unlearn {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and log more.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Set up what all commands share."""
    handler = RichHandler(console=errors, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[handler], format="%(message)s")
    if int(os.environ.get("RANK", "0")) > 0:  # under torchrun one process speaks
        console.quiet = True
    if not debug:
        warnings.filterwarnings("ignore", module=r"(transformers|peft|torch|datasets)\b")
    app.pretty_exceptions_enable = debug


@contextlib.contextmanager
def readable_errors(kept: Callable[[], str] = lambda: "nothing was written") -> Iterator[None]:
    """What the user can mend is said in one sentence; everything else, and everything under --debug, keeps its traceback.

    Args:
        kept: Says after Ctrl-C what there is, and how to go on.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if not console.quiet:  # one process speaks
            errors.print(f"[bold red]interrupted:[/bold red] {escape(kept())}.", highlight=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from error
    except (ValueError, TypeError, OSError, KeyError, ImportError) as error:
        _fail(_rescued(error), error)
    except RuntimeError as error:
        from hf_unlearn.inference import OtherProcessError, is_out_of_memory

        if not isinstance(error, OtherProcessError) and not is_out_of_memory(error):
            raise
        _fail(str(error), error)


def _rescued(error: Exception) -> str:
    """The error in words; a result that could not be saved where it should is saved elsewhere first."""
    from hf_unlearn.audit import ReportNotSavedError
    from hf_unlearn.training import ResultNotSavedError

    if not isinstance(error, ReportNotSavedError | ResultNotSavedError):
        # A KeyError's text is the repr of its message.
        return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    rescue = Path(tempfile.mkdtemp(prefix="hf-unlearn-"))
    unsaved = error.report if isinstance(error, ReportNotSavedError) else error.result
    unsaved.save(rescue)
    return f"{error} It was saved to {rescue} instead."


def _fail(message: str, error: Exception) -> None:
    from hf_unlearn.publishing import printable

    if app.pretty_exceptions_enable:
        raise error
    message = message.replace("allow_overlap=True", "--allow-overlap")  # the switch that messages name as a parameter
    errors.print(f"[bold red]error:[/bold red] {escape(printable(message))}", highlight=False, soft_wrap=True)
    raise typer.Exit(1) from error
