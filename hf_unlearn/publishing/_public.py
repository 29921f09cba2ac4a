"""What may leave the house: a report without names of local files and without hashes that could confirm a guess about the data.

Everything is written to a folder before the first request, so that a publication that fails can be repeated.
"""

import contextlib
import dataclasses
import difflib
import hashlib
import hmac
import json
import logging
import math
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from hf_unlearn._files import fill_atomically, write_atomically
from hf_unlearn.audit import AuditReport, MetricResult, MetricResults
from hf_unlearn.publishing._card import FOLDER
from hf_unlearn.publishing._rounding import SMALL, rounded
from hf_unlearn.publishing._statement import Statement


logger = logging.getLogger(__name__)
KEY_FILE = "data_key.txt"
KEY_BYTES = 32
HASHES = {"sha256": "salted_sha256", "examples_sha256": "salted_examples_sha256"}
"""Of data and of in-context examples: what they are called in a report, and in a published one."""
UPLOAD = "hf_unlearn_upload"
"""Under the folder of a publication; made anew each time."""
EVAL_RESULTS = ".eval_results/hf_unlearn.yaml"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A publication on disk.

    Attributes:
        folder: `hf_unlearn_upload/` holds what is published, under its path in the repository; `data_key.txt` stays here.
        report: As it is published.
        statement: What the publisher says.
        repo_id: Of the model.
    """

    folder: Path
    report: AuditReport
    statement: Statement
    repo_id: str

    @property
    def files(self) -> dict[str, Path]:
        """Path in the repository, and where the file is."""
        root = self.folder / UPLOAD
        return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}

    @property
    def figures(self) -> list[str]:
        """File names of figures."""
        return [Path(name).name for name in self.files if name.startswith(f"{FOLDER}/") and name.endswith(".png")]


def data_key(folder: Path) -> bytes:
    """The secret that salts hashes of data: made once, kept beside the report, never published.

    Whoever has it and the data can see that the data is the one that was audited; without it a published hash confirms no guess.

    Raises:
        ValueError: The file is there and damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / KEY_FILE
    fresh = folder / f".{secrets.token_hex(8)}.key"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link is made or refused as a whole: of several at once one wins, and all read the winner's.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    return parse_key(path)


def parse_key(data_key: str | os.PathLike) -> bytes:
    """The key in a file, or in the text of one.

    Raises:
        ValueError: Not a key.
    """
    try:
        is_file = Path(data_key).is_file()
    except (OSError, ValueError):
        is_file = False
    text = Path(data_key).read_text(encoding="utf-8", errors="replace") if is_file else str(data_key)
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"{f'{str(data_key)!r} is' if is_file else 'data_key must be the path of'} {'no' if is_file else 'a'} data_key.txt of a publisher, "
            f"or its {2 * KEY_BYTES} hexadecimal digits."
        )
    return key


def salted(fingerprint: str, key: bytes) -> str:
    """HMAC-SHA-256 of a fingerprint of data."""
    return hmac.new(key, fingerprint.encode(), hashlib.sha256).hexdigest()


def public_report(report: AuditReport, key: bytes) -> AuditReport:
    """The report as it may be read by anyone.

    Hashes of data are salted; models keep their name only if it is one of the Hub; numbers that are not finite are left out, the others
    rounded to what their intervals support.
    """
    report = rounded(finite_report(report))
    models = {}
    for role, described in report.provenance.models.items():
        name = described["name"] if described.get("source") == "hub" else f"{role} (not on the Hub)"
        models[role] = {**described, "name": name}
    data = {
        split: {
            HASHES.get(name, name): salted(str(value), key) if name in HASHES else value
            for name, value in described.items()
        }
        for split, described in report.provenance.data.items()
    }
    provenance = dataclasses.replace(report.provenance, models=models, data=data)
    return dataclasses.replace(report, provenance=provenance)


def finite_report(report: AuditReport) -> AuditReport:
    """Without numbers that are not finite; a note names metrics that have no other."""
    finite = {key: result for key, result in report.metrics.items() if math.isfinite(float(result.value))}
    metrics = MetricResults({key: _finite(result) for key, result in finite.items()})
    notes = list(report.notes)
    missing = [key for key in report.metrics if key not in finite]
    if missing:
        notes.append(f"not published, because not finite: {', '.join(missing)}.")
    return dataclasses.replace(report, metrics=MetricResults(metrics), notes=tuple(notes))


def _finite(result: MetricResult) -> MetricResult:
    """Plain Python numbers; None where there is none."""

    def plain(value: Any) -> Any:
        if isinstance(value, MetricResult):
            return _finite(value)
        if isinstance(value, Mapping):
            return {
                str(name): part
                for name, part in ((name, plain(part)) for name, part in value.items())
                if part is not None
            }
        if isinstance(value, (tuple, list)):
            parts = tuple(plain(part) for part in value)
            return None if None in parts else parts
        if value is None or isinstance(value, (str, bool)):
            return value
        number = float(value)
        return None if not math.isfinite(number) else int(number) if isinstance(value, int) else number

    parts = {part.name: plain(getattr(result, part.name)) for part in dataclasses.fields(result)}
    parts |= {name: int(getattr(result, name)) for name in ("n", "clusters") if getattr(result, name) is not None}
    return MetricResult(**parts)


def stage(
    report: AuditReport,
    statement: Statement,
    repo_id: str,
    folder: Path,
    *,
    benchmarks: Mapping[str, tuple[str, str]] | None = None,
    weights: Callable[[Path], None] | None = None,
) -> Bundle:
    """Write everything but the card, which depends on the one that is there.

    Args:
        report: Of the audit.
        statement: What the publisher says.
        repo_id: Of the model.
        folder: Where the publication is kept.
        benchmarks: Metrics that count for a registered benchmark: name, then data set id and task id.
        weights: Writes model files to upload beside the report into a folder.

    Raises:
        OSError: The folder cannot be written to.
        ValueError: A benchmark for a metric that the report does not have.
    """
    _warn_of_small_sets(report)
    public = public_report(report, data_key(folder))
    upload = folder / UPLOAD
    shutil.rmtree(upload, ignore_errors=True)
    if weights is not None:
        fill_atomically(upload, weights)
    hashes = {path.name: _sha256(path) for path in sorted(upload.glob("*.safetensors"))}
    manifest: dict[str, Any] = {"statement": statement.to_plain(), "weights": hashes, "repo_id": repo_id}
    public.save(upload / FOLDER)
    manifest["figures"] = sorted(path.name for path in (upload / FOLDER).glob("*.png"))
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(upload / FOLDER / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    if benchmarks:
        entries = [_entry(public, name, *place) for name, place in benchmarks.items()]
        listed = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
        write_atomically(upload / EVAL_RESULTS, lambda path: path.write_text(listed, encoding="utf-8"))
    return Bundle(folder, public, statement, repo_id)


def _warn_of_small_sets(report: AuditReport) -> None:
    for split, described in report.provenance.data.items():
        rows = described.get("rows")
        if isinstance(rows, int) and rows < SMALL:
            logger.warning(
                "the %s set of this audit has %d rows. With fewer than %d even rounded numbers can confirm a guess of what they are, to whoever has "
                "the models: publish only if you may.",
                split,
                rows,
                SMALL,
            )


def figures_of(manifest: str | None) -> list[str]:
    """Names of the figures of an earlier publication; none where its manifest is not one of ours."""
    try:
        figures = json.loads(manifest or "{}").get("figures") or []
        return [name for name in figures if isinstance(name, str)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []


def _entry(report: AuditReport, name: str, dataset_id: str, task_id: str) -> EvalResultEntry:
    if name not in report.metrics:
        raise ValueError(
            f"there is no metric {name!r} to report for {dataset_id}; there are {', '.join(report.metrics)}."
        )
    return EvalResultEntry(
        dataset_id=dataset_id, task_id=task_id, value=report.metrics[name].value, date=report.created[:10]
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def card_diff(old: str | None, new: str) -> str:
    """What changes in a card, as a unified diff; empty where nothing does."""
    lines = difflib.unified_diff(
        (old or "").splitlines(), new.splitlines(), "README.md (now)", "README.md (then)", lineterm=""
    )
    return "\n".join(lines)
