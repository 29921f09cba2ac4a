"""Rows that grow by chosen tokens: one leg of generation after the other, those that have ended left out of the next.

Knows a model's own `generate` and what decides a choice. Does not know which rows come together, nor what becomes of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from peft import PeftModel
from transformers import DynamicCache, LogitsProcessor, PreTrainedModel

from hf_unlearn.functional import gumbel_draw
from hf_unlearn.inference._prefix import select_rows


LEG = 8
"""Tokens between two looks at which rows have ended."""


class Rule(Protocol):
    """What decides how rows grow."""

    @property
    def max_new_tokens(self) -> int:
        """Where a row is cut."""
        ...

    @property
    def stops(self) -> Sequence[int]:
        """Tokens that end a row."""
        ...

    def choice(self, rows: list[int], prompt_length: int) -> "Choice":
        """What chooses the tokens of a leg.

        Args:
            rows: Key of each row that still grows.
            prompt_length: Tokens before the first chosen one, padding included.
        """
        ...


@dataclass(frozen=True)
class Draw:
    """What decides every sample: the prompts, where the noise of each begins, and where a completion ends."""

    prompts: Sequence[Sequence[int]]
    keys: Sequence[int]
    num_samples: int
    max_new_tokens: int
    seed: int
    stops: Sequence[int]

    def choice(self, rows: list[int], prompt_length: int) -> "Choice":
        """The tokens that ancestral sampling draws; the key of a row is where its noise begins."""
        return _GumbelChoice(rows, self.seed, prompt_length)


@dataclass(frozen=True)
class Greedy:
    """The most likely token each time, the first of several as likely."""

    max_new_tokens: int
    stops: Sequence[int]

    def choice(self, rows: list[int], prompt_length: int) -> "Choice":
        """Whatever the row, the most likely token."""
        return Choice()


class Choice(LogitsProcessor):
    """Leaves exactly one token possible at each step, the most likely one, and remembers it."""

    def __init__(self) -> None:
        self.chosen: list[torch.Tensor] = []
        self.log_probs: list[torch.Tensor] = []
        self.nan: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = self.choose(scores, input_ids.shape[1])
        self.chosen.append(chosen[:, None])
        self.nan.append(scores.isnan().any())
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)

    def choose(self, scores: torch.Tensor, length: int) -> torch.Tensor:
        """One token per row; shape `(rows,)`.

        Args:
            scores: Logits, shape `(rows, vocabulary)`.
            length: Of the rows so far.
        """
        return scores.argmax(-1)  # the first of several


class _GumbelChoice(Choice):
    """The one that ancestral sampling draws; remembers its log-probability."""

    def __init__(self, rows: list[int], seed: int, prompt_length: int):
        super().__init__()
        self.rows, self.seed, self.prompt_length = rows, seed, prompt_length

    def choose(self, scores: torch.Tensor, length: int) -> torch.Tensor:
        chosen, log_probs = gumbel_draw(scores, seed=self.seed, rows=self.rows, position=length - self.prompt_length)
        self.log_probs.append(log_probs[:, None].float())
        return chosen


class Growing:
    """Rows of a group while they grow; those that have ended are left out.

    Args:
        input_ids: Left-padded prompts, one row per sample.
        attention_mask: Of the same shape.
        keys: What a rule needs to know of each row: where its noise begins.
        limits: Where each row is cut, if not all where the rule says.
    """

    def __init__(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        keys: list[int],
        limits: Sequence[int] | None = None,
    ):
        self._ids, self._mask, self._keys, self._limits = input_ids, attention_mask, keys, limits
        self._prompt_length = input_ids.shape[1]
        self.live = list(range(len(keys)))
        self.token_ids: list[list[int]] = [[] for _ in keys]
        self.log_probs: list[list[float]] = [[] for _ in keys]

    @property
    def length(self) -> int:
        """Tokens generated so far."""
        return self._ids.shape[1] - self._prompt_length

    def grow(self, model: PreTrainedModel | PeftModel, cache: DynamicCache | None, rule: Rule) -> None:
        """Let `generate` go on for as many tokens as the model's settings say.

        Raises:
            ValueError: The model gives NaN.
            RuntimeError: It goes its own way.
        """
        choice = rule.choice([self._keys[row] for row in self.live], self._prompt_length)
        before = self._ids.shape[1]
        given = {} if cache is None else {"past_key_values": cache}
        self._ids = model.generate(input_ids=self._ids, attention_mask=self._mask, logits_processor=[choice], **given)
        token_ids = self._ids[:, before:].cpu()
        _check_followed(type(model), choice, token_ids, rule.stops)
        log_probs = torch.cat(choice.log_probs, 1).cpu() if choice.log_probs else None
        # What `generate` padded after an end token does not count.
        lengths = _until_stop(token_ids, rule.stops).sum(1).tolist()
        kept = []
        for place, (row, length) in enumerate(zip(self.live, lengths, strict=True)):
            self.token_ids[row] += token_ids[place, :length].tolist()
            if log_probs is not None:
                self.log_probs[row] += log_probs[place, :length].tolist()
            limit = rule.max_new_tokens if self._limits is None else self._limits[row]
            if self.token_ids[row][-1] not in rule.stops and self.length < limit:
                kept.append(place)
        self._mask = torch.nn.functional.pad(self._mask, (0, token_ids.shape[1]), value=1)
        if len(kept) < len(self.live):
            self._keep(kept, cache)

    def _keep(self, places: list[int], cache: DynamicCache | None) -> None:
        self.live = [self.live[place] for place in places]
        if places:
            chosen = torch.tensor(places, device=self._ids.device)
            self._ids, self._mask = self._ids[chosen], self._mask[chosen]
            if cache is not None:
                select_rows(cache, chosen)


def _check_followed(owner: type, choice: Choice, token_ids: torch.Tensor, stops: Sequence[int]) -> None:
    """Refuse a model that gave no numbers, or went its own way when it was told which token comes next.

    Raises:
        ValueError: Names it, which gave NaN.
        RuntimeError: Names it and the step that it chose otherwise.
    """
    if choice.nan and torch.stack(choice.nan).any():
        raise ValueError(f"{owner.__name__} gives NaN logits in the middle of a completion.")
    steps = min(len(choice.chosen), token_ids.shape[1])
    chosen = torch.cat(choice.chosen[:steps], 1).cpu() if steps else token_ids[:, :0]
    differs = ((chosen != token_ids[:, :steps]) & _until_stop(token_ids, stops)[:, :steps]).any(0)
    if len(choice.chosen) == token_ids.shape[1] and not differs.any():
        return
    first = int(differs.long().argmax()) if differs.any() else steps
    raise RuntimeError(
        f"{owner.__name__} does not follow the logits processor that chooses the tokens: step {first} of its completions was chosen otherwise. "
        f"Its own generation (in {owner.__module__}) goes around it, so its completions would not come from its distribution."
    )


def _until_stop(token_ids: torch.Tensor, stops: Sequence[int]) -> torch.Tensor:
    """Which tokens have no end token before them; bool, of the same shape."""
    is_stop = torch.isin(token_ids, torch.tensor(stops, dtype=torch.int64))
    return is_stop.cumsum(1) - is_stop.long() == 0
