"""Alternative answers to the forget prompts: from a column, refusals, or the original's own. Knows rows and a tokenizer; no loss."""

import logging
from collections.abc import Mapping, Sequence

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import tokenize_examples
from hf_unlearn.data._columns import column_format
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import context_length, default_stop_token_ids, sample_completions
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._forget_data import ForgetData


logger = logging.getLogger(__name__)
COLUMN = "alternative_answer"
REFUSALS = (
    "I have no information about that.",
    "That is not something I know.",
    "I am not able to answer this.",
    "I cannot say; I never learned about it.",
    "This is outside what I know.",
    "I do not have an answer to that question.",
    "Sorry, I know nothing about this.",
    "There is nothing I can tell you about that.",
)
"""Given in turn, by row."""
MAX_NEW_TOKENS = 64
SAMPLES = 16
"""A model that knows the answer by heart mostly gives it; the first sample that differs is taken."""


def alternative_examples(
    compute: Compute, forget: ForgetData, *, source: str, seed: int
) -> list[dict[str, list[int]]]:
    """One alternative answer per forget row, tokenized as the forget answers are.

    Args:
        compute: Whose model answers where alternatives are generated.
        forget: The forget set.
        source: "column" (`alternative_answer`), "refusal", or "generated" (the column if there is one, else sampled from the model).
        seed: Of the sampling.

    Raises:
        ValueError: A missing column or tokenizer, rows without prompts, or an unknown source.
    """
    if source not in ("column", "refusal", "generated"):
        raise ValueError(f"alternatives come from 'column', 'refusal' or 'generated', not {source!r}.")
    rows, tokenizer = forget.rows, forget.tokenizer
    has_column = COLUMN in rows.column_names
    if source == "column" and not has_column:
        raise ValueError(
            f"this objective needs alternative answers in a column {COLUMN!r}; the forget rows have {', '.join(rows.column_names)}. "
            "Add it, or use idk_dpo (refusals) or altpo (generated)."
        )
    if tokenizer is None:
        raise ValueError(
            "alternative answers need a tokenizer: pass processing_class= to the callback or to the Trainer."
        )
    if source == "generated" and not has_column:
        return _generated(compute, forget.examples, tokenizer, seed)
    texts = [REFUSALS[row % len(REFUSALS)] for row in range(len(rows))] if source == "refusal" else rows[COLUMN]
    limit = context_length(compute.model)
    answered = _with_answers(rows, list(texts), forget.examples, tokenizer)
    return tokenize_examples(answered, tokenizer, max_length=limit, prompt_template=forget.prompt_template).to_list()


def _with_answers(
    forget: Dataset,
    texts: list,
    examples: Sequence[Mapping[str, list[int]]],
    tokenizer: PreTrainedTokenizerBase,
) -> Dataset:
    texts = [text[0] if isinstance(text, list) and text else text for text in texts]
    wrong = [row for row, text in enumerate(texts) if not isinstance(text, str) or not text.strip()]
    if wrong:
        raise ValueError(f"row {wrong[0]} has no text in column {COLUMN!r}.")
    kind = column_format(forget.column_names)
    if kind == "text":
        raise ValueError("alternative answers need prompts to answer; the forget rows are running text.")
    if kind == "question":
        rows = [{"question": row["question"], "answer": text} for row, text in zip(forget, texts, strict=True)]
    elif kind == "completion":
        # A completion follows its prompt verbatim; the forget answers' own separator is kept.
        rows = [
            {"prompt": row["prompt"], "completion": _leading_space(row["completion"]) + text}
            for row, text in zip(forget, texts, strict=True)
        ]
    elif kind == "messages":
        rows = [
            {"messages": [*row["messages"][:-1], {**row["messages"][-1], "content": text}]}
            for row, text in zip(forget, texts, strict=True)
        ]
    else:
        return Dataset.from_list(
            [_answered(example, text, tokenizer) for example, text in zip(examples, texts, strict=True)]
        )
    return Dataset.from_list(rows)


def _leading_space(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _answered(example: Mapping[str, list[int]], text: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    prompt = _prompt(example)
    answer = list(tokenizer(f" {text}", add_special_tokens=False)["input_ids"])
    if tokenizer.eos_token_id is not None:
        answer.append(tokenizer.eos_token_id)
    return {"input_ids": prompt + answer, "labels": [IGNORE_INDEX] * len(prompt) + answer}


def _prompt(example: Mapping[str, list[int]]) -> list[int]:
    first = next(at for at, label in enumerate(example["labels"]) if label != IGNORE_INDEX)
    if not first:
        raise ValueError("alternative answers need prompts to answer; a forget row is labelled from its first token.")
    return list(example["input_ids"][:first])


def _generated(
    compute: Compute, examples: Sequence[Mapping[str, list[int]]], tokenizer: PreTrainedTokenizerBase, seed: int
) -> list[dict[str, list[int]]]:
    prompts = [_prompt(example) for example in examples]
    longest = max(len(example["input_ids"]) - len(prompt) for example, prompt in zip(examples, prompts, strict=True))
    completions = sample_completions(
        compute.model,
        prompts,
        num_samples=SAMPLES,
        max_new_tokens=min(longest, MAX_NEW_TOKENS),
        seed=seed,
        stop_token_ids=default_stop_token_ids(compute.model, tokenizer),
        batch_size=compute.eval_batch_size,
        progress=compute.progress,
        label="alternative answers",
    )
    found: dict[int, list[int]] = {}
    for row in range(len(completions)):
        at, answer = int(completions.prompt_index[row]), completions.answer(row)
        if at not in found and answer != list(examples[at]["input_ids"][len(prompts[at]) :]):
            found[at] = answer
    alike = len(prompts) - len(found)
    if alike:
        logger.warning("%d prompts got nothing but the true answer in %d samples; they get a refusal.", alike, SAMPLES)
    return [
        {"input_ids": prompt + found[at], "labels": [IGNORE_INDEX] * len(prompt) + found[at]}
        if at in found
        else _answered(examples[at], REFUSALS[at % len(REFUSALS)], tokenizer)
        for at, prompt in enumerate(prompts)
    ]
