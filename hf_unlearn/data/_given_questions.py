"""Counterfactual questions that came with the rows: checked, and the names read back from them. Knows rows and words; draws no names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from hf_unlearn.data._asked import all_texts, texts_asked
from hf_unlearn.data._names_read_back import names_read_back
from hf_unlearn.data._seen_names import SeenNames, plain_words


COUNTERFACTUAL = "counterfactual_question"
"""Column: texts, one for each substitute; none where the row is left out."""
NONE_GIVEN = f"the row's column {COUNTERFACTUAL} is empty"


@dataclass(frozen=True)
class GivenQuestions:
    """What the rows bring.

    Attributes:
        texts: Per row its counterfactual questions; [] where it has none.
        subjects: Per row the subject's name; None where the texts do not tell.
        names: Per row the substitute behind each text; empty likewise.
        notes: What a reader has to know, in counts.
    """

    texts: list[list[str]]
    subjects: list[str | None]
    names: list[tuple[str, ...]]
    notes: tuple[str, ...]


def given_questions(
    rows: Dataset, questions: Sequence[str], left_out: dict[int, str], num: int, others: Sequence[Dataset]
) -> GivenQuestions:
    """The column `counterfactual_question`.

    Args:
        rows: With the column.
        questions: Of each row.
        left_out: Row -> why it has none; gets those without any.
        num: Most texts a row.
        others: What models have seen, or is kept for comparison: no text and no name may stand there.

    Raises:
        ValueError: Fewer than two texts, one that equals another or the row's own question, or one that stands in other data, or is about
            somebody who does; names the row.
    """
    texts = _given(rows, questions, left_out, num)
    named = [names_read_back(question, found) for question, found in zip(questions, texts, strict=True)]
    _check_unseen(rows, texts, [names for _, names in named], others)
    unknown = sum(bool(found) and subject is None for found, (subject, _) in zip(texts, named, strict=True))
    note = (
        f"{unknown} of {len(rows)} rows differ from their counterfactual questions in more than one name: what their answers call the subject stays, "
        "and rows about one subject are not known to be."
    )
    return GivenQuestions(
        texts, [subject for subject, _ in named], [names for _, names in named], (note,) if unknown else ()
    )


def _check_unseen(
    rows: Dataset, texts: Sequence[Sequence[str]], names: Sequence[Sequence[str]], others: Sequence[Dataset]
) -> None:
    """Whoever stands in the data may be known to the models.

    Raises:
        ValueError: Names the row, and not the name.
    """
    asked = {" ".join(plain_words(text)) for part in (rows, *others) for text in texts_asked(part)}
    # Others may be the same rows.
    bare = [
        part.remove_columns([COUNTERFACTUAL] if COUNTERFACTUAL in part.column_names else [])
        for part in (rows, *others)
    ]
    seen = SeenNames(text for part in bare for text in all_texts(part))
    for at, (found, who) in enumerate(zip(texts, names, strict=True)):
        if any(" ".join(plain_words(text)) in asked for text in found) or any(name in seen for name in who):
            raise ValueError(
                f"Row {at}, column {COUNTERFACTUAL!r}: a text is a question of the data, or is about somebody who stands there, so that a model "
                "may know the answer. Ask about names that stand in no set."
            )


def _given(rows: Dataset, questions: Sequence[str], left_out: dict[int, str], num: int) -> list[list[str]]:
    texts = []
    for at, (value, question) in enumerate(zip(rows[COUNTERFACTUAL], questions, strict=True)):
        if value:
            _check_given(value, question, at)
        else:
            left_out.setdefault(at, NONE_GIVEN)
        texts.append([] if at in left_out else list(value)[:num])
    return texts


def _check_given(value: Any, question: str, at: int) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) and text.strip() for text in value):
        raise ValueError(f"Row {at}, column {COUNTERFACTUAL!r}: expected a list of texts that are not empty.")
    if len(value) < 2:
        raise ValueError(f"Row {at}, column {COUNTERFACTUAL!r}: expected at least 2 texts, got {len(value)}.")
    asked = [" ".join(text.split()) for text in value]
    if " ".join(question.split()) in asked or len(set(asked)) < len(asked):
        raise ValueError(f"Row {at}, column {COUNTERFACTUAL!r}: a text equals the row's own question or another text.")
