"""What models answer greedily to the prompts of a set: tokens, text, and whether the answer was cut. One seam for whatever generates the tokens."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._contracts import Task
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import View, answer_tables, check_room, greedy_tables


class Generator(Protocol):
    """Completes prompts greedily. `generator_name` is part of every evidence key: another one may round, and then answer, otherwise."""

    @property
    def generator_name(self) -> str:
        """ "transformers", …."""
        ...

    def __call__(
        self,
        view: View,
        prompts: Sequence[Sequence[int]],
        *,
        items: Sequence[int],
        max_new_tokens: int,
        stop_token_ids: Sequence[int],
        label: str,
    ) -> Iterator[pa.Table]:
        """Tables of `inference.greedy_tables`: together every item once, on every process.

        Args:
            view: The model in its role.
            prompts: Token ids of all prompts of a set; equal ones have equal answers.
            items: Which to complete, by number.
            max_new_tokens: Where an answer is cut.
            stop_token_ids: Tokens that end an answer; the one that did is kept.
            label: For progress bars.
        """
        ...


Known: TypeAlias = Callable[[], Sequence[Sequence[int]] | None]


class OwnGenerator:
    """The models' own `generate`.

    Args:
        batch_size: Rows at a time.
        progress: Whether to show progress bars.
        known: Gives how each completion begins, where that is known already.
    """

    generator_name = "transformers"

    def __init__(self, batch_size: int, progress: bool, known: Known | None = None):
        self.batch_size, self.progress, self.known = batch_size, progress, known

    def __call__(
        self,
        view: View,
        prompts: Sequence[Sequence[int]],
        *,
        items: Sequence[int],
        max_new_tokens: int,
        stop_token_ids: Sequence[int],
        label: str,
    ) -> Iterator[pa.Table]:
        """As `inference.greedy_tables`."""
        return greedy_tables(
            view,
            prompts,
            items=items,
            max_new_tokens=max_new_tokens,
            stop_token_ids=stop_token_ids,
            known=None if self.known is None else self.known(),
            batch_size=self.batch_size,
            progress=self.progress,
            label=label,
        )


class Decoder:
    """Tokens to text, special tokens left out.

    Args:
        tokenizer: Of the models; None where there is none, and then no text.

    Attributes:
        fingerprint: Of what turns tokens into text: kept text is that of one tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None):
        self.tokenizer = tokenizer
        self.fingerprint = "" if tokenizer is None else _decoding(tokenizer)

    def with_text(self, table: pa.Table) -> pa.Table:
        """With a column `text`, where there is a tokenizer."""
        if self.tokenizer is None:
            return table
        return table.append_column("text", pa.array(self.texts(table.column("tokens").to_pylist()), pa.string()))

    def texts(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Of each list of tokens; needs a tokenizer."""
        assert self.tokenizer is not None
        return self.tokenizer.batch_decode(tokens, skip_special_tokens=True)

    def beginnings(self, split: Split, max_new_tokens: int) -> list[str] | None:
        """The true answers, cut at as many tokens as may be generated; None where they are no text."""
        if self.tokenizer is None or split.answer_texts is None:
            return None
        answers = [[label for label in row["labels"] if label != IGNORE_INDEX] for row in split.examples]
        cut = self.texts([answer[:max_new_tokens] for answer in answers])
        return [
            whole if len(answer) <= max_new_tokens else beginning
            for whole, answer, beginning in zip(split.answer_texts, answers, cut, strict=True)
        ]


class Judge:
    """The original, which says how likely somebody's answers are to it.

    Args:
        original: Open.
        batch_size: Sequences at a time.
        progress: Whether to show progress bars.
    """

    def __init__(self, original: LoadedSubject, batch_size: int, progress: bool):
        self.original, self.batch_size, self.progress = original, batch_size, progress

    def judged(self, table: pa.Table, prompts: Sequence[Sequence[int]], label: str) -> pa.Table:
        """With a column `original_log_probs`, of each token of each answer."""
        examples = []
        for row in table.select(["item", "tokens"]).to_pylist():
            prompt, tokens = list(prompts[row["item"]]), row["tokens"]
            examples.append({"input_ids": prompt + tokens, "labels": [IGNORE_INDEX] * len(prompt) + tokens})
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "progress": self.progress,
            "label": f"judging answers {label}",
        }
        found = pa.concat_tables(list(answer_tables(self.original.view, examples, **options))).sort_by("item")
        return table.append_column("original_log_probs", found.column("log_probs"))


def generation_task(
    subject: LoadedSubject,
    split: Split,
    generator: Generator,
    decoder: Decoder,
    *,
    max_new_tokens: int,
    stops: Sequence[int],
    judge: Judge | None = None,
) -> Task:
    """One row for each example of the set.

    * `item`, `tokens` (the end token included) and `truncated`;
    * `text`: the same without special tokens, and `truth`: the true answer, cut at as many tokens as may be generated;
    * with a judge `original_log_probs`: of each token under the original, teacher-forced, nats.

    Args:
        subject: Who answers.
        split: The set.
        generator: What generates the tokens.
        decoder: What turns them into text.
        max_new_tokens: Where an answer is cut.
        stops: Tokens that end one.
        judge: The original, where it is to say how likely each answer is to it.

    Raises:
        ValueError: A prompt leaves no room for an answer.
    """
    for each in [subject] if judge is None else [subject, judge.original]:
        check_room(each.model, split.prompts, max_new_tokens)
    truths = decoder.beginnings(split, max_new_tokens)

    def compute(items: Sequence[int]) -> Iterable[pa.Table]:
        tables = generator(
            subject.view,
            split.prompts,
            items=items,
            max_new_tokens=max_new_tokens,
            stop_token_ids=stops,
            label=f"greedy answers {split.name} {subject.key}",
        )
        for table in map(decoder.with_text, tables):
            if truths is not None:
                mine = [truths[item] for item in table.column("item").to_pylist()]
                table = table.append_column("truth", pa.array(mine, pa.string()))
            yield table if judge is None else judge.judged(table, split.prompts, f"{split.name} {subject.key}")

    key = (
        *(subject.fingerprint, split.prompts, truths, max_new_tokens, stops),
        *(generator.generator_name, decoder.fingerprint, judge and judge.original.fingerprint),
    )
    distinct = set(split.prompts)
    cost = sum(map(len, distinct)) + len(distinct) * max_new_tokens
    return Task(key, len(split), compute, cost=cost if judge is None else 2 * cost)


def _decoding(tokenizer: PreTrainedTokenizerBase) -> str:
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    parts = [
        type(tokenizer).__name__,
        sorted(tokenizer.get_vocab().items()),
        sorted(tokenizer.all_special_ids),
        "" if decoder is None else decoder.__getstate__().decode(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]
