"""What an audit says: metric results with their uncertainty, where they came from, and the report that holds both.

Numbers, names and hashes only: no forget text, prompt or generation ever enters a report.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hf_unlearn._files import write_atomically
from hf_unlearn.audit._metric_result import MetricResult, metric_result_from_plain
from hf_unlearn.audit._reading import read_metrics


if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hf_unlearn.publishing import Publication

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Provenance:
    """What would be needed to compute the report again, and to see that it is about these models and data.

    Attributes:
        models: Per role: `name` (Hub id, or the folder's own name), `weights_sha256`, `dtype`; `same_as`, a role before it that
            the very same model has.
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
        """What the intervals allow to say, in plain sentences; never more than the numbers."""
        return read_metrics(self.metrics, self.provenance.models)

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
        except (json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not an audit report: {error!r}") from error
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"the report has schema version {version}, this library reads {SCHEMA_VERSION}; update it."
            )
        try:
            metrics = {str(name): metric_result_from_plain(result) for name, result in data["metrics"].items()}
            provenance = Provenance(**data["provenance"])
            _check_texts(provenance)
            notes = tuple(map(str, data["notes"]))
            return cls(metrics, provenance, notes, str(data["created"]), version)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"not an audit report of schema version {version!r}: {error}") from error

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `report.json`, `fade.png` and `representation.png` into a folder; each is complete or not there.

        Returns:
            The path of `report.json`.

        Raises:
            OSError: The folder cannot be written to.
        """
        # matplotlib is slow to import and only needed here
        from hf_unlearn.audit._figures import draw_fade, draw_representation

        folder = Path(folder)
        write_atomically(folder / "report.json", lambda path: path.write_text(self.to_json(), encoding="utf-8"))
        if any(name.endswith("fade") for name in self.metrics):
            write_atomically(folder / "fade.png", lambda path: draw_fade(self, path))
        if any(result.by_layer for result in self.metrics.values()):
            write_atomically(folder / "representation.png", lambda path: draw_representation(self, path))
        return folder / "report.json"

    def push_to_hub(
        self,
        repo_id: str,
        *,
        forgotten: str | None = None,
        objective: str | None = None,
        settings: Mapping[str, str | int | float | bool | None] | None = None,
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


def _check_texts(provenance: Provenance) -> None:
    """A report may be somebody else's: what is read as text must be text."""
    for described in provenance.models.values():
        if not {"name", "weights_sha256"} <= set(described) or not all(
            isinstance(part, str) for part in described.values()
        ):
            raise ValueError("a model is described by texts, name and weights_sha256 among them")
    if not all(isinstance(part, str) for part in provenance.versions.values()):
        raise ValueError("versions are texts")
    plain = (str, int, float, bool, type(None))
    if not all(isinstance(part, plain) for part in provenance.settings.values()):
        raise ValueError("settings are numbers, texts and switches")
    if not all(isinstance(part, plain) for described in provenance.data.values() for part in described.values()):
        raise ValueError("data is described by numbers and texts")


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
