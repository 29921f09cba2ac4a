"""The command that unlearns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hf_unlearn.cli._app import console, readable_errors
from hf_unlearn.cli._config import Config, parse_options


if TYPE_CHECKING:
    from peft import LoraConfig


def unlearn(
    model: Annotated[str, typer.Option(help="Path or Hub id of the model that must forget.")],
    forget: Annotated[str, typer.Option(help="What must go: file, folder or Hub id, with :configuration.")],
    retain: Annotated[str, typer.Option(help="What must stay.")],
    output_dir: Annotated[Path, typer.Option(help="Where the unlearned model goes.")],
    config: Config = None,
    objective: Annotated[str, typer.Option(help="For example npo, simnpo, rmu or grad_diff.")] = "npo",
    objective_option: Annotated[
        list[str] | None, typer.Option(help="Of the objective, as beta=0.5; may be repeated.")
    ] = None,
    retain_term: Annotated[str | None, typer.Option(help="nll (the Trainer's own loss), kl or hidden.")] = None,
    forget_weight: Annotated[float, typer.Option(help="Of the forget term.")] = 1.0,
    retain_weight: Annotated[float, typer.Option(help="Of the retain term.")] = 1.0,
    epochs: Annotated[float, typer.Option(help="Passes over the retain set.")] = 5.0,
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: 1e-5, or 1e-4 with LoRA; more for small models.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Rows per device and batch.")] = 8,
    gradient_accumulation_steps: Annotated[int, typer.Option(help="Batches per optimisation step.")] = 1,
    forget_batch_size: Annotated[
        int | None, typer.Option(help="Forget rows per optimisation step; default: as many as retain rows.")
    ] = None,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = False,
    max_length: Annotated[int | None, typer.Option(help="Most tokens of a row; longer ones are refused.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Default: the one saved with the model.")] = None,
    prompt_template: Annotated[
        str | None, typer.Option(help="How questions are put, with {question}; default: the chat template.")
    ] = None,
    lora_r: Annotated[int, typer.Option(help="LoRA rank; 0 trains all weights.")] = 0,
    lora_alpha: Annotated[float | None, typer.Option(help="LoRA scaling; default: twice the rank.")] = None,
    lora_dropout: Annotated[float, typer.Option(help="In the adapter.")] = 0.0,
    lora_target: Annotated[
        list[str] | None, typer.Option(help="Module that gets an adapter, or all-linear; may be repeated.")
    ] = None,
    fila: Annotated[bool, typer.Option(help="Start the adapter where the forget set matters (LoKU).")] = False,
    save_steps: Annotated[int | None, typer.Option(help="Keep a checkpoint every so many steps.")] = None,
    seed: Annotated[int, typer.Option(help="Of training and adapter.")] = 0,
    allow_overlap: Annotated[bool, typer.Option(help="Accept forget rows that are also in retain.")] = False,
    stop_on_collapse: Annotated[bool, typer.Option(help="End when the model is being destroyed.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in output_dir.")] = False,
    trust_remote_code: Annotated[bool, typer.Option(help="Let code from the model's repository run.")] = False,
) -> None:
    """Unlearn a forget set while training on a retain set; saves model, tokenizer and settings."""
    with readable_errors(lambda: _kept(output_dir)):
        _check_adapter_options(lora_r, lora_alpha, lora_dropout, lora_target)
        options = parse_options(objective_option, "--objective-option")

        from hf_unlearn.training import unlearn as run

        result = run(
            model,
            forget=forget,
            retain=retain,
            objective=objective,
            objective_options=options or None,
            retain_term=retain_term,
            forget_weight=forget_weight,
            retain_weight=retain_weight,
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=gradient_accumulation_steps,
            forget_batch_size=forget_batch_size,
            bf16=bf16,
            max_length=max_length,
            processing_class=tokenizer,
            prompt_template=prompt_template,
            peft_config=_lora(lora_r, lora_alpha, lora_dropout, lora_target) if lora_r else None,
            fila=fila,
            output_dir=output_dir,
            save_steps=save_steps,
            seed=seed,
            allow_overlap=allow_overlap,
            stop_on_collapse=stop_on_collapse,
            resume_from_checkpoint=resume,
            trust_remote_code=trust_remote_code,
        )
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
