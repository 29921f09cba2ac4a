"""Examples to token ids, with labels on the answer only: one way, shared by training, sampling and scoring.

Knows tokenizers and their chat templates. Does not know batches, models or losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from hf_unlearn.data._collator import bare_tokenizer
from hf_unlearn.data._columns import Messages, check_template, column_format, exchanges, require_rows, untransformed
from hf_unlearn.functional import IGNORE_INDEX


@dataclass(frozen=True)
class _Encoded:
    """One row as token ids; the answer carries its end token."""

    prompt: list[int]
    answer: list[int]


def tokenize_examples(
    dataset: Dataset,
    processing_class: PreTrainedTokenizerBase | ProcessorMixin,
    *,
    max_length: int | None = None,
    prompt_template: str | None = None,
) -> Dataset:
    """Turn rows into token ids and labels; labels are on the answer, and on the end token after it.

    Prompt and answer are tokenized as one text and divided where the prompt's own tokens end; where a tokenizer joins the two, apart. Either way
    the prompt's ids are a prefix of the whole: what a model is trained on, sampled from and scored on agree to the token. Nothing is
    ever cut silently.

    Args:
        dataset: Columns `question`/`answer`, `question`/`choices`/`answer` (the right choice's letter is the answer), `prompt`/`completion`, `messages` (the last one is the answer), `text` (every
            token after the first is answer), or `input_ids`/`labels`, which are taken as they are. A question goes through
            the tokenizer's chat template where there is one, and is else put as `QUESTION_TEMPLATE` says; a prompt that is
            text is taken verbatim. Positions that an `attention_mask` hides are left out.
        processing_class: The tokenizer, or a processor that holds one.
        max_length: Most tokens of prompt, answer and end token together.
        prompt_template: How a question is put instead of by the chat template or `QUESTION_TEMPLATE`: a string with `{question}`,
            after it `{answer}` or nothing (the answer then follows after one space). It must be the one that the model
            was trained with.

    Returns:
        One row per input row, in the same order, with `input_ids` and `labels` only.

    Raises:
        TypeError: `dataset` is not a `datasets.Dataset`.
        ValueError: No rows; unknown columns; a row that is too long, has no answer, no prompt or no readable content (its
            index is named); a chat template whose generation prompt does not start the whole conversation; a
            `prompt_template` that is none, or for rows without questions.

    Example:
        >>> from hf_unlearn.data import pocket_tokenizer
        >>> rows = tokenize_examples(Dataset.from_dict({"prompt": ["ab"], "completion": ["c"]}), pocket_tokenizer())
        >>> [label != IGNORE_INDEX for label in rows[0]["labels"]]  # start token, a, b, then c, end token
        [False, False, False, True, True]
    """
    require_rows(dataset)
    dataset = untransformed(dataset)
    if column_format(dataset.column_names) == "tokenized":
        check_template("tokenized", prompt_template)
        rows = _pretokenized(dataset)
    else:
        encoded = _encode(dataset, bare_tokenizer(processing_class), prompt_template)
        rows = [(row.prompt + row.answer, [IGNORE_INDEX] * len(row.prompt) + row.answer) for row in encoded]
    for index, (ids, labels) in enumerate(rows):
        _check_length(index, ids, labels, max_length, cut=column_format(dataset.column_names) == "text")
    features = Features({"input_ids": List(Value("int64")), "labels": List(Value("int64"))})
    return Dataset.from_dict(
        {"input_ids": [ids for ids, _ in rows], "labels": [x for _, x in rows]}, features=features
    )


def prompt_token_ids(
    dataset: Dataset,
    processing_class: PreTrainedTokenizerBase | ProcessorMixin,
    *,
    prompt_template: str | None = None,
) -> list[list[int]]:
    """The very ids that `tokenize_examples` puts before the answer: what to complete when sampling.

    Args:
        dataset: As for `tokenize_examples`, but not `text`, which has no prompt.
        processing_class: The tokenizer, or a processor that holds one.
        prompt_template: As for `tokenize_examples`.

    Returns:
        One list of ids per row, never empty.

    Raises:
        TypeError: `dataset` is not a `datasets.Dataset`.
        ValueError: As for `tokenize_examples`, and for running text.
    """
    require_rows(dataset)
    dataset = untransformed(dataset)
    name = column_format(dataset.column_names)
    if name == "text":
        raise ValueError(
            "A dataset with a `text` column has no prompts to complete. Split each text into `prompt` and `completion`."
        )
    if name == "tokenized":
        check_template(name, prompt_template)
        return [ids[: _first_label(labels)] for ids, labels in _pretokenized(dataset)]
    return [row.prompt for row in _encode(dataset, bare_tokenizer(processing_class), prompt_template)]


def _encode(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, prompt_template: str | None) -> list[_Encoded]:
    chat = bool(getattr(tokenizer, "chat_template", None))
    rows = list(exchanges(dataset, chat=chat, prompt_template=prompt_template))
    texts = [i for i, row in enumerate(rows) if isinstance(row.answer, str)]
    parts = divided_ids(tokenizer, [(str(rows[i].prompt or ""), str(rows[i].answer)) for i in texts])
    start = start_token_ids(tokenizer) if texts else []
    plain = {i: (started(start, prompt), answer) for i, (prompt, answer) in zip(texts, parts, strict=True)}
    result = []
    for index, row in enumerate(rows):
        if index not in plain:
            assert isinstance(row.prompt, list) and isinstance(row.answer, list)
            prompt, answer = _chat_ids(tokenizer, row.prompt, row.answer, index)
        elif row.prompt is None:
            ids = plain[index][0] + plain[index][1]
            prompt, answer = ids[:1], ids[1:]
        else:
            prompt, answer = plain[index]
        result.append(_Encoded(*_checked_parts(prompt, answer, index)))
    eos = tokenizer.eos_token_id
    return [_Encoded(row.prompt, _with_end(row.answer, eos, tokenizer)) for row in result]


def _checked_parts(prompt: list[int], answer: list[int], index: int) -> tuple[list[int], list[int]]:
    if not answer:
        raise ValueError(f"Row {index} has an answer without any token: there is nothing to score. Drop or fill it.")
    if not prompt:
        raise ValueError(
            f"Row {index} has a prompt without any token, and the tokenizer adds no start token: nothing predicts the "
            "first answer token. Give the row a prompt."
        )
    return prompt, answer


def divided_ids(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> list[tuple[list[int], list[int]]]:
    """Token ids of prompts and of what follows each, without special tokens.

    As one text, since that is what models are trained on: tokenizers that mark the beginning of a text or word (SentencePiece) would put a mark
    in front of an answer by itself. All that follow the same prompt are divided in the same way, so that they can be compared.
    """
    # Text in few calls instead of two a row: fast tokenizers work on lists many times faster.
    prompts = _plain_ids(tokenizer, [prompt for prompt, _ in pairs])
    wholes = _plain_ids(tokenizer, [prompt + answer for prompt, answer in pairs])
    found = [(prompt, whole[len(prompt) :]) for prompt, whole in zip(prompts, wholes, strict=True)]
    joined = {
        text
        for (text, _), (prompt, answer), whole in zip(pairs, found, wholes, strict=True)
        if not answer or whole[: len(prompt)] != prompt
    }
    apart = [at for at, (text, _) in enumerate(pairs) if text in joined]
    for at, answer in zip(apart, _plain_ids(tokenizer, [pairs[at][1] for at in apart]), strict=True):
        found[at] = prompts[at], answer
    return found


def _plain_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def start_token_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts in front of ordinary text; what it puts behind it does not belong between two parts."""
    bare, whole = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    for offset in range(len(whole) - len(bare) + 1):
        if whole[offset : offset + len(bare)] == bare:
            return list(whole[:offset])
    return []


def started(start: list[int], prompt: list[int]) -> list[int]:
    """With the start token once, also where the text of a prompt or template brings its own."""
    return prompt if start and prompt[: len(start)] == start else start + prompt


def _chat_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: Messages, answer: Messages, index: int
) -> tuple[list[int], list[int]]:
    before = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)
    whole = tokenizer.apply_chat_template(prompt + answer, tokenize=True, return_dict=True)
    before, whole = list(before["input_ids"]), list(whole["input_ids"])
    if whole[: len(before)] != before:
        raise ValueError(
            f"Row {index}: the chat template's generation prompt is not how the whole conversation starts, so that the "
            "answer cannot be told from the prompt. Change the template, or give prompt/completion as text."
        )
    return before, whole[len(before) :]


def _with_end(answer: list[int], end: int | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The answer up to and with its end token, once. Templates like to add a line break that no model ever generates."""
    if end is None:
        return answer
    if end in answer:
        last = len(answer) - 1 - answer[::-1].index(end)
        if not tokenizer.decode(answer[last + 1 :]).strip():
            return answer[: last + 1]
    return [*answer, end]


def _pretokenized(dataset: Dataset) -> list[tuple[list[int], list[int]]]:
    rows = []
    columns = [name for name in ("input_ids", "labels", "attention_mask") if name in dataset.column_names]
    for index, row in enumerate(dataset.with_format(None).select_columns(columns)):
        empty = [name for name in columns if row[name] is None]
        if empty:
            raise ValueError(f"Row {index} has nothing in column {empty[0]!r}. Fill it in, or drop the row.")
        ids, labels = list(row["input_ids"]), list(row["labels"])
        mask = row.get("attention_mask", [1] * len(ids))
        if not len(ids) == len(labels) == len(mask):
            raise ValueError(
                f"Row {index} has {len(ids)} input_ids but {len(labels)} labels"
                f"{f' and an attention_mask of {len(mask)}' if len(mask) != len(ids) else ''}; they must be of one length, unshifted."
            )
        # What was padded to one length would be read as text from here on, and shift every position where it was padded on the left.
        ids, labels = ([value for value, seen in zip(values, mask, strict=True) if seen] for values in (ids, labels))
        if all(label == IGNORE_INDEX for label in labels[1:]):
            raise ValueError(
                f"Row {index} has an answer without any token: no label after the first position differs from "
                f"{IGNORE_INDEX}. Label the answer, unshifted, or drop the row."
            )
        rows.append((ids, labels))
    return rows


def _first_label(labels: list[int]) -> int:
    """Position 0 is never predicted, so that a label on it is no reason for an empty prompt."""
    return next(i for i, label in enumerate(labels) if i > 0 and label != IGNORE_INDEX)


def _check_length(index: int, ids: list[int], labels: list[int], max_length: int | None, *, cut: bool) -> None:
    if max_length is None or len(ids) <= max_length:
        return
    answer = sum(label != IGNORE_INDEX for label in labels)
    raise ValueError(
        f"Row {index} has {len(ids)} tokens (prompt {len(ids) - answer}, answer {answer}), more than max_length="
        f"{max_length}. Nothing is cut silently: raise max_length, shorten the row, "
        f"or drop it{'; `data.chunk_texts(…, prompts=False)` cuts texts' if cut else ''}."
    )
