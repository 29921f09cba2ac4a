"""Whether a path or an id leads to a model, and whether what was opened from there is the whole of it.

transformers and PEFT fill a weight that a file lacks with random numbers and go on; here that is an error. Knows files and names of weights.
"""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers.utils.hub import cached_file


ADAPTER_WEIGHTS = "adapter_model.safetensors"
# Buffers that older checkpoints carry and that a model computes for itself.
_COMPUTED = re.compile(r"\.(rotary_emb\.inv_freq|attn\.(masked_)?bias|attention\.(masked_)?bias|position_ids)$")
# A head on top of the layers, which `AutoModel` leaves out or adds at random, and whose outputs are not read.
_HEAD = re.compile(r"(^|\.)pooler\.")


def split_revision(name: str | os.PathLike, revision: str | None = None) -> tuple[str, str | None]:
    """A model reference as name and revision: `me/model@v1` is revision v1 of the Hub's me/model, unless there is such a path here.

    Args:
        name: Path, id, or id with a revision (branch, tag, commit or `refs/pr/1`).
        revision: Given beside it.

    Raises:
        FileNotFoundError: Nothing before or behind the `@`.
        ValueError: Two different revisions.

    Example:
        >>> split_revision("me/model@v1"), split_revision("me/model")
        (('me/model', 'v1'), ('me/model', None))
    """
    name = str(name)
    if "@" not in name or os.path.exists(name) or os.path.isabs(name) or name.startswith((".", "~")):
        return name, revision
    repository, _, named = name.partition("@")
    if revision is not None and revision != named:
        raise ValueError(
            f"{name!r} names the revision {named!r}, and revision={revision!r} was given; pass one of them."
        )
    if not repository or not named:
        raise FileNotFoundError(
            f"cannot open model {name!r}: there is no such folder, and a revision is written behind an id, as in me/model@v1."
        )
    return repository, named


def hub_commit(name: str | os.PathLike) -> str | None:
    """The commit of a Hub id (or of one of its revisions) that lies in the cache, so that was opened; None of a path or what was not."""
    try:
        repository, revision = split_revision(name)
        if os.path.exists(repository):
            return None
        found = [
            try_to_load_from_cache(repository, file, revision=revision)
            for file in ("config.json", "adapter_config.json")
        ]
    except (HFValidationError, FileNotFoundError):
        return None
    # …/snapshots/<commit>/config.json
    return next((os.path.basename(os.path.dirname(path)) for path in found if isinstance(path, str)), None)


def refuse_unknown(name: str, revision: str | None = None) -> None:
    """Say at once that a path or id leads nowhere; without a network the clients try for minutes.

    Raises:
        FileNotFoundError: No such folder, nothing of it in the cache, and the Hub does not have it or cannot be reached.
    """
    if os.path.isdir(name):
        return
    if os.path.isfile(name):
        raise FileNotFoundError(f"cannot open model {name!r}: it is a file; pass the folder that holds it.")
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise FileNotFoundError(
            f"cannot open model {name!r}: there is no such folder, and it cannot be a Hub id."
        ) from None
    if os.path.isabs(name) or name.startswith((".", "~")):
        raise FileNotFoundError(f"cannot open model {name!r}: there is no such folder.")
    files = ("config.json", "adapter_config.json", "tokenizer_config.json")
    if any(isinstance(try_to_load_from_cache(name, file, revision=revision), str) for file in files):
        return
    shown = name if revision is None else f"{name}@{revision}"
    nowhere = f"cannot open model {shown!r}: there is no such folder here, nothing of it in the cache, and the Hub"
    if constants.HF_HUB_OFFLINE:
        raise FileNotFoundError(f"{nowhere} is not asked (HF_HUB_OFFLINE is set).")
    try:
        HfApi().model_info(name, revision=revision, timeout=10)
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"cannot open model {shown!r}: the Hub's {name} has no branch, tag or commit {revision!r}. ({_first_line(error)})"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(f"{nowhere} does not have it, or not for you. ({_first_line(error)})") from error
    except HfHubHTTPError:
        return  # a Hub that answers, if only that it will not say: opening the model tells why
    except Exception as error:  # of whichever HTTP library the client uses
        raise FileNotFoundError(f"{nowhere} cannot be reached. ({_first_line(error)})") from error


def has_file(name: str, file: str, revision: str | None) -> bool:
    """Whether a folder or repository has a file."""
    return _path_of(name, file, revision) is not None


def check_complete(name: str, model: torch.nn.Module, report: Mapping[str, Any], *, only_body: bool = False) -> None:
    """Refuse a model of which some weights came from nowhere, or whose file holds weights of something else.

    Args:
        name: What was opened.
        model: The model; a buffer that it computes for itself is not missing, a parameter always is.
        report: transformers' own report of loading: `missing_keys`, `unexpected_keys`.
        only_body: The model was opened without its head, whose weights are then left over.

    Raises:
        ValueError: Names them.
    """
    parameters = {key for key, _ in model.named_parameters(remove_duplicate=False)}
    missing = [key for key in report.get("missing_keys", ()) if key in parameters or not _COMPUTED.search(key)]
    unexpected = [key for key in report.get("unexpected_keys", ()) if not _COMPUTED.search(key)]
    if only_body:
        missing, unexpected = [key for key in missing if not _HEAD.search(key)], []
    _refuse(f"model {name!r}", missing, unexpected)


def check_adapter_complete(name: str, model: PeftModel, revision: str | None) -> None:
    """The same of an adapter.

    Raises:
        ValueError: Names what is missing or left over.
    """
    path = _path_of(name, ADAPTER_WEIGHTS, revision)
    assert path is not None
    with safe_open(path, framework="pt") as file:
        found = set(file.keys())
    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    known = wanted | set(model.state_dict())
    _refuse(f"adapter {name!r}", wanted - found, found - known)


def _refuse(what: str, missing: Collection[str], unexpected: Collection[str]) -> None:
    for keys, consequence in (
        (missing, "lacks weights, which would be random numbers"),
        (unexpected, "holds weights that this architecture does not have"),
    ):
        if keys:
            names = sorted(keys)
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise ValueError(
                f"{what} {consequence}: {', '.join(names[:5])}{more}. The file does not belong to its configuration, or was cut; "
                "save the model again."
            )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _path_of(name: str, file: str, revision: str | None) -> str | None:
    if os.path.isdir(name):
        path = os.path.join(name, file)
        return path if os.path.isfile(path) else None
    return cached_file(
        name,
        file,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
