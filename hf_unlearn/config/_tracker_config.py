"""What one may choose for the tracker, beside models and data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hf_unlearn._arguments import switch, text, whole_number
from hf_unlearn.config._audit_config import metric_names
from hf_unlearn.config._option import Config, option


_count = partial(whole_number, minimum=1)


@dataclass(frozen=True, kw_only=True)
class TrackerConfig(Config):
    """What one may choose in `ForgettingTracker`, beside trainer, models, data and the folder of the results."""

    metrics: str | Sequence[str] | None = option(
        None,
        "What is measured, by name as in `audit`; by default what costs little.",
        check=metric_names,
    )
    probes: Sequence[Callable[..., Mapping[str, float]]] = option(
        (), "Further measurements: callables from the model to values by name.", cli=None
    )
    every_n_steps: int | None = option(None, "Also between evaluations; by default not.", check=_count)
    max_examples: int = option(16, "Of each set, drawn by seed.", check=_count)
    num_samples: int = option(2, "Completions per prompt and model.", check=_count)
    max_new_tokens: int = option(32, "Where completions are cut.", check=_count)
    num_counterfactuals: int = option(
        4,
        "Of counterfactual metrics: names in place of each forget subject's, as many again for the floor.",
        check=_count,
    )
    subject_column: str | None = option(
        None,
        "Of counterfactual metrics: column with the name that each forget question is about; by default as in `audit`.",
        check=text,
    )
    batch_size: int = option(32, "Rows at a time; does not change results.", check=_count, recorded=False)
    seed: int = option(0, "Of subsets and samples.", check=partial(whole_number, minimum=0))
    prompt_template: str | None = option(
        None,
        "How questions are put, a text with {question}; by default the tokenizer's chat template, else `data.QUESTION_TEMPLATE`. It must be the "
        "one that the model was trained with.",
        check=text,
    )
    rule: Any = option(None, "Turns the values into `eval_forgetting_score`, lower is better.", cli=None)
    stop_when: Callable[[Mapping[str, float]], bool] | None = option(
        None, "Ends the training when it returns True for the values (names without `eval_`).", cli=None
    )
    table: bool | None = option(
        None,
        "Whether a table in the terminal grows with every measurement; by default where standard output is a terminal.",
        check=switch,
    )
    strict: bool = option(
        False,
        "Whether a measurement that fails ends the training; otherwise it is logged once and left out.",
        check=switch,
    )
