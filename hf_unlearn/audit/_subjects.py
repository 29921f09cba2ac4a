"""The models of a measurement in their roles: opened, fingerprinted, with one tokenizer and one stopping rule. Does not know what is read of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._contracts import SubjectKey
from hf_unlearn.inference import (
    LoadedModel,
    ModelLike,
    View,
    Viewable,
    check_same_tokenizer,
    default_stop_token_ids,
    in_pieces,
    load_processing_class,
    model_fingerprint,
    open_view,
    same_everywhere,
    weights_fingerprint,
)


@dataclass(frozen=True)
class LoadedSubject:
    """A model in its role, opened.

    Attributes:
        key: Its role, and the condition it is under.
        view: Itself, with the adapters that are at work in this role.
        fingerprint: Of everything that decides what it computes: the key of its evidence.
        weights_sha256: Of its weights alone: what a report names.
    """

    key: SubjectKey
    view: View
    fingerprint: str
    weights_sha256: str

    @property
    def model(self) -> LoadedModel:
        """The model, with whichever adapters are at work in it now; what runs it takes the view."""
        return self.view.model


def open_subject(
    key: SubjectKey, model: Viewable, *, dtype: str = "auto", device_map: str | None = None
) -> LoadedSubject:
    """Open a model and take its fingerprints, as it answers in its role.

    Args:
        key: Its role, and the condition it is under.
        model: Path, id, model or view.
        dtype: See `load_model`; of paths and ids. The same for the next one.
        device_map: Where it is put.

    Raises:
        ValueError: Another process has other weights.
    """
    view = open_view(model, dtype=dtype, device_map=device_map)
    with view.active():
        weights = weights_fingerprint(view.model)
        if not in_pieces(view.model):
            same_everywhere(f"the {key}", weights)
        return LoadedSubject(key, view, model_fingerprint(view.model, weights_sha256=weights), weights)


def common_tokenizer(
    models: Mapping[str, ModelLike], processing_class: PreTrainedTokenizerBase | str | None, *, needed: bool
) -> PreTrainedTokenizerBase | None:
    """The tokenizer of all models; those that were saved with one must agree on it."""
    found = {} if processing_class is None else {"processing_class": load_processing_class("", processing_class)}
    for name, model in models.items():
        try:
            found[name] = load_processing_class(model)
        except ValueError:
            continue  # built in memory, or saved without a tokenizer
    if needed and not found:
        raise ValueError("the prompts are texts and no model says where its tokenizer is: pass processing_class=.")
    check_same_tokenizer(found)
    return next(iter(found.values()), None)


def common_stop_token_ids(
    models: Mapping[str, ModelLike], tokenizer: PreTrainedTokenizerBase | None
) -> tuple[int, ...]:
    """One stopping rule for all, or their processes would not be over the same sequences."""
    stops: set[int] = set()
    for model in models.values():
        stops.update(default_stop_token_ids(model, tokenizer))
    return tuple(sorted(stops))
