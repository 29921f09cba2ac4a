"""Causal language models: questions and answers, sampled completions, hidden states, patching."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._checked import check_precision, check_roles
from hf_unlearn.audit._completion_reading import CompletionReader, Sampling
from hf_unlearn.audit._contracts import Reading, SubjectKey, Task
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._provenance import describe_model, notes_on_equals
from hf_unlearn.audit._subjects import LoadedSubject, common_stop_token_ids, common_tokenizer, open_subject
from hf_unlearn.audit.domains._answer_reading import AnswerReader, count_tokens
from hf_unlearn.audit.domains._choice_reading import READINGS as CHOICES
from hf_unlearn.audit.domains._choice_reading import choices_task
from hf_unlearn.audit.domains._counterfactual_tasks import ANSWERS, COMPLETIONS, CounterfactualTasks
from hf_unlearn.audit.domains._generation_reading import Decoder, Judge, OwnGenerator, generation_task
from hf_unlearn.audit.domains._harness_set import NAME, HarnessSet, harness_notes, harness_task, open_harness
from hf_unlearn.audit.domains._layers import PATCHED, LayerFacts, check_layers
from hf_unlearn.audit.domains._prompt_format import other_format
from hf_unlearn.audit.domains._text_splits import Split, load_splits, longest_answer
from hf_unlearn.data import DataLike
from hf_unlearn.functional import resolution_of
from hf_unlearn.inference import (
    FeatureSettings,
    ModelLike,
    NoGradientsError,
    check_comparable,
    check_gradients,
    gradient_tables,
    patching_tables,
    shortest_context,
    tell_apart,
)


logger = logging.getLogger(__name__)
SHOWN = 300
"""Characters of a prompt in the log."""


class CausalLM:
    """The domain of causal language models.

    Args:
        models: By role, as given; paths and ids are opened one by one.
        data: By split.
        processing_class: The tokenizer; default: the one saved with the models.
        config: Options of the audit.
        store: Where completions are kept that several comparisons need.

    Raises:
        ValueError: Models or data that cannot be audited; said before anything is opened.
    """

    name = "causal_lm"
    versions: Mapping[str, int] = {
        **dict.fromkeys(
            ("answers", "variants", *CHOICES, "generations", "gradients", "completions", "patching", NAME), 1
        ),
        **dict.fromkeys((ANSWERS, COMPLETIONS), 1),
        "variants": 2,
    }
    own_metrics: Sequence[BaseMetric] = ()

    def __init__(
        self,
        models: Mapping[str, ModelLike | None],
        data: Mapping[str, DataLike | None],
        processing_class: PreTrainedTokenizerBase | str | None,
        config: Any,
        store: EvidenceStore,
    ):
        self.config, self.store = config, store
        self.models = check_roles(models, processing_class, needs_reference=False)
        check_precision(self.models, config.dtype)
        tokenizer = common_tokenizer(self.models, processing_class, needed=True)
        assert tokenizer is not None
        self.tokenizer = tokenizer
        check_comparable(self.models, processing_class=tokenizer)
        self.views = tell_apart(self.models)
        self._layers = LayerFacts(config.space, check_layers(self.models, config.layers))
        self._splits: dict[str, Any] = load_splits(
            data,
            tokenizer,
            config.max_examples,
            config.seed,
            config.allow_overlap,
            config.prompt_template,
            shortest_context(self.models),
            config.cluster_column,
        )
        longest = config.max_new_tokens or longest_answer(self._splits)
        self.sampling = Sampling(config.num_samples, longest, config.seed)
        self.features = FeatureSettings(
            pooling=config.pooling,
            layers=None if config.layers is None else tuple(config.layers),
            seed=config.seed,
            batch_size=config.batch_size,
        )
        self.stops = common_stop_token_ids(self.models, tokenizer)
        self._readers: dict[tuple[SubjectKey, str], CompletionReader] = {}
        self._described: dict[str, dict[str, str]] = {}
        self._without_gradients: dict[str, str] = {}
        if config.harness_tasks:
            self.own_metrics, asked = open_harness(config, self._splits)
            self._splits = {**self._splits, NAME: asked}
        self.counterfactual.prepare(self.models)

    def open(self, key: SubjectKey, model: Any) -> LoadedSubject:
        """Open a model in its role, and take its fingerprint."""
        subject = open_subject(key, model, dtype=self.config.dtype, device_map=self.config.device_map)
        if not key.condition:
            given = self.models.get(key.role, subject.model)
            self._described[key.role] = describe_model(given, subject)
        return subject

    @cached_property
    def counterfactual(self) -> CounterfactualTasks:
        """Tasks on counterfactual questions."""
        settings = (self.config, self.sampling, self.stops, self._layers, self.features, self.store)
        return CounterfactualTasks(self._splits, self.tokenizer, *settings)

    def derived(self, subject: LoadedSubject) -> list[LoadedSubject]:
        """Of the original itself as it stands in for subjects that it has never seen."""
        return self.counterfactual.derived(subject)

    def given(self, role: str) -> Any:
        """The model of a role, told apart from those that share its weights; None where there is none."""
        return self.views.get(role)

    def splits(self) -> Mapping[str, Any]:
        """The sets, loaded and checked."""
        return self._splits

    def settings(self) -> dict[str, str | int | float | bool | None]:
        """What was decided while data and models were looked at."""
        return {
            "max_new_tokens": self.sampling.max_new_tokens,
            "chat_template": self._uses_chat_template,
            "space": self._layers.space,
            "max_width": self.features.max_width,
        }

    def task(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task | None:
        """How to take a reading; None where there is nothing to take."""
        take = self._readings.get(reading.name)
        if take is None:
            raise ValueError(
                f"the domain {self.name} has no reading {reading.name!r}; it has {', '.join(self.versions)}."
            )
        if isinstance(split, HarnessSet) is not (reading.name == NAME) or not self.counterfactual.has(
            reading.name, subject
        ):
            return None
        return take(reading, subject, split, others)

    @property
    def _readings(
        self,
    ) -> dict[str, Callable[[Reading, LoadedSubject, Any, Mapping[str, LoadedSubject]], Task | None]]:
        """How each is taken, in the order of `versions`."""
        return {
            "answers": self._answers,
            "variants": self._variants,
            **dict.fromkeys(CHOICES, self._choices),
            "gradients": self._gradients,
            "generations": self._generations,
            "completions": self._completions,
            "patching": self._patching,
            **dict.fromkeys((ANSWERS, COMPLETIONS), self.counterfactual.task),
            NAME: lambda _, subject, split, others: harness_task(
                split, subject, self.tokenizer, self.config, self._uses_chat_template
            ),
        }

    @cached_property
    def _answer_reader(self) -> AnswerReader:
        return AnswerReader(self._layers, self.features, self.store)

    def _answers(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task:
        return self._answer_reader.answers(reading, subject, split, self.config)

    def _variants(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task | None:
        return self._answer_reader.variants(reading, subject, split, self.config)

    def _choices(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task | None:
        settings = {"batch_size": self.config.batch_size, "progress": self.config.progress}
        return choices_task(reading.name, subject, split, self.tokenizer, **settings)

    def _gradients(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task | None:
        try:
            check_gradients(subject.view, split.examples[0])
        except NoGradientsError as error:
            self._without_gradients[str(subject.key)] = str(error).removesuffix(".")
            return None

        def compute(items: Sequence[int]) -> Iterable[pa.Table]:
            label = f"gradients {split.name} {subject.key}"
            return gradient_tables(
                subject.view, split.examples, items=items, progress=self.config.progress, label=label
            )

        cost = 3 * count_tokens(split.examples)  # backward is twice forward
        return Task((subject.fingerprint, split.examples), len(split), compute, cost=cost)

    def _generations(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task:
        known = partial(self._answer_reader.said, subject, split)
        own = OwnGenerator(self.config.batch_size, self.config.progress, known)
        original, judge = others.get("original"), None
        if "original" in reading.parts and original is not None:
            judge = Judge(original, self.config.batch_size, self.config.progress)
        options: dict[str, Any] = {"max_new_tokens": self.sampling.max_new_tokens, "stops": self.stops}
        return generation_task(subject, split, own, self._decoder, judge=judge, **options)

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self.tokenizer)

    def _completions(
        self, reading: Reading, subject: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task | None:
        reference = others.get("reference")
        return None if reference is None or subject is reference else self._reader(split, reference).task(subject)

    def _reader(self, split: Split, reference: LoadedSubject) -> CompletionReader:
        place = (reference.key, split.name)
        if place not in self._readers:
            self._readers[place] = CompletionReader(
                reference,
                split.prompts,
                self.sampling,
                self.stops,
                name=split.name,
                store=self.store,
                batch_size=self.config.batch_size,
                progress=self.config.progress,
            )
        return self._readers[place]

    def _patching(
        self, reading: Reading, donor: LoadedSubject, split: Split, others: Mapping[str, LoadedSubject]
    ) -> Task | None:
        original = others.get("original")
        if original is None or donor is original or not self._layers.can_patch(original, donor):
            return None
        examples = split.examples[:PATCHED]

        def compute(items: Sequence[int]) -> Iterable[pa.Table]:
            return patching_tables(
                original.view,
                donor.view,
                examples,
                items=items,
                batch_size=self.config.batch_size,
                progress=self.config.progress,
                label=f"patching {donor.key}",
            )

        return Task(
            (original.fingerprint, donor.fingerprint, examples), len(examples), compute, cost=count_tokens(examples)
        )

    @property
    def _uses_chat_template(self) -> bool:
        return bool(self.tokenizer.chat_template) and self.config.prompt_template is None

    def describe(self) -> dict[str, dict[str, str]]:
        """Of each role, for the provenance."""
        return self._described

    def describe_data(self) -> dict[str, dict[str, str | int]]:
        """Of each split, for the provenance."""
        return {
            name: {"sha256": split.fingerprint, "rows": len(split), "of": split.total, **split.asked}
            for name, split in self._splits.items()
        }

    def facts(self) -> dict[str, Any]:
        """Space of hidden states, who shares the reference's and the original's starting weights, how far states are exact, and what is to be
        said of counterfactual questions."""
        return {
            "space": self._layers.space,
            "shares_basis": self._layers.shares_basis,
            "shares_original": self._layers.shares_original,
            "resolution": resolution_of(about["dtype"] for about in self._described.values()),
            "counterfactual": self.counterfactual.facts(),
        }

    def looks_odd(self, subject: LoadedSubject, split: Split) -> list[str]:
        """Whether the original knows the forget answers clearly better when the questions are put another way."""
        if split.has_examples:  # the note would quote them
            return []
        return other_format(subject.view, split, self.tokenizer, split.prompt_template, self.config.batch_size)

    def example(self, split: Split) -> str:
        """The end of the first prompt, special tokens included."""
        text = str(self.tokenizer.decode(split.prompts[0]))
        return text if len(text) <= SHOWN else f"…{text[-SHOWN:]}"

    def notes(self) -> list[str]:
        """What a reader must know about models, data and hidden states."""
        found = [*notes_on_equals(self.views, self._described), *_unlike_precision(self._described)]
        found += [
            f"Of {split.total} {split.name} examples {len(split)} were used."
            for split in self._splits.values()
            if len(split) < split.total
        ]
        found += [
            f"The {len(split)} {split.name} examples have {split.clusters.max() + 1} {split.kind}; those of one count as one in every "
            "interval."
            for split in self._splits.values()
            if split.clusters.max() + 1 < len(split)
        ]
        found += [f"The {who} has no gradients: {why}." for who, why in self._without_gradients.items()]
        return found + harness_notes(self._splits) + self._layers.notes(self.features)


def _unlike_precision(described: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Equal weights in two precisions are a little apart already, and hidden states far, in units of a change that is none."""
    kinds = {role: about["dtype"] for role, about in described.items()}
    if len(set(kinds.values())) < 2:
        return []
    listed = ", ".join(f"{role} {dtype}" for role, dtype in kinds.items())
    return [
        f"The models differ in precision ({listed}), which is part of every distance between them; compare them in one."
    ]
