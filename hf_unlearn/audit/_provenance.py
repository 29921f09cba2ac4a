"""Where an audit's numbers come from: models, data and versions, without paths and without texts."""

import itertools
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.inference import ModelLike, View, Viewable, hub_commit, split_revision


def describe_model(model: ModelLike, subject: LoadedSubject) -> dict[str, str]:
    """A Hub id as it is, with its revision; of a local path only the last part, since a report may travel.

    Only a model that was given by its id is said to be of the Hub: a loaded one may have been changed since, whatever name it kept.
    """
    config = subject.model.config
    given = isinstance(model, (str, os.PathLike))
    commit = hub_commit(model) if isinstance(model, (str, os.PathLike)) else None
    name = str(model) if given else getattr(config, "_name_or_path", "")
    described = {
        "name": name,
        "weights_sha256": subject.weights_sha256,
        "dtype": str(subject.model.dtype).removeprefix("torch."),
    }
    if commit is None:
        return {**described, "name": Path(name).name, "source": "local" if given else "memory"}
    return {**described, "name": split_revision(name)[0], "source": "hub", "revision": commit}


def notes_on_equals(models: Mapping[str, Viewable], described: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Roles that were given one model: what an audit says of them is true and says nothing.

    Args:
        models: By role, as they are at work there.
        described: By role, as from `describe_model`.
    """
    what = {
        role: (described[role]["weights_sha256"], model.adapters if isinstance(model, View) else None)
        for role, model in models.items()
    }
    return [
        f"{first} and {second} have equal weights: unless their settings differ they are one and the same model, and every distance between "
        "them is 0, whatever they were meant to be. Where that was not meant: PEFT's merge_and_unload changes the model that the adapter "
        "was made from and returns it; load each model for itself."
        for first, second in itertools.combinations(what, 2)
        if what[first] == what[second]
    ]


def library_versions() -> dict[str, str]:
    names = ("hf-unlearn", "torch", "transformers", "peft", "datasets", "accelerate")
    # The harness decides numbers only where it was asked, and then it is imported.
    return {name: version(name) for name in (*names, *(("lm_eval",) if "lm_eval" in sys.modules else ()))}
