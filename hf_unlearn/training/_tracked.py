"""What a tracker measures: forget and retain answers, live FADE, hidden states, exposure. Knows models and data; no Trainer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import tokenize_examples
from hf_unlearn.functional import (
    IGNORE_INDEX,
    PairedMoments,
    clusters_by_content,
    exact_memorization,
    extraction_strength,
    fade,
    generalized_exposure,
    in_their_span,
    layer_metrics,
    truth_ratio,
)
from hf_unlearn.inference import (
    AnswerReading,
    Completions,
    FeatureSettings,
    LoadedModel,
    ModelLike,
    OwnStates,
    Viewable,
    check_comparable,
    cross_score,
    default_stop_token_ids,
    feature_rows,
    open_view,
    read_answers,
    sample_completions,
    share_starting_weights,
    tell_apart,
)


class AnswerProbe:
    """Probability, memorization and truth ratio on one set.

    Args:
        name: "forget" or "retain".
        rows: The set.
        tokenizer: Its tokenizer; None where the rows are tokenized.
        batch_size: Rows at a time.
        prompt_template: How questions are put, see `tokenize_examples`.
    """

    def __init__(
        self,
        name: str,
        rows: Dataset,
        tokenizer: PreTrainedTokenizerBase | None,
        batch_size: int,
        prompt_template: str | None = None,
    ):
        self.name, self.rows, self.batch_size = name, rows, batch_size
        self.examples = tokenize_examples(rows, tokenizer, prompt_template=prompt_template).to_list()
        self._wrong: list[int] = []
        self._variants: list[dict[str, list[int]]] = []
        if {"question", "paraphrased_answer", "perturbed_answer"} <= set(rows.column_names) and tokenizer is not None:
            # Rows without wrong answers have no truth ratio; it is then that of the others.
            whole = [row for row in rows if row["paraphrased_answer"] and any(row["perturbed_answer"] or ())]
            answers = [[row["paraphrased_answer"], *filter(None, row["perturbed_answer"])] for row in whole]
            self._wrong = [len(texts) - 1 for texts in answers]
            flat = [
                {"question": row["question"], "answer": text}
                for row, texts in zip(whole, answers, strict=True)
                for text in texts
            ]
            if flat:
                variants = tokenize_examples(Dataset.from_list(flat), tokenizer, prompt_template=prompt_template)
                self._variants = variants.to_list()

    def __call__(self, model: LoadedModel) -> tuple[dict[str, float], list[AnswerReading]]:
        """Values under their names, and the readings of the true answers."""
        readings = self._read(model, self.examples)
        values = {
            "probability": float(np.mean([reading.probability for reading in readings])),
            "exact_memorization": float(np.mean([exact_memorization(reading.correct) for reading in readings])),
            "extraction_strength": float(np.mean([extraction_strength(reading.correct) for reading in readings])),
        }
        if self._variants:
            means = [reading.log_probs.mean() for reading in self._read(model, self._variants)]
            ratios, start = [], 0
            for wrong in self._wrong:
                ratios.append(truth_ratio(means[start], means[start + 1 : start + 1 + wrong]))
                start += 1 + wrong
            values["truth_ratio"] = float(np.mean(ratios))
        return {f"{self.name}_{name}": value for name, value in values.items()}, readings

    def _read(self, model: LoadedModel, examples: Sequence[Mapping[str, list[int]]]) -> list[AnswerReading]:
        return read_answers(model, examples, batch_size=self.batch_size, progress=False)


class ReferenceProbe:
    """Live FADE, exposure and hidden states against a reference; what depends on the reference alone is computed once.

    Args:
        reference: The model that never saw the forget set.
        original: The model before unlearning, for representation metrics and `start`.
        twin: A second reference, for `floor`.
        examples: Forget examples.
        num_samples: Completions per prompt.
        max_new_tokens: Where a completion is cut.
        batch_size: Rows at a time.
        seed: Of the samples.
        candidate: The model in training.
        tokenizer: Its tokenizer, where there is one.
        progress: Whether to show bars now, while what depends on the reference is computed; later there are none.
    """

    def __init__(
        self,
        reference: ModelLike,
        original: ModelLike | None,
        twin: ModelLike | None,
        examples: list[dict[str, list[int]]],
        *,
        num_samples: int,
        max_new_tokens: int,
        batch_size: int,
        seed: int,
        candidate: LoadedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        progress: bool = False,
    ):
        views = _told_apart({"reference": reference, "original": original, "twin": twin}, candidate)
        self.reference = open_view(views["reference"])
        check_comparable({"reference": self.reference.model, "the Trainer's model": candidate})
        mine = {id(parameter) for parameter in candidate.parameters()}
        if any(id(parameter) in mine for parameter in self.reference.model.parameters()):
            raise ValueError(
                "the reference has the weights that are being trained, so it would change with them (an adapter is put into the model "
                "that it is made from); load the reference anew."
            )
        self.examples, self.batch_size = examples, batch_size
        self._settings: dict[str, Any] = {
            "num_samples": num_samples,
            "max_new_tokens": max_new_tokens,
            "seed": seed,
            "batch_size": batch_size,
            "stop_token_ids": default_stop_token_ids(self.reference.model, tokenizer),
            "progress": progress,
        }
        self._prompts = [
            example["input_ids"][: next(at for at, label in enumerate(example["labels"]) if label != -100)]
            for example in examples
        ]
        self._features = FeatureSettings(batch_size=batch_size)
        self._progress = progress
        self._own, self._own_states = self._sample(self.reference), OwnStates()
        self._log_probs = self._answer_log_probs(self.reference)
        self._rows = {"reference": feature_rows(self.reference, examples, self._features, progress=self._progress)}
        self.floor = self.start = None
        if twin is not None:
            self.floor = self._fade(open_view(views["twin"]))[0]
        self._space = "feature"
        if original is not None:
            opened = open_view(views["original"])
            self.start = self._fade(opened)[0]
            self._rows["original"] = feature_rows(opened, examples, self._features, progress=self._progress)
            self._space = "feature" if share_starting_weights(self.reference.model, opened.model) else "gram"
        self._progress = self._settings["progress"] = False

    @property
    def mean_log_probs(self) -> np.ndarray:
        """Mean token log-probability of each forget answer under the reference, nats."""
        counts = [sum(label != IGNORE_INDEX for label in example["labels"][1:]) for example in self.examples]
        return self._log_probs / np.array(counts)

    def __call__(self, model: LoadedModel, readings: Sequence[AnswerReading]) -> dict[str, float]:
        """Values under their names; `layer_<number>_<metric>` for single layers."""
        value, interval = self._fade(model)
        values = {"fade": value}
        if interval is not None:
            values |= {"fade_low": interval[0], "fade_high": interval[1]}
        if self.floor is not None and self.start is not None and self.start > self.floor:
            values["fade_relative"] = (value - self.floor) / (self.start - self.floor)
        exposure = generalized_exposure(np.array([reading.log_probs.sum() for reading in readings]), self._log_probs)
        values |= {"exposure_mean": float(exposure.mean()), "exposure_max": float(exposure.max())}
        return values | self._layers(model)

    def _layers(self, model: LoadedModel) -> dict[str, float]:
        if len(self.examples) < 5:
            return {}
        rows = {"candidate": feature_rows(model, self.examples, self._features, progress=self._progress), **self._rows}
        original = "original" if "original" in self._rows else None
        names = ("residual_ratio", "progress", "cka") if original else ("cka",)
        values: dict[str, float] = {}
        found: dict[str, list[float]] = {name: [] for name in names}
        for layer in rows["candidate"]:
            moments = PairedMoments.from_rows(
                in_their_span({role: by_layer[layer] for role, by_layer in rows.items()})
            )
            metrics = layer_metrics(moments, original=original, space=self._space).values
            for name in names:
                value = metrics[name]
                if value is not None:
                    values[f"layer_{layer}_{name}"] = value
                    found[name].append(value)
        return {**{name: float(np.mean(column)) for name, column in found.items() if column}, **values}

    def _fade(self, model: Viewable) -> tuple[float, tuple[float, float] | None]:
        pair = {"reference": self.reference, "candidate": model}
        sides = (("reference", self._own, self._own_states), ("candidate", self._sample(model), None))
        tables = {
            role: cross_score(
                side,
                sampled_from=role,
                models=pair,
                batch_size=self.batch_size,
                progress=self._progress,
                own_states=states,
            )
            for role, side, states in sides
        }
        clusters = clusters_by_content(map(tuple, self._prompts))
        estimate = fade(
            tables["reference"].directed(sampled_from="reference", scored_by="candidate", clusters=clusters),
            tables["candidate"].directed(sampled_from="candidate", scored_by="reference", clusters=clusters),
            num_resamples=200,
        )
        return estimate.fade, estimate.confidence_interval

    def _sample(self, model: Viewable) -> Completions:
        return sample_completions(model, self._prompts, **self._settings)

    def _answer_log_probs(self, model: Viewable) -> np.ndarray:
        readings = read_answers(model, self.examples, batch_size=self.batch_size, progress=self._progress)
        return np.array([reading.log_probs.sum() for reading in readings])


def _told_apart(models: Mapping[str, ModelLike | None], candidate: LoadedModel) -> dict[str, Viewable]:
    """Views of the fixed models beside the one in training, which may itself be given as the original: it still is, before training."""
    given = {role: model for role, model in models.items() if model is not None}
    known = any(model is candidate for model in given.values())
    views = tell_apart(given if known else {**given, "the Trainer's model": candidate})
    return {role: views[role] for role in given}
