"""The command that measures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._config import Config
from hf_unlearn.cli._show import print_report


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
    original: Annotated[str | None, typer.Option(help="The model before unlearning; gives start.")] = None,
    twin: Annotated[str | None, typer.Option(help="A second reference, another seed; gives the floor.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the models.")] = None,
    prompt_template: Annotated[
        str | None, typer.Option(help="How questions are put, with {question}; default: the chat template.")
    ] = None,
    num_samples: Annotated[int, typer.Option(help="Completions per prompt and model.")] = 8,
    max_new_tokens: Annotated[int | None, typer.Option(help="Default: the longest answer in the data.")] = None,
    max_examples: Annotated[int, typer.Option(help="Use at most so many rows of each set.")] = 400,
    estimator: Annotated[str, typer.Option(help="exact_step or sampled.")] = "exact_step",
    layers: Annotated[str | None, typer.Option(help="Layers to compare, as 3,7,11; default: all.")] = None,
    pooling: Annotated[str, typer.Option(help="Of hidden states: answer_mean or last_token.")] = "answer_mean",
    space: Annotated[str, typer.Option(help="Of hidden states: auto, feature or gram.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Rows at a time.")] = 64,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    num_resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of sampling and bootstrap.")] = 0,
    allow_overlap: Annotated[bool, typer.Option(help="Accept forget rows that are also in retain.")] = False,
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
            original=original,
            twin=twin,
            processing_class=tokenizer,
            prompt_template=prompt_template,
            output_dir=output_dir,
            num_samples=num_samples,
            max_new_tokens=max_new_tokens,
            max_examples=max_examples,
            estimator=estimator,
            layers=None if layers is None else _layer_numbers(layers),
            pooling=pooling,
            space=space,
            batch_size=batch_size,
            confidence=confidence,
            num_resamples=num_resamples,
            seed=seed,
            allow_overlap=allow_overlap,
        )
        print_report(report, "audit")
        console.print(f"report in [cyan]{escape(str(output_dir))}[/cyan]")


def _layer_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--layers must be numbers separated by commas, got {text!r}.") from error


def _kept(output_dir: Path) -> str:
    if any(output_dir.glob("evidence/*")):
        return f"what was read so far is in {output_dir / 'evidence'}; the same command goes on from there"
    return "nothing was kept yet; the same command starts anew"
