"""Published audits, read back: as a report, and side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from hf_unlearn.audit import AuditReport, MetricResult
from hf_unlearn.publishing._card import FOLDER
from hf_unlearn.publishing._hub import explain, hub_cause, hub_client, patiently
from hf_unlearn.publishing._public import MANIFEST
from hf_unlearn.publishing._publish import read_text
from hf_unlearn.publishing._statement import Statement


_LARGEST = 20_000_000


@dataclass(frozen=True)
class Published:
    """What a repository says about its audit.

    Attributes:
        report: The audit.
        statement: What the publisher says.
        weights: SHA-256 of weight files that were published with the report, by name.
        commit: Of the repository, that was read.
    """

    report: AuditReport
    statement: Statement
    weights: dict[str, str]
    commit: str


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of several published audits.

    Attributes:
        name: Of the metric.
        results: By repository; None where it was not measured.
    """

    name: str
    results: dict[str, MetricResult | None]


def load_audit(
    repo_id: str, *, revision: str | None = None, token: str | bool | None = None, endpoint: str | None = None
) -> AuditReport:
    """The audit that a model on the Hub carries.

    Args:
        repo_id: Of the model.
        revision: Branch, tag or commit; default: main.
        token: Of the Hub.
        endpoint: Of another Hub.

    Raises:
        ValueError: There is no audit, or it is not one that this library reads.
        OSError: The Hub refuses or cannot be reached.
    """
    return read_published(hub_client(token, endpoint), repo_id, revision).report


def compare_audits(
    repo_ids: Sequence[str], *, token: str | bool | None = None, endpoint: str | None = None
) -> list[ComparedMetric]:
    """Published audits side by side.

    They can be read against each other only where data and reference were the same; which the publishers must say, since hashes of data are
    salted.

    Args:
        repo_ids: Of the models.
        token: Of the Hub.
        endpoint: Of another Hub.

    Returns:
        Every metric that any of them has, in the order of the first that has it.

    Raises:
        ValueError: As `load_audit`; or no repositories.
        OSError: The Hub refuses or cannot be reached.
    """
    if isinstance(repo_ids, str) or not repo_ids:
        raise ValueError("expected a list of repository ids.")
    reports = {name: load_audit(name, token=token, endpoint=endpoint) for name in repo_ids}
    names = dict.fromkeys(metric for report in reports.values() for metric in report.metrics)
    return [
        ComparedMetric(name, {repo: report.metrics.get(name) for repo, report in reports.items()}) for name in names
    ]


def read_published(api: HfApi, repo_id: str, revision: str | None) -> Published:
    """Report, statement and hashes of one commit.

    Raises:
        ValueError: There is no audit.
        OSError: The Hub refuses or cannot be reached.
    """
    try:
        commit = patiently(lambda: api.repo_info(repo_id, revision=revision), "reading the repository").sha
        assert commit is not None
        report = read_text(api, repo_id, f"{FOLDER}/report.json", commit)
        manifest = read_text(api, repo_id, f"{FOLDER}/{MANIFEST}", commit)
    except RepositoryNotFoundError as error:
        raise ValueError(f"there is no repository {repo_id} that you may see.") from error
    except Exception as error:
        if hub_cause(error) is None:
            raise
        raise OSError(f"cannot read the audit of {repo_id}: {explain(error, repo_id, writing=False)}.") from error
    if report is None:
        raise ValueError(f"{repo_id} has no audit: no {FOLDER}/report.json. Publish one with hf-unlearn publish.")
    if max(len(report), len(manifest or "")) > _LARGEST:
        raise ValueError(f"the audit of {repo_id} is larger than {_LARGEST} characters; that is none of ours.")
    try:
        plain = {} if manifest is None else json.loads(manifest)
        statement = Statement.from_plain(plain.get("statement") or {})
        weights = {str(name): str(sha) for name, sha in (plain.get("weights") or {}).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{FOLDER}/{MANIFEST} of {repo_id} is not one of ours: {error}") from error
    return Published(AuditReport.from_json(report), statement, weights, commit)
