"""Where an audit's numbers come from: models, data and versions, without paths and without texts."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from hf_unlearn.audit._splits import Split
from hf_unlearn.audit._subjects import Subject
from hf_unlearn.data import data_fingerprint
from hf_unlearn.inference import ModelLike


def describe_model(model: ModelLike, subject: Subject) -> dict[str, str]:
    """A Hub id as it is; of a local path only the last part, since a report may travel."""
    name = str(model) if isinstance(model, (str, os.PathLike)) else getattr(subject.model.config, "_name_or_path", "")
    if os.path.isabs(name) or Path(name).exists():
        name = Path(name).name
    return {
        "name": name,
        "weights_sha256": subject.fingerprint,
        "dtype": str(subject.model.dtype).removeprefix("torch."),
    }


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in ("hf-unlearn", "torch", "transformers", "peft", "datasets", "accelerate")}


def describe_data(splits: Mapping[str, Split]) -> dict[str, dict[str, str | int]]:
    """Per set: the hash of the rows that were used, how many, and of how many."""
    return {
        split.name: {"sha256": data_fingerprint(split.dataset), "rows": len(split.examples), "of": split.total}
        for split in splits.values()
    }
