"""The command that finds a recipe."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._adapter import LoraAlpha, LoraDropout, LoraRank, LoraTarget, adapter
from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._config import Config
from hf_unlearn.cli._options import with_options
from hf_unlearn.config import TuneConfig


@with_options(TuneConfig)
def tune(
    model: Annotated[str, typer.Option(help="Path or Hub id of the model that must forget.")],
    forget: Annotated[str, typer.Option(help="What must go: file, folder or Hub id, with :configuration.")],
    retain: Annotated[str, typer.Option(help="What must stay.")],
    output_dir: Annotated[Path, typer.Option(help="Where the study goes; one that is there already goes on.")],
    config: Config = None,
    reference: Annotated[str | None, typer.Option(help="A model that never saw the forget set.")] = None,
    original: Annotated[str | None, typer.Option(help="The model before unlearning; default: the model.")] = None,
    twin: Annotated[str | None, typer.Option(help="A second reference; gives the floor.")] = None,
    holdout: Annotated[str | None, typer.Option(help="Never trained on.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the model.")] = None,
    lora_r: LoraRank = 0,
    lora_alpha: LoraAlpha = None,
    lora_dropout: LoraDropout = 0.0,
    lora_target: LoraTarget = None,
    *,
    options: TuneConfig,
) -> None:
    """Find objective, weight, learning rate and length under a budget, by the audited score."""
    with readable_errors(lambda: "what was tried is kept; the same command goes on from there"):
        peft_config = adapter(lora_r, lora_alpha, lora_dropout, lora_target)
        logging.getLogger("hf_unlearn.tuning").setLevel(logging.INFO)  # it says what the search will cost

        from hf_unlearn.tuning import tune as run

        result = run(
            model,
            forget=forget,
            retain=retain,
            output_dir=output_dir,
            reference=reference,
            original=original,
            twin=twin,
            holdout=holdout,
            processing_class=tokenizer,
            **vars(options) | {"peft_config": peft_config},
        )
        for sentence in result.sentences():
            console.print(escape(sentence), highlight=False)
        console.print(f"study, table and figure in [cyan]{escape(str(result.output_dir))}[/cyan]")
        recipe = escape(str(result.output_dir / "best.yaml"))
        console.print(f"next: hf-unlearn unlearn --config {recipe} --output-dir …", highlight=False)
