"""The command that unlearns."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._app import console, readable_errors


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
    with readable_errors(lambda: _kept(output_dir)):
        from peft import LoraConfig

        from hf_unlearn.training import unlearn as run

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


def _kept(output_dir: Path) -> str:
    found = sorted(output_dir.glob("checkpoints/checkpoint-*"), key=lambda path: path.stat().st_mtime)
    if not found:
        return "no checkpoint was kept, so the same command starts anew"
    return f"the last checkpoint is {found[-1]}; the same command with --resume goes on from there"
