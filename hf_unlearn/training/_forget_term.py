"""The forget term of the loss: what the objective asks for, on any forget examples, under the current model and the original.

Knows a Trainer's model and an objective. Does not know optimisation steps, weights or logs.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import Trainer

from hf_unlearn.functional import answer_mask, answer_positions, sequence_log_probs, step_divergence, token_log_probs
from hf_unlearn.inference import (
    HiddenReader,
    undisturbed,
    vocabulary_size,
)
from hf_unlearn.objectives import ForgetBatch, Objective, OriginalModel
from hf_unlearn.training._alternatives import alternative_examples
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._original_scores import original_log_probs
from hf_unlearn.training._quiet import quiet


logger = logging.getLogger(__name__)


class _LayerReached(Exception):
    """Carries a hidden state out of a forward pass that need not go on."""

    def __init__(self, hidden: torch.Tensor):
        super().__init__()
        self.hidden = hidden


class ForgetTerm:
    """Unreduced losses of an objective on forget examples.

    Args:
        trainer: Whose model forgets; what the original says is taken from it now.
        objective: The objective.
        forget: The forget set.
        seed: Of generated alternatives.
    """

    def __init__(
        self,
        trainer: Trainer,
        objective: Objective,
        forget: ForgetData,
        *,
        seed: int,
    ):
        self.trainer, self.objective, self.forget = trainer, objective, forget
        needs = set(objective.needs)
        if forget.is_classification and needs & {"hidden", "alternative", "original_alternative_log_probs"}:
            raise ValueError(f"objective {objective.name!r} is for language models; the model is a classifier.")
        self.alternatives: list[dict[str, list[int]]] = []
        if "alternative" in needs:
            source = getattr(objective, "alternatives", "column")
            self.alternatives = alternative_examples(
                trainer,
                forget.rows,
                forget.examples,
                forget.tokenizer,
                source=source,
                seed=seed,
                prompt_template=forget.prompt_template,
            )
        self._original_log_probs = self._score(None) if "original_log_probs" in needs else None
        self._original_alternatives = (
            self._score(self.alternatives) if "original_alternative_log_probs" in needs else None
        )
        self._kept: OriginalModel | None = None
        self._original = self.original() if "original_logits" in needs else None
        self.reader: HiddenReader | None = None
        self.layer, self._hidden_norm = 0, 0.0
        if "hidden" in needs:
            self._find_layer()

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
            model: The Trainer's, perhaps wrapped.
            indices: Of the examples.

        Returns:
            The losses; and the log-probabilities of the answer tokens, detached, where they were computed.
        """
        with quiet(self.trainer.model):
            return self._losses(model, indices)

    def _losses(self, model: torch.nn.Module, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        inputs = self._on_device(self.forget.batch(indices))
        labels = inputs.pop("labels")
        if "hidden" in self.objective.needs:
            return self.objective(self._hidden_batch(model, inputs, labels)), None
        logits = model(**inputs).logits
        log_probs, mask, flat, targets = _read(logits, labels, self.forget.is_classification)
        needs = self.objective.needs
        original_logits = None
        if self._original is not None:
            with self.trainer.accelerator.autocast():
                original_logits = _read(self._original.logits(inputs), labels, self.forget.is_classification)[2]
        parts: dict[str, Any] = {}
        if self.alternatives:
            alternative = self._on_device(self.forget.collator([self.alternatives[index] for index in indices]))
            alternative_labels = alternative.pop("labels")
            parts["alternative_token_log_probs"] = token_log_probs(model(**alternative).logits, alternative_labels)
            parts["alternative_mask"] = answer_mask(alternative_labels)
            if self._original_alternatives is not None:
                parts["original_alternative_log_probs"] = self._of_original(
                    self._original_alternatives, indices, parts["alternative_token_log_probs"]
                )
        if self._original_log_probs is not None:
            parts["original_log_probs"] = self._of_original(self._original_log_probs, indices, log_probs)
        if "logits" in needs:
            parts |= {"logits": flat, "targets": targets}
        if original_logits is not None:
            parts["original_logits"] = original_logits
        return self.objective(ForgetBatch(log_probs, mask, **parts)), log_probs.detach()[mask]

    # Hidden states.

    def open_layers(self) -> None:
        """Find the model's blocks, and the one that the objective (or, without one, RMU's rule) names."""
        model = self.trainer.model
        inputs = self._on_device(self.forget.batch([0]))
        inputs.pop("labels")
        with undisturbed(model):
            self.reader = HiddenReader(model, inputs)
        if not self.reader.has_blocks:
            raise ValueError(f"the blocks of {type(model).__name__} were not found; hidden states cannot be trained.")
        wanted = getattr(self.objective, "layer", None)
        self.layer = max(1, round(self.reader.depth * 7 / 32)) if wanted is None else int(wanted)
        if not 1 <= self.layer <= self.reader.depth:
            raise ValueError(
                f"{self.objective.name} cannot use layer {self.layer}: the model has layers 1 to {self.reader.depth}."
            )

    def _find_layer(self) -> None:
        """The objective's block; and how long its states are under the original, on the first examples."""
        self.open_layers()
        inputs = self._on_device(self.forget.batch(range(min(8, len(self.forget.examples)))))
        rows, positions, _ = answer_positions(inputs.pop("labels"))
        with undisturbed(self.trainer.model):
            states = self.hidden(self.trainer.model, inputs)[rows, positions]
        self._hidden_norm = float(states.float().norm(dim=-1).mean())

    def trained_parameters(self) -> set[str] | None:
        """Names of the weights that the objective trains; None: all that train already.

        For hidden states: the MLP output matrices (or what stands last in the MLP) of the target block and the two before it; with an
        adapter, the adapter.
        """
        if "hidden" not in self.objective.needs or isinstance(self.trainer.model, PeftModel):
            return None
        assert self.reader is not None and self.reader.blocks is not None
        matrices = set()
        for block in list(self.reader.blocks)[max(0, self.layer - 3) : self.layer]:
            found = [
                name
                for name, p in block.named_parameters()
                if (p.dim() == 2 and "mlp" in name) or (p.dim() == 2 and "down" in name)
            ]
            last = [
                name
                for name in found
                if any(word in name for word in ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "w2"))
            ]
            if not (last or found):
                raise ValueError(
                    f"no MLP output matrix was found in {type(block).__name__}; pass a PEFT model to choose what trains."
                )
            matrices |= {id(dict(block.named_parameters())[(last or found)[-1]])}
        return {name for name, p in self.trainer.model.named_parameters() if id(p) in matrices}

    def saliency_masks(self, share: float) -> dict[str, torch.Tensor]:
        """1 where the gradient of the forget answers' NLL under the model as it is now is among the largest, else 0."""
        model = self.trainer.model
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        sums = {name: torch.zeros_like(p) for name, p in trained.items()}
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        with torch.random.fork_rng():
            for batch in self.forget.batches(self.trainer.args.per_device_eval_batch_size):
                batch = self._on_device(batch)
                labels = batch.pop("labels")
                log_probs = _read(model(**batch).logits, labels, self.forget.is_classification)[0]
                gradients = torch.autograd.grad(log_probs.sum(), list(trained.values()), allow_unused=True)
                for name, gradient in zip(trained, gradients, strict=True):
                    if gradient is not None:
                        sums[name] += gradient
        for module, training in modes:
            module.training = training
        sizes = torch.cat([value.abs().flatten() for value in sums.values()])
        kept = max(1, round(share * sizes.numel()))
        threshold = sizes.kthvalue(sizes.numel() - kept + 1).values
        return {name: (value.abs() >= threshold).to(value.dtype) for name, value in sums.items()}

    def probe(self) -> dict[str, torch.Tensor]:
        """What the model takes, of one forget example."""
        batch = self._on_device(self.forget.batch([0]))
        return {name: value for name, value in batch.items() if name != "labels"}

    def num_outputs(self) -> int:
        """Tokens of the vocabulary, or classes."""
        model = self.trainer.model
        return int(model.config.num_labels) if self.forget.is_classification else vocabulary_size(model)

    def hidden(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, Any],
        layer: int | None = None,
        reader: HiddenReader | None = None,
    ) -> torch.Tensor:
        """Output of the block, shape `(batch, length, width)`; the forward pass stops there where no other process would wait.

        Args:
            model: The Trainer's, perhaps wrapped, or the original with its own reader.
            inputs: As its forward takes them; packed rows bring more than tensors.
            layer: Default: the objective's.
            reader: Of the model's blocks.
        """
        reader = reader or self.reader
        assert reader is not None
        kept: list[torch.Tensor] = []
        stops = self.trainer.args.world_size == 1

        def take(_: int, hidden: torch.Tensor) -> None:
            if stops:
                raise _LayerReached(hidden)
            kept.append(hidden)

        with reader.listening([layer or self.layer], take):
            try:
                model(**inputs)
            except _LayerReached as reached:
                kept.append(reached.hidden)
        return kept[0][:, -inputs["input_ids"].shape[1] :]

    def _hidden_batch(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor
    ) -> ForgetBatch:
        rows, positions, _ = answer_positions(labels)
        mask = answer_mask(labels)
        nothing = torch.zeros(mask.shape, device=labels.device)
        states = self.hidden(model, inputs)[rows, positions]
        return ForgetBatch(nothing, mask, hidden=states, original_hidden_norm=self._hidden_norm)

    # What the original says.

    def _of_original(self, values: torch.Tensor, indices: np.ndarray, log_probs: torch.Tensor) -> torch.Tensor:
        """In the precision of the sums they are compared with: at the start their difference is almost nothing."""
        return values[indices].to(log_probs.device, sequence_log_probs(log_probs[:1]).dtype)

    def original(self) -> OriginalModel:
        """The model as it was at the first call, where its full outputs are needed during training."""
        if self._kept is None:
            with self.trainer.accelerator.autocast():
                self._kept = OriginalModel(self.trainer.model, self.probe())
        return self._kept

    def _score(self, alternatives: list[dict[str, Any]] | None) -> torch.Tensor:
        """log p of every forget answer, or alternative answer, under the model as it is now."""
        return original_log_probs(self.trainer, self.forget, alternatives)

    def _on_device(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value.to(self.trainer.args.device) for name, value in batch.items()}


def _read(
    logits: torch.Tensor, labels: torch.Tensor, is_classification: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token log-probabilities, their mask, the logits of answer tokens, and those tokens; a class is an answer of one token."""
    if is_classification:
        log_probs = logits.float().log_softmax(-1).gather(1, labels[:, None])
        return log_probs, torch.ones_like(log_probs, dtype=torch.bool), logits, labels
    rows, positions, targets = answer_positions(labels)
    return token_log_probs(logits, labels), answer_mask(labels), logits[rows, positions], targets


def kl_losses(logits: torch.Tensor, original_logits: torch.Tensor) -> torch.Tensor:
    """KL(p_o‖p_θ) of class distributions, shape `(examples,)`."""
    return step_divergence(original_logits, logits)


@contextmanager
def trained_alone(model: torch.nn.Module, chosen: Callable[[str], bool]) -> Iterator[None]:
    """Inside, only parameters of chosen names (of those that train now) get gradients."""
    frozen = [p for name, p in model.named_parameters() if p.requires_grad and not chosen(name)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
