"""What one may choose in unlearning: of the forget term, wherever it is used, and of a whole run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hf_unlearn._arguments import above_zero, real_number, share, switch, text, whole_number
from hf_unlearn.config._option import Config, option


_count = partial(whole_number, minimum=1)


TRAINING = (
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "save_steps",
    "seed",
)
"""Options that `TrainingArguments` have, too, and that `args` replaces."""


@dataclass(frozen=True, kw_only=True)
class ForgetConfig(Config):
    """What one may choose of the forget term, in `unlearn` and in `UnlearningCallback` alike."""

    objective: str | Any = option(
        "npo", "An objective, or its name: npo, simnpo, rmu, …, or grad_diff or kl_min, which name a retain term, too."
    )
    retain_term: str | Any | None = option(
        None,
        "nll (the Trainer's own loss), kl, hidden, or an object; by default what goes with the objective (grad_diff and kl_min name it; kl with counterfactual), else nll.",
    )
    forget_weight: float = option(1.0, "Of the forget term; above 0.", check=above_zero)
    retain_weight: float = option(
        1.0,
        "Of the retain term; 0 leaves it out, and its forward pass with it.",
        check=partial(real_number, minimum=0.0),
    )
    prompt_template: str | None = option(
        None,
        "How questions are put, a text with {question}; by default the tokenizer's chat template, else `data.QUESTION_TEMPLATE`. It must be the "
        "one that the model was trained with.",
        check=text,
    )
    forget_batch_size: int | None = option(
        None,
        "Forget rows per optimisation step, all processes and micro-batches together; by default as many as retain rows. Shrinks in "
        "proportion where `auto_find_batch_size` does.",
        check=_count,
    )
    saliency: float | None = option(
        None,
        "Train only this share of the weights, those whose gradient of the forget loss is largest at the start (SalUn's mask); by default "
        "all.",
        check=share,
    )
    allow_overlap: bool = option(False, "Accept forget rows that are also in the retain set.", check=switch)
    stop_on_collapse: bool = option(
        False,
        "End the training when the forget answers have become far less likely than guessing, which a warning says in any case.",
        check=switch,
    )


@dataclass(frozen=True, kw_only=True)
class UnlearnConfig(ForgetConfig):
    """What one may choose in `unlearn`, beside model, data and the folder of the result."""

    objective_options: Mapping[str, Any] | None = option(
        None,
        "Of an objective given by name, for example beta=0.5.",
        cli=("--objective-option",),
        recorded=False,  # the objective is, with all of its own
    )
    peft_config: Any = option(
        None,
        "Train an adapter instead of all weights: a configuration of PEFT's, for example a `LoraConfig`.",
        cli=None,  # --lora-r and what goes with it
        recorded=False,
    )
    fila: bool = option(
        False,
        "Start the LoRA adapter where the forget set matters and the retain set does not (LoKU); saved as an ordinary adapter of twice "
        "the rank.",
        check=switch,
    )
    max_length: int | None = option(
        None,
        "Most tokens of a row; a longer one is refused, not cut. By default what the model can see at once.",
        check=partial(whole_number, minimum=2),
    )
    args: Any = option(
        None,
        "`TrainingArguments`, for full control of the training; replaces epochs, max_steps, learning rate, batch size, accumulation, bf16, save_steps and seed. Its `output_dir` is where checkpoints go.",
        cli=None,  # a file of --config holds what they replace
        recorded=False,
    )
    num_train_epochs: float = option(5.0, "Passes over the retain set.", check=real_number, cli=("--epochs",))
    max_steps: int | None = option(None, "Optimisation steps; in place of the passes where it is given.", check=_count)
    learning_rate: float | None = option(
        None,
        "By default 1e-5, or 1e-4 with an adapter; models of fewer than a billion weights need more, see `default_learning_rate`.",
        check=real_number,
    )
    per_device_train_batch_size: int = option(
        8,
        "Retain rows per device and step; as many forget rows come with them.",
        check=_count,
        cli=("--batch-size",),
    )
    gradient_accumulation_steps: int = option(1, "Batches per optimisation step.", check=_count)
    bf16: bool = option(False, "Compute in bfloat16, where the device can.", check=switch)
    save_steps: int | None = option(
        None,
        "Keep a checkpoint every so many steps, to go on from; by default none, since each holds the optimizer's state, twice the size of "
        "what is trained.",
        check=_count,
        recorded=False,
    )
    seed: int = option(
        0, "Of the training, of the order of the rows and of a new adapter.", check=partial(whole_number, minimum=0)
    )
    resume_from_checkpoint: bool | str = option(
        False,
        "Go on from a checkpoint's path, or from the last one in the folder of the result.",
        cli=None,  # --resume, or this with a path
        recorded=False,
    )
    trust_remote_code: bool = option(
        False, "Whether code from the model's repository may run.", check=switch, recorded=False
    )
