"""What one may choose in an audit, beside models and data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hf_unlearn._arguments import one_of, open_share, switch, text, texts, whole_number, whole_numbers
from hf_unlearn.config._option import Config, option


STANDARD = "standard"
"""In place of metrics: those that every audit has."""
ESTIMATORS = ("exact_step", "sampled")
POOLINGS = ("answer_mean", "last_token")
SPACES = ("auto", "feature", "gram")
DTYPES = ("auto", "float32", "bfloat16", "float16")
SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Device maps that put parts of a model on several devices."""
_count = partial(whole_number, minimum=1)


def placement(name: str, value: object) -> str:
    """One of `SPREADS`, or a device such as "cpu" or "cuda:1"; whether it is there is not known here.

    Raises:
        TypeError: Not a text.
        ValueError: Neither.
    """
    found = text(name, value)
    if found not in SPREADS and not re.fullmatch(r"(?!meta)[a-z]+(:\d+)?", found):
        raise ValueError(
            f"{name} must be one of {', '.join(SPREADS)}, or a device such as cpu or cuda:1; got {found!r}."
        )
    return found


def metric_names(name: str, value: object) -> str | tuple[str, ...]:
    """ "standard", or names of metrics; whether there are such metrics is not known here.

    Raises:
        TypeError: Neither text nor a list of texts.
        ValueError: None, or one twice.

    Example:
        >>> metric_names("metrics", ["fade", "rouge_l"])
        ('fade', 'rouge_l')
    """
    found = texts(name, [value] if isinstance(value, str) else value)
    return STANDARD if found == (STANDARD,) else found


def names_or_none(name: str, value: object) -> tuple[str, ...]:
    """Names, for example of attacks; perhaps none.

    Raises:
        TypeError: Not a list of texts.
        ValueError: An empty one, or one twice.
    """
    return () if isinstance(value, (list, tuple)) and not value else texts(name, value)


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Config):
    """What one may choose in `audit`, beside models, data and the folder of the results."""

    domain: str = option(
        "causal_lm", "Kind of the models: a name in `DOMAINS`; in Python also a class of your own.", check=text
    )
    metrics: str | Sequence[str] = option(
        STANDARD,
        "What is measured: standard, or names of metrics, which `hf-unlearn metrics` lists; in Python also objects.",
        check=metric_names,
    )
    conditions: Sequence[str] = option(
        (),
        "Attacks on the candidate (and on whom else they say), which is read again after each: names in `CONDITIONS`; in Python also objects.",
        check=names_or_none,
    )
    prompt_template: str | None = option(
        None,
        "How questions are put, a text with {question}; by default the tokenizer's chat template, else `data.QUESTION_TEMPLATE`. It must be the "
        "one that the models were trained with.",
        check=text,
    )
    num_samples: int = option(8, "Completions per prompt and model.", check=_count)
    max_new_tokens: int | None = option(
        None, "Where completions are cut; by default at the longest answer in the data, at most 128.", check=_count
    )
    max_examples: int = option(
        400, "Of each set at most so many are used, drawn by seed; the report says so.", check=_count
    )
    estimator: str = option("exact_step", "Of FADE: exact_step or sampled.", check=partial(one_of, choices=ESTIMATORS))
    layers: Sequence[int] | None = option(
        None,
        "Whose hidden states are compared, 0 = embeddings; by default all blocks.",
        check=partial(whole_numbers, minimum=0),
    )
    pooling: str = option(
        "answer_mean", "Of hidden states: answer_mean or last_token.", check=partial(one_of, choices=POOLINGS)
    )
    space: str = option(
        "auto",
        "Of the comparison of hidden states: feature where all models share their starting weights, gram where they do not, auto looks.",
        check=partial(one_of, choices=SPACES),
    )
    dtype: str = option(
        "auto",
        "Precision of the models: auto (as each was saved), float32, bfloat16 or float16. Paths and ids are opened in it; a loaded model must have "
        "it already. Log-probabilities are float32 and sums float64 in any.",
        check=partial(one_of, choices=DTYPES),
    )
    device_map: str | None = option(
        None,
        "Where models given as paths or ids are put: auto, balanced, balanced_low_0 or sequential spread each over all devices (one process only), "
        "cpu or cuda:1 is one device; by default an accelerator, if there is one.",
        check=placement,
        recorded=False,
    )
    cluster_column: str | None = option(
        None,
        "Column of the data; rows of one value are one cluster in every interval: a person, a document. By default person_id, subject or "
        "cluster_id where there is such a column, else the prompt.",
        check=text,
    )
    confidence: float = option(0.95, "Of all intervals.", check=open_share)
    num_resamples: int = option(1000, "Of the bootstrap.", check=_count)
    seed: int = option(0, "Of sampling, subsets and bootstrap.", check=partial(whole_number, minimum=0))
    batch_size: int = option(64, "Rows at a time; does not change results.", check=_count, recorded=False)
    evidence_dir: str | None = option(
        None,
        "Where what was read is kept for an interrupted audit, or the next one, to go on from: a folder or a URL of fsspec (s3://…). By default "
        "evidence/ in the output folder. It lets the forget data be guessed: keep it to yourself.",
        check=text,
        recorded=False,
    )
    num_counterfactuals: int = option(
        8,
        "Of counterfactual metrics: names in place of each forget subject's, as many for the stand-in as for its floor.",
        check=_count,
    )
    subject_column: str | None = option(
        None,
        "Column of the forget set with the name that each question is about; by default `subject`, or found in the questions themselves. With names of "
        "your own, make a column `counterfactual_question` by `data.counterfactual_questions`.",
        check=text,
    )
    allow_overlap: bool = option(False, "Accept forget rows that are also in retain or holdout.", check=switch)
    compatible: bool = option(
        False,
        "Compute metrics as the field's common implementation does, its known faults included, to compare with published numbers.",
        check=switch,
    )
    benchmark: str | None = option(
        None,
        "Which benchmark this is, for the record, as `hf_unlearn.benchmarks` fills it in (name:configuration@version); it loads nothing and changes "
        "no number.",
        check=text,
        cli=None,
    )
    harness_tasks: Sequence[str] = option(
        (),
        "Tasks, groups or tags of EleutherAI's lm-evaluation-harness (mmlu, arc_easy, …) that all models are asked too; needs lm-eval. Results are "
        "called mmlu_acc/harness, and questions are put through the chat template where those of the audit are.",
        check=names_or_none,
    )
    harness_include_path: str | None = option(
        None, "Folder with harness tasks of your own, as YAML files.", check=text, recorded=False
    )
    harness_limit: int | None = option(
        None, "Of each harness task only the first so many documents; for trying out, and noted.", check=_count
    )
    progress: bool = option(True, "Whether to show progress bars.", check=switch, recorded=False)
