"""The report of an audit: results, what the metrics are, findings on the roles, provenance. JSON there and back, schema 1 included.

Numbers, names and hashes only: no forget text, prompt or generation ever enters a report.
"""

import importlib.resources
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_unlearn._files import write_atomically
from hf_unlearn.audit._assumed import ASSUMPTIONS
from hf_unlearn.audit._contracts import MetricSpec
from hf_unlearn.audit._findings import Finding, finding_from_plain
from hf_unlearn.audit._metric_result import MetricResults, finite_number, metric_result_from_plain, one_line_text
from hf_unlearn.audit._schema_1 import upgrade


if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hf_unlearn.publishing import Publication

SCHEMA_VERSION = 2
READABLE = (1, 2)
Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Provenance:
    """What would be needed to compute the report again, and to see that it is about these models and data.

    Attributes:
        models: Per role: `name` (Hub id, or the folder's own name), `weights_sha256`, `dtype`; `same_as`, a role before it that
            the very same model has.
        data: Per split: `sha256` of the rows used, and how many.
        settings: The options of the audit: sampling, estimator, seeds, intervals, metrics.
        versions: Of the libraries.
        readings: Version of each reading.
    """

    models: dict[str, dict[str, str]]
    data: dict[str, dict[str, str | int]]
    settings: dict[str, Setting]
    versions: dict[str, str]
    readings: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownSpec:
    """What views need to know of a metric; it travels with the report, so that a reader need not have the metric.

    Attributes:
        title: In tables and sentences.
        unit: What the value counts.
        ideal: A number, "reference", "holdout", or None (descriptive).
        bounds: Of the value.
        family: Of the metric.
        headline: Whether it is shown first, and in `model-index`.
        by_layer: Whether it has a value per layer.
        citation: As a card shows it.
        arxiv: Number of the paper.
        without_knowledge: What a model scores that never saw the data, in words; "" in reports that do not say.
        does_not_show: What must not be read into it; "" likewise.
        assumes: "" or "counterfactual": what its values rest on.
    """

    title: str
    unit: str
    ideal: float | str | None
    bounds: tuple[float | None, float | None]
    family: str
    headline: bool
    by_layer: bool
    citation: str = ""
    arxiv: str | None = None
    without_knowledge: str = ""
    does_not_show: str = ""
    assumes: str = ""


def shown(spec: MetricSpec) -> ShownSpec:
    """The part of a spec that travels."""
    return ShownSpec(
        title=spec.title,
        unit=spec.unit,
        ideal=spec.ideal,
        bounds=spec.bounds,
        family=spec.family,
        headline=spec.headline,
        by_layer=spec.by_layer,
        citation=spec.citation.text,
        arxiv=spec.citation.arxiv,
        without_knowledge=spec.without_knowledge,
        does_not_show=spec.does_not_show,
        assumes=spec.assumes,
    )


@dataclass(frozen=True)
class AuditReport:
    """The outcome of an audit. `to_json` and `from_json` are inverse.

    Attributes:
        metrics: By key: `fade/forget`, `probability/retain`, `probability/forget@int8`; a name alone means the forget set.
        provenance: Where the numbers come from.
        notes: What a reader must know, in plain sentences (what was not measured, and why).
        created: When, ISO 8601, UTC.
        schema_version: Of the JSON form it came from.
        specs: What each metric is, by name.
        findings: What was found about the roles: whether there was anything to forget, equal or foreign models.
    """

    metrics: MetricResults
    provenance: Provenance
    notes: tuple[str, ...]
    created: str
    schema_version: int = SCHEMA_VERSION
    specs: dict[str, ShownSpec] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.metrics, MetricResults):
            object.__setattr__(self, "metrics", MetricResults(self.metrics))

    def spec(self, name: str) -> ShownSpec:
        """What a metric is: as the report says, else as this library knows it, else what its results say."""
        from hf_unlearn.audit._narrative import known_spec

        known = self.specs.get(name) or known_spec(name)
        if known is not None:
            return known if isinstance(known, ShownSpec) else shown(known)
        result = next((result for result in self.metrics.values() if result.name == name), None)
        if result is None:
            raise KeyError(f"the report has no metric {name!r}.")
        ideal = "reference" if result.others.get("reference") is not None else result.ideal
        return ShownSpec(
            name.replace("_", " "),
            result.unit,
            ideal,
            (None, None),
            result.family,
            False,
            bool(result.by_layer),
            assumes=result.assumes,
        )

    def reading(self) -> list[str]:
        """What the intervals allow to say, in plain sentences; never more than the numbers."""
        from hf_unlearn.audit._narrative import sentences

        return sentences(self)

    def to_json(self) -> str:
        """The report as JSON text (see `hf_unlearn/audit/report.schema.json`)."""
        plain = {
            "schema_version": SCHEMA_VERSION,
            "created": self.created,
            "metrics": {key: result.to_plain() for key, result in self.metrics.items()},
            "specs": {name: asdict(spec) for name, spec in self.specs.items()},
            "findings": [finding.to_plain() for finding in self.findings],
            "provenance": asdict(self.provenance),
            "notes": list(self.notes),
        }
        return json.dumps(plain, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "AuditReport":
        """The report back from its JSON text; of schema 1 as well as it can be said in schema 2.

        Raises:
            ValueError: Not a report, or one of a newer schema.
        """
        try:
            data = json.loads(text)
            version = data["schema_version"]
        except (json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not an audit report: {error!r}") from error
        if version not in READABLE:
            raise ValueError(f"the report has schema version {version}, this library reads {READABLE[-1]}; update it.")
        try:
            return _from_plain(upgrade(data) if version == 1 else data, version)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"not an audit report of schema version {version!r}: {error}") from error

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `report.json` and the figures into a folder; each is complete or not there.

        Returns:
            The path of `report.json`.

        Raises:
            OSError: The folder cannot be written to.
        """
        # matplotlib is slow to import and only needed here
        from hf_unlearn.audit._figures import draw_figures

        folder = Path(folder)
        write_atomically(folder / "report.json", lambda path: path.write_text(self.to_json(), encoding="utf-8"))
        draw_figures(self, folder)
        return folder / "report.json"

    def push_to_hub(
        self,
        repo_id: str,
        *,
        forgotten: str | None = None,
        objective: str | None = None,
        settings: Mapping[str, Setting] | None = None,
        base_model: str | None = None,
        datasets: Sequence[str] = (),
        weights: "PreTrainedModel | PeftModel | str | os.PathLike | None" = None,
        processing_class: "PreTrainedTokenizerBase | None" = None,
        private: bool | None = None,
        create_pr: bool = False,
        dry_run: bool = False,
        token: str | bool | None = None,
    ) -> "Publication":
        """Publish the audit on the model's page; see `hf_unlearn.publishing.publish`, which has more options."""
        from hf_unlearn.publishing import publish

        return publish(
            self,
            repo_id,
            forgotten=forgotten,
            objective=objective,
            settings=settings,
            base_model=base_model,
            datasets=datasets,
            weights=weights,
            processing_class=processing_class,
            private=private,
            create_pr=create_pr,
            dry_run=dry_run,
            token=token,
        )

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "AuditReport":
        """Read `report.json` from a folder, or the file itself."""
        path = Path(folder)
        path = path / "report.json" if path.is_dir() else path
        return cls.from_json(path.read_text(encoding="utf-8"))


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `report.json`, schema 2."""
    text = importlib.resources.files("hf_unlearn.audit").joinpath("report.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _from_plain(data: Mapping[str, Any], version: int) -> AuditReport:
    results = [metric_result_from_plain(result) for result in data["metrics"].values()]
    metrics = MetricResults({result.key: result for result in results})
    parts = {part for result in results for part in (result.name, result.split, result.condition)}
    if set(metrics) != set(data["metrics"]) or any("/" in part or "@" in part for part in parts):
        raise ValueError("a result is not what its key says")
    provenance = Provenance(**data["provenance"])
    _check_texts(provenance)
    specs = {str(name): _spec_from_plain(spec) for name, spec in data.get("specs", {}).items()}
    for result in results:
        of_spec = specs[result.name].assumes if result.name in specs else result.assumes
        if {result.assumes, *(part.assumes for part in result.by_layer.values())} != {of_spec}:
            raise ValueError(f"{result.key} and the spec of {result.name!r} do not say alike what it assumes")
    findings = tuple(finding_from_plain(finding) for finding in data.get("findings", ()))
    return AuditReport(
        metrics, provenance, tuple(map(str, data["notes"])), str(data["created"]), version, specs, findings
    )


def _spec_from_plain(data: Mapping[str, Any]) -> ShownSpec:
    ideal = data["ideal"]
    if isinstance(ideal, str) and ideal not in ("reference", "holdout"):
        raise ValueError(f"an ideal is a number, 'reference' or 'holdout', got {ideal!r}")
    low, high = (None if end is None else finite_number(end, "bounds") for end in data["bounds"])
    texts = {name: one_line_text(data[name], name) for name in ("title", "unit", "family")}
    arxiv, assumes = data.get("arxiv"), data.get("assumes", "")
    if assumes not in ASSUMPTIONS:
        raise ValueError(f"a metric assumes one of {ASSUMPTIONS}, got {assumes!r}")
    return ShownSpec(
        **texts,
        ideal=ideal if ideal is None or isinstance(ideal, str) else finite_number(ideal, "ideal"),
        bounds=(low, high),
        headline=bool(data["headline"]),
        by_layer=bool(data["by_layer"]),
        citation=one_line_text(data.get("citation", ""), "citation"),
        arxiv=None if arxiv is None else one_line_text(arxiv, "arxiv"),
        without_knowledge=one_line_text(data.get("without_knowledge", ""), "without_knowledge"),
        does_not_show=one_line_text(data.get("does_not_show", ""), "does_not_show"),
        assumes=assumes,
    )


def _check_texts(provenance: Provenance) -> None:
    """A report may be somebody else's: what is read as text must be text."""
    for described in provenance.models.values():
        if not {"name", "weights_sha256"} <= set(described) or not all(
            isinstance(part, str) for part in described.values()
        ):
            raise ValueError("a model is described by texts, name and weights_sha256 among them")
    if not all(isinstance(part, str) for part in provenance.versions.values()):
        raise ValueError("versions are texts")
    if not all(map(_is_plain, provenance.settings.values())):
        raise ValueError("settings are numbers, texts and switches")
    if not all(_is_plain(part) for described in provenance.data.values() for part in described.values()):
        raise ValueError("data is described by numbers and texts")


def _is_plain(value: object) -> bool:
    """Of what JSON has one of its own, and nothing that it has not (Python reads NaN in it)."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, int, bool))


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
