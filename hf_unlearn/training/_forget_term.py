"""The forget term of the loss: what the objective asks for, on any forget examples, under the current model and the original.

Knows a model and an objective. Does not know optimisation steps, weights, logs or a Trainer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from hf_unlearn.functional import answer_mask, answer_positions, sequence_log_probs
from hf_unlearn.inference import undisturbed, vocabulary_size
from hf_unlearn.objectives import (
    ForgetBatch,
    ModelParts,
    Objective,
    OriginalModel,
    completed,
    default_layer,
    get_objective,
)
from hf_unlearn.training._alternatives import alternative_examples
from hf_unlearn.training._answer_outputs import answer_outputs
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._hidden_states import HiddenStates
from hf_unlearn.training._original_scores import original_log_probs
from hf_unlearn.training._quiet import quiet


FOR_LANGUAGE = {"hidden", "alternative", "original_alternative_log_probs"}
"""Needs that a classifier cannot meet."""
_FEW = 8


class ForgetTerm:
    """Unreduced losses of an objective on forget examples.

    Args:
        compute: Whose model forgets; what the original says is taken from it now.
        objective: The objective.
        forget: The forget set.
        seed: Of generated alternatives.

    Attributes:
        objective: As it was prepared for this model.
        alternatives: Alternative answers to the forget prompts, tokenized, where the objective needs them.
        parts: The model before training, as the objective was shown it.

    Raises:
        ValueError: The objective cannot be had from this model or these rows.
    """

    def __init__(self, compute: Compute, objective: Objective, forget: ForgetData, *, seed: int):
        self.compute, self.forget = compute, forget
        self._states: HiddenStates | None = None
        self._kept: OriginalModel | None = None
        given = completed(objective)
        needs = set(given.needs)
        if forget.is_classification and needs & FOR_LANGUAGE:
            raise ValueError(f"objective {given.name!r} is for language models; the model is a classifier.")
        self.alternatives: list[dict[str, list[int]]] = []
        if "alternative" in needs:
            self.alternatives = alternative_examples(compute, forget, source=given.alternatives, seed=seed)
        self._original_log_probs = self._score(None) if "original_log_probs" in needs else None
        self._original_alternatives = (
            self._score(self.alternatives) if "original_alternative_log_probs" in needs else None
        )
        self._original = self.original() if "original_logits" in needs else None
        blocks = self.states().blocks if "hidden" in needs else ()
        self.parts = ModelParts(compute.model, blocks, isinstance(compute.model, PeftModel))
        self.objective = completed(get_objective(given.prepare(self.parts)))
        self._hidden_norm = self._original_hidden_norm() if "hidden" in needs else 0.0

    def normaliser(self, whole: np.ndarray) -> float:
        """Over what the step's sum of losses is divided: answer tokens, examples or tokens of alternatives of the whole step."""
        if self.objective.reduction == "example":
            return float(len(whole))
        if self.objective.reduction == "alternative_token":
            lengths = (sum(label != -100 for label in self.alternatives[index]["labels"][1:]) for index in whole)
            return float(sum(lengths))
        return float(self.forget.num_answer_tokens[whole].sum())

    def losses(self, model: torch.nn.Module, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The objective's losses on some examples, with gradient; without the training's noise, see `quiet`.

        Args:
            model: The model in training, perhaps wrapped.
            indices: Of the examples.

        Returns:
            The losses; and the log-probabilities of the answer tokens, detached, where they were computed.
        """
        with quiet(self.compute.model):
            inputs = self.compute.on_device(self.forget.batch(indices))
            labels = inputs.pop("labels")
            if "hidden" in self.objective.needs:
                return self.objective(self._hidden_batch(model, inputs, labels)), None
            batch = self._batch(model, inputs, labels, indices)
            return self.objective(batch), batch.token_log_probs.detach()[batch.answer_mask]

    def _batch(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor, indices: np.ndarray
    ) -> ForgetBatch:
        is_class = self.forget.is_classification
        seen = answer_outputs(model(**inputs).logits, labels, is_class)
        parts: dict[str, Any] = {}
        if "logits" in self.objective.needs:
            parts |= {"logits": seen.logits, "targets": seen.targets}
        if self._original is not None:
            with self.compute.accelerator.autocast():
                parts["original_logits"] = answer_outputs(self._original.logits(inputs), labels, is_class).logits
        if self._original_log_probs is not None:
            parts["original_log_probs"] = _as_precise_as(seen.log_probs, self._original_log_probs[indices])
        if self.alternatives:
            parts |= self._alternative_parts(model, indices)
        return ForgetBatch(seen.log_probs, seen.mask, **parts)

    def _alternative_parts(self, model: torch.nn.Module, indices: np.ndarray) -> dict[str, torch.Tensor]:
        inputs = self.compute.on_device(self.forget.collator([self.alternatives[index] for index in indices]))
        labels = inputs.pop("labels")
        seen = answer_outputs(model(**inputs).logits, labels, is_classification=False)
        parts = {"alternative_token_log_probs": seen.log_probs, "alternative_mask": seen.mask}
        if self._original_alternatives is not None:
            original = _as_precise_as(seen.log_probs, self._original_alternatives[indices])
            parts["original_alternative_log_probs"] = original
        return parts

    # Hidden states.

    def states(self) -> HiddenStates:
        """Of the model's blocks, found at the first call."""
        if self._states is None:
            self._states = HiddenStates(self.compute, self.probe())
        return self._states

    @property
    def layer(self) -> int:
        """The block, from 1, that the objective (or, without one, RMU's rule) names.

        Raises:
            ValueError: The model does not have it.
        """
        states, wanted = self.states(), self.objective.layer
        return states.check_layer(
            default_layer(states.reader.depth) if wanted is None else wanted, self.objective.name
        )

    def _original_hidden_norm(self) -> float:
        """Mean length of the layer's states under the model as it is now, on the first examples."""
        inputs = self.compute.on_device(self.forget.batch(range(min(_FEW, len(self.forget.examples)))))
        rows, positions, _ = answer_positions(inputs.pop("labels"))
        with undisturbed(self.compute.model):
            states = self.states().read(self.compute.model, inputs, self.layer)[rows, positions]
        return float(states.float().norm(dim=-1).mean())

    def _hidden_batch(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor
    ) -> ForgetBatch:
        rows, positions, _ = answer_positions(labels)
        mask = answer_mask(labels)
        nothing = torch.zeros(mask.shape, device=labels.device)
        states = self.states().read(model, inputs, self.layer)[rows, positions]
        return ForgetBatch(nothing, mask, hidden=states, original_hidden_norm=self._hidden_norm)

    # The model, and what the original says.

    def probe(self) -> dict[str, torch.Tensor]:
        """What the model takes, of one forget example."""
        batch = self.compute.on_device(self.forget.batch([0]))
        return {name: value for name, value in batch.items() if name != "labels"}

    def num_outputs(self) -> int:
        """Tokens of the vocabulary, or classes."""
        model = self.compute.model
        return int(model.config.num_labels) if self.forget.is_classification else vocabulary_size(model)

    def original(self) -> OriginalModel:
        """The model as it was at the first call, where its full outputs are needed during training."""
        if self._kept is None:
            with self.compute.accelerator.autocast():
                self._kept = OriginalModel(self.compute.model, self.probe())
        return self._kept

    def _score(self, alternatives: list[dict[str, Any]] | None) -> torch.Tensor:
        """log p of every forget answer, or alternative answer, under the model as it is now."""
        return original_log_probs(self.compute, self.forget, alternatives)


def _as_precise_as(log_probs: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """In the precision of the sums they are compared with: at the start their difference is almost nothing."""
    return original.to(log_probs.device, sequence_log_probs(log_probs[:1]).dtype)
