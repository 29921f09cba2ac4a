"""A published claim, recomputed: what stands, what does not, and what cannot be checked, each with its reason.

The repository is somebody else's text. It is read as data: no code of it runs, no file of this machine is opened because it says so.
"""

import fnmatch
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit import AuditReport, AuditSet, audit
from hf_unlearn.audit._contracts import Condition, MetricSpec
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._metric_result import result_key
from hf_unlearn.audit._schema_1 import new_name
from hf_unlearn.audit._selection import CONDITIONS, COUNTERFACTUAL, MetricLike
from hf_unlearn.audit.metrics import METRICS
from hf_unlearn.config import STANDARD, AuditConfig, options_of
from hf_unlearn.data import DataLike
from hf_unlearn.inference import LoadedModel, ModelLike, load_model, load_processing_class, weights_fingerprint
from hf_unlearn.publishing._audited_sets import audited_sets, spread_over
from hf_unlearn.publishing._card import FOLDER, card_section, model_index_results, sections_of
from hf_unlearn.publishing._claims import NOT_CHECKABLE, NOT_REPRODUCED, REPRODUCED, Check
from hf_unlearn.publishing._front_matter import CardError, FrontMatter, is_ours
from hf_unlearn.publishing._hub import explain, hub_cause, hub_client, patiently
from hf_unlearn.publishing._public import HASHES, finite_report, parse_key, salted
from hf_unlearn.publishing._publish import CARD, list_files, read_text
from hf_unlearn.publishing._read_back import Published, read_published
from hf_unlearn.publishing._report_claims import check_report, unchecked_report
from hf_unlearn.publishing._statement import is_repo_id
from hf_unlearn.publishing._weights import audited_dtype


ROLES = ("reference", "original", "twin", "continued")
"""Those whose models a verifier may bring."""
_MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
_LIMITS = {"num_samples": 1024, "max_new_tokens": 8192, "max_examples": 100_000, "num_resamples": 100_000}
"""More than this no report asks for in good faith."""


def verify(
    repo_id: str,
    *,
    forget: DataLike | AuditSet | None = None,
    retain: DataLike | AuditSet | None = None,
    holdout: DataLike | AuditSet | None = None,
    sets: Mapping[str, DataLike | AuditSet] | None = None,
    reference: ModelLike | None = None,
    original: ModelLike | None = None,
    twin: ModelLike | Sequence[ModelLike] | None = None,
    continued: ModelLike | Sequence[ModelLike] | None = None,
    metrics: Sequence[BaseMetric] = (),
    conditions: Sequence[Condition] = (),
    harness_tasks: Sequence[str] = (),
    harness_include_path: str | os.PathLike | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    data_key: str | os.PathLike | None = None,
    revision: str | None = None,
    batch_size: int = 64,
    progress: bool = True,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> list[Check]:
    """Check a published audit: card, weights, and everything in the report that the given data and models allow to recompute.

    The report is computed again from the models and sets that it names, and the two are compared both ways: values, intervals, floor, start,
    relative, differences from the floor, other models' values, details, layers and those without a value, counts, settings, notes and
    reading. What was added, left out or reworded is not reproduced. A value is reproduced if published and recomputed one lie within each
    other's interval. What cannot be recomputed is not checkable, and says what it needs; the date, the versions and what the publisher says
    of the data never can. Of a report of schema 1 settings, values, floor, start and counts are compared.

    Args:
        repo_id: Of the audited model.
        forget: Your copy of the forget set; without it no metric can be recomputed.
        retain: Of the retain set.
        holdout: Of the holdout set.
        sets: Of further sets, by the names that the report has for them; role, metrics and template are the report's. Where it had in-context
            examples, an `AuditSet` with yours.
        reference: The retrained model; default: the one the report names, where it is on the Hub. The same for the next three. Not needed where the
            report names none: then the original is.
        original: The model before unlearning.
        twin: The second reference, or several.
        continued: What the original became by further training, one or several.
        metrics: Of your own, that the report names and this library does not have.
        conditions: Under which the report has results; they cannot be taken from a report.
        harness_tasks: Those that the report names, to ask them again: nothing is downloaded because a stranger's report names it.
        harness_include_path: Folder with tasks of your own.
        processing_class: The tokenizer; default: the one published with the model.
        data_key: The publisher's `data_key.txt`, or its text: with it data can be compared with the audited data.
        revision: Branch, tag or commit.
        batch_size: Rows at a time.
        progress: Whether to show progress bars.
        token: Of the Hub.
        endpoint: Of another Hub.

    Returns:
        Card and weights first, then models and data, then metrics in the report's order.

    Raises:
        ValueError: There is no audit, or data or a key that cannot be used.
        OSError: The Hub refuses or cannot be reached.
    """
    key = None if data_key is None else parse_key(data_key)
    api = hub_client(token, endpoint)
    published = read_published(api, repo_id, revision)
    report = published.report
    folder = _download(api, repo_id, published.commit)
    candidate = None if folder is None else load_model(folder, dtype=audited_dtype(report))
    checks = [_check_card(api, repo_id, published), _check_weights(candidate, report)]
    needed: dict[str, Any] = {"the model's weights": candidate, "a forget set": forget}
    given: dict[str, Any] = {"reference": reference, "original": original, "twin": twin, "continued": continued}
    models = report.provenance.models
    compared = "original" if "original" in models and "reference" not in models else "reference"
    if None not in needed.values():
        given = {role: _named(api, role, report) if model is None else model for role, model in given.items()}
        needed[f"the {compared}"] = given[compared]
    missing = [what for what, found in needed.items() if found is None]
    if missing or folder is None or candidate is None:
        return checks + unchecked_report(report, f"needs {' and '.join(missing)}")
    chosen, unknown = _metrics(report, metrics)
    main = {"forget": forget, "retain": retain, "holdout": holdout}
    specs = _specs(metrics)
    mine, without = audited_sets(report, main, sets or {}, specs)
    if "forget" not in mine:
        return checks + unchecked_report(report, f"needs {without.get('forget', 'a forget set')}")
    given |= main | dict(sets or {})
    used = {compared, *models, *report.provenance.data}
    options: dict[str, Any] = {name: found for name, found in given.items() if name in ROLES and name in used}
    options |= {name: found for name, found in mine.items() if name in main}
    options |= {"sets": {name: found for name, found in mine.items() if name not in main}}
    options |= _settings(report) | {"metrics": chosen, "conditions": _conditions(report, conditions)}
    named, options["harness_tasks"] = options["harness_tasks"], _harness(options["harness_tasks"], harness_tasks)
    options["harness_include_path"] = harness_include_path
    if named:
        without.pop("harness", None)
    if named and not options["harness_tasks"]:
        without["harness"] = f"harness_tasks={list(named)}"
    tokenizer = processing_class or load_processing_class(folder)
    again = audit(candidate, processing_class=tokenizer, batch_size=batch_size, progress=progress, **options)
    checks += [_check_model(role, report, again) for role in again.provenance.models if role != "candidate"]
    checks += _check_data(report, again, key)
    checks += [
        Check(name, NOT_CHECKABLE, "the audit used none, so it is not used here")
        for name, found in given.items()
        if found is not None and name not in used
    ]
    lacking = [f"the {name}" for name, found in given.items() if found is None and name in ROLES and name in used]
    lacking += without.values()
    under = {result.condition for result in report.metrics.values()} - {"", *CONDITIONS}
    under -= {found.name for found in conditions}
    lacking += [f"the metric {name!r}" for name in unknown] + [f"the condition {name!r}" for name in sorted(under)]
    for name in (*(("metrics",) if unknown else ()), *(("harness_tasks",) if named else ())):
        # Its settings are known all the same.
        again.provenance.settings[name] = report.provenance.settings[name]
    return checks + check_report(report, finite_report(again), lacking, spread_over(report, without, specs))


def _download(api: HfApi, repo_id: str, commit: str | None) -> str | None:
    """A folder with all model files of a commit; None where it has no safetensors weights."""
    try:
        names = [
            name
            for name in list_files(api, repo_id, None, commit)
            if any(fnmatch.fnmatch(name, part) for part in _MODEL_FILES)
        ]
        if not any(name.endswith(".safetensors") for name in names):
            return None
        folder = patiently(
            lambda: api.snapshot_download(repo_id, revision=commit, allow_patterns=names), "downloading the model"
        )
    except Exception as error:
        if hub_cause(error) is None:
            raise
        raise OSError(f"cannot download {repo_id}: {explain(error, repo_id, writing=False)}.") from error
    # The client gives what it has when the line is cut.
    lacking = [name for name in names if not (Path(folder) / name).is_file()]
    if lacking:
        raise OSError(f"cannot download {repo_id}: {lacking[0]} did not arrive. Try again.")
    return folder


def _named(api: HfApi, role: str, report: AuditReport) -> ModelLike | list[ModelLike] | None:
    """The model that the report names, if it is on the Hub and can be had; several where there are several twins."""
    roles = [name for name in report.provenance.models if name == role or name.startswith(f"{role} ")]
    found = [_hub_model(api, report.provenance.models[name], audited_dtype(report)) for name in roles]
    models = [model for model in found if model is not None]
    if not models or len(models) < len(found):
        return None
    return models[0] if len(models) == 1 else models


def _hub_model(api: HfApi, described: Mapping[str, str], dtype: str) -> ModelLike | None:
    name = described.get("name", "")
    if described.get("source") != "hub" or "/" not in name or not is_repo_id(name):
        return None
    try:
        folder = _download(api, name, described.get("revision"))
    except OSError:
        return None
    return None if folder is None else load_model(folder, dtype=dtype)


def _metrics(report: AuditReport, own: Sequence[BaseMetric]) -> tuple[str | list[MetricLike], list[str]]:
    """What to measure again: as the report names it; and names that nobody here knows."""
    named = _config(report).metrics
    if isinstance(named, str):
        return named, []
    objects = {metric.spec.name: metric for metric in own}
    here = {STANDARD, COUNTERFACTUAL, *METRICS, *objects}
    known: list[MetricLike] = [objects.get(name, name) for name in named if name in here]
    return known, [name for name in named if name not in here]


def _harness(named: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Tasks to ask again: all that the report names, or none.

    Raises:
        ValueError: Others, or some of them.
    """
    if given and set(given) != set(named):
        raise ValueError(
            f"harness_tasks must be those of the report, {', '.join(named) or 'none'}; got {', '.join(given)}."
        )
    return tuple(named) if given else ()


def _specs(own: Sequence[BaseMetric]) -> dict[str, MetricSpec]:
    """Of all that can be measured here."""
    known = {name: metric.from_settings({}).spec for name, metric in METRICS.items()}
    return known | {metric.spec.name: metric.spec for metric in own}


def _conditions(report: AuditReport, given: Sequence[Condition]) -> list[str | Condition]:
    """Those under which the report has results, as far as anybody here knows them."""
    under = {result.condition for result in report.metrics.values()}
    objects = [condition for condition in given if condition.name in under]
    return [*objects, *sorted(under & set(CONDITIONS) - {condition.name for condition in objects})]


def _check_card(api: HfApi, repo_id: str, published: Published) -> Check:
    card = read_text(api, repo_id, CARD, published.commit) or ""
    sections = sections_of(card)
    if len(sections) != 1:
        return Check("card", NOT_REPRODUCED, f"the card has {len(sections)} audit sections; one is expected")
    try:
        index = FrontMatter(card.removeprefix("\ufeff")).data.get("model-index")
    except CardError as error:
        return Check("card", NOT_REPRODUCED, str(error))
    entries = [entry for entry in index if isinstance(entry, dict)] if isinstance(index, list) else []
    mine = [result for entry in entries for result in entry.get("results") or [] if is_ours(result)]
    if published.report.schema_version == 1:
        return _check_old_card(mine, published.report)
    if mine != model_index_results(published.report, repo_id):
        return Check("card", NOT_REPRODUCED, "model-index is not what the report says; it was edited")
    here, there = version("hf-unlearn"), published.report.provenance.versions.get("hf-unlearn")
    figures = [
        name.split("/")[-1] for name in list_files(api, repo_id, FOLDER, published.commit) if name.endswith(".png")
    ]
    if sections[0] == card_section(published.report, published.statement, repo_id, figures):
        return Check("card", REPRODUCED, "section and model-index are what the report says")
    # Whoever edits a card can edit the version in the report too.
    other = (
        "" if here == there else f", or the version {there} that the report names words it otherwise than this, {here}"
    )
    return Check("card", NOT_REPRODUCED, f"the section in the card is not what the report says; it was edited{other}")


def _check_old_card(results: list[dict[str, Any]], report: AuditReport) -> Check:
    """Its values must be the report's; its words are those of another version."""
    listed = [
        (metric.get("type"), metric.get("value")) for result in results for metric in result.get("metrics") or []
    ]
    values = {result_key(*new_name(str(name))): value for name, value in listed}
    if values != {key: result.value for key, result in report.metrics.items()}:
        return Check("card", NOT_REPRODUCED, "model-index is not what the report says; it was edited")
    return Check("card", NOT_CHECKABLE, "model-index is what the report says; the section was written by schema 1")


def _check_weights(candidate: LoadedModel | None, report: AuditReport) -> Check:
    if candidate is None:
        return Check("weights", NOT_CHECKABLE, "the repository has no safetensors weights")
    return _same_weights("weights", weights_fingerprint(candidate), report.provenance.models.get("candidate", {}))


def _check_model(role: str, report: AuditReport, again: AuditReport) -> Check:
    described = report.provenance.models.get(role, {})
    return _same_weights(f"{role} weights", again.provenance.models[role]["weights_sha256"], described)


def _same_weights(name: str, found: str, described: dict[str, str]) -> Check:
    expected = described.get("weights_sha256")
    if expected is None:
        return Check(name, NOT_CHECKABLE, "the report does not name them")
    if found == expected:
        return Check(name, REPRODUCED, "the same as were audited")
    return Check(
        name, NOT_REPRODUCED, f"SHA-256 {found[:16]}… here, {expected[:16]}… when audited: not the same model"
    )


def _check_data(report: AuditReport, again: AuditReport, key: bytes | None) -> list[Check]:
    return [
        _check_split(f"{split} data", report.provenance.data.get(split, {}), described, key)
        for split, described in again.provenance.data.items()
    ]


def _check_split(name: str, known: dict[str, Any], described: dict[str, Any], key: bytes | None) -> Check:
    counts = [{part: found.get(part) for part in ("rows", "of")} for found in (known, described)]
    if counts[0] != counts[1]:
        return Check(
            name,
            NOT_REPRODUCED,
            "other rows than were audited: {rows} of {of}".format(**counts[1])
            + " here, {rows} of {of} in the report".format(**counts[0]),
        )
    if key is None:
        return Check(name, NOT_CHECKABLE, "published hashes are salted; ask the publisher for data_key.txt")
    hashes = [(described.get(part), known.get(public)) for part, public in HASHES.items()]
    if all(found is None if claimed is None else salted(str(found), key) == claimed for found, claimed in hashes):
        return Check(name, REPRODUCED, "the same rows as were audited")
    return Check(name, NOT_REPRODUCED, "other rows than were audited, or another key")


def _settings(report: AuditReport) -> dict[str, Any]:
    """The options that a report names, as far as `AuditConfig` lets them pass; how the work is done is the verifier's to choose.

    Raises:
        ValueError: Options that no audit has, or that ask for more than a verifier should do for a stranger.
    """
    config = _config(report)
    for name, limit in _LIMITS.items():
        value = getattr(config, name)
        if value is not None and value > limit:
            raise ValueError(f"the report asks for {name} = {value}; more than {limit} is not done.")
    return {option.name: getattr(config, option.name) for option in options_of(AuditConfig) if option.recorded}


def _config(report: AuditReport) -> AuditConfig:
    try:
        return AuditConfig.read_back(report.provenance.settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the report's settings are none that an audit can have: {error}") from error
