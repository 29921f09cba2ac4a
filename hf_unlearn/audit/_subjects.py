"""The models of a measurement in their roles, and the rows that comparing two of them leaves.

Knows that a reference is compared with others on some prompts, and keeps what was sampled and scored. Does not know what the rows
are used for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from hf_unlearn._arguments import whole_number
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.inference import (
    Completions,
    LoadedModel,
    ModelLike,
    ScoredRows,
    View,
    Viewable,
    check_comparable,
    check_room,
    check_same_tokenizer,
    concatenate,
    cross_score,
    default_stop_token_ids,
    load_processing_class,
    model_fingerprint,
    open_view,
    sample_completions,
    weights_fingerprint,
)


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        num_samples: Completions per prompt and model.
        max_new_tokens: Where a completion is cut.
        seed: Of the noise; equal for all models, so that models that agree produce equal samples.
        batch_size: Rows at a time; does not change the result.
    """

    num_samples: int = 8
    max_new_tokens: int = 64
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name in ("num_samples", "max_new_tokens", "batch_size"):
            whole_number(name, getattr(self, name), minimum=1)
        whole_number("seed", self.seed, minimum=0)


@dataclass(frozen=True)
class Subject:
    """A model in its role, opened.

    Attributes:
        role: What it is in the audit.
        view: Itself, with the adapters that are at work in this role.
        fingerprint: Of everything that decides what it computes: the key of its evidence.
        weights_sha256: Of its weights alone: what a report names.
    """

    role: str
    view: View
    fingerprint: str
    weights_sha256: str

    @property
    def model(self) -> LoadedModel:
        """The model, with whichever adapters are at work in it now; what runs it takes the view."""
        return self.view.model


def open_subject(role: str, model: Viewable) -> Subject:
    """Open a model and take its fingerprints, as it answers in its role."""
    view = open_view(model)
    with view.active():
        weights = weights_fingerprint(view.model)
        return Subject(role, view, model_fingerprint(view.model, weights_sha256=weights), weights)


class ReferenceSide:
    """The reference on some prompts: its completions are drawn once, whatever it is compared with.

    Args:
        reference: The model that never saw the forget set.
        prompts: Token ids.
        sampling: How completions are drawn.
        stops: Tokens that end a completion, for all models.
        name: Of the prompts, in file names and progress bars.
        store: Where to keep rows, one file per compared model.
        progress: Whether to show progress bars.
    """

    def __init__(
        self,
        reference: Subject,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stops: Sequence[int],
        *,
        name: str = "",
        store: EvidenceStore | None = None,
        progress: bool = True,
    ):
        self.reference, self.prompts, self.sampling, self.stops = reference, prompts, sampling, stops
        self.name, self.progress = name, progress
        self.store = store or EvidenceStore(None)
        self._completions: Completions | None = None
        check_room(reference.model, prompts, sampling.max_new_tokens)

    def against(self, other: Subject) -> ScoredRows:
        """Both directions between the reference and another model; kept in the store under everything that determines them.

        Raises:
            ValueError: The models cannot be compared, or a prompt does not fit.
        """
        check_comparable({"reference": self.reference.model, other.role: other.model})
        check_room(other.model, self.prompts, self.sampling.max_new_tokens)
        key = content_key(self.reference.fingerprint, other.fingerprint, self.prompts, self.sampling, self.stops)
        label = "-".join(part for part in ("fade", self.name, other.role) if part)
        return self.store.rows(label, key, lambda: self._score_both_ways(other))

    def _score_both_ways(self, other: Subject) -> ScoredRows:
        if self._completions is None:
            self._completions = self._sample(self.reference)
        pair = {"reference": self.reference.view, other.role: other.view}
        sides = {"reference": self._completions, other.role: self._sample(other)}
        batch_size = self.sampling.batch_size
        return concatenate(
            *(
                cross_score(side, sampled_from=role, models=pair, batch_size=batch_size, progress=self.progress)
                for role, side in sides.items()
            )
        )

    def _sample(self, subject: Subject) -> Completions:
        return sample_completions(
            subject.view,
            self.prompts,
            num_samples=self.sampling.num_samples,
            max_new_tokens=self.sampling.max_new_tokens,
            seed=self.sampling.seed,
            batch_size=self.sampling.batch_size,
            stop_token_ids=self.stops,
            progress=self.progress,
            label=" ".join(part for part in ("sampling", subject.role, self.name) if part),
        )


def common_tokenizer(
    models: Mapping[str, ModelLike], processing_class: PreTrainedTokenizerBase | str | None, *, needed: bool
) -> PreTrainedTokenizerBase | None:
    """The tokenizer of all models; those that were saved with one must agree on it."""
    found = {} if processing_class is None else {"processing_class": load_processing_class("", processing_class)}
    for name, model in models.items():
        try:
            found[name] = load_processing_class(model)
        except ValueError:
            continue  # built in memory, or saved without a tokenizer
    if needed and not found:
        raise ValueError("the prompts are texts and no model says where its tokenizer is: pass processing_class=.")
    check_same_tokenizer(found)
    return next(iter(found.values()), None)


def common_stop_token_ids(
    models: Mapping[str, ModelLike], tokenizer: PreTrainedTokenizerBase | None
) -> tuple[int, ...]:
    """One stopping rule for all, or their processes would not be over the same sequences."""
    stops: set[int] = set()
    for model in models.values():
        stops.update(default_stop_token_ids(model, tokenizer))
    return tuple(sorted(stops))
