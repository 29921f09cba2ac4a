"""One result of an audit, with what it has to be read against."""

import math
from dataclasses import dataclass, field
from typing import Any


Interval = tuple[float, float]


@dataclass(frozen=True)
class MetricResult:
    """One number of an audit and what it has to be read against.

    Attributes:
        value: Of the candidate.
        confidence_interval: Of `value`, bootstrap over prompts or examples; None where there is one only.
        n: Prompts or examples behind it.
        unit: What `value` counts, for example "nats per sequence".
        direction: "lower" or "higher" is better, or "reference": as close to the reference's value as possible.
        floor: The metric between twin and reference.
        start: The metric between original and reference.
        floor_confidence_interval: Of `floor`.
        start_confidence_interval: Of `start`.
        relative: (value − floor) / (start − floor): 0 as good as retraining, 1 as if nothing was unlearned, above 1 worse.
        relative_confidence_interval: Of `relative`.
        relative_reason: Why `relative` or its interval is None.
        others: For a metric of one model: its value for reference, original and twin.
        details: Further numbers that belong to it.
        by_layer: For a metric of hidden states: the same for each layer; `value` is the mean over layers.
        undefined: Layers where it has no value, and why.
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

    def __post_init__(self) -> None:
        if self.direction not in ("lower", "higher", "reference"):
            raise ValueError(f"direction must be 'lower', 'higher' or 'reference', got {self.direction!r}.")
        if not math.isfinite(self.value):
            raise ValueError(f"a result must be a finite number, got {self.value}.")


def metric_result_from_plain(data: dict) -> MetricResult:
    """JSON knows lists only; intervals are pairs.

    Raises:
        ValueError: A number that is none, or is not finite.
        TypeError: An unknown field, or one that is missing.
    """
    plain: dict[str, Any] = dict(data)
    for name in ("value", "floor", "start", "relative"):
        if plain.get(name) is not None or name == "value":
            plain[name] = _number(plain[name], name)
    for name in [name for name in plain if name.endswith("interval") and plain[name] is not None]:
        low, high = plain[name]
        plain[name] = (_number(low, name), _number(high, name))
    for name in ("others", "details"):
        plain[name] = {str(key): _number(part, name) for key, part in plain.get(name, {}).items()}
    for name in ("unit", "direction"):
        plain[name] = str(plain[name])
    plain["n"] = int(plain["n"])
    plain["by_layer"] = {
        str(int(layer)): metric_result_from_plain(part) for layer, part in plain.get("by_layer", {}).items()
    }
    plain["undefined"] = {str(layer): str(reason) for layer, reason in plain.get("undefined", {}).items()}
    return MetricResult(**plain)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)
