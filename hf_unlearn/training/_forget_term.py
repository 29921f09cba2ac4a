"""The forget term of the loss: what the objective asks for, on any forget examples, under the current model and the original.

Knows a model and an objective. Does not know optimisation steps, weights, logs or a Trainer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from hf_unlearn.functional import answer_mask, answer_positions, sequence_log_probs
from hf_unlearn.inference import undisturbed, vocabulary_size
from hf_unlearn.objectives import (
    CounterfactualBatch,
    ForgetBatch,
    ModelParts,
    Objective,
    ObjectiveBase,
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
from hf_unlearn.training._stand_in import StandIn


FOR_LANGUAGE = {"hidden", "alternative", "original_alternative_log_probs", "counterfactual", "counterfactual_states"}
"""Needs that a classifier cannot meet."""
_FEW = 8


class ForgetTerm:
    """Unreduced losses of an objective on forget examples.

    Args:
        compute: Whose model forgets; what the original says is taken from it now.
        objective: The objective.
        forget: The forget set.
        seed: Of generated alternatives, and of what the original says about substitutes.
        retain: Retained examples, tokenized, and how many there are for each of them; for objectives that need "counterfactual".

    Attributes:
        objective: As it was prepared for this model.
        alternatives: Alternative answers to the forget prompts, tokenized, where the objective needs them.
        stand_in: What the original says about substitutes, where the objective needs it.
        parts: The model before training, as the objective was shown it.

    Raises:
        ValueError: The objective cannot be had from this model or these rows.
    """

    def __init__(
        self,
        compute: Compute,
        objective: Objective,
        forget: ForgetData,
        *,
        seed: int,
        retain: tuple[Sequence[Mapping[str, Any]], float] = ((), 1.0),
    ):
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
        self.stand_in = self._make_stand_in(given, seed, retain) if "counterfactual" in needs else None
        asks_later = self.stand_in is not None and not self.stand_in.is_cached
        self._original = self.original() if "original_logits" in needs or asks_later else None
        blocks = self.states().blocks if "hidden" in needs else ()
        self.parts = ModelParts(compute.model, blocks, isinstance(compute.model, PeftModel))
        self.objective = completed(get_objective(given.prepare(self.parts)))
        self._hidden_norm = self._original_hidden_norm() if "hidden" in needs else 0.0

    def normaliser(self, whole: np.ndarray) -> float:
        """Over what the step's sum of losses is divided: answer tokens, examples or tokens of alternatives of the whole step."""
        if self.objective.reduction == "example":
            # Rows that are left out have no loss and do not thin out that of the others.
            return float(len(whole) if self.stand_in is None else max(1, self.stand_in.has_term[whole].sum()))
        if self.objective.reduction == "alternative_token":
            lengths = (sum(label != -100 for label in self.alternatives[index]["labels"][1:]) for index in whole)
            return float(sum(lengths))
        return float(self.forget.num_answer_tokens[whole].sum())

    def losses(
        self, model: torch.nn.Module, indices: np.ndarray, *, visit: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The objective's losses on some examples, with gradient; without the training's noise, see `quiet`.

        Args:
            model: The model in training, perhaps wrapped.
            indices: Of the examples.
            visit: How often all examples have been taken before; decides which of several answers they take.

        Returns:
            The losses; and the log-probabilities of the answer tokens, detached, where they were computed.
        """
        with quiet(self.compute.model):
            inputs = self.compute.on_device(self.forget.batch(indices))
            labels = inputs.pop("labels")
            if "hidden" in self.objective.needs:
                return self.objective(self._hidden_batch(model, inputs, labels)), None
            batch = self._batch(model, inputs, labels, indices, visit)
            return self.objective(batch), batch.token_log_probs.detach()[batch.answer_mask]

    def _batch(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        labels: torch.Tensor,
        indices: np.ndarray,
        visit: int,
    ) -> ForgetBatch:
        is_class = self.forget.is_classification
        parts: dict[str, Any] = {}
        if "counterfactual_states" in self.objective.needs:
            with self.states().collecting(model, inputs) as found:
                outputs = model(**inputs)
            states = _on_answers(found, labels)
        else:
            outputs, states = model(**inputs), None
        seen = answer_outputs(outputs.logits, labels, is_class)
        if self.stand_in is not None:
            rows = answer_positions(labels)[0]
            parts["counterfactual"] = self._counterfactual(model, indices, visit, seen.logits, rows, states)
        if "logits" in self.objective.needs:
            parts |= {"logits": seen.logits, "targets": seen.targets}
        if "original_logits" in self.objective.needs:
            assert self._original is not None
            with self.compute.accelerator.autocast():
                parts["original_logits"] = answer_outputs(self._original.logits(inputs), labels, is_class).logits
        if self._original_log_probs is not None:
            parts["original_log_probs"] = _as_precise_as(seen.log_probs, self._original_log_probs[indices])
        if self.alternatives:
            parts |= self._alternative_parts(model, indices)
        return ForgetBatch(seen.log_probs, seen.mask, **parts)

    def _make_stand_in(
        self, objective: ObjectiveBase, seed: int, retain: tuple[Sequence[Mapping[str, Any]], float]
    ) -> StandIn:
        states = self.states() if "counterfactual_states" in objective.needs else None
        return StandIn(self.compute, self.forget, objective.stand_in(), retain=retain, states=states, seed=seed)

    def _counterfactual(
        self,
        model: torch.nn.Module,
        indices: np.ndarray,
        visit: int,
        logits: torch.Tensor,
        rows: torch.Tensor,
        states: torch.Tensor | None,
    ) -> CounterfactualBatch:
        """The current model on the original's answers, too, and all of it beside the original."""
        assert self.stand_in is not None
        inputs = self.compute.on_device(self.forget.collator(self.stand_in.examples(indices, visit)))
        labels = inputs.pop("labels")
        seen = answer_outputs(model(**inputs).logits, labels, is_classification=False)
        own = answer_positions(labels)[0]
        return self.stand_in.batch(indices, visit, (seen.logits, logits), (own, rows), states, self._original)

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


def _on_answers(found: Mapping[int, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """States where answer tokens are predicted, shape `(answer tokens, layers, width)`."""
    rows, positions, _ = answer_positions(labels)
    return torch.stack([found[layer][rows, positions] for layer in sorted(found)], 1)


def _as_precise_as(log_probs: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """In the precision of the sums they are compared with: at the start their difference is almost nothing."""
    return original.to(log_probs.device, sequence_log_probs(log_probs[:1]).dtype)
