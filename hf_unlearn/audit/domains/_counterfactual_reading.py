"""What subjects say to a forget question beside what the original says to counterfactual ones: completions, scored both ways.

Each model reads its own prompt: the stand-in, which is the original, the questions about names that it has never seen; a subject the
question itself, or, where its values are the floor, questions about further such names. Knows questions in pairs; not how names are found.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._completion_reading import Sampling, drawn_completions
from hf_unlearn.audit._contracts import Task
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.audit.domains._counterfactuals import Counterfactual
from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.config import AuditConfig
from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference import (
    Completions,
    OwnStates,
    check_comparable,
    check_room,
    score_tables,
)


STAND_IN, CONTINUED = "stand-in", "continued"
"""Roles that are asked about further names: what the floor is made of."""


@dataclass(frozen=True)
class Pairs:
    """The counterfactual questions of a set, two by two: one that the stand-in answers, and an independent one for the floor.

    Attributes:
        asked: Of the stand-in, by example and number.
        floor: The partner of each.
    """

    asked: tuple[Counterfactual, ...]
    floor: tuple[Counterfactual, ...]

    @classmethod
    def of(cls, found: Iterable[Counterfactual]) -> "Pairs":
        """Whatever has a partner."""
        sides: tuple[dict[tuple[int, int], Counterfactual], ...] = ({}, {})
        for one in found:
            sides[one.is_floor][one.example, one.number] = one
        both = sorted(sides[0].keys() & sides[1].keys())
        return cls(tuple(sides[0][place] for place in both), tuple(sides[1][place] for place in both))

    def __len__(self) -> int:
        return len(self.asked)

    @cached_property
    def examples(self) -> list[int]:
        """Numbers of the examples that have any, ascending."""
        return sorted({one.example for one in self.asked})

    @cached_property
    def of_example(self) -> dict[int, list[int]]:
        """By example, its pairs, by number."""
        found: dict[int, list[int]] = {}
        for place, one in enumerate(self.asked):
            found.setdefault(one.example, []).append(place)
        return found


def is_floor(subject: LoadedSubject) -> bool:
    """Whether a subject is asked about further names."""
    return subject.key.role.startswith((STAND_IN, CONTINUED))


class CounterfactualReader:
    """The original in place of a reference on one set: its completions are drawn once, whatever they are compared with.

    Args:
        original: The stand-in.
        split: The set.
        pairs: Its counterfactual questions; at least one.
        sampling: How completions are drawn; `num_samples` as many as an example has pairs at most.
        stops: Tokens that end a completion.
        tokenizer: Of the models; None where rows are tokenized.
        store: Where completions are kept.
        config: Options of the audit.

    Raises:
        ValueError: A question does not fit.
    """

    def __init__(
        self,
        original: LoadedSubject,
        split: Split,
        pairs: Pairs,
        sampling: Sampling,
        stops: Sequence[int],
        *,
        tokenizer: PreTrainedTokenizerBase | None,
        store: EvidenceStore,
        config: AuditConfig,
    ):
        self.original, self.split, self.pairs, self.sampling, self.stops = original, split, pairs, sampling, stops
        self.tokenizer, self.store, self.config = tokenizer, store, config
        self._prompts = _prompts(pairs.asked)
        self._drawn: Completions | None = None
        self._states = OwnStates()
        check_room(original.model, self._prompts, sampling.max_new_tokens)

    def task(self, subject: LoadedSubject) -> Task:
        """Completions of stand-in and subject, one of each per pair, scored both ways: columns of `ScoredRows`, whose models are "stand-in" and
        "subject", with `prompt_index` the example and `sample_index` the question's number; and `is_forget_answer`, whether a completion says the
        true answer, names exchanged.

        Items are the stand-in's completions, then the subject's.

        Raises:
            ValueError: The models cannot be compared, or a question does not fit.
        """
        check_comparable({STAND_IN: self.original.model, subject.key.role: subject.model})
        asked = _prompts(self._own(subject))
        check_room(subject.model, asked, self.sampling.max_new_tokens)
        places = [(one.example, one.number) for one in self.pairs.asked]
        answers = (_labels(self.pairs.asked), _labels(self._own(subject)))
        parts = (self.original.fingerprint, subject.fingerprint, self._prompts, asked, places, answers)
        return Task(
            (*parts, self.sampling, self.stops), 2 * len(self.pairs), lambda items: self._scores(subject, items)
        )

    def _own(self, subject: LoadedSubject) -> Sequence[Counterfactual]:
        """What a subject is asked, and the true answer to it."""
        if is_floor(subject):
            return self.pairs.floor
        prompts, examples = self.split.prompts, self.split.examples
        return [
            Counterfactual(one.example, one.number, False, prompts[one.example], examples[one.example])
            for one in self.pairs.asked
        ]

    def _scores(self, subject: LoadedSubject, items: Sequence[int]) -> Iterable[pa.Table]:
        count, views = len(self.pairs), {STAND_IN: self.original.view, "subject": subject.view}
        said: list[Callable[[], Completions]] = [self._of_stand_in, partial(self._of_subject, subject)]
        asked: list[Sequence[Counterfactual]] = [self.pairs.asked, self._own(subject)]
        for side, (name, other) in enumerate(((STAND_IN, "subject"), ("subject", STAND_IN))):
            offset = side * count
            mine = [item - offset for item in items if offset <= item < offset + count]
            if not mine:
                continue
            completions = said[side]()
            says_it = self._say(completions, asked[side])
            tables = score_tables(
                completions,
                sampled_from=name,
                models=views,
                own_prompts={other: _prompts(asked[1 - side])},
                items=mine,
                batch_size=self.config.batch_size,
                progress=self.config.progress,
                own_states=self._states if name == STAND_IN else None,
                label=f"scoring {subject.key} {self.split.name}, counterfactual",
            )
            for table in tables:
                yield self._placed(table, offset, says_it)

    def _placed(self, table: pa.Table, offset: int, says_it: Sequence[bool]) -> pa.Table:
        """A table of pairs as one of examples."""
        items = table.column("item").to_pylist()
        columns: dict[str, list[int]] = {
            "item": [item + offset for item in items],
            "prompt_index": [self.pairs.asked[item].example for item in items],
            "sample_index": [self.pairs.asked[item].number for item in items],
        }
        for name, values in columns.items():
            table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.int64()))
        return table.append_column("is_forget_answer", pa.array([says_it[item] for item in items], pa.bool_()))

    def _of_stand_in(self) -> Completions:
        if self._drawn is None:
            self._drawn = self._draw(self.original, self._prompts, 1, f"{self.split.name}-counterfactual")
        return self._drawn

    def _of_subject(self, subject: LoadedSubject) -> Completions:
        """One completion per pair; of the question itself they are those that FADE is measured on, where it has as many."""
        if is_floor(subject):
            return self._draw(subject, _prompts(self._own(subject)), 1, f"{self.split.name}-counterfactual")
        each = self.sampling.num_samples
        found = self._draw(subject, self.split.prompts, each, self.split.name)
        rows = torch.tensor([one.example * each + one.number for one in self.pairs.asked])
        return Completions(
            tuple(_prompts(self._own(subject))),
            found.token_ids[rows],
            found.mask[rows],
            torch.arange(len(rows)),
            found.sample_index[rows],
            found.truncated[rows],
            None if found.log_probs is None else found.log_probs[rows],
        )

    def _draw(
        self, whose: LoadedSubject, prompts: Sequence[tuple[int, ...]], num_samples: int, name: str
    ) -> Completions:
        sampling = Sampling(num_samples, self.sampling.max_new_tokens, self.sampling.seed)
        return drawn_completions(
            whose,
            prompts,
            sampling,
            self.stops,
            name=name,
            store=self.store,
            batch_size=self.config.batch_size,
            progress=self.config.progress,
        )

    def _say(self, completions: Completions, truths: Sequence[Counterfactual]) -> list[bool]:
        """Which completions are the true answer, case, punctuation and spaces aside; token by token where there is no tokenizer."""
        said = self._normalised([completions.answer(row) for row in range(len(completions))])
        return [own == true for own, true in zip(said, self._normalised(_labels(truths)), strict=True)]

    def _normalised(self, answers: Sequence[Sequence[int]]) -> list[str]:
        tokens = [[token for token in answer if token not in self.stops] for answer in answers]
        if self.tokenizer is None:
            return [" ".join(map(str, answer)) for answer in tokens]
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(re.findall(r"\w+", text.casefold())) or text.strip() for text in texts]


def _prompts(questions: Sequence[Counterfactual]) -> list[tuple[int, ...]]:
    return [one.prompt for one in questions]


def _labels(questions: Sequence[Counterfactual]) -> list[list[int]]:
    return [[label for label in one.tokens["labels"] if label != IGNORE_INDEX] for one in questions]
