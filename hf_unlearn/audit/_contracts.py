"""What a metric, a reading, a kind of model and an attack are to the audit: the contracts that everything else hangs on.

A domain opens models and leaves readings: Arrow tables, one row per item of a split. A metric is a pure function of readings with a declared
spec. A condition makes a subject into another one (quantized, relearned) that is read like any other. Knows no model and no view.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._metric_spec import FAMILIES as FAMILIES
from hf_unlearn.audit._metric_spec import SPLITS as SPLITS
from hf_unlearn.audit._metric_spec import Citation as Citation
from hf_unlearn.audit._metric_spec import MetricSpec as MetricSpec
from hf_unlearn.audit._metric_spec import Reading as Reading
from hf_unlearn.functional import Bootstrap, Estimate


if TYPE_CHECKING:
    from hf_unlearn.audit._rows import Rows


class Undefined(ValueError):
    """Raised by a metric that has no value for a subject (at a layer); its text says why."""


@runtime_checkable
class Metric(Protocol):
    """A pure function of readings. Runs no model, does no statistics of its own beyond its estimate."""

    @property
    def spec(self) -> MetricSpec:
        """What it is."""
        ...

    def __call__(self, rows: "Rows", uncertainty: Bootstrap) -> Estimate:
        """The value of one subject on one split, with the influence of each cluster on it.

        Raises:
            Undefined: There is none here; says why.
        """
        ...


@dataclass(frozen=True)
class SubjectKey:
    """Who was read.

    Attributes:
        role: "candidate", "reference", "original", "twin", "twin 2", ….
        condition: Name of what was done to it; "" = as it is.
    """

    role: str
    condition: str = ""

    def __str__(self) -> str:
        return self.role + (f"@{self.condition}" if self.condition else "")


class Subject(Protocol):
    """A model in its role, opened by a domain."""

    @property
    def key(self) -> SubjectKey:
        """Who it is."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of everything that decides what it computes: part of every key of its evidence."""
        ...


class Split(Protocol):
    """One set, loaded by a domain.

    It may say more, see `role_of` and `is_measured`: `role`, where its name is none of `SPLITS`, and `metrics`, the names of those that are measured
    on it, None = all that are measured on its role. `answer_texts`, what is to be answered in each example, and `question_texts`, what is asked, are there where these are text.
    """

    @property
    def name(self) -> str:
        """ "forget", "retain", "holdout", or a name of its own."""
        ...

    @property
    def groups(self) -> np.ndarray:
        """Number of what each example answers, from 0: equal prompts are one prompt with more answers."""
        ...

    @property
    def clusters(self) -> np.ndarray:
        """Number of each example's cluster, from 0: rows about the same person or document are one, whatever is resampled."""
        ...

    def __len__(self) -> int:
        """How many examples."""
        ...


def role_of(split: Split) -> str:
    """What a set is for: "forget", "retain" or "holdout"; its name where it does not say."""
    return getattr(split, "role", None) or split.name


def is_measured(spec: MetricSpec, split: Split) -> bool:
    """Whether a metric is measured on a set: by the set's role, and by what the set is for."""
    wanted = getattr(split, "metrics", None)
    return role_of(split) in spec.splits and (not spec.by_name if wanted is None else spec.name in wanted)


@dataclass(frozen=True)
class Task:
    """One table to be read.

    Attributes:
        key: What determines its content, beside the reading's name and version: fingerprints, data, settings.
        count: Items.
        compute: Gives tables of the items asked for, each with a column `item`.
        whole: So many consecutive items belong together.
        cost: Tokens (or images) that go through a model; what a progress bar and a plan count.
        kept: Whether the engine keeps the rows; False where they are part of what the domain has kept itself.
        seen: Told all rows once they are there, read now or kept from before: a later reading may build on them.
    """

    key: tuple[object, ...]
    count: int
    compute: Callable[[Sequence[int]], Iterable[pa.Table]]
    whole: int = 1
    cost: int = 0
    kept: bool = True
    seen: Callable[[pa.Table], None] | None = None


class Domain(Protocol):
    """A kind of model and its data: the only place that knows tokenizers, processors and forward passes.

    It may have `own_metrics`, a list of metrics on sets that it brings itself (see `metrics_of`); they are measured beside the chosen ones. And
    `derived(subject)`, further subjects that follow from one (see `derived_from`).
    """

    @property
    def name(self) -> str:
        """ "causal_lm", "image_classification", …."""
        ...

    @property
    def versions(self) -> Mapping[str, int]:
        """Version of each reading that it offers, cheapest first; counted up whenever equal inputs would leave other rows."""
        ...

    def given(self, role: str) -> Any:
        """The model of a role as it was given; None where there is none."""
        ...

    def open(self, key: SubjectKey, model: Any) -> Any:
        """Open a model in its role (`Subject`), and take its fingerprint."""
        ...

    def splits(self) -> Mapping[str, Any]:
        """The sets (`Split`), loaded and checked."""
        ...

    def task(self, reading: Reading, subject: Any, split: Any, others: Mapping[str, Any]) -> Task | None:
        """How to take a reading; None where there is nothing to take (of this subject, with these partners).

        Args:
            reading: With the parts that all metrics together ask for.
            subject: Whom to read.
            split: On what.
            others: The subjects that stay open: "reference", and "original" if there is one.
        """
        ...

    def settings(self) -> Mapping[str, Any]:
        """What was decided while models and data were looked at, for the provenance."""
        ...

    def describe(self) -> Mapping[str, dict[str, str]]:
        """Per role that was opened, for the provenance: `name`, `weights_sha256`, `dtype`, …."""
        ...

    def describe_data(self) -> Mapping[str, dict[str, str | int]]:
        """Per split, for the provenance: a hash of the rows, how many, of how many."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What metrics may ask for beside tables, for example whether models share a basis; asked when all subjects were read."""
        ...

    def looks_odd(self, subject: Any, split: Any) -> Sequence[str]:
        """Notes on how the original answers the forget set, asked right after its answers: another prompt format, perhaps."""
        ...

    def example(self, split: Any) -> str:
        """One prompt as a model sees it: for the log alone, since it is forget data. Asked where the original does not know the answers."""
        ...

    def notes(self) -> Sequence[str]:
        """What a reader must know about how it was read."""
        ...


def derived_from(domain: Domain, subject: Any) -> list[Any]:
    """Subjects that follow from one that was opened, and are read right after it: the same model, asked otherwise. Most domains have none."""
    derive = getattr(domain, "derived", None)
    return [] if derive is None else list(derive(subject))


def metrics_of(domain: Domain) -> list[Any]:
    """The metrics that a domain brings with sets of its own; most bring none."""
    return list(getattr(domain, "own_metrics", ()))


class DomainFactory(Protocol):
    """Makes a domain for one audit; everything cheap is checked here, before anything is opened."""

    def __call__(
        self,
        models: Mapping[str, Any],
        data: Mapping[str, Any],
        processing_class: Any,
        config: Any,
        store: EvidenceStore,
    ) -> Domain:
        """The domain of these models and sets.

        Raises:
            ValueError: Models or data that cannot be audited.
        """
        ...


class Condition(Protocol):
    """An attack, or anything else that is done to a model before it is read again."""

    @property
    def name(self) -> str:
        """In keys: `probability/forget@int8`."""
        ...

    @property
    def roles(self) -> Collection[str]:
        """To whom it is done; the others are read as they are."""
        ...

    @property
    def metrics(self) -> Collection[str] | None:
        """Which metrics are measured under it; None = the headline metrics among the chosen."""
        ...

    def apply(self, subject: Any) -> Any:
        """The model after it, for the domain to open: another object, made from `subject.model`; the subject, as its domain has opened it, stays
        as it was."""
        ...
