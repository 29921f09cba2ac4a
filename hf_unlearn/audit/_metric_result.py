"""One result of an audit, with what it has to be read against; and results by key, `fade/forget` or `probability/forget@int8`."""

import dataclasses
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_unlearn.audit._assumed import ASSUMPTIONS


Interval = tuple[float, float]
DIRECTIONS = ("lower", "higher", "reference", "none")
SPLITS = ("forget", "retain", "holdout")
LONGEST, MOST = 300, 10**15
"""Characters of a name, and examples, in a report that is read."""


@dataclass(frozen=True)
class MetricResult:
    """One number of an audit and what it has to be read against.

    Distances d are to the ideal: d(x) = |x − ideal|.

    Attributes:
        value: Of the candidate.
        confidence_interval: Of `value`; None where there are fewer than three clusters or the metric has no uncertainty.
        n: Examples behind it.
        unit: What `value` counts, for example "nats per sequence".
        direction: "lower" or "higher" is better, "reference" = as near to `ideal` as possible, "none" = no side is better.
        floor: The metric of the twin: what another retraining gives.
        start: The metric of the original: where unlearning began.
        floor_confidence_interval: Of `floor`.
        start_confidence_interval: Of `start`.
        relative: (d(value) − d(floor)) / (d(start) − d(floor)): 0 as good as retraining, 1 as if nothing was unlearned, above 1 worse.
        relative_confidence_interval: Of `relative`.
        relative_reason: Why `relative` or its interval is None.
        others: For a metric of one model: its value for reference, original and twin.
        details: Further numbers that belong to it.
        by_layer: For a metric of hidden states: the same for each layer; `value` is the mean over layers.
        undefined: Layers where it has no value, and why.
        name: Of the metric.
        split: On which set.
        condition: What was done to the candidate before; "" = nothing.
        ideal: What a retrained model has: a number (the reference's own value, where that is the ideal); None = no better side.
        family: Of the metric: outputs, hidden states, memorization, ….
        clusters: Independent ones among the examples (people, prompts, texts); None where nobody counted.
        over_floor_interval: Of d(value) − d(floor), paired; above 0 = further than another retraining.
        start_over_floor_interval: Of d(start) − d(floor), paired; reaching 0 = these examples cannot tell whether anything was forgotten.
        nearer_floor_interval: Of (d(start) − d(value)) − (d(value) − d(floor)), paired; above 0 = nearer to another retraining than to the
            original.
        over_start_interval: Of d(value) − d(start), paired; below 0 = unlearning brought it closer to a retrained model, above 0 = away.
        assumes: What it rests on, as in its spec: "" or "counterfactual".
        floor_of: Whose values `floor` is, where that is not the twin: "stand-in" (names alone differ), "continued" (retraining noise included).
    """

    value: float
    confidence_interval: Interval | None
    n: int
    unit: str
    direction: str
    floor: float | None = None
    start: float | None = None
    floor_confidence_interval: Interval | None = None
    start_confidence_interval: Interval | None = None
    relative: float | None = None
    relative_confidence_interval: Interval | None = None
    relative_reason: str | None = None
    others: dict[str, float] = field(default_factory=dict)
    details: dict[str, float] = field(default_factory=dict)
    by_layer: dict[str, "MetricResult"] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    name: str = ""
    split: str = "forget"
    condition: str = ""
    ideal: float | None = None
    family: str = "outputs"
    clusters: int | None = None
    over_floor_interval: Interval | None = None
    start_over_floor_interval: Interval | None = None
    nearer_floor_interval: Interval | None = None
    over_start_interval: Interval | None = None
    assumes: str = ""
    floor_of: str = ""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {self.direction!r}.")
        if not math.isfinite(self.value):
            raise ValueError(f"a result must be a finite number, got {self.value}.")
        if self.assumes not in ASSUMPTIONS:
            raise ValueError(f"a result assumes one of {ASSUMPTIONS}, got {self.assumes!r}.")

    @property
    def key(self) -> str:
        """`fade/forget`, `probability/forget@int8`."""
        return result_key(self.name, self.split, self.condition)

    def to_plain(self) -> dict[str, Any]:
        """As JSON knows it; what is not there is left out."""
        plain: dict[str, Any] = {}
        for part in dataclasses.fields(self):
            value = getattr(self, part.name)
            if part.name == "by_layer":
                value = {layer: result.to_plain() for layer, result in value.items()}
            if value is None or value == {} or (value == "" and part.name != "unit"):
                continue
            plain[part.name] = list(value) if isinstance(value, tuple) else value
        return plain


def result_key(name: str, split: str, condition: str = "") -> str:
    """The key of a result.

    Example:
        >>> result_key("probability", "forget", "int8")
        'probability/forget@int8'
    """
    return f"{name}/{split}" + (f"@{condition}" if condition else "")


def parse_key(key: str) -> tuple[str, str, str]:
    """Name, split and condition of a key; a name alone is that metric on the forget set.

    Example:
        >>> parse_key("probability/forget@int8"), parse_key("fade")
        (('probability', 'forget', 'int8'), ('fade', 'forget', ''))
    """
    place, _, condition = key.partition("@")
    name, _, split = place.partition("/")
    return name, split or "forget", condition


class MetricResults(dict[str, MetricResult]):
    """Results by key. A name alone (`"fade"`) is that metric on the forget set; the names of schema 1 (`"retain_fade"`, `"forget_probability"`) still
    work, with a warning."""

    def resolve(self, key: str) -> str | None:
        """The full key that is meant, or None."""
        if dict.__contains__(self, key):
            return key
        full = result_key(*parse_key(key))
        if dict.__contains__(self, full):
            return full
        for split in SPLITS:
            old = f"{key.removeprefix(f'{split}_')}/{split}"
            if key.startswith(f"{split}_") and dict.__contains__(self, old):
                warnings.warn(f"the result {key!r} is called {old!r} now.", DeprecationWarning, stacklevel=3)
                return old
        return None

    def __getitem__(self, key: str) -> MetricResult:
        found = self.resolve(key)
        if found is None:
            raise KeyError(f"no result {key!r}; there are {', '.join(self)}.")
        return super().__getitem__(found)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.resolve(key) is not None

    def get(self, key: str, default: Any = None) -> Any:
        """As of any mapping."""
        found = self.resolve(key)
        return default if found is None else super().__getitem__(found)


def metric_result_from_plain(data: Mapping[str, Any]) -> MetricResult:
    """JSON knows lists only; intervals are pairs.

    Raises:
        ValueError: A number that is none, or is not finite.
        TypeError: An unknown field, or one that is missing.
    """
    plain: dict[str, Any] = {"confidence_interval": None, **data}
    for name in ("value", "floor", "start", "relative", "ideal"):
        if plain.get(name) is not None or name == "value":
            plain[name] = finite_number(plain[name], name)
    for name in [name for name in plain if name.endswith("interval") and plain[name] is not None]:
        low, high = plain[name]
        plain[name] = (finite_number(low, name), finite_number(high, name))
    for name in ("others", "details"):
        plain[name] = {str(key): finite_number(part, name) for key, part in plain.get(name, {}).items()}
    for name in ("unit", "direction", "name", "split", "condition", "family", "assumes", "floor_of"):
        if plain.get(name) is not None:
            plain[name] = one_line_text(plain[name], name)
    if plain.get("relative_reason") is not None:
        plain["relative_reason"] = str(plain["relative_reason"])
    for name in ("n", "clusters"):
        if plain.get(name) is not None or name == "n":
            plain[name] = int(plain[name])
            if not 0 <= plain[name] <= MOST:
                raise ValueError(f"{name} must be a count, got {plain[name]}")
    plain["by_layer"] = {
        str(int(layer)): metric_result_from_plain(part) for layer, part in plain.get("by_layer", {}).items()
    }
    plain["undefined"] = {str(layer): str(reason) for layer, reason in plain.get("undefined", {}).items()}
    return MetricResult(**plain)


def one_line_text(value: Any, name: str) -> str:
    """A name or title of a report, which may be somebody else's: it must not fill a page, move a cursor or hide what follows.

    Raises:
        ValueError: Not one printable line.
    """
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise ValueError(f"{name} must be one printable line of at most {LONGEST} characters, got {str(value)[:80]!r}")
    return value


def finite_number(value: Any, name: str) -> float:
    """A number of a report that is read.

    Raises:
        ValueError: None, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)
