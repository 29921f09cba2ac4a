"""The sets a tracker reads: text or a classifier's rows, a few of each, and whether the model knows them at all."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.data import DataLike, load_data
from hf_unlearn.inference import AnswerReading, LoadedModel, gather, my_share, together, undisturbed
from hf_unlearn.training._class_rows import class_collator, class_examples
from hf_unlearn.training._tracked import AnswerProbe
from hf_unlearn.training._vacuity import _tokenized, warn_if_unknown


logger = logging.getLogger(__name__)


class ClassProbe:
    """Probability of the true class, and accuracy, on one set of a classifier.

    Args:
        name: "forget" or "retain".
        rows: In the form of the Trainer's `train_dataset`.
        trainer: Whose collator makes batches of them.
        batch_size: Rows at a time.
    """

    def __init__(self, name: str, rows: Dataset, trainer: Trainer, batch_size: int):
        self.name, self.rows, self.batch_size = name, rows, batch_size
        with undisturbed(trainer.model):  # a transform may draw at random
            self.examples = class_examples(trainer, rows, name=f"{name}_dataset")
        self.collate = class_collator(trainer)

    def __call__(self, model: LoadedModel) -> tuple[dict[str, float], list[AnswerReading]]:
        """`<name>_probability` and `<name>_accuracy`, both in [0, 1]; there are no answers in tokens."""
        starts = range(0, len(self.examples), self.batch_size)
        with undisturbed(model):
            mine = [
                self._read(model, self.examples[start : start + self.batch_size])
                for start in my_share(starts, label=self.name, progress=False)
            ]
        probabilities, correct = (np.concatenate(column) for column in zip(*gather(mine), strict=True))
        return {
            f"{self.name}_probability": float(probabilities.mean()),
            f"{self.name}_accuracy": float(correct.mean()),
        }, []

    def _read(self, model: LoadedModel, examples: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        batch = {name: value.to(model.device) for name, value in self.collate(examples).items()}
        labels = batch.pop("labels")
        probabilities = model(**batch).logits.double().softmax(-1)
        of_truth = probabilities.gather(1, labels[:, None])[:, 0]
        return of_truth.cpu().numpy(), (probabilities.argmax(-1) == labels).double().cpu().numpy()


def open_probes(
    trainer: Trainer,
    sets: Mapping[str, DataLike | None],
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    prompt_template: str | None,
    is_class: bool,
    max_examples: int,
    batch_size: int,
    seed: int,
) -> list[AnswerProbe | ClassProbe]:
    """A probe for each set that was given, on at most `max_examples` rows drawn by seed.

    Args:
        trainer: Whose model is watched.
        sets: "forget" and perhaps "retain".
        tokenizer: Of texts.
        prompt_template: How questions are put.
        is_class: Whether the model is a classifier.
        max_examples: Of each set.
        batch_size: Rows at a time.
        seed: Of the draw.

    Raises:
        TypeError: A classifier's set that is no `datasets.Dataset`.
        ValueError: Sets that are empty or cannot be read, or a prompt template for a classifier.
    """
    if is_class and prompt_template is not None:
        raise ValueError("prompt_template is for questions; the model is a classifier.")
    probes: list[AnswerProbe | ClassProbe] = []
    for name, data in sets.items():
        if data is None:
            continue
        if not is_class:
            rows = _subset(load_data(data), max_examples, seed)
            probes.append(AnswerProbe(name, rows, tokenizer, batch_size, prompt_template))
        elif isinstance(data, Dataset):
            probes.append(ClassProbe(name, _subset(data, max_examples, seed), trainer, batch_size))
        else:
            raise TypeError(
                f"{name}_dataset: for a classifier pass a datasets.Dataset in the form of the train_dataset, got {type(data).__name__}."
            )
    return probes


def say_if_unknown(
    trainer: Trainer,
    probes: Sequence[AnswerProbe | ClassProbe],
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    prompt_template: str | None,
    reference_log_probs: np.ndarray | None,
) -> None:
    """Warn where the model, as it is now, does not know what is to be forgotten; nothing where an `UnlearningCallback` has asked already.

    Args:
        trainer: With the model before training.
        probes: Of the forget set, and perhaps of the retain set.
        tokenizer: Of texts.
        prompt_template: How questions are put.
        reference_log_probs: Mean token log-probabilities of the forget answers under the reference, where there is one.
    """
    if any(hasattr(callback, "prior_knowledge") for callback in trainer.callback_handler.callbacks):
        return
    forget = probes[0]
    try:
        together(
            lambda: warn_if_unknown(
                trainer.model,
                forget.examples,
                batch_size=forget.batch_size,
                retain=() if isinstance(forget, ClassProbe) else _retain_examples(trainer, probes[1:]),
                reference_log_probs=reference_log_probs,
                rows=forget.rows,
                tokenizer=tokenizer,
                prompt_template=prompt_template,
                class_collator=forget.collate if isinstance(forget, ClassProbe) else None,
            )
        )
    except Exception as error:  # a check that cannot be made must not forbid a training that can
        logger.warning("whether the model knows the forget answers could not be checked: %s", error)


def _retain_examples(trainer: Trainer, probes: Sequence[AnswerProbe | ClassProbe]) -> list[dict[str, Any]]:
    """All that is known to stay: few held-out rows alone decide little."""
    return [*(example for probe in probes for example in probe.examples), *_tokenized(trainer.train_dataset)]


def _subset(rows: Dataset, count: int, seed: int) -> Dataset:
    if len(rows) <= count:
        return rows
    return rows.select(sorted(np.random.default_rng(seed).choice(len(rows), count, replace=False).tolist()))
