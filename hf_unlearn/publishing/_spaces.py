"""Evaluate modules as Spaces: `evaluate.load("<org>/<name>")` for everyone."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from hf_unlearn.audit import metric_path
from hf_unlearn.publishing._hub import PublicationError, explain, hub_cause, hub_client, patiently


def push_metrics(
    organization: str,
    *,
    names: Sequence[str] | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> dict[str, str]:
    """Publish Evaluate modules as gradio Spaces, one commit each; unchanged ones are left alone.

    Args:
        organization: Or user, that the Spaces belong to.
        names: Of metrics; default: all that this library has.
        private: Of Spaces that are made here; default: the account's.
        token: Of the Hub.
        endpoint: Of another Hub.

    Returns:
        Address of each commit, by metric.

    Raises:
        KeyError: There is no such metric; before any request.
        PublicationError: The Hub refuses or cannot be reached.
    """
    root = Path(metric_path("fade")).parent
    known = sorted(path.name for path in root.iterdir() if (path / f"{path.name}.py").is_file())
    folders = {name: Path(metric_path(name)) for name in (known if names is None else names)}
    api = hub_client(token, endpoint)
    return {name: _push(api, f"{organization}/{name}", folder, private) for name, folder in folders.items()}


def _push(api: HfApi, repo_id: str, folder: Path, private: bool | None) -> str:
    def make() -> None:
        api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)

    def commit() -> str:
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
        added = [CommitOperationAdd(path.name, path) for path in files]
        return api.create_commit(
            repo_id, added, repo_type="space", commit_message=f"{folder.name} of hf_unlearn"
        ).commit_url

    try:
        patiently(make, f"creating {repo_id}")
        return patiently(commit, f"publishing {repo_id}")
    except Exception as error:
        if hub_cause(error) is None:
            raise
        raise PublicationError(
            f"{repo_id} was not published: {explain(error, repo_id)}. Repeat the same call."
        ) from error
