"""What a metric is, in words and bounds: the declared part of it, and all that views know. Knows no readings, models or values."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hf_unlearn.audit._assumed import ASSUMPTIONS
from hf_unlearn.audit._metric_result import MetricResult, one_line_text


SPLITS = ("forget", "retain", "holdout")
FAMILIES = ("outputs", "hidden states", "memorization", "membership", "utility", "robustness")


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
        floor_roles: Kinds of roles whose values are its floor; the first kind that has any.
        assumes: "" = it rests on a retrained model or on the candidate alone; "counterfactual" = on what the original says of subjects that it
            has never seen, which a retrained model would say too if subjects are exchangeable. Every view says so.
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
    sentence: Callable[[MetricResult], str | None] | None = None
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
    floor_roles: tuple[str, ...] = ("twin",)
    assumes: str = ""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r} of {self.name!r}; choose one of {', '.join(FAMILIES)}.")
        if self.assumes not in ASSUMPTIONS:
            raise ValueError(f"{self.name!r} assumes {self.assumes!r}, which nobody knows; there is 'counterfactual'.")
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
