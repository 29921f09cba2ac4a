"""Evaluate modules as Spaces: `evaluate.load("<org>/<name>")` for everyone.

Each Space carries the library as a wheel and installs it from there, by address and SHA-256: never by its bare name from a package index,
where anybody may have taken the name.
"""

import hashlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from hf_unlearn.audit import metric_path
from hf_unlearn.publishing._hub import PublicationError, explain, hub_cause, hub_client, patiently
from hf_unlearn.publishing._wheel import build_wheel


_IMPORT = re.compile(r"^from hf_unlearn\S* import [^#\n(]+$", re.MULTILINE)


def push_metrics(
    organization: str,
    *,
    names: Sequence[str] | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> dict[str, str]:
    """Publish Evaluate modules as gradio Spaces, one commit each; unchanged ones are left alone.

    This library goes along as a wheel, from which the Space and whoever loads the module install it. The Hub builds a Space without your token:
    the page of a private one starts only once it is public.

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
    with tempfile.TemporaryDirectory() as made:
        wheel = build_wheel(Path(made))
        return {
            name: _push(
                api,
                f"{organization}/{name}",
                space_files(folder, wheel, f"{organization}/{name}", api.endpoint),
                private,
            )
            for name, folder in folders.items()
        }


def space_files(folder: Path, wheel: Path, repo_id: str, endpoint: str) -> dict[str, bytes]:
    """What a Space holds, by name: the module's files, the wheel, and how to install it.

    Args:
        folder: Of the module.
        wheel: Of this library.
        repo_id: Of the Space.
        endpoint: Of the Hub.
    """
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    address = f"{endpoint}/spaces/{repo_id}/resolve/main/{wheel.name}#sha256={digest}"
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}
    script, readme = files[f"{folder.name}.py"].decode(), files["README.md"].decode()
    how = f'\n## Installation\n\n```bash\npip install "hf-unlearn @ {address}"\n```\n'
    return files | {
        wheel.name: wheel.read_bytes(),
        "requirements.txt": files["requirements.txt"] + f"hf-unlearn @ {address}\n".encode(),
        "README.md": (readme + how).encode(),
        # Where the library is missing, Evaluate tells its user to install what stands behind this comment.
        f"{folder.name}.py": _IMPORT.sub(rf"\g<0>  # From: {address}", script).encode(),
    }


def _push(api: HfApi, repo_id: str, files: dict[str, bytes], private: bool | None) -> str:
    def make() -> None:
        api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)

    def commit() -> str:
        added = [CommitOperationAdd(name, data) for name, data in sorted(files.items())]
        message = f"{repo_id.split('/')[-1]} of hf_unlearn"
        return api.create_commit(repo_id, added, repo_type="space", commit_message=message).commit_url

    try:
        patiently(make, f"creating {repo_id}")
        return patiently(commit, f"publishing {repo_id}")
    except Exception as error:
        if hub_cause(error) is None:
            raise
        raise PublicationError(
            f"{repo_id} was not published: {explain(error, repo_id)}. Repeat the same call."
        ) from error
