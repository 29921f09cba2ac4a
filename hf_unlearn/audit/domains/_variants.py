"""Other answers to the questions of a set: the true one in other words, and wrong ones."""

from dataclasses import dataclass

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import tokenize_examples


WRONG, PARAPHRASED = "perturbed_answer", "paraphrased_answer"
"""Columns, as TOFU names them."""


@dataclass(frozen=True)
class Variant:
    """Another answer to an example's question.

    Attributes:
        example: Number of the example.
        is_wrong: Whether it is a wrong answer; else the true one in other words.
        tokens: `input_ids` and `labels`.
    """

    example: int
    is_wrong: bool
    tokens: dict[str, list[int]]


def load_variants(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, prompt_template: str | None
) -> tuple[Variant, ...]:
    """Paraphrased and wrong answers of the rows that have both; in a set without any paraphrase the wrong ones alone, beside the true answer itself.

    Raises:
        ValueError: Wrong answers that are no list of texts.
    """
    if not {"question", WRONG} <= set(dataset.column_names):
        return ()
    others = dataset[PARAPHRASED] if PARAPHRASED in dataset.column_names else [None] * len(dataset)
    paraphrased = any(others)
    found = []
    for number, (question, given, other) in enumerate(zip(dataset["question"], dataset[WRONG], others, strict=True)):
        wrong = _texts(given, number)
        if not wrong or (paraphrased and not other):
            continue
        found += [(number, False, question, other)] if other else []
        found += [(number, True, question, text) for text in wrong]
    if not found:
        return ()
    rows = Dataset.from_list([{"question": question, "answer": text} for _, _, question, text in found])
    tokens = tokenize_examples(rows, tokenizer, prompt_template=prompt_template).to_list()
    return tuple(Variant(number, wrong, row) for (number, wrong, _, _), row in zip(found, tokens, strict=True))


def _texts(given: object, number: int) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple)) or not all(text is None or isinstance(text, str) for text in given):
        raise ValueError(f"Row {number}, column {WRONG!r}: expected a list of texts, got {type(given).__name__}.")
    return [text for text in given if text]
