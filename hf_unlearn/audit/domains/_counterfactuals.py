"""The forget questions about names that nobody has seen, as token ids: put exactly as the set's own questions are.

Knows sets and rows; which names are used is the data's business. Nothing that it says quotes a name or a question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.data import (
    COUNTERFACTUAL,
    CounterfactualQuestions,
    about,
    asked_otherwise,
    counterfactual_questions,
    mentions,
    prompt_token_ids,
    renamed,
    tokenize_examples,
)
from hf_unlearn.data._asked import ASKING
from hf_unlearn.data._columns import column_format
from hf_unlearn.functional import IGNORE_INDEX


@dataclass(frozen=True)
class Counterfactual:
    """One question about another subject.

    Attributes:
        example: Number of the example in its set.
        number: Which draw, from 0.
        is_floor: Whether the name is the floor's, independent of the stand-in's; else it is the stand-in's.
        prompt: Token ids of the question, put as the set's questions are.
        tokens: `input_ids` and `labels`: that prompt and the example's true answer, with the other name where it holds the subject's.
        subject: Whom the example is about, where the questions say; private.
    """

    example: int
    number: int
    is_floor: bool
    prompt: tuple[int, ...]
    tokens: dict[str, list[int]]
    subject: str | None = None


def load_counterfactuals(
    split: Split,
    others: Mapping[str, Split],
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    num: int,
    seed: int,
    subject_column: str | None = None,
    substitutes: Sequence[str] | None = None,
) -> tuple[tuple[Counterfactual, ...], list[str]]:
    """Counterfactual questions of a set, as many for the stand-in as for its floor.

    Args:
        split: The forget set.
        others: All sets of the audit, or all but that one; no substitute stands in any of their rows, used or not.
        tokenizer: The audit's.
        num: Names a row for each of the two sides; where the rows give or allow fewer, each side has half of them.
        seed: Of the names.
        subject_column: Which column holds the subjects' names; by default they are found.
        substitutes: Names to draw from.

    Returns:
        Example by example, the stand-in's before the floor's; and in counts what has none and why.

    Raises:
        ValueError: As `data.counterfactual_questions`, with the set's name.
    """
    form = column_format(split.dataset.column_names)
    if form == "tokenized" and COUNTERFACTUAL in split.dataset.column_names:
        with about(split.name):
            return _tokenized(split, num)
    if form not in ASKING or tokenizer is None:
        what = {"text": "running text", "tokenized": "token ids", "choices": "questions with choices"}.get(form, form)
        return (), [
            f"{split.name} has no counterfactual questions: its rows are {what}, in which no name can be replaced."
        ]
    further = {name: other for name, other in others.items() if other.name != split.name}
    with about(split.name):
        found = counterfactual_questions(
            split.dataset,
            retain=[_rows(other) for other in further.values() if other.role == "retain"],
            others=[_rows(split), *(_rows(other) for other in further.values() if other.role != "retain")],
            num=2 * num,
            seed=seed,
            subject_column=subject_column,
            substitutes=substitutes,
        )
    told = {at for at, subject in enumerate(found.subjects) if subject and _is_in_examples(split, subject)}
    notes = [f"{split.name}: {note}" for note in found.notes]
    if told:
        notes.append(
            f"{split.name}: {len(told)} of {len(split)} rows have no counterfactual question: the in-context examples name the subject."
        )
    return _put(split, found, tokenizer, told), notes


def _rows(split: Split) -> Dataset:
    return split.dataset if split.whole is None else split.whole


def _is_in_examples(split: Split, subject: str) -> bool:
    return split.has_examples and mentions(split.prompt_template or "", subject, parts=True)


def _put(
    split: Split, found: CounterfactualQuestions, tokenizer: PreTrainedTokenizerBase, told: set[int]
) -> tuple[Counterfactual, ...]:
    places, wanted = [], []
    for at, texts in enumerate(found.dataset[COUNTERFACTUAL]):
        half = 0 if at in told else len(texts) // 2
        for draw, text in enumerate(texts[: 2 * half]):
            name, subject = found.names[at][draw] if found.names[at] else None, found.subjects[at]
            change = str if name is None or subject is None else partial(renamed, subject=subject, substitute=name)
            places.append((at, draw % half, draw >= half))
            wanted.append((at, text, change))
    if not wanted:
        return ()
    rows = asked_otherwise(split.dataset, wanted)
    with about("counterfactual questions"):
        prompts = prompt_token_ids(rows, tokenizer, prompt_template=split.prompt_template)
        examples = tokenize_examples(rows, tokenizer, prompt_template=split.prompt_template).to_list()
    return tuple(
        Counterfactual(*place, tuple(prompt), tokens, found.subjects[place[0]])
        for place, prompt, tokens in zip(places, prompts, examples, strict=True)
    )


def _tokenized(split: Split, num: int) -> tuple[tuple[Counterfactual, ...], list[str]]:
    """Rows of token ids that bring their counterfactual prompts as token ids.

    Raises:
        ValueError: A row whose prompts are none, are fewer than two, or equal each other or its own.
    """
    found: list[Counterfactual] = []
    left_out = 0
    for at, given in enumerate(split.dataset[COUNTERFACTUAL]):
        prompts = [tuple(prompt or ()) for prompt in given or ()]
        left_out += not prompts
        distinct = {*prompts, split.prompts[at]}
        if prompts and (len(prompts) < 2 or () in distinct or len(distinct) <= len(prompts)):
            raise ValueError(
                f"Row {at}, column {COUNTERFACTUAL!r}: expected at least 2 lists of token ids, none of them empty, equal to another or to "
                "the row's own prompt."
            )
        answer = split.examples[at]["input_ids"][len(split.prompts[at]) :]
        half = min(num, len(prompts) // 2)
        for draw, prompt in enumerate(prompts[: 2 * half]):
            tokens = {"input_ids": [*prompt, *answer], "labels": [IGNORE_INDEX] * len(prompt) + answer}
            found.append(Counterfactual(at, draw % half, draw >= half, prompt, tokens))
    notes = (
        [f"{split.name}: {left_out} of {len(split)} rows have no counterfactual question: their column is empty."]
        if left_out
        else []
    )
    return tuple(found), notes
