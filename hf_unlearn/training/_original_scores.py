"""What the original says of the forget answers, computed once and kept on disk for the next run.

Knows the model before training and prepared examples. Does not know objectives or a Trainer.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from hf_unlearn._files import cache_root, write_atomically
from hf_unlearn.inference import is_main_process, model_fingerprint, on_all_processes, score, undisturbed
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._resume import examples_sha256


logger = logging.getLogger(__name__)
SCHEMA = 1
"""Of the files; a new one is a new number, so that no older file is taken for it."""


def original_log_probs(
    compute: Compute, forget: ForgetData, alternatives: Sequence[Mapping[str, Any]] | None = None
) -> torch.Tensor:
    """log p of every answer under the model as it is now.

    Args:
        compute: The model, its precision and batch size for evaluation.
        forget: Whose answers, or classes.
        alternatives: Alternative answers to score instead.

    Returns:
        Nats per answer, float64, shape `(examples,)`; from the disk where the same model has scored the same answers in the same way.
    """
    examples = forget.examples if alternatives is None else alternatives
    read = (
        forget.batches(1) if forget.is_classification else examples
    )  # of a classifier whatever its collator makes of it
    with compute.accelerator.autocast():  # as it will be scored
        path = cache_root() / "original" / f"{_key(compute, read)}.json"
    kept = _read(path)
    if on_all_processes(kept is not None):
        logger.info("the original's log-probabilities come from %s", path)
        return torch.tensor(kept, dtype=torch.float64)
    logger.info("scoring %d forget examples under the original", len(examples))
    with compute.accelerator.autocast():
        values = _class_log_probs(compute, forget) if forget.is_classification else _log_probs(compute, examples)
    if is_main_process():
        try:
            write_atomically(path, lambda target: target.write_text(json.dumps(values.tolist())))
        except OSError as error:
            logger.warning(
                "could not keep the original's log-probabilities (%s); the next run computes them anew.", error
            )
    return values


def _key(compute: Compute, examples: Iterable[Mapping[str, Any]]) -> str:
    """Everything that the numbers depend on: the model as it computes, the precision it computes in, the batches, the examples."""
    accelerator = compute.accelerator
    autocast = accelerator.mixed_precision if accelerator.native_amp else "no"
    described = [
        SCHEMA,
        model_fingerprint(compute.model),
        str(compute.model.dtype),
        autocast,
        accelerator.device.type,
        compute.eval_batch_size,
        examples_sha256(examples),
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:24]


def _read(path: Any) -> list[float] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _log_probs(compute: Compute, examples: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    rows = score(
        {"original": compute.model},
        examples,
        batch_size=compute.eval_batch_size,
        progress=compute.progress,
    )
    return torch.tensor(rows.column("log_prob"))


def _class_log_probs(compute: Compute, forget: ForgetData) -> torch.Tensor:
    found = []
    with undisturbed(compute.model):
        for batch in forget.batches(compute.eval_batch_size):
            inputs = compute.on_device(batch)
            labels = inputs.pop("labels")
            log_probs = compute.model(**inputs).logits.double().log_softmax(-1)
            found.append(log_probs.gather(1, labels[:, None])[:, 0].cpu())
    return torch.cat(found)
