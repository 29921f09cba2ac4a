"""What a metric, a reading, a kind of model and an attack are to the audit: the contracts that everything else hangs on.

A domain opens models and leaves readings: Arrow tables, one row per item of a split. A metric is a pure function of readings with a declared
spec. A condition makes a subject into another one (quantized, relearned) that is read like any other. Knows no model and no view.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._metric_result import one_line_text
from hf_unlearn.functional import Bootstrap, Estimate


if TYPE_CHECKING:
    from hf_unlearn.audit._metric_result import MetricResult
    from hf_unlearn.audit._rows import Rows

SPLITS = ("forget", "retain", "holdout")
FAMILIES = ("outputs", "hidden states", "memorization", "membership", "utility", "robustness")


class Undefined(ValueError):
    """Raised by a metric that has no value for a subject (at a layer); its text says why."""


@dataclass(frozen=True)
class Citation:
    """Where a metric comes from.

    Attributes:
        text: Title or authors, as a card shows it.
        arxiv: Number of the paper, or None.
        note: How this library departs from it.
    """

    text: str
    arxiv: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """What a metric asks a domain to take from a subject on a split.

    Attributes:
        name: As the domain knows it: "answers", "completions", "patching", ….
        parts: What is wanted beside the rest of it, for example "features" of "answers"; needs are united part by part.
        split: Where it is taken, if not on the metric's own split ("holdout" for a probe).
        optional: Whether the metric can do without it: it is taken where the domain has it and that set was given.
        beside: What else is taken of the same subject there, which the engine says: a domain may do in one what readings share.
    """

    name: str
    parts: frozenset[str] = frozenset()
    split: str | None = None
    optional: bool = False
    beside: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is, for everything that shows, compares or checks it. No view knows more of a metric than this.

    Attributes:
        name: In keys and options: "rouge_l".
        title: In tables and sentences.
        unit: What the value counts.
        ideal: What a retrained model would have: a number; "reference" = the reference's own value; "holdout" = the candidate's own value on the
            holdout set; None = descriptive, no value is better.
        bounds: Of the value; None = unbounded on that side. Intervals stay inside.
        family: One of `FAMILIES`.
        splits: On sets of which roles it is measured, where they are given; a set's role is "forget", "retain" or "holdout", whatever its name.
        needs: What it reads.
        headline: Whether it is shown first, and in `model-index`.
        citation: Where it comes from.
        sentence: Its line in the narrative, never beyond the numbers; None = the general sentence, see `_narrative`.
        by_layer: Whether it is called for each layer; the value is the mean over layers.
        standard: Whether `metrics="standard"` has it.
        requires: Roles without which it has no value ("original", "reference").
        compares: Whether its value is between a subject and the reference (then the reference itself has none).
        better: "lower" or "higher" where the ideal is no bound of the value but one side is still better.
        short: Title of a narrow column; default: `title`.
        tracked: Which of its details a tracker follows too.
        across: Whether it has one value over all sets of its role, named after the first; it finds them with `Rows.sets`.
        by_name: Whether it is measured only on sets that name it in their `metrics`.
        without_knowledge: What a model scores that never saw the data, in words: the floor.
        does_not_show: What must not be read into it, in one or two sentences.
        options: Of `AuditConfig`, those that change its value, beside the ones that every metric has (sets, seeds, intervals).
    """

    name: str
    title: str
    unit: str
    ideal: float | str | None
    bounds: tuple[float | None, float | None]
    family: str
    splits: tuple[str, ...]
    needs: tuple[Reading, ...]
    headline: bool = False
    citation: Citation = field(default_factory=lambda: Citation("hf_unlearn"))
    sentence: "Callable[[MetricResult], str | None] | None" = None
    by_layer: bool = False
    standard: bool = True
    requires: tuple[str, ...] = ()
    compares: bool = False
    better: str | None = None
    short: str = ""
    tracked: tuple[str, ...] = ()
    across: bool = False
    by_name: bool = False
    without_knowledge: str = ""
    does_not_show: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r} of {self.name!r}; choose one of {', '.join(FAMILIES)}.")
        if "/" in self.name or "@" in self.name or not self.name:
            raise ValueError(
                f"a metric's name may have no '/' or '@', which divide it from split and condition: {self.name!r}."
            )
        if isinstance(self.ideal, str) and self.ideal not in ("reference", "holdout"):
            raise ValueError(
                f"an ideal is a number, 'reference', 'holdout' or None; {self.name!r} has {self.ideal!r}."
            )
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise ValueError(f"splits of {self.name!r} must be some of {', '.join(SPLITS)}, got {self.splits!r}.")
        low, high = self.bounds
        if low is not None and high is not None and low >= high:
            raise ValueError(f"bounds of {self.name!r} must ascend, got {self.bounds}.")
        for part in ("title", "unit", "without_knowledge", "does_not_show"):  # they travel in reports
            one_line_text(getattr(self, part), f"{part} of {self.name!r}")

    @property
    def direction_in_words(self) -> str:
        """Which values are wanted, in a sentence's middle."""
        if self.ideal is None:
            return "descriptive: no value is better"
        aim = {"reference": "the reference's own value", "holdout": "the candidate's own value on the holdout set"}
        ideal = aim[self.ideal] if isinstance(self.ideal, str) else f"{self.ideal:g}"
        side = {"lower": "lower is better; ", "higher": "higher is better; "}.get(self.direction, "")
        return f"{side}ideal: {ideal}"

    @property
    def range(self) -> str:
        """Its bounds as an interval, for example "[0, 1]"."""
        low, high = self.bounds
        left = "(−∞" if low is None else f"[{low:g}"
        return f"{left}, {'∞)' if high is None else f'{high:g}]'}"

    @property
    def direction(self) -> str:
        """ "lower" or "higher" is better, "reference" = as near to its ideal as possible, "none" = no side is better."""
        if self.ideal is None:
            return "none"
        if self.better is not None:
            return self.better
        if self.ideal == self.bounds[0] and self.bounds[0] is not None:
            return "lower"
        return "higher" if self.ideal == self.bounds[1] and self.bounds[1] is not None else "reference"


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
    """

    key: tuple[object, ...]
    count: int
    compute: Callable[[Sequence[int]], Iterable[pa.Table]]
    whole: int = 1
    cost: int = 0
    kept: bool = True


class Domain(Protocol):
    """A kind of model and its data: the only place that knows tokenizers, processors and forward passes.

    It may have `own_metrics`, a list of metrics on sets that it brings itself (see `metrics_of`); they are measured beside the chosen ones.
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
