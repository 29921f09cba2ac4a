"""Completions of a reference and of what it is compared with: drawn once per model, scored both ways, kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from hf_unlearn._arguments import whole_number
from hf_unlearn.audit._contracts import Task
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.inference import (
    Completions,
    OwnStates,
    check_comparable,
    check_room,
    completions_from_table,
    sample_tables,
    score_tables,
)


VERSION = 1
"""Of drawn completions; counted up whenever equal models, prompts and settings would give others."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        num_samples: Completions per prompt and model.
        max_new_tokens: Where a completion is cut.
        seed: Of the noise; equal for all models, so that models that agree produce equal samples.
    """

    num_samples: int = 8
    max_new_tokens: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_samples", "max_new_tokens"):
            whole_number(name, getattr(self, name), minimum=1)
        whole_number("seed", self.seed, minimum=0)


class CompletionReader:
    """The reference on some prompts: its completions are drawn once, whatever it is compared with.

    Args:
        reference: The model that never saw the forget set.
        prompts: Token ids.
        sampling: How completions are drawn.
        stops: Tokens that end a completion, for all models.
        name: Of the prompts, in file names and progress bars.
        store: Where to keep completions.
        batch_size: Rows at a time; does not change the result.
        progress: Whether to show progress bars.

    Raises:
        ValueError: A prompt does not fit.
    """

    def __init__(
        self,
        reference: LoadedSubject,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stops: Sequence[int],
        *,
        name: str = "",
        store: EvidenceStore,
        batch_size: int = 64,
        progress: bool = True,
    ):
        self.reference, self.prompts, self.sampling, self.stops = reference, prompts, sampling, stops
        self.name, self.store, self.batch_size, self.progress = name, store, batch_size, progress
        self._drawn: Completions | None = None
        self._states = OwnStates()
        check_room(reference.model, prompts, sampling.max_new_tokens)

    def task(self, other: LoadedSubject) -> Task:
        """Both directions between the reference and another model: columns of `ScoredRows`, whose models are "reference" and "subject".

        Items are the reference's completions, then the subject's.

        Raises:
            ValueError: The models cannot be compared, or a prompt does not fit.
        """
        check_comparable({"reference": self.reference.model, other.key.role: other.model})
        check_room(other.model, self.prompts, self.sampling.max_new_tokens)
        count = len(self.prompts) * self.sampling.num_samples
        parts = (self.reference.fingerprint, other.fingerprint, self.prompts, self.sampling, self.stops)
        return Task(parts, 2 * count, lambda items: self._scores(other, items))

    def _scores(self, other: LoadedSubject, items: Sequence[int]) -> Iterable[pa.Table]:
        count = len(self.prompts) * self.sampling.num_samples
        views = {"reference": self.reference.view, "subject": other.view}
        for name, whose, offset in (("reference", self.reference, 0), ("subject", other, count)):
            mine = [item - offset for item in items if offset <= item < offset + count]
            if not mine:
                continue
            tables = score_tables(
                self._completions(whose),
                sampled_from=name,
                models=views,
                items=mine,
                batch_size=self.batch_size,
                progress=self.progress,
                own_states=self._states if whose is self.reference else None,
                label=self._label("scoring", other),
            )
            for table in tables:
                place = table.column_names.index("item")
                shifted = pa.array([item + offset for item in table.column("item").to_pylist()], pa.int64())
                yield table.set_column(place, "item", shifted)

    def _completions(self, whose: LoadedSubject) -> Completions:
        if whose is self.reference and self._drawn is not None:
            return self._drawn
        found = drawn_completions(
            whose,
            self.prompts,
            self.sampling,
            self.stops,
            name=self.name,
            store=self.store,
            batch_size=self.batch_size,
            progress=self.progress,
        )
        if whose is self.reference:
            self._drawn = found
        return found

    def _label(self, what: str, whose: LoadedSubject) -> str:
        return " ".join(part for part in (what, str(whose.key), self.name) if part)


def drawn_completions(
    whose: LoadedSubject,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stops: Sequence[int],
    *,
    name: str,
    store: EvidenceStore,
    batch_size: int,
    progress: bool,
) -> Completions:
    """What a subject says, drawn, or kept from before.

    Args:
        whose: The subject.
        prompts: Token ids.
        sampling: How.
        stops: Tokens that end a completion.
        name: Of the prompts.
        store: Where completions are kept.
        batch_size: Rows at a time; does not change the result.
        progress: Whether to show progress bars.
    """

    def draw(items: Sequence[int]) -> Iterable[pa.Table]:
        return sample_tables(
            whose.view,
            prompts,
            items=items,
            num_samples=sampling.num_samples,
            max_new_tokens=sampling.max_new_tokens,
            seed=sampling.seed,
            stop_token_ids=stops,
            batch_size=batch_size,
            progress=progress,
            label=" ".join(part for part in ("sampling", str(whose.key), name) if part),
        )

    key = content_key("samples", VERSION, whose.fingerprint, prompts, sampling, stops)
    label = "-".join(part for part in ("samples", name, str(whose.key)) if part)
    table = store.table(label, key, len(prompts) * sampling.num_samples, draw, whole=sampling.num_samples)
    return completions_from_table(table, prompts, sampling.num_samples)
