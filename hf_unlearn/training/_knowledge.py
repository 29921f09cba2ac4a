"""How likely a model finds given answers, on few rows: what is said before and after, and what shows that there is nothing to forget.

Knows models and prepared examples. Does not know texts, objectives or optimisation.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from hf_unlearn.inference import LoadedModel, read_answers, undisturbed


logger = logging.getLogger(__name__)
MAX_ROWS = 64
FORGOTTEN, DAMAGED = 0.9, 0.5
"""Shares of the probability before: above the first the forget answers count as still there, below the second the retain answers as lost."""

Examples = Sequence[Mapping[str, Any]]
Collator = Callable[[list[Any]], Mapping[str, torch.Tensor]]


def sample_of(examples: Sequence[Any], limit: int = MAX_ROWS) -> list[Any]:
    """At most so many, evenly from the first to the last."""
    count = len(examples)
    return [examples[int(at)] for at in np.linspace(0, count - 1, min(count, limit)).round()]


def mean_log_probs(
    model: LoadedModel, examples: Examples, *, batch_size: int, class_collator: Collator | None = None
) -> np.ndarray:
    """Mean token log-probability of each answer, nats; shape `(examples,)`; the model is left as it was.

    Args:
        model: A causal language model, or a classifier.
        examples: `input_ids` and `labels`, unpadded; of a classifier what it takes, and the class.
        batch_size: Rows at a time; does not change the result.
        class_collator: Makes the batches of a classifier, whose answer is one class; None: a language model.
    """
    if class_collator is None:
        readings = read_answers(model, examples, batch_size=batch_size, progress=False)
        return np.array([reading.log_probs.mean() for reading in readings])
    found = []
    with undisturbed(model):
        for start in range(0, len(examples), batch_size):
            batch = {
                name: value.to(model.device)
                for name, value in class_collator(list(examples[start : start + batch_size])).items()
            }
            labels = batch.pop("labels")
            found.append(model(**batch).logits.double().log_softmax(-1).gather(1, labels[:, None])[:, 0].cpu())
    return torch.cat(found).numpy()


def answer_probabilities(
    trainer: Trainer, model: LoadedModel, sets: Mapping[str, Sequence[Any]], class_collator: Collator | None = None
) -> dict[str, float]:
    """`<name>_probability` of each set: exp(mean token log-probability), in [0, 1], mean over at most `MAX_ROWS` rows.

    Nothing where the weights lie in pieces on several devices, which a model by itself cannot read, or where it cannot be read at all.
    """
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return {}
    size = trainer.args.per_device_eval_batch_size
    try:
        with trainer.accelerator.autocast():
            return {
                f"{name}_probability": float(
                    np.exp(
                        mean_log_probs(model, sample_of(rows), batch_size=size, class_collator=class_collator)
                    ).mean()
                )
                for name, rows in sets.items()
            }
    except Exception as error:  # it comes after hours of training, too, and must not lose them
        logger.warning("the probability of the answers could not be measured: %s", error)
        return {}


def say_what_changed(before: Mapping[str, float], after: Mapping[str, float], learning_rate: float) -> None:
    """Log both, and warn where the model did not visibly forget or has lost what it was to keep."""
    if not before or not after:
        return
    for name, value in before.items():
        logger.info("%s: %.3g before, %.3g after", name.replace("_", " "), value, after[name])
    forget, retain = ((before[name], after[name]) for name in ("forget_probability", "retain_probability"))
    if forget[1] > FORGOTTEN * forget[0]:
        logger.warning(
            "the model did not visibly forget: the probability of the forget answers was %.3g and is %.3g. Train longer "
            "(num_train_epochs), with a higher learning_rate (it was %g), or with a higher forget_weight.",
            *forget,
            learning_rate,
        )
    if retain[1] < DAMAGED * retain[0]:
        logger.warning(
            "the model has lost much of what it was to keep: the probability of the retain answers was %.3g and is %.3g. Train shorter, "
            "with a lower learning_rate (it was %g), or with a higher retain_weight.",
            *retain,
            learning_rate,
        )
