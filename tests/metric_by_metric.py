"""The text suite as the field computes it: a pass for every metric and every kind of answer, in data order, padded to the longest of the batch.

What each evaluator reads, in which batches, and what it keeps for others follows open-unlearning (`src/evals` and `configs/eval/tofu*`, as of
2026): results of one metric are looked up by another where it asks for them (truth ratio, model utility), everything else is computed again.
Definitions are those of this library (extraction strength without a floor, no label left out), so that the numbers can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


SCORED, GENERATED = 32, 64
"""Rows at a time: of passes over given answers, of generation."""
Tokens = tuple[list[int], list[int]]
"""Ids of the prompt, ids of the answer."""


@dataclass(frozen=True)
class FieldSet:
    """One set, tokenized: by kind of answer ("answer", "paraphrased", "wrong"), per row one or several.

    Attributes:
        answers: By kind, per row its answers.
        texts: The true answers as text.
    """

    answers: dict[str, list[list[Tokens]]]
    texts: list[str]

    @property
    def true(self) -> list[Tokens]:
        """The true answers."""
        return [answers[0] for answers in self.answers["answer"]]


@dataclass
class MetricByMetric:
    """One model, evaluated metric by metric.

    Attributes:
        model: A causal language model.
        pad: Token that fills batches.
        stop: Token that ends an answer.
        max_new_tokens: Where generation is cut.
        decode: From ids to text.
    """

    model: torch.nn.Module
    pad: int
    stop: int
    max_new_tokens: int
    decode: Callable[[list[int]], str]
    generated: int = 0
    """Tokens, the ends included, that are not the true answer's beginning."""

    def mean_log_probs(self, data: FieldSet, kind: str) -> np.ndarray:
        """Mean token log-probability, shape `(rows, answers)`; one pass over each answer of a row."""
        columns = []
        for number in range(len(data.answers[kind][0])):
            rows = [answers[number] for answers in data.answers[kind]]
            columns.append(self._scored(rows, lambda own, vocabulary, answer: float(own.double().mean())))
        return np.array(columns).T

    def correct(self, data: FieldSet) -> list[np.ndarray]:
        """Which tokens of the true answer are the first choice; per row, shape `(tokens,)`."""
        return self._scored(
            data.true, lambda own, vocabulary, answer: vocabulary.argmax(-1).numpy() == np.array(answer)
        )

    def token_log_probs(self, data: FieldSet) -> list[np.ndarray]:
        """Of the true answer; per row, shape `(tokens,)`."""
        return self._scored(data.true, lambda own, vocabulary, answer: own.double().numpy())

    def vocabulary_moments(self, data: FieldSet) -> list[np.ndarray]:
        """Mean and standard deviation of the vocabulary's log-probabilities; per row, shape `(2, tokens)`."""

        def moments(own: torch.Tensor, vocabulary: torch.Tensor, answer: list[int]) -> np.ndarray:
            p = vocabulary.exp()
            mean = (p * vocabulary).sum(-1)
            variance = (p * vocabulary.square()).sum(-1) - mean.square()
            return torch.stack([mean, variance.clamp_min(0).sqrt()]).double().numpy()

        return self._scored(data.true, moments)

    def generations(self, data: FieldSet) -> list[str]:
        """Greedy answers as text, by `generate`."""
        texts = []
        for start in range(0, len(data.true), GENERATED):
            batch = [prompt for prompt, _ in data.true[start : start + GENERATED]]
            longest = max(map(len, batch))
            ids = torch.tensor([[self.pad] * (longest - len(prompt)) + prompt for prompt in batch])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
            with torch.no_grad():
                out = self.model.generate(
                    input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=self.max_new_tokens,
                    eos_token_id=self.stop, pad_token_id=self.pad, use_cache=True,
                )  # fmt: skip
            for row, (_, answer) in zip(out[:, longest:].tolist(), data.true[start:], strict=False):
                kept = row[: row.index(self.stop)] if self.stop in row else row
                own = row[: len(kept) + 1]
                differs = (place for place, (one, other) in enumerate(zip(own, answer, strict=False)) if one != other)
                self.generated += len(own) - next(differs, min(len(own), len(answer)))
                texts.append(self.decode(kept).strip())
        return texts

    def _scored(
        self, rows: Sequence[Tokens], take: Callable[[torch.Tensor, torch.Tensor, list[int]], Any]
    ) -> list[Any]:
        """What is taken of each row, from the answer's log-probabilities and the whole vocabulary's there."""
        found = []
        for start in range(0, len(rows), SCORED):
            batch = rows[start : start + SCORED]
            own, vocabulary = self._log_probs(batch)
            for number, (prompt, answer) in enumerate(batch):
                at = slice(len(prompt) - 1, len(prompt) + len(answer) - 1)
                found.append(take(own[number, at], vocabulary[number, at], answer))
        return found

    def _log_probs(self, batch: Sequence[Tokens]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the next token, and of all tokens of the vocabulary, at every place of a padded batch."""
        longest = max(len(prompt) + len(answer) for prompt, answer in batch)
        ids = torch.full((len(batch), longest), self.pad)
        mask = torch.zeros_like(ids)
        for number, (prompt, answer) in enumerate(batch):
            length = len(prompt) + len(answer)
            ids[number, :length], mask[number, :length] = torch.tensor(prompt + answer), 1
        with torch.no_grad():
            logits = self.model(input_ids=ids, attention_mask=mask).logits
            vocabulary = torch.nn.functional.log_softmax(logits.float(), dim=-1)[:, :-1]
        return vocabulary.gather(2, ids[:, 1:, None])[..., 0], vocabulary
