"""The stand-in of a retrained model: what the original says about substitutes, asked before training and kept where memory allows.

Knows a model, forget rows and how much memory there is. Does not know losses, optimisation or a Trainer.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hf_unlearn.functional import IGNORE_INDEX, Continuations, answer_positions
from hf_unlearn.inference import undisturbed, vocabulary_size
from hf_unlearn.objectives import CounterfactualBatch, CounterfactualStates, OriginalModel, SoftLabels, StandInOptions
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._counterfactual_rows import asked_rows
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._hidden_states import HiddenStates
from hf_unlearn.training._retain_examples import answer_ids
from hf_unlearn.training._stand_in_labels import Spoken, Told, spoken
from hf_unlearn.training._told_answers import told_answers


logger = logging.getLogger(__name__)
_FEW = 32


class StandIn:
    """What the model before unlearning says about substitutes, for every forget row.

    Args:
        compute: With that model.
        forget: With the column `counterfactual_question`.
        options: How many substitutes, which cleansing, how much memory.
        retain: Retained examples, tokenized; and how many there are for each of them.
        states: Of the model's blocks; None: no hidden states are wanted.
        seed: Of the answers and of the order in which they are taken.

    Attributes:
        has_term: Which rows have counterfactual questions; shape `(rows,)`.
        is_cached: Whether all is computed already; else the original must be asked in each step.
        outside: Mean and largest probability that a label leaves to the tokens which it does not name: by so much, at most, a taught
            distribution differs from the original's (total variation). 0 where nothing is cached.
        forget_share: Mean probability per token of the original's answers that was the forget answers' and is taken out; None where that is
            not known: without cleansing, and where nothing is cached.

    Raises:
        ValueError: Rows without counterfactual questions, or nothing to cleanse with.
    """

    def __init__(
        self,
        compute: Compute,
        forget: ForgetData,
        options: StandInOptions,
        *,
        retain: tuple[Sequence[Mapping[str, Any]], float],
        states: HiddenStates | None,
        seed: int,
    ):
        self._compute, self._forget, self._options, self._states = compute, forget, options, states
        rows = asked_rows(forget, num=options.num_counterfactuals, max_left_out=options.max_left_out)
        self._cleansing = self._leak(retain) if options.cleansing else None
        assert forget.tokenizer is not None
        self._told = told_answers(
            compute, rows, forget.tokenizer, names_per_answer=options.names_per_answer, seed=seed
        )
        self.has_term = np.array([bool(told) for told in self._told])
        self._order = [
            np.random.default_rng([seed, at]).permutation(max(1, len(told) - 1)) for at, told in enumerate(self._told)
        ]
        needed = self._bytes()
        self.is_cached = needed <= options.cache_gib * 2**30
        self.outside = (0.0, 0.0)
        self.forget_share: float | None = None
        self._kept: list[tuple[Spoken, ...]] = []
        if self.is_cached:
            self._keep()
        else:
            logger.warning(
                "what the original says about substitutes would take %.1f GiB, more than cache_gib=%s: it is asked in every step.",
                needed / 2**30,
                options.cache_gib,
            )
        self._variance = self._state_variance() if states is not None else None

    def sampled(self, index: int, visit: int) -> Told | None:
        """The original's answer that a row takes at its so-manieth visit, from 0; None where the row is left out."""
        told = self._told[index]
        return told[1 + self._place(index, visit)] if told else None

    def examples(self, indices: np.ndarray, visit: int) -> list[dict[str, list[int]]]:
        """For each row the true question with the original's answer; a row that is left out stands for itself, and weighs nothing."""
        found = []
        for index in indices:
            told = self.sampled(index, visit)
            ids, labels = self._forget.examples[index]["input_ids"], self._forget.examples[index]["labels"]
            if told is not None:
                prompt = list(ids[: next(at for at, label in enumerate(labels) if label != IGNORE_INDEX)])
                ids, labels = prompt + told.ids, [IGNORE_INDEX] * len(prompt) + told.ids
            found.append({"input_ids": list(ids), "labels": list(labels)})
        return found

    def batch(
        self,
        indices: np.ndarray,
        visit: int,
        logits: tuple[torch.Tensor, torch.Tensor],
        rows: tuple[torch.Tensor, torch.Tensor],
        states: torch.Tensor | None,
        original: OriginalModel | None,
    ) -> CounterfactualBatch:
        """Put the current model beside the original.

        Args:
            indices: Of the rows.
            visit: How often all rows have been taken before.
            logits: Of the current model, on the tokens of `examples`, and of the true answers.
            rows: Of which row each of these tokens is.
            states: Of the current model on the true answers, shape `(tokens, layers, width)`.
            original: To be asked where nothing is cached.
        """
        said = self._said(indices, visit, original)
        device = logits[0].device
        labels, weights = [], []
        for part, (own_logits, own_rows) in enumerate(zip(logits, rows, strict=True)):
            counts = torch.bincount(own_rows, minlength=len(indices)).tolist()
            labels += [
                self._labels(None if found is None else found[part], count, own_logits.shape[-1])
                for found, count in zip(said, counts, strict=True)
            ]
            weights += [
                torch.full((count,), 0.0 if found is None else 1 / count)
                for found, count in zip(said, counts, strict=True)
            ]
        width = max(each.ids.shape[1] for each in labels)
        widened = [_widened(each, width) for each in labels]
        is_true = torch.arange(len(logits[0]) + len(logits[1])) >= len(logits[0])
        weight = torch.cat(weights)
        found_states = None
        if states is not None:
            found_states = self._compared(states, rows[1], weight[len(logits[0]) :], said)
        return CounterfactualBatch(
            torch.cat(logits),
            SoftLabels(
                torch.cat([each.ids for each in widened]).to(device).long(),
                torch.cat([each.probabilities for each in widened]).to(device),
            ),
            torch.cat(rows),
            is_true.to(device),
            weight.to(device),
            found_states,
        )

    def _compared(
        self,
        states: torch.Tensor,
        rows: torch.Tensor,
        weights: torch.Tensor,
        said: Sequence[tuple[Spoken, Spoken] | None],
    ) -> CounterfactualStates:
        assert self._variance is not None
        stand_in, present = [], []
        for at, found in enumerate(said):
            count = int((rows == at).sum())
            if found is None or found[1].states is None:
                stand_in.append(torch.zeros(count, *states.shape[1:]))
                present.append(torch.zeros(count))
            else:
                stand_in.append(found[1].states.float().cpu())
                present.append(found[1].has_states.float().cpu())
        return CounterfactualStates(
            states,
            torch.cat(stand_in).to(states.device),
            self._variance.to(states.device),
            rows,
            (torch.cat(present) * weights).to(states.device),
        )

    def _labels(self, found: Spoken | None, count: int, vocabulary: int) -> SoftLabels:
        if found is None:
            return SoftLabels(torch.zeros(count, 1, dtype=torch.long), torch.ones(count, 1))
        assert len(found.labels.ids) == count and int(found.labels.ids.max()) < vocabulary
        return SoftLabels(found.labels.ids.cpu(), found.labels.probabilities.cpu())

    def _place(self, index: int, visit: int) -> int:
        order = self._order[index]
        return int(order[visit % len(order)])

    def _said(
        self, indices: np.ndarray, visit: int, original: OriginalModel | None
    ) -> list[tuple[Spoken, Spoken] | None]:
        """Of each row the original's answer and the true one."""
        if self.is_cached:
            return [
                (self._kept[index][1 + self._place(index, visit)], self._kept[index][0]) if self._told[index] else None
                for index in indices
            ]
        assert original is not None
        with original.asked() as asked, self._compute.accelerator.autocast():
            return [
                (
                    self._speak(asked, self._told[index][1 + self._place(index, visit)]),
                    self._speak(asked, self._told[index][0]),
                )
                if self._told[index]
                else None
                for index in indices
            ]

    # Asking the original.

    def _leak(self, retain: tuple[Sequence[Mapping[str, Any]], float]) -> Continuations:
        examples, scale = retain
        if not examples:
            raise ValueError(
                "the objective's cleansing compares forget answers with retained ones, and no retained answers can be read: give a training "
                "set with labels on its answers (a loop of your own: retain_dataset=), or switch it off (cleansing=False), which leaves "
                "in the model what the original tells of the forget answers to anybody."
            )
        return Continuations(
            [answer_ids(example) for example in self._forget.examples],
            [answer_ids(example) for example in examples],
            context=self._options.cleansing_context,
            pseudo_count=self._options.pseudo_count,
            retain_scale=scale,
        )

    def _speak(self, model: torch.nn.Module, told: Told) -> Spoken:
        top_k = self._options.top_k if self.is_cached else None
        return spoken(told, lambda prompts, answers: self._read(model, prompts, answers), self._cleansing, top_k)

    def _read(
        self, model: torch.nn.Module, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        log_probs: list[torch.Tensor] = []
        states: list[torch.Tensor] = []
        for start in range(0, len(prompts), self._compute.eval_batch_size):
            part = slice(start, start + self._compute.eval_batch_size)
            batch = [
                {"input_ids": [*prompt, *answer], "labels": [IGNORE_INDEX] * len(prompt) + list(answer)}
                for prompt, answer in zip(prompts[part], answers[part], strict=True)
            ]
            inputs = self._compute.on_device(self._forget.collator(batch))
            rows, positions, _ = answer_positions(inputs.pop("labels"))
            sizes = [len(answer) for answer in answers[part]]
            if self._states is None:
                logits = model(**inputs).logits
            else:
                with self._states.collecting(model, inputs) as found:
                    logits = model(**inputs).logits
                states += torch.stack([layer[rows, positions] for _, layer in sorted(found.items())], 1).split(sizes)
            log_probs += logits[rows, positions].float().log_softmax(-1).split(sizes)
        return log_probs, states

    def _keep(self) -> None:
        logger.info("asking the original about %d substitutes' answers", sum(map(len, self._told)))
        model = self._compute.model
        with undisturbed(model), self._compute.accelerator.autocast():
            self._kept = [
                tuple(_on_cpu(self._speak(model, told), at == 0) for at, told in enumerate(row)) for row in self._told
            ]
        said = [found for row in self._kept for found in row]
        outside = torch.cat([found.outside for found in said])
        self.outside = (float(outside.mean()), float(outside.max()))
        logger.info(
            "labels keep %d tokens; the others have %.2g of the probability in the mean, at most %.2g.",
            self._options.top_k,
            *self.outside,
        )
        if self._cleansing is not None:
            self.forget_share = float(
                torch.cat([found.forget_share for row in self._kept for found in row[1:]]).mean()
            )
            logger.info(
                "forget answers had %.1f%% of the probability in what the original says about substitutes; it is taken out.",
                100 * self.forget_share,
            )

    def _state_variance(self) -> torch.Tensor:
        """Of the original's states over tokens of true answers, by layer, mean over the width."""
        if self.is_cached:
            said = [row[0] for row in self._kept if row]
        else:
            model, few = self._compute.model, [row[0] for row in self._told if row][:_FEW]
            with undisturbed(model), self._compute.accelerator.autocast():
                said = [self._speak(model, told) for told in few]
        states = torch.cat([each.states[each.has_states].float().cpu() for each in said if each.states is not None])
        # One token has no variance; neither has a block whose states are all the same.
        variance = states.var(0, correction=0).mean(-1)
        return variance.clamp(min=torch.finfo(torch.float32).tiny) if len(states) > 1 else torch.ones_like(variance)

    def _bytes(self) -> float:
        """Of everything that would be kept."""
        top_k = min(self._options.top_k, vocabulary_size(self._compute.model))
        labels = sum(len(told.ids) for row in self._told for told in row) * top_k * 8
        if self._states is None:
            return labels
        width = self._compute.model.config.get_text_config().hidden_size
        return labels + sum(len(row[0].ids) for row in self._told if row) * self._states.reader.depth * width * 4


def _on_cpu(found: Spoken, with_states: bool) -> Spoken:
    """As it is kept: small."""
    labels = SoftLabels(found.labels.ids.int().cpu(), found.labels.probabilities.cpu())
    states = found.states.cpu() if with_states and found.states is not None else None
    return Spoken(labels, found.outside.cpu(), found.forget_share, states, found.has_states.cpu())


def _widened(labels: SoftLabels, width: int) -> SoftLabels:
    """With more tokens named: the first one again, with probability 0."""
    missing = width - labels.ids.shape[1]
    if not missing:
        return labels
    ids = torch.cat([labels.ids, labels.ids[:, :1].expand(-1, missing)], 1)
    return SoftLabels(ids, torch.nn.functional.pad(labels.probabilities, (0, missing)))
