"""What the domain of language models has for counterfactual metrics: which questions, who is asked them, and what of it a report must say."""

import dataclasses
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._completion_reading import Sampling
from hf_unlearn.audit._contracts import Reading, SubjectKey, Task
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.audit.domains._counterfactual_answers import answers_task
from hf_unlearn.audit.domains._counterfactual_reading import STAND_IN, CounterfactualReader, Pairs, is_floor
from hf_unlearn.audit.domains._counterfactuals import load_counterfactuals
from hf_unlearn.audit.domains._layers import LayerFacts
from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.config import STANDARD, AuditConfig
from hf_unlearn.functional import clusters_by_content
from hf_unlearn.inference import FeatureSettings


ORIGINAL = "original"
ANSWERS, COMPLETIONS = "counterfactual_answers", "counterfactual_completions"
"""Readings."""


class CounterfactualTasks:
    """Tasks of the readings `counterfactual_completions` and `counterfactual_answers`. Questions are made when the first of them is asked for.

    Args:
        splits: All sets.
        tokenizer: Of the models; None where rows are tokenized.
        config: Options of the audit.
        sampling: How completions are drawn.
        stops: Tokens that end one.
        layers: What is known of the models' layers.
        features: How hidden states are pooled.
        store: Where completions are kept.
    """

    def __init__(
        self,
        splits: Mapping[str, Any],
        tokenizer: PreTrainedTokenizerBase | None,
        config: AuditConfig,
        sampling: Sampling,
        stops: tuple[int, ...],
        layers: LayerFacts,
        features: FeatureSettings,
        store: EvidenceStore,
    ):
        self._splits, self._tokenizer, self._config, self._store = splits, tokenizer, config, store
        self._sampling = dataclasses.replace(sampling, num_samples=config.num_counterfactuals)
        self._stops, self._layers, self._features = stops, layers, features
        self._pairs: dict[str, Pairs] = {}
        self._readers: dict[tuple[SubjectKey, str], CounterfactualReader] = {}
        self._facts: dict[str, dict[str, Any]] = {}

    def prepare(self, roles: Collection[str]) -> None:
        """Make the questions now where metrics are named that ask them, so that what is wrong with the data is said before a model is opened.

        Args:
            roles: Those that were given.

        Raises:
            ValueError: Data of which no counterfactual questions can be made.
        """
        names = (self._config.metrics,) if isinstance(self._config.metrics, str) else self._config.metrics
        by_name = any(name.startswith("counterfactual") for name in names)
        if ORIGINAL in roles and (by_name or (STANDARD in names and "reference" not in roles)):
            for split in self._splits.values():
                if isinstance(split, Split) and split.role == "forget":
                    self._questions(split)

    def task(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task | None:
        """How to take one of the readings; None where there is no original, no question, or nothing to ask this subject.

        Raises:
            ValueError: Data of which no counterfactual questions can be made, or questions that do not fit.
        """
        original = others.get(ORIGINAL)
        if original is None or split.role != "forget" or not len(self._questions(split)):
            return None
        if reading.name == COMPLETIONS:
            return self._reader(original, split).task(subject)
        if subject.key.role != ORIGINAL and not is_floor(subject):
            return None
        return answers_task(
            reading, subject, split, self._questions(split), self._layers, self._features, self._config
        )

    def derived(self, subject: LoadedSubject) -> list[LoadedSubject]:
        """Of the original itself once more, asked about further names: the floor where names alone differ."""
        if subject.key.role != ORIGINAL:
            return []
        return [dataclasses.replace(subject, key=SubjectKey(STAND_IN, subject.key.condition))]

    def has(self, reading: str, subject: LoadedSubject) -> bool:
        """Whether a subject is read so at all: what stands in is no further model."""
        return subject.key.role != STAND_IN or reading in (COMPLETIONS, ANSWERS)

    def facts(self) -> dict[str, dict[str, Any]]:
        """By set: how many examples are `asked` about others, `notes` on the rest, and `clusters`, the number of each example's, where no column
        but the questions say whom they are about."""
        return self._facts

    def quiet(self) -> None:
        """From now on no progress bars are shown."""
        self._config = dataclasses.replace(self._config, progress=False)
        for reader in self._readers.values():
            reader.config = self._config

    def _questions(self, split: Split) -> Pairs:
        if split.name not in self._pairs:
            load = partial(load_counterfactuals, num=self._config.num_counterfactuals, seed=self._config.seed)
            others = {name: other for name, other in self._splits.items() if isinstance(other, Split)}
            others.pop(split.name)
            found, notes = load(split, others, self._tokenizer, subject_column=self._config.subject_column)
            self._pairs[split.name] = Pairs.of(found)
            facts = {"notes": notes, "asked": len(self._pairs[split.name].examples)}
            self._facts[split.name] = facts | {"clusters": _by_subject(split, self._pairs[split.name])}
        return self._pairs[split.name]

    def _reader(self, original: LoadedSubject, split: Split) -> CounterfactualReader:
        place = (original.key, split.name)
        if place not in self._readers:
            self._readers[place] = CounterfactualReader(
                original,
                split,
                self._questions(split),
                self._sampling,
                self._stops,
                tokenizer=self._tokenizer,
                store=self._store,
                config=self._config,
            )
        return self._readers[place]


def _by_subject(split: Split, pairs: Pairs) -> np.ndarray | None:
    """Number of each example's cluster, shape `(examples,)`: its subject, or its prompt where nobody knows; None where the set has clusters."""
    known = {one.example: one.subject for one in pairs.asked if one.subject is not None}
    if split.subjects is not None or not known:
        return None
    return clusters_by_content(known.get(at, int(group)) for at, group in enumerate(split.groups))
