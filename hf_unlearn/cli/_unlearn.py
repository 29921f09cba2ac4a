"""The command that unlearns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._config import Config
from hf_unlearn.cli._options import with_options
from hf_unlearn.config import UnlearnConfig


if TYPE_CHECKING:
    from peft import LoraConfig


@with_options(UnlearnConfig)
def unlearn(
    model: Annotated[str, typer.Option(help="Path or Hub id of the model that must forget.")],
    forget: Annotated[str, typer.Option(help="What must go: file, folder or Hub id, with :configuration.")],
    retain: Annotated[str, typer.Option(help="What must stay.")],
    output_dir: Annotated[Path, typer.Option(help="Where the unlearned model goes.")],
    config: Config = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the model.")] = None,
    lora_r: Annotated[int, typer.Option(help="LoRA rank; 0 trains all weights.")] = 0,
    lora_alpha: Annotated[float | None, typer.Option(help="LoRA scaling; default: twice the rank.")] = None,
    lora_dropout: Annotated[float, typer.Option(help="In the adapter.")] = 0.0,
    lora_target: Annotated[
        list[str] | None, typer.Option(help="Module that gets an adapter, or all-linear; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in output_dir.")] = False,
    resume_from_checkpoint: Annotated[
        str | None, typer.Option(help="Go on from this checkpoint; --resume finds the last one.")
    ] = None,
    *,
    options: UnlearnConfig,
) -> None:
    """Unlearn a forget set while training on a retain set; saves model, tokenizer and settings."""
    with readable_errors(lambda: _kept(output_dir)):
        _check_adapter_options(lora_r, lora_alpha, lora_dropout, lora_target)
        given = vars(options) | {
            "peft_config": _lora(lora_r, lora_alpha, lora_dropout, lora_target) if lora_r else None,
            "resume_from_checkpoint": resume_from_checkpoint or resume,
        }

        from hf_unlearn.training import unlearn as run

        result = run(model, forget=forget, retain=retain, output_dir=output_dir, processing_class=tokenizer, **given)
        for name, before in result.before.items():
            said = f"{name.replace('_', ' ')}: {before:.3g} before, {result.after[name]:.3g} after"
            console.print(escape(said), highlight=False)
        console.print(f"unlearned model in [cyan]{escape(str(result.output_dir))}[/cyan]")
        console.print(
            f"next: hf-unlearn audit --candidate {escape(str(result.output_dir))} --reference …", highlight=False
        )


def _check_adapter_options(rank: int, alpha: float | None, dropout: float, targets: list[str] | None) -> None:
    if rank < 0:
        raise ValueError(f"--lora-r must be 0 (train all weights) or a rank, got {rank}.")
    if not rank and (alpha is not None or dropout or targets):
        raise ValueError("--lora-alpha, --lora-dropout and --lora-target are for an adapter: pass --lora-r, too.")


def _lora(rank: int, alpha: float | None, dropout: float, targets: list[str] | None) -> "LoraConfig":
    from peft import LoraConfig

    whole = targets == ["all-linear"]  # a word of PEFT's, which is no list
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules="all-linear" if whole else targets or None,
        task_type="CAUSAL_LM",
    )


def _kept(output_dir: Path) -> str:
    found = sorted(output_dir.glob("checkpoints/checkpoint-*"), key=lambda path: path.stat().st_mtime)
    if not found:
        return "no checkpoint was kept (--save-steps keeps some), so the same command starts anew"
    return f"the last checkpoint is {found[-1]}; the same command with --resume goes on from there"
