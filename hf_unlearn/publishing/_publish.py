"""One commit with card, report and figures: all of it arrives, or nothing does, and nobody's edit is lost."""

import logging
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn._files import cache_root, check_writable, write_atomically
from hf_unlearn.audit import AuditReport
from hf_unlearn.inference import is_main_process
from hf_unlearn.publishing._card import FOLDER, update_card
from hf_unlearn.publishing._front_matter import CardError
from hf_unlearn.publishing._hub import (
    PublicationError,
    explain,
    hub_cause,
    hub_client,
    patiently,
    short_error,
    status_of,
)
from hf_unlearn.publishing._public import EVAL_RESULTS, KEY_FILE, MANIFEST, Bundle, card_diff, figures_of, stage
from hf_unlearn.publishing._statement import Setting, make_statement
from hf_unlearn.publishing._weights import audited_dtype, export_weights


logger = logging.getLogger(__name__)
CARD = "README.md"
_ADAPTER = re.compile(r"adapter_model\.\w+")
_ANY_WEIGHTS = re.compile(
    r"[^/]*\.safetensors(\.index\.json)?|pytorch_model[^/]*\.bin(\.index\.json)?|adapter_(config\.json|model\.\w+)"
)
_CONFLICTS = 30
"""So often the card may change under our hands before we give up."""


@dataclass(frozen=True)
class Publication:
    """What was published, or with a dry run would be.

    Attributes:
        url: Of the commit or pull request; None after a dry run.
        commit: Its hash; None after a dry run.
        files: Paths in the repository.
        diff: What changes in the card, as a unified diff.
        folder: Where all of it lies on this machine, and `data_key.txt`, with which a verifier can see that data is the audited data.
    """

    url: str | None
    commit: str | None
    files: tuple[str, ...]
    diff: str
    folder: Path


def publish(
    report: AuditReport | str | os.PathLike,
    repo_id: str,
    *,
    forgotten: str | None = None,
    objective: str | None = None,
    settings: Mapping[str, Setting] | None = None,
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    show_examples: Sequence[str] = (),
    weights: PreTrainedModel | PeftModel | str | os.PathLike | None = None,
    processing_class: PreTrainedTokenizerBase | None = None,
    benchmarks: Mapping[str, tuple[str, str]] | None = None,
    private: bool | None = None,
    create_pr: bool = False,
    dry_run: bool = False,
    folder: str | os.PathLike | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Publication:
    """Publish an audit on the model's page: card section, `model-index`, report, figures, and weights if given; one commit.

    Nothing of the data is published: no text, and of its hash only a salted form. Everything is written to a folder first; if the Hub
    fails, call again with the same arguments.

    Args:
        report: Of the audit, or the folder it was saved to.
        repo_id: Of the model, `owner/name`; made if it is not there.
        forgotten: What was forgotten, in your words.
        objective: How; default: from `unlearning.json` beside `weights`.
        settings: Of the unlearning; the same default.
        base_model: Hub id of the model before unlearning.
        datasets: Hub ids of public data sets that were used.
        show_examples: Texts of the forget set to be shown in the card. They will be public.
        weights: Also publish the model: loaded, or its folder. What is opened from there is compared with what was audited and saved anew
            as safetensors; no other file of the folder is sent.
        processing_class: A tokenizer to go with it; default: the one in the folder.
        benchmarks: Also report metrics for registered benchmarks (`.eval_results/`): by name, data set id and task id.
        private: Of a repository that is made here; default: your account's.
        create_pr: Ask for the change instead of making it, for other people's repositories.
        dry_run: Change nothing; see `diff`.
        folder: Where the publication is kept; default: in the cache, by repository.
        token: Of the Hub; default: the one you are logged in with.
        endpoint: Of another Hub.

    Returns:
        What was published; on processes other than the main one without commit.

    Raises:
        ValueError: An unusable id, a card that cannot be changed without guessing, weights that are not the audited ones.
        PublicationError: The Hub refused or could not be reached; says what to do and where everything lies.
        OSError: The folder cannot be written to.
    """
    _check_id(repo_id)
    if not isinstance(report, AuditReport):
        report = AuditReport.load(report)
    known = Path(weights) if isinstance(weights, (str, os.PathLike)) else None
    statement = make_statement(forgotten, objective, settings, base_model, datasets, show_examples, known)
    home = check_writable(folder or cache_root() / "publications" / repo_id.replace("/", "--"))
    if not is_main_process():
        return Publication(None, None, (), "", home)

    def write_weights(target: Path) -> None:
        assert weights is not None
        expected = report.provenance.models.get("candidate", {}).get("weights_sha256")
        export_weights(
            weights,
            target,
            expected_sha256=expected,
            base_model=base_model,
            processing_class=processing_class,
            dtype=audited_dtype(report),
        )

    writer = None if weights is None else write_weights
    api = hub_client(token, endpoint)
    with FileLock(home / ".lock"):  # two publications of one repository would write into one folder
        bundle = stage(report, statement, repo_id, home, benchmarks=benchmarks, weights=writer)
        try:
            return _send(api, bundle, private=private, create_pr=create_pr, dry_run=dry_run)
        except Exception as error:
            if hub_cause(error) is None:
                raise
            raise PublicationError(
                f"not published: {explain(error, repo_id)}. The Hub has all of it or nothing; report, figures and {KEY_FILE} are in "
                f"{str(home)!r}. Repeat the same call to go on: what is there already is not sent again.",
                home,
            ) from error


def _check_id(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
        if "/" not in repo_id:
            raise HFValidationError("no owner")
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no repository id; expected owner/name.") from error


def _send(api: HfApi, bundle: Bundle, *, private: bool | None, create_pr: bool, dry_run: bool) -> Publication:
    # Asked first: the client cannot tell "exists" from "not allowed" on a Hub of one's own.
    if not dry_run and not create_pr and _head(api, bundle.repo_id, may_be_missing=True) is None:
        patiently(lambda: api.create_repo(bundle.repo_id, private=private, exist_ok=True), "creating the repository")
    for attempt in range(_CONFLICTS):
        parent = _head(api, bundle.repo_id, may_be_missing=dry_run)
        old = None if parent is None else read_text(api, bundle.repo_id, CARD, parent)
        files = (CARD, *bundle.files)
        library = "peft" if "adapter_model.safetensors" in files else "transformers"
        new = update_card(old, bundle.report, bundle.statement, bundle.repo_id, bundle.figures, library_name=library)
        diff = card_diff(old, new)
        write_atomically(bundle.folder / CARD, lambda path, text=new: path.write_bytes(text.encode("utf-8")))  # type: ignore[misc]
        if dry_run:
            return Publication(None, None, files, diff, bundle.folder)
        assert parent is not None
        try:
            done = _commit(api, bundle, new, parent, create_pr)
        except Exception as error:
            if hub_cause(error) is None:
                raise
            if status_of(error) not in (409, 412) or attempt == _CONFLICTS - 1:
                raise
            # Somebody was faster: read the card again, put the section into theirs.
            logger.info("%s changed meanwhile; reading it again", bundle.repo_id)
            time.sleep(random.uniform(0.05, 0.2) * (attempt + 1))
            continue
        return Publication(done.pr_url or done.commit_url, done.oid, files, diff, bundle.folder)
    raise AssertionError("unreachable")


def _commit(api: HfApi, bundle: Bundle, card: str, parent: str, create_pr: bool) -> CommitInfo:
    stale = [CommitOperationDelete(name) for name in _stale(api, bundle, parent)]

    def send() -> CommitInfo:
        # The client marks operations as done; each try needs its own.
        added = [CommitOperationAdd(name, path) for name, path in bundle.files.items()]
        return api.create_commit(
            bundle.repo_id,
            [CommitOperationAdd(CARD, card.encode("utf-8")), *added, *stale],
            commit_message="Unlearning audit",
            commit_description="Card section, model-index, report and figures, written by hf_unlearn.",
            parent_commit=parent,
            create_pr=create_pr,
        )

    # A commit whose answer was lost can be repeated: the parent is then no longer the head, and what is there already is not sent again.
    # A pull request cannot: there would be two.
    try:
        return patiently(send, "committing", repeatable=not create_pr)
    except ValueError as error:
        if "nvalid metadata" not in str(error):
            raise
        raise CardError(
            f"the Hub refuses the card, which is kept as {str(bundle.folder / CARD)!r}: {error}"
        ) from error
    except Exception as error:
        status = status_of(error)
        if not create_pr or hub_cause(error) is None or (status is not None and status < 500):
            raise
        raise PublicationError(
            f"nobody knows whether the pull request was made ({short_error(error)}). Look at {api.endpoint}/{bundle.repo_id}/discussions before "
            f"you repeat the call; everything is in {str(bundle.folder)!r}.",
            bundle.folder,
        ) from error


def _stale(api: HfApi, bundle: Bundle, revision: str) -> list[str]:
    """What would contradict this publication: files of our earlier audit, and weights that would be loaded instead of these."""
    manifest = read_text(api, bundle.repo_id, f"{FOLDER}/{MANIFEST}", revision)
    ours = {f"{FOLDER}/{name}" for name in figures_of(manifest)} | {EVAL_RESULTS}
    there = [
        name
        for folder in (FOLDER, str(Path(EVAL_RESULTS).parent))
        for name in list_files(api, bundle.repo_id, folder, revision)
        if name in ours
    ]
    if any(name.endswith(".safetensors") for name in bundle.files):
        pattern = _ADAPTER if "adapter_model.safetensors" in bundle.files else _ANY_WEIGHTS
        there += [name for name in list_files(api, bundle.repo_id, None, revision) if pattern.fullmatch(name)]
    return [name for name in there if name not in bundle.files]


def list_files(api: HfApi, repo_id: str, folder: str | None, revision: str | None) -> list[str]:
    """Files of a folder, not of those below; none where there is no such folder."""

    def listed() -> list[str]:
        try:
            return [
                item.path for item in api.list_repo_tree(repo_id, folder, revision=revision) if hasattr(item, "size")
            ]
        except RemoteEntryNotFoundError:
            return []

    return patiently(listed, f"listing {repo_id}")


def _head(api: HfApi, repo_id: str, *, may_be_missing: bool = False) -> str | None:
    try:
        return patiently(lambda: api.repo_info(repo_id), "reading the repository").sha
    except RepositoryNotFoundError as error:
        if may_be_missing and status_of(error) == 404:
            return None
        raise


def read_text(api: HfApi, repo_id: str, name: str, revision: str) -> str | None:
    """A small text file of a commit, byte for byte; None where the Hub says that there is none (not where it cannot be asked)."""
    try:
        path = patiently(lambda: api.hf_hub_download(repo_id, name, revision=revision), f"reading {name}")
    except RemoteEntryNotFoundError:
        return None
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise CardError(f"{name} of {repo_id} is not UTF-8 text; mend it first. Nothing was changed.") from error
