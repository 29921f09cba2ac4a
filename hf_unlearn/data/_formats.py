"""The usual ways of putting the same questions, to find out which one a model was trained with. Knows rows and tokenizers; no model."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data._collation import tokenize_examples
from hf_unlearn.data._columns import column_format
from hf_unlearn.data._template import QUESTION_TEMPLATE


def other_formats(
    rows: Dataset,
    used: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    prompt_template: str | None = None,
    saved: PreTrainedTokenizerBase | None = None,
    max_tokens: int | None = None,
) -> dict[str, list[dict[str, list[int]]]]:
    """The rows put in each usual way that gives other tokens than the one in use.

    Args:
        rows: With questions and answers; of others there is only one way.
        used: The examples as they are.
        tokenizer: Theirs.
        prompt_template: With which they were tokenized.
        saved: The tokenizer in the model's own folder, whose chat template the given one may lack.
        max_tokens: Of an example; a way that needs more is left out.

    Returns:
        By what would have to be passed: examples in the order of the rows.
    """
    if column_format(rows.column_names) != "question":
        return {}
    ways: dict[str, tuple[PreTrainedTokenizerBase, str | None]] = {
        f"prompt_template={one!r}": (tokenizer, one) for one in (QUESTION_TEMPLATE, "{question}")
    }
    if prompt_template is not None and "{answer}" not in prompt_template:
        ways[f"prompt_template={prompt_template + '{answer}'!r} (no space before the answer)"] = (
            tokenizer,
            prompt_template + "{answer}",
        )
    if tokenizer.chat_template:
        ways["the tokenizer's chat template (prompt_template=None)"] = (tokenizer, None)
    if saved is not None and saved.chat_template and saved.chat_template != tokenizer.chat_template:
        ways["the chat template of the tokenizer in the model's own folder (pass no other processing_class)"] = (
            saved,
            None,
        )
    found = {
        name: tokenize_examples(rows, of, prompt_template=template).to_list() for name, (of, template) in ways.items()
    }
    return {
        name: put
        for name, put in found.items()
        if put != list(used) and not (max_tokens and any(len(row["input_ids"]) > max_tokens for row in put))
    }
