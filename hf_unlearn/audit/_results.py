"""What an audit says: metric results with their uncertainty, where they came from, and the report that holds both.

Numbers, names and hashes only: no forget text, prompt or generation ever enters a report.
"""

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from hf_unlearn._files import write_atomically


SCHEMA_VERSION = 1
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

    def __post_init__(self) -> None:
        if self.direction not in ("lower", "higher", "reference"):
            raise ValueError(f"direction must be 'lower', 'higher' or 'reference', got {self.direction!r}.")
        if not math.isfinite(self.value):
            raise ValueError(f"a result must be a finite number, got {self.value}.")


@dataclass(frozen=True)
class Provenance:
    """What would be needed to compute the report again, and to see that it is about these models and data.

    Attributes:
        models: Per role: `name` (Hub id, or the folder's own name), `weights_sha256`, `dtype`.
        data: Per split: `sha256` of the rows used, and how many.
        settings: Sampling, estimator, seeds, intervals.
        versions: Of the libraries.
    """

    models: dict[str, dict[str, str]]
    data: dict[str, dict[str, str | int]]
    settings: dict[str, str | int | float | bool | None]
    versions: dict[str, str]


@dataclass(frozen=True)
class AuditReport:
    """The outcome of an audit. `to_json` and `from_json` are inverse.

    Attributes:
        metrics: By name: `fade`, `forget_probability` on the forget set; `retain_fade`, `retain_probability` on the retain set.
        provenance: Where the numbers come from.
        notes: What a reader must know, in plain sentences (what was not measured, and why).
        created: When, ISO 8601, UTC.
        schema_version: Of the JSON form.
    """

    metrics: dict[str, MetricResult]
    provenance: Provenance
    notes: tuple[str, ...]
    created: str
    schema_version: int = SCHEMA_VERSION

    def reading(self) -> list[str]:
        """What the intervals of FADE allow to say, in plain sentences; never more than the numbers."""
        places = {"fade": "On the forget prompts", "retain_fade": "On the retain prompts"}
        return [
            f"{place} {_fade_reading(self.metrics[name])}" for name, place in places.items() if name in self.metrics
        ]

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "AuditReport":
        """The report back from its JSON text.

        Raises:
            ValueError: Not a report, or one of a newer schema.
        """
        try:
            data = json.loads(text)
            version = data["schema_version"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"not an audit report: {error!r}") from error
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"the report has schema version {version}, this library reads {SCHEMA_VERSION}; update it."
            )
        metrics = {name: MetricResult(**_tuples(result)) for name, result in data["metrics"].items()}
        return cls(metrics, Provenance(**data["provenance"]), tuple(data["notes"]), data["created"], version)

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `report.json` and `fade.png` into a folder; each is complete or not there.

        Returns:
            The path of `report.json`.

        Raises:
            OSError: The folder cannot be written to.
        """
        from hf_unlearn.audit._figures import draw_fade  # matplotlib is slow to import and only needed here

        folder = Path(folder)
        write_atomically(folder / "report.json", lambda path: path.write_text(self.to_json(), encoding="utf-8"))
        if any(name.endswith("fade") for name in self.metrics):
            write_atomically(folder / "fade.png", lambda path: draw_fade(self, path))
        return folder / "report.json"

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "AuditReport":
        """Read `report.json` from a folder, or the file itself."""
        path = Path(folder)
        path = path / "report.json" if path.is_dir() else path
        return cls.from_json(path.read_text(encoding="utf-8"))


class ReportNotSavedError(OSError):
    """The audit is done but its report could not be written; nothing is lost.

    Attributes:
        report: The whole report; call `report.save(another_folder)`.
    """

    def __init__(self, report: AuditReport, folder: Path, cause: OSError):
        super().__init__(
            f"the audit is complete but could not be saved to {str(folder)!r} ({cause.strerror or cause}). The report is in "
            "this exception's .report: call .report.save() on another folder."
        )
        self.report = report


def _fade_reading(result: MetricResult) -> str:
    interval, floor = result.confidence_interval, result.floor_confidence_interval
    if interval is None or floor is None:
        return "there is no noise floor or no interval, so the distance cannot be judged."
    if interval[0] <= floor[1]:
        return "the candidate cannot be told from another retraining: the intervals of value and floor overlap."
    bounds = result.relative_confidence_interval
    if result.relative is None or bounds is None:
        return "the candidate is further from the reference than another retraining is."
    shown = f"relative {result.relative:.2f}, interval {bounds[0]:.2f} to {bounds[1]:.2f}"
    if bounds[0] > 1:
        return f"the candidate is further from the reference than the original was before unlearning ({shown})."
    if bounds[1] < 1:
        return f"the candidate lies between retraining and the original ({shown})."
    return f"it cannot be said that unlearning brought the candidate closer to the reference ({shown})."


def _tuples(result: dict) -> dict:
    """JSON knows lists only; intervals are pairs."""
    return {
        name: tuple(value) if name.endswith("interval") and value is not None else value
        for name, value in result.items()
    }
