"""What one may choose in `tune`, beside models, data and the folder of the study."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hf_unlearn._arguments import above_zero, one_of, switch, text, texts, whole_number
from hf_unlearn.config._option import Config, option


PRUNERS = ("median", "hyperband", "none")
_count = partial(whole_number, minimum=1)


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Config):
    """What one may choose in `tune`, beside models, data and the folder of the study."""

    objectives: Sequence[str] = option(
        ("npo", "simnpo", "undial", "grad_diff"),
        "Names of the objectives that are tried, those of `unlearn`; the defaults of each come first.",
        check=texts,
    )
    retain_terms: Sequence[str] = option(
        ("nll",), "Names of the retain terms that are tried with those that do not name their own.", check=texts
    )
    num_trials: int = option(20, "Trials in all, those that the folder holds already included.", check=_count)
    timeout: float | None = option(
        None, "Seconds after which no further trial of this call begins; by default no limit.", check=above_zero
    )
    max_steps: int | None = option(
        None,
        "Most optimisation steps of a trial, and the length of the defaults; by default five passes over the retain set.",
        check=_count,
    )
    evaluations: int = option(
        4, "How often a trial is scored, evenly on its way; the last time at its end.", check=_count
    )
    pruner: str = option(
        "median",
        "Ends trials that do worse on their way than others did there: median, hyperband, or none.",
        check=partial(one_of, choices=PRUNERS),
    )
    metric: str | None = option(
        None,
        "The distance on the forget set, as in `audit`; by default fade, without a reference counterfactual_fade.",
        check=text,
    )
    max_examples: int = option(32, "Of each half of each set, drawn by seed.", check=_count)
    num_samples: int = option(4, "Completions per prompt and model.", check=_count)
    num_counterfactuals: int = option(
        4,
        "Of a counterfactual distance: names in place of each forget subject's, as many again for the floor.",
        check=_count,
    )
    subject_column: str | None = option(
        None,
        "Of a counterfactual distance: column with the name that each forget question is about; by default as in `audit`.",
        check=text,
    )
    max_new_tokens: int = option(32, "Where completions are cut.", check=_count)
    batch_size: int = option(
        32, "Rows that are scored at a time; does not change results.", check=_count, recorded=False
    )
    cluster_column: str | None = option(
        None,
        "Says which rows are about the same, and stay in one half; by default person_id, subject or cluster_id, else the prompt.",
        check=text,
    )
    prompt_template: str | None = option(
        None,
        "How questions are put, a text with {question}; by default the tokenizer's chat template, else `data.QUESTION_TEMPLATE`. It must be the "
        "one that the model was trained with.",
        check=text,
    )
    max_length: int | None = option(
        None,
        "Most tokens of a row; a longer one is refused, not cut. By default what the model can see at once.",
        check=partial(whole_number, minimum=2),
    )
    peft_config: Any = option(
        None,
        "Train an adapter instead of all weights: a configuration of PEFT's, for example a `LoraConfig`.",
        cli=None,  # --lora-r and what goes with it
        recorded=False,
    )
    per_device_train_batch_size: int = option(
        8,
        "Retain rows per device and step; as many forget rows come with them.",
        check=_count,
        cli=("--train-batch-size",),
    )
    gradient_accumulation_steps: int = option(1, "Batches per optimisation step.", check=_count)
    forget_batch_size: int | None = option(
        None, "Forget rows per optimisation step; by default as many as retain rows.", check=_count
    )
    bf16: bool = option(False, "Compute in bfloat16, where the device can.", check=switch)
    allow_overlap: bool = option(False, "Accept forget rows that are also in the retain set.", check=switch)
    seed: int = option(
        0, "Of the halves, the search, the samples and each training.", check=partial(whole_number, minimum=0)
    )
    progress: bool = option(True, "Whether to show a bar.", check=switch, recorded=False)
    trust_remote_code: bool = option(
        False, "Whether code from the model's repository may run.", check=switch, recorded=False
    )
