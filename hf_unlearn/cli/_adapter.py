"""LoRA's options as commands have them, and the configuration of PEFT's that they make."""

from typing import TYPE_CHECKING, Annotated

import typer


if TYPE_CHECKING:
    from peft import LoraConfig

LoraRank = Annotated[int, typer.Option(help="LoRA rank; 0 trains all weights.")]
LoraAlpha = Annotated[float | None, typer.Option(help="LoRA scaling; default: twice the rank.")]
LoraDropout = Annotated[float, typer.Option(help="In the adapter.")]
LoraTarget = Annotated[
    list[str] | None, typer.Option(help="Module that gets an adapter, or all-linear; may be repeated.")
]


def adapter(rank: int, alpha: float | None, dropout: float, targets: list[str] | None) -> "LoraConfig | None":
    """The configuration; None where all weights train.

    Raises:
        ValueError: A negative rank, or options of an adapter without one.
    """
    if rank < 0:
        raise ValueError(f"--lora-r must be 0 (train all weights) or a rank, got {rank}.")
    if not rank and (alpha is not None or dropout or targets):
        raise ValueError("--lora-alpha, --lora-dropout and --lora-target are for an adapter: pass --lora-r, too.")
    if not rank:
        return None

    from peft import LoraConfig

    whole = targets == ["all-linear"]  # a word of PEFT's, which is no list
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules="all-linear" if whole else targets or None,
        task_type="CAUSAL_LM",
    )
