"""A published claim, recomputed: what stands, what does not, and what cannot be checked, each with its reason."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit import AuditReport, MetricResult, audit
from hf_unlearn.data import DataLike
from hf_unlearn.inference import LoadedModel, ModelLike, load_model, load_processing_class, model_fingerprint
from hf_unlearn.publishing._card import card_section, is_repo_id, model_index_results, section_of
from hf_unlearn.publishing._front_matter import CardError, FrontMatter, is_ours
from hf_unlearn.publishing._hub import explain, hub_cause, hub_client, patiently
from hf_unlearn.publishing._public import salted
from hf_unlearn.publishing._publish import CARD, read_text
from hf_unlearn.publishing._read_back import Published, read_published


REPRODUCED, NOT_REPRODUCED, NOT_CHECKABLE = "reproduced", "not reproduced", "not checkable"
_WEIGHT_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


@dataclass(frozen=True)
class Check:
    """One claim of a published audit.

    Attributes:
        name: "card", "weights", "forget data" and the like, or a metric.
        outcome: "reproduced", "not reproduced" or "not checkable".
        reason: Why, in a sentence.
        published: The published value of a metric.
        interval: Its published interval.
        recomputed: The value found now.
    """

    name: str
    outcome: str
    reason: str
    published: float | None = None
    interval: tuple[float, float] | None = None
    recomputed: float | None = None


def verify(
    repo_id: str,
    *,
    forget: DataLike | None = None,
    retain: DataLike | None = None,
    holdout: DataLike | None = None,
    reference: ModelLike | None = None,
    original: ModelLike | None = None,
    twin: ModelLike | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    data_key: str | os.PathLike | None = None,
    revision: str | None = None,
    batch_size: int = 64,
    progress: bool = True,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> list[Check]:
    """Check a published audit: card, weights, and every metric that the given data and models allow to recompute.

    Args:
        repo_id: Of the audited model.
        forget: Your copy of the forget set; without it no metric can be recomputed.
        retain: Of the retain set.
        holdout: Of the holdout set.
        reference: The retrained model; default: the one the report names, where it is on the Hub. The same for the next two.
        original: The model before unlearning.
        twin: The second reference.
        processing_class: The tokenizer; default: the one published with the model.
        data_key: The publisher's `data_key.txt`, or its text: with it data can be compared with the audited data.
        revision: Branch, tag or commit.
        batch_size: Rows at a time.
        progress: Whether to show progress bars.
        token: Of the Hub.
        endpoint: Of another Hub.

    Returns:
        Card and weights first, then data, then metrics in the report's order.

    Raises:
        ValueError: There is no audit, or data that cannot be used.
        OSError: The Hub refuses or cannot be reached.
    """
    api = hub_client(token, endpoint)
    published = read_published(api, repo_id, revision)
    checks = [_check_card(api, repo_id, published)]
    candidate, folder = _candidate(api, repo_id, published.commit)
    checks.append(_check_weights(candidate, published.report))
    models = {
        role: _model(given, role, published.report)
        for role, given in (("reference", reference), ("original", original), ("twin", twin))
    }
    missing = [
        what
        for what, found in (
            ("the model's weights", candidate),
            ("a forget set", forget),
            ("the reference", models["reference"]),
        )
        if found is None
    ]
    if missing:
        reason = f"needs {' and '.join(missing)}"
        return checks + [_unchecked(name, result, reason) for name, result in published.report.metrics.items()]
    assert folder is not None and candidate is not None
    given: dict[str, Any] = {
        "forget": forget,
        "retain": retain,
        "holdout": holdout,
        **models,
        **_settings(published.report),
    }
    tokenizer = processing_class or load_processing_class(folder)
    again = audit(candidate, processing_class=tokenizer, batch_size=batch_size, progress=progress, **given)
    checks += [_check_model(role, published.report, again) for role in models if role in again.provenance.models]
    checks += _check_data(published.report, again, data_key)
    return checks + [
        _check_metric(name, result, again.metrics.get(name), _absent(retain, holdout, models, name))
        for name, result in published.report.metrics.items()
    ]


def _candidate(api: HfApi, repo_id: str, commit: str) -> tuple[LoadedModel | None, str | None]:
    try:
        folder = patiently(
            lambda: api.snapshot_download(repo_id, revision=commit, allow_patterns=_WEIGHT_FILES),
            "downloading the model",
        )
    except Exception as error:
        if hub_cause(error) is None:
            raise
        raise OSError(f"cannot download {repo_id}: {explain(error, repo_id)}.") from error
    return (load_model(folder), folder) if any(Path(folder).glob("*.safetensors")) else (None, None)


def _model(given: ModelLike | None, role: str, report: AuditReport) -> ModelLike | None:
    described = report.provenance.models.get(role, {})
    if given is not None or described.get("source") != "hub":
        return given
    name, revision = described.get("name", ""), described.get("revision")
    # The report is somebody else's text: it may name a repository, not a folder of this machine.
    if not is_repo_id(name) or "/" not in name or Path(name).exists():
        return None
    return load_model(name, revision=revision)


def _check_card(api: HfApi, repo_id: str, published: Published) -> Check:
    here, there = _version(), published.report.provenance.versions.get("hf-unlearn")
    if here != there:
        return Check(
            "card", NOT_CHECKABLE, f"written by version {there} of hf_unlearn, this is {here}: the wording may differ"
        )
    card = read_text(api, repo_id, CARD, published.commit) or ""
    section = section_of(card)
    if section is None:
        return Check("card", NOT_REPRODUCED, "the card has no audit section")
    figures = [line[2 : line.index("]")] for line in section.splitlines() if line.startswith("![") and "]" in line]
    if section != card_section(published.report, published.statement, repo_id, figures):
        return Check("card", NOT_REPRODUCED, "the section in the card is not what the report says; it was edited")
    try:
        index = FrontMatter(card.removeprefix("\ufeff")).data.get("model-index") or []
    except CardError as error:
        return Check("card", NOT_REPRODUCED, str(error))
    mine = [result for entry in index for result in entry.get("results") or [] if is_ours(result)]
    if mine != model_index_results(published.report, repo_id):
        return Check("card", NOT_REPRODUCED, "model-index is not what the report says; it was edited")
    return Check("card", REPRODUCED, "section and model-index are what the report says")


def _version() -> str:
    from importlib.metadata import version

    return version("hf-unlearn")


def _check_weights(candidate: LoadedModel | None, report: AuditReport) -> Check:
    if candidate is None:
        return Check("weights", NOT_CHECKABLE, "the repository has no safetensors weights")
    return _same_weights("weights", model_fingerprint(candidate), report.provenance.models.get("candidate", {}))


def _check_model(role: str, report: AuditReport, again: AuditReport) -> Check:
    described = report.provenance.models.get(role, {})
    return _same_weights(f"{role} weights", again.provenance.models[role]["weights_sha256"], described)


def _same_weights(name: str, found: str, described: Mapping[str, str]) -> Check:
    expected = described.get("weights_sha256")
    if expected is None:
        return Check(name, NOT_CHECKABLE, "the report does not name them")
    if found == expected:
        return Check(name, REPRODUCED, "the same as were audited")
    return Check(
        name, NOT_REPRODUCED, f"SHA-256 {found[:16]}… here, {expected[:16]}… when audited: not the same model"
    )


def _check_data(report: AuditReport, again: AuditReport, data_key: str | os.PathLike | None) -> list[Check]:
    checks = []
    for split, described in again.provenance.data.items():
        name, known = f"{split} data", report.provenance.data.get(split)
        if known is None:
            checks.append(Check(name, NOT_CHECKABLE, f"the audit used no {split} set"))
        elif data_key is None:
            checks.append(
                Check(name, NOT_CHECKABLE, "published hashes are salted; ask the publisher for data_key.txt")
            )
        elif salted(str(described["sha256"]), _key(data_key)) == known.get("salted_sha256"):
            checks.append(Check(name, REPRODUCED, "the same rows as were audited"))
        else:
            checks.append(Check(name, NOT_REPRODUCED, "other rows than were audited, or another key"))
    return checks


def _key(data_key: str | os.PathLike) -> bytes:
    text = Path(data_key).read_text(encoding="utf-8") if Path(data_key).is_file() else str(data_key)
    try:
        return bytes.fromhex(text.strip())
    except ValueError as error:
        raise ValueError(
            "data_key must be the publisher's data_key.txt, or the 64 hexadecimal digits in it."
        ) from error


def _settings(report: AuditReport) -> dict[str, Any]:
    known = report.provenance.settings
    names = (
        *(
            "num_samples",
            "max_new_tokens",
            "max_examples",
            "estimator",
            "seed",
            "confidence",
            "num_resamples",
            "pooling",
        ),
        *("space", "allow_overlap"),
    )
    settings: dict[str, Any] = {name: known[name] for name in names if known.get(name) is not None}
    layers = known.get("layers")
    return settings if layers is None else {**settings, "layers": [int(part) for part in str(layers).split(",")]}


def _absent(retain: object, holdout: object, models: Mapping[str, object], name: str) -> str:
    """What was not given and may be what a missing metric needs."""
    given = {
        "a retain set": retain,
        "a holdout set": holdout,
        "the original": models["original"],
        "the twin": models["twin"],
    }
    absent = [what for what, value in given.items() if value is None]
    return f"was not recomputed; not given: {', '.join(absent)}" if absent else "this version does not compute it"


def _unchecked(name: str, result: MetricResult, reason: str) -> Check:
    return Check(name, NOT_CHECKABLE, reason, result.value, result.confidence_interval)


def _check_metric(name: str, published: MetricResult, again: MetricResult | None, absent: str) -> Check:
    if again is None:
        return _unchecked(name, published, absent)
    inside = _agree(published, again) and _agree(again, published)
    both = published.confidence_interval is not None and again.confidence_interval is not None
    margin = "each other's interval" if both else "1 % of each other, or the interval where there is one"
    return Check(
        name,
        REPRODUCED if inside else NOT_REPRODUCED,
        f"published and recomputed value lie {'' if inside else 'not '}within {margin}",
        published.value,
        published.confidence_interval,
        again.value,
    )


def _agree(one: MetricResult, other: MetricResult) -> bool:
    """Whether one's value lies in the other's interval. Asked both ways: a claimed interval without end would contain anything."""
    if other.confidence_interval is not None:
        (low, high), slack = other.confidence_interval, 1e-6 * (1 + abs(other.value))
    else:  # only rounding may differ: other hardware, other batches
        low, high, slack = other.value, other.value, 1e-2 * abs(other.value) + 1e-6
    return math.isfinite(one.value) and low - slack <= one.value <= high + slack
