"""Running text as prompts and answers: what has no question is asked to go on.

Knows texts and a tokenizer. Does not know how many rows are wanted, or models.
"""

from itertools import pairwise

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from hf_unlearn.data._collation import start_token_ids
from hf_unlearn.data._collator import bare_tokenizer
from hf_unlearn.data._columns import COLUMN_SETS, exchanges, require_rows, untransformed
from hf_unlearn.functional import IGNORE_INDEX


CHUNK_TOKENS = 256
"""So long is a chunk at most, start token included: a prompt and an answer of 128."""


def chunk_texts(
    dataset: Dataset,
    processing_class: PreTrainedTokenizerBase | ProcessorMixin,
    *,
    max_tokens: int = CHUNK_TOKENS,
    prompts: bool = True,
) -> tuple[Dataset, list[int]]:
    """Cut texts into consecutive chunks, and each chunk into a prompt and the answer that follows it.

    A text and its end token are cut into as few chunks as possible, all of one length to within a token, so that nothing is left over and
    nothing is left out. A chunk's first half (rounded down) is the prompt, its second half the answer. Each chunk begins with the
    tokenizer's start token, if it has one; what came before it in the text is not seen. Only the last chunk ends with the end token.

    Args:
        dataset: With a column `text`.
        processing_class: The tokenizer, or a processor that holds one.
        max_tokens: Of a chunk, start token included.
        prompts: False leaves the prompts out: every token of a chunk but its first is answer, as training on running text wants it.

    Returns:
        Rows with `input_ids` and `labels`, in the order of the texts; and for each the index of its text.

    Raises:
        TypeError: No `datasets.Dataset`.
        ValueError: No rows, no column `text`, a text that is empty or too short for a prompt and an answer, or no room for two tokens.

    Example:
        >>> from hf_unlearn.data import pocket_tokenizer
        >>> rows, texts = chunk_texts(Dataset.from_dict({"text": ["abcdefg", "hi"]}), pocket_tokenizer(), max_tokens=5)
        >>> [len(row["input_ids"]) for row in rows], texts
        ([5, 4, 4], [0, 0, 1])
    """
    require_rows(dataset)
    dataset = untransformed(dataset)
    if "text" not in dataset.column_names:
        raise ValueError(f"expected a column {COLUMN_SETS['text'][0]!r}, found {', '.join(dataset.column_names)}.")
    tokenizer = bare_tokenizer(processing_class)
    texts = [str(row.answer) for row in exchanges(dataset.select_columns(["text"]), chat=False)]
    start = start_token_ids(tokenizer)
    room = max_tokens - len(start)
    if room < 2:
        raise ValueError(
            f"max_tokens={max_tokens} leaves no room for a prompt and an answer; give at least {len(start) + 2}."
        )
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    origin = []
    for index, ids in enumerate(tokenizer(texts, add_special_tokens=False)["input_ids"]):
        if not ids or len(start) + len(ids) + len(end) < 2:
            raise ValueError(
                f"Row {index} has a text without a token to ask for: there is nothing to score. Drop the row."
            )
        for piece in _pieces([*ids, *end], room):
            whole = [*start, *piece]
            prompt = len(start) + len(piece) // 2 if prompts else 1
            rows["input_ids"].append(whole)
            rows["labels"].append([IGNORE_INDEX] * prompt + whole[prompt:])
            origin.append(index)
    return Dataset.from_dict(rows), origin


def _pieces(ids: list[int], room: int) -> list[list[int]]:
    count = -(-len(ids) // room)
    ends = [round(len(ids) * number / count) for number in range(count + 1)]
    return [ids[start:end] for start, end in pairwise(ends)]
