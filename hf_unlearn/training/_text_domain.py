"""The domain of language models around one that is in training: the audit's own readings, on few rows, of a model that changes."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.audit._completion_reading import Sampling
from hf_unlearn.audit._contracts import Reading, SubjectKey
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._subjects import LoadedSubject, common_stop_token_ids
from hf_unlearn.audit.domains import CausalLM
from hf_unlearn.audit.domains._counterfactual_tasks import COMPLETIONS
from hf_unlearn.audit.domains._layers import LayerFacts, check_layers
from hf_unlearn.audit.domains._text_splits import load_splits
from hf_unlearn.config import AuditConfig
from hf_unlearn.data import DataLike
from hf_unlearn.inference import (
    FeatureSettings,
    LoadedModel,
    ModelLike,
    View,
    Viewable,
    check_comparable,
    open_view,
    shortest_context,
    tell_apart,
)


IN_TRAINING = "the Trainer's model"
WITH_ORIGINAL = ("patching", COMPLETIONS)
"""Readings of the model in training that the original takes part in."""


class TextsInTraining(CausalLM):
    """Questions and answers, read by the model of a Trainer and by models that do not change.

    Args:
        trainer: Whose model is the candidate.
        models: "reference", "original", "twin", as given; None where there is none.
        data: "forget" and perhaps "retain".
        tokenizer: Of texts; None where the rows are tokenized.
        config: What the tracker's options are in an audit.
        whole: By name the rows that a set is a part of; substitutes of counterfactual questions stand in none of these either.

    Raises:
        ValueError: Sets that are empty or cannot be read; models that cannot be compared, or share the weights that are being trained.
    """

    default = (
        *("probability", "exact_memorization", "extraction_strength", "truth_ratio"),
        *("fade", "exposure", "residual_ratio", "progress", "cka"),
    )

    def __init__(
        self,
        trainer: Trainer,
        models: Mapping[str, ModelLike | None],
        data: Mapping[str, DataLike | None],
        tokenizer: PreTrainedTokenizerBase | None,
        config: AuditConfig,
        whole: Mapping[str, Dataset] | None = None,
    ):
        self.trainer, self.config, self.store = trainer, config, EvidenceStore(None)
        self.models = {role: model for role, model in models.items() if model is not None}
        self.tokenizer = tokenizer
        everyone = {**self.models, IN_TRAINING: trainer.model}
        self._splits = load_splits(
            data,
            tokenizer,
            config.max_examples,
            config.seed,
            config.allow_overlap,
            config.prompt_template,
            shortest_context(everyone),
            config.cluster_column,
            whole,
        )
        check_comparable(everyone)
        self.views = _told_apart(self.models, trainer.model)
        opened: dict[str, ModelLike] = {IN_TRAINING: trainer.model}
        if "reference" in self.views:
            reference = open_view(self.views["reference"])
            self.views["reference"] = reference
            _refuse_trained(reference.model, trainer.model)
            opened["reference"] = reference.model
        self.stops = common_stop_token_ids({**self.models, **opened}, tokenizer)
        self._layers = LayerFacts(config.space, check_layers(everyone, None))
        assert config.max_new_tokens is not None
        self.sampling = Sampling(config.num_samples, config.max_new_tokens, config.seed)
        self.features = FeatureSettings(batch_size=config.batch_size, seed=config.seed)
        self._readers, self._described, self._without_gradients = {}, {}, {}

    def given(self, role: str) -> Any:
        """The model of a role; the candidate is what the Trainer has now."""
        return self.trainer.model if role == "candidate" else self.views.get(role)

    def open(self, key: SubjectKey, model: Any) -> LoadedSubject:
        """A model in its role; nothing is kept, so that nobody needs to know its weights."""
        subject = LoadedSubject(key, open_view(model), str(key), "")
        self._described.setdefault(key.role, {"dtype": str(subject.model.dtype).removeprefix("torch.")})
        if key.role == "candidate":
            # It was made from the original, and may be quantized by now.
            basis = self._layers.shares_basis
            basis.setdefault("candidate", basis.get("original", False))
            self._layers.shares_original.setdefault("candidate", True)
        return subject

    def let_go(self, readings: Collection[Reading]) -> set[str]:
        """Close what no later measurement is made with; which roles stay.

        Raises:
            ValueError: The original stays, and is being trained.
        """
        with_original = any(reading.name in WITH_ORIGINAL or "original" in reading.parts for reading in readings)
        stay = {"reference", "original"} if with_original else {"reference"}
        original = self.views.get("original")
        if with_original and isinstance(original, View):
            _refuse_trained_original(original, self.trainer.model)
        for kept in (self.views, self.models):
            for role in set(kept) - stay:
                del kept[role]
        self.config = dataclasses.replace(self.config, progress=False)
        for reader in self._readers.values():
            reader.progress = False
        self.counterfactual.quiet()
        return stay


def _told_apart(models: Mapping[str, ModelLike], candidate: LoadedModel) -> dict[str, Viewable]:
    """Views of the fixed models beside the one in training, which may itself be given as the original: it still is, before training."""
    known = any(model is candidate for model in models.values())
    views = tell_apart(models if known else {**models, IN_TRAINING: candidate})
    return {role: views[role] for role in models}


def _refuse_trained_original(original: View, candidate: LoadedModel) -> None:
    """An original that is asked at every measurement must be what it was; with its adapters switched off it is, while only these are trained."""
    trained = {id(parameter) for parameter in candidate.parameters() if parameter.requires_grad}
    if original.adapters == ():
        parts = [getattr(module, name) for module in original.switches for name in module.adapter_layer_names]
        trained -= {id(parameter) for part in parts if hasattr(part, "parameters") for parameter in part.parameters()}
    if any(id(parameter) in trained for parameter in original.model.parameters()):
        raise ValueError(
            "the original has the weights that are being trained, and these metrics ask it at every measurement; give it as a path, or load it anew."
        )


def _refuse_trained(reference: LoadedModel, candidate: LoadedModel) -> None:
    mine = {id(parameter) for parameter in candidate.parameters()}
    if any(id(parameter) in mine for parameter in reference.parameters()):
        raise ValueError(
            "the reference has the weights that are being trained, so it would change with them (an adapter is put into the model "
            "that it is made from); load the reference anew."
        )
