"""The sets a tracker reads, and whether the model knows them at all."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase, Trainer

from hf_unlearn.audit._selection import MetricLike
from hf_unlearn.config import AuditConfig, TrackerConfig
from hf_unlearn.data import DataLike
from hf_unlearn.inference import ModelLike, is_classifier, together
from hf_unlearn.training._class_domain import ClassesInTraining
from hf_unlearn.training._retain_examples import tokenized_examples
from hf_unlearn.training._text_domain import TextsInTraining
from hf_unlearn.training._tracked import TrackedMetrics, tracked_metrics
from hf_unlearn.training._vacuity import MAX_PROMPTS, warn_if_unknown


logger = logging.getLogger(__name__)
_SHARED = (
    *("max_examples", "num_samples", "max_new_tokens", "batch_size", "seed", "prompt_template"),
    *("num_counterfactuals", "subject_column"),
)
"""Options that mean the same in tracker and audit."""


LEFT_OUT = "FADE, exposure, hidden states, extraction strength, exact memorization and truth ratio"
"""What by default is not tracked of a classifier."""


def open_metrics(
    trainer: Trainer,
    metrics: str | Sequence[MetricLike] | None,
    models: Mapping[str, ModelLike | None],
    sets: Mapping[str, DataLike | None],
    tokenizer: PreTrainedTokenizerBase | None,
    config: TrackerConfig,
) -> TrackedMetrics:
    """Sets and models opened, metrics chosen, and everything read that does not change.

    Args:
        trainer: Whose model is watched.
        metrics: Which are tracked; None: the default of the kind of model.
        models: "reference", "original", "twin", as given.
        sets: "forget" and perhaps "retain".
        tokenizer: Of texts.
        config: Options of the tracker.

    Raises:
        TypeError: A classifier's set that is no `datasets.Dataset`, or metrics that are none.
        ValueError: Sets that are empty or cannot be read, models that cannot be compared, a prompt template for a classifier, or metrics
            that there are not or that have no value here.
    """
    shared = {name: getattr(config, name) for name in _SHARED}
    audited = AuditConfig(**shared, allow_overlap=True, progress=not trainer.args.disable_tqdm)
    kind = TextsInTraining if not (is_class := is_classifier(trainer.model)) else ClassesInTraining
    settings = audited.plain()
    given = [role for role, model in models.items() if model is not None]
    chosen = tracked_metrics(metrics, kind, given, sets, settings)
    _say_what_is_not(is_class, given)
    domain = kind(trainer, models, sets, tokenizer, audited)
    return TrackedMetrics(domain, chosen, settings, seed=config.seed)


def _say_what_is_not(is_class: bool, given: Sequence[str]) -> None:
    if is_class:
        say = logger.warning if given else logger.info
        say("the model is a classifier: by default probability and accuracy are tracked; %s are not.", LEFT_OUT)
    elif "reference" not in given:
        logger.info(
            "no reference model was given: FADE, exposure and hidden states are not tracked. Counterfactual metrics need none."
        )


def say_if_unknown(
    trainer: Trainer, domain: TextsInTraining | ClassesInTraining, reference_log_probs: np.ndarray | None
) -> None:
    """Warn where the model, as it is now, does not know what is to be forgotten; nothing where an `UnlearningCallback` has asked already.

    Args:
        trainer: With the model before training.
        domain: With the sets.
        reference_log_probs: Mean token log-probabilities of the forget answers under the reference, where there is one.
    """
    if any(hasattr(callback, "prior_knowledge") for callback in trainer.callback_handler.callbacks):
        return
    given: dict[str, Any] = {"reference_log_probs": reference_log_probs}
    if isinstance(domain, ClassesInTraining):
        examples: Sequence[dict[str, Any]] = domain.splits()["forget"].examples
        given["class_collator"] = domain.collate
    else:
        forget, *others = domain.splits().values()
        examples = forget.examples
        # All that is known to stay: few held-out rows alone decide little.
        known = [
            *(example for split in others for example in split.examples),
            *tokenized_examples(trainer.train_dataset, MAX_PROMPTS),
        ]
        given |= {"retain": known, "rows": forget.dataset if forget.texts is None else None}
        given |= {"tokenizer": domain.tokenizer, "prompt_template": domain.config.prompt_template}
    try:
        together(lambda: warn_if_unknown(trainer.model, examples, batch_size=domain.config.batch_size, **given))
    except Exception as error:  # a check that cannot be made must not forbid a training that can
        logger.warning("whether the model knows the forget answers could not be checked: %s", error)
