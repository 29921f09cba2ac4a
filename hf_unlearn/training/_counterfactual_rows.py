"""Forget rows and the questions about substitutes that stand beside them: which prompts, and how a text about a substitute is told of the subject.

Knows rows, names and tokenizers. Does not know a model, losses or steps.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import COUNTERFACTUAL, asked_otherwise, counterfactual_questions, prompt_token_ids
from hf_unlearn.data._asked import texts_asked
from hf_unlearn.data._columns import column_format
from hf_unlearn.data._names_read_back import names_read_back
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.objectives import ObjectiveBase
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._retain_examples import readable_examples


logger = logging.getLogger(__name__)
NAMES_SEED = 611_953
"""Added to the training's seed: an audit with the same one must not ask about the very names that were taught."""
MAX_RETAINED = 20_000
"""Retained answers that are counted, evenly from the first to the last."""


@dataclass(frozen=True)
class Asked:
    """One forget row and the questions that stand in for its own.

    Attributes:
        prompt: Token ids of the true question.
        answer: Of the true answer, with its end.
        prompts: Of the counterfactual questions.
        subject: The subject's name; "" where nobody knows it.
        names: The substitute of each question; "" likewise.
    """

    prompt: list[int]
    answer: list[int]
    prompts: list[list[int]]
    subject: str
    names: list[str]


def stand_in_data(
    objective: ObjectiveBase, forget: ForgetData, train_dataset: Any, *, seed: int
) -> tuple[ForgetData, tuple[list[dict[str, Any]], float]]:
    """The forget set with its counterfactual questions, and the retained examples, where the objective needs them.

    Args:
        objective: As it was given.
        forget: The forget set; rows of text without the column `counterfactual_question` get it.
        train_dataset: What stays, tokenized or text.
        seed: Of the substitutes.

    Returns:
        The forget set; retained examples, at most `MAX_RETAINED`, and how many there are for each of them.
    """
    if "counterfactual" not in objective.needs or forget.is_classification:
        return forget, ([], 1.0)
    retained = readable_examples(train_dataset, MAX_RETAINED, forget.tokenizer, forget.prompt_template)
    rows = forget.rows
    if COUNTERFACTUAL not in rows.column_names and column_format(rows.column_names) != "tokenized":
        rows = with_counterfactuals(
            rows, _as_text(train_dataset, forget), num=objective.stand_in().num_counterfactuals, seed=seed
        )
    scale = len(train_dataset) / min(len(train_dataset), MAX_RETAINED) if retained else 1.0
    return replace(forget, rows=rows), (retained, scale)


def with_counterfactuals(forget: Dataset, retain: Dataset | None, *, num: int, seed: int) -> Dataset:
    """The rows with their column `counterfactual_question`.

    Raises:
        ValueError: Rows of which no such questions can be made.
    """
    found = counterfactual_questions(forget, retain=retain, num=num, seed=seed + NAMES_SEED)
    for note in found.notes:
        logger.warning("counterfactual questions: %s", note)
    return found.dataset


def _as_text(dataset: Any, forget: ForgetData) -> Dataset | None:
    """What the training set says, to see which names stand in it: of token ids what they spell."""
    if not isinstance(dataset, Dataset) or forget.tokenizer is None:
        logger.warning("the substitutes' names were not looked for in the training set: it cannot be read by index.")
        return None
    if "input_ids" in dataset.column_names:
        ids = dataset.with_format(None)["input_ids"]
        return Dataset.from_dict({"text": [forget.tokenizer.decode(row, skip_special_tokens=True) for row in ids]})
    return dataset


def asked_rows(forget: ForgetData, *, num: int, max_left_out: float) -> list[Asked | None]:
    """Per forget row its counterfactual prompts; None where it has none.

    Args:
        forget: With the column `counterfactual_question`.
        num: Most questions a row.
        max_left_out: Share of rows that may have none.

    Raises:
        ValueError: No such column, no tokenizer, no row or too few with at least two questions.
    """
    rows, tokenizer = forget.rows, forget.tokenizer
    if COUNTERFACTUAL not in rows.column_names:
        raise ValueError(
            f"this objective needs counterfactual questions in a column {COUNTERFACTUAL!r}; the forget rows have "
            f"{', '.join(rows.column_names)}. Add it, or give rows of text for `data.counterfactual_questions`."
        )
    if tokenizer is None:
        raise ValueError(
            "counterfactual questions need a tokenizer: pass processing_class= to the callback or to the Trainer."
        )
    texts = [list(value or ())[:num] for value in rows[COUNTERFACTUAL]]
    questions = texts_asked(rows) or [""] * len(rows)
    answers = [_whole_answer(example) for example in forget.examples]
    usable = [at for at, found in enumerate(texts) if len(found) >= 2 and answers[at] is not None]
    _check_left_out(len(rows), len(usable), max_left_out)
    prompts = iter(_prompt_ids(forget, [(at, text) for at in usable for text in texts[at]], tokenizer))
    result: list[Asked | None] = [None] * len(rows)
    for at in usable:
        prompt, answer = answers[at] or ([], [])
        subject, names = names_read_back(questions[at], texts[at])
        asked = [next(prompts) for _ in texts[at]]
        result[at] = Asked(prompt, answer, asked, subject or "", list(names) or [""] * len(asked))
    return result


def _check_left_out(rows: int, usable: int, max_left_out: float) -> None:
    missing = rows - usable
    if not usable or missing > max_left_out * rows:
        raise ValueError(
            f"{missing} of {rows} forget rows have no counterfactual questions, so that nothing would make the model forget them (at most "
            f"{max_left_out:.0%} are accepted: max_left_out). Fill the column {COUNTERFACTUAL!r} (at least 2 texts a row), or use another "
            "objective for them."
        )
    if missing:
        logger.warning(
            "%d of %d forget rows have no counterfactual questions; they get no forget term, so the model is not made to forget them.",
            missing,
            rows,
        )


def _whole_answer(example: Any) -> tuple[list[int], list[int]] | None:
    """Prompt and answer, where the answer is one piece at the end."""
    labels = example["labels"]
    first = next(at for at, label in enumerate(labels) if label != IGNORE_INDEX)
    if not first or any(label == IGNORE_INDEX for label in labels[first:]):
        return None
    return list(example["input_ids"][:first]), list(example["input_ids"][first:])


def _prompt_ids(
    forget: ForgetData, asked: Sequence[tuple[int, str]], tokenizer: PreTrainedTokenizerBase
) -> list[list[int]]:
    """Prompts of other questions, put as the forget rows' own are; rows of token ids as questions are."""
    if column_format(forget.rows.column_names) == "tokenized":
        other = Dataset.from_dict({"question": [text for _, text in asked], "answer": ["."] * len(asked)})
    else:
        other = asked_otherwise(forget.rows, [(at, text, lambda answer: answer) for at, text in asked])
    return prompt_token_ids(other, tokenizer, prompt_template=forget.prompt_template)


def places_of(ours: Sequence[int], theirs: Sequence[int]) -> np.ndarray:
    """For each token of one text the place in another where the same next token is to be said; −1 where there is none.

    The first token after a common piece counts too: what comes next was asked in the same words.

    Example:
        >>> places_of([5, 6, 7, 8], [5, 1, 2, 7, 8]).tolist()
        [0, 1, 3, 4]
    """
    found = np.full(len(ours), -1)
    found[0] = 0
    for a, b, size in SequenceMatcher(a=list(ours), b=list(theirs), autojunk=False).get_matching_blocks():
        found[a : a + size] = np.arange(b, b + size)
        if size and a + size < len(ours) and b + size < len(theirs):
            found[a + size] = b + size
    return found
