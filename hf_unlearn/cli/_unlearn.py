"""The command that unlearns."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._adapter import LoraAlpha, LoraDropout, LoraRank, LoraTarget, adapter
from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._config import Config
from hf_unlearn.cli._options import with_options
from hf_unlearn.config import UnlearnConfig


@with_options(UnlearnConfig)
def unlearn(
    model: Annotated[str, typer.Option(help="Path or Hub id of the model that must forget.")],
    forget: Annotated[str, typer.Option(help="What must go: file, folder or Hub id, with :configuration.")],
    retain: Annotated[str, typer.Option(help="What must stay.")],
    output_dir: Annotated[Path, typer.Option(help="Where the unlearned model goes.")],
    config: Config = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the model.")] = None,
    lora_r: LoraRank = 0,
    lora_alpha: LoraAlpha = None,
    lora_dropout: LoraDropout = 0.0,
    lora_target: LoraTarget = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in output_dir.")] = False,
    resume_from_checkpoint: Annotated[
        str | None, typer.Option(help="Go on from this checkpoint; --resume finds the last one.")
    ] = None,
    *,
    options: UnlearnConfig,
) -> None:
    """Unlearn a forget set while training on a retain set; saves model, tokenizer and settings."""
    with readable_errors(lambda: _kept(output_dir)):
        given = vars(options) | {
            "peft_config": adapter(lora_r, lora_alpha, lora_dropout, lora_target),
            "resume_from_checkpoint": resume_from_checkpoint or resume,
        }

        from hf_unlearn.training import unlearn as run

        result = run(model, forget=forget, retain=retain, output_dir=output_dir, processing_class=tokenizer, **given)
        for name, before in result.before.items():
            said = f"{name.replace('_', ' ')}: {before:.3g} before, {result.after[name]:.3g} after"
            console.print(escape(said), highlight=False)
        console.print(f"unlearned model in [cyan]{escape(str(result.output_dir))}[/cyan]")
        console.print(
            f"next: hf-unlearn audit --candidate {escape(str(result.output_dir))} --reference … (or --original … where there is none)",
            highlight=False,
        )


def _kept(output_dir: Path) -> str:
    found = sorted(output_dir.glob("checkpoints/checkpoint-*"), key=lambda path: path.stat().st_mtime)
    if not found:
        return "no checkpoint was kept (--save-steps keeps some), so the same command starts anew"
    return f"the last checkpoint is {found[-1]}; the same command with --resume goes on from there"
