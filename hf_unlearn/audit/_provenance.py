"""Where an audit's numbers come from: models, data and versions, without paths and without texts."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.utils import HFValidationError

from hf_unlearn.audit._splits import Split
from hf_unlearn.audit._subjects import Subject
from hf_unlearn.data import data_fingerprint
from hf_unlearn.inference import ModelLike


def describe_model(model: ModelLike, subject: Subject) -> dict[str, str]:
    """A Hub id as it is, with its revision; of a local path only the last part, since a report may travel.

    Only a model that was given by its id is said to be of the Hub: a loaded one may have been changed since, whatever name it kept.
    """
    config = subject.model.config
    given = isinstance(model, (str, os.PathLike))
    name = str(model) if given else getattr(config, "_name_or_path", "")
    described = {
        "name": name,
        "weights_sha256": subject.weights_sha256,
        "dtype": str(subject.model.dtype).removeprefix("torch."),
    }
    if not given or os.path.isabs(name) or Path(name).exists() or not _of_hub(name):
        return {**described, "name": Path(name).name, "source": "local" if given else "memory"}
    revision = getattr(config, "_commit_hash", None)
    return {**described, "source": "hub", **({"revision": revision} if revision else {})}


def _of_hub(name: str) -> bool:
    try:
        found = [try_to_load_from_cache(name, file) for file in ("config.json", "adapter_config.json")]
    except HFValidationError:
        return False
    return any(isinstance(path, str) for path in found)


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in ("hf-unlearn", "torch", "transformers", "peft", "datasets", "accelerate")}


def describe_data(splits: Mapping[str, Split]) -> dict[str, dict[str, str | int]]:
    """Per set: the hash of the rows that were used, how many, and of how many."""
    return {
        split.name: {"sha256": data_fingerprint(split.dataset), "rows": len(split.examples), "of": split.total}
        for split in splits.values()
    }
