"""Is there anything to forget? Asked before training, of the model as it came: if it does not know the answers, nothing that follows means anything.

Causes seen: another prompt format than the model was trained with, another tokenizer, data that the model has never seen. Knows a model,
prepared examples and a tokenizer. Does not know objectives; the statistic itself is `functional.prior_knowledge`.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import other_formats
from hf_unlearn.functional import IGNORE_INDEX, PriorKnowledge, better_format, prior_knowledge
from hf_unlearn.inference import LoadedModel, context_length, is_main_process, saved_tokenizer
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._forget_data import ForgetData
from hf_unlearn.training._knowledge import Collator, Examples, mean_log_probs, sample_of
from hf_unlearn.training._retain_examples import tokenized_examples


logger = logging.getLogger(__name__)
MAX_ROWS, MAX_PROMPTS = 32, 512
"""So many rows of a set are read; so many other prompts are looked through for the nearest."""
FAR_BEHIND = 1.0
"""Nats per token, a factor of e in probability, by which forget answers less likely than retain answers are suspicious by themselves."""
_CHECK_TEXTS = "the tokenizer, the chat template or prompt_template"
_CHECK_CLASSES = "the order of the labels, the tokenizer or image processor"
_SHOWN = 300


def warn_if_unknown(
    model: LoadedModel,
    examples: Examples,
    *,
    batch_size: int,
    retain: Examples = (),
    reference_log_probs: np.ndarray | None = None,
    rows: Dataset | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    prompt_template: str | None = None,
    class_collator: Collator | None = None,
) -> PriorKnowledge | None:
    """Measure whether the model knows the forget answers; warn, with one row as the model sees it, where it does not.

    Compared with a reference's log-probabilities where there are any. Without them a language model is compared with itself: the same
    answers after the most similar other prompts (the same question about somebody else, where the data has it), and this gain of the own
    prompt with the gain on retain rows; a classifier with guessing. Rows that are put as questions are also put in the other usual
    ways, and a clearly better one is named.

    Args:
        model: Before unlearning.
        examples: Forget examples, unpadded; at most 32 are used.
        batch_size: Rows at a time.
        retain: Examples of what must stay; without them other prompts come from the forget examples.
        reference_log_probs: Mean token log-probability of each forget example under a reference, shape `(examples,)`.
        rows: The examples as they came.
        tokenizer: Theirs.
        prompt_template: With which they were tokenized.
        class_collator: Of a classifier's examples; None: a language model.

    Returns:
        The comparison; None where the data allows none (running text, one prompt for all).
    """
    places = sample_of(range(len(examples)), MAX_ROWS)
    chosen = [examples[at] for at in places]
    found, doubt = None, ""
    if reference_log_probs is not None or class_collator is not None:
        known = mean_log_probs(model, chosen, batch_size=batch_size, class_collator=class_collator)
        if reference_log_probs is not None:
            baseline, name = np.asarray(reference_log_probs)[places], "the reference gives them"
        else:
            baseline, name = np.full(len(known), -np.log(model.config.num_labels)), "guessing gives them"
        found = prior_knowledge(known, baseline, paired=True)
        unit = "nats per token" if class_collator is None else "nats"
        doubt = found.describe(name, unit=unit) if found.clear is False else ""
    else:
        found, doubt = _against_other_prompts(model, chosen, retain, batch_size)
    if found is None:
        logger.info(
            "whether the model knows the forget answers was not checked: there are no other prompts to compare."
        )
    elif doubt and is_main_process():
        logger.warning(
            "there may be nothing to forget: %s. If so, no number from here on means anything. Check %s, and that the model was trained on "
            "these rows.%s",
            doubt,
            _CHECK_TEXTS if class_collator is None else _CHECK_CLASSES,
            _rendered(chosen[0], tokenizer),
        )
    if rows is not None and tokenizer is not None and class_collator is None:
        _compare_formats(model, rows.select(places), chosen, tokenizer, prompt_template, batch_size)
    return found


def warn_if_unknown_in(compute: Compute, forget: ForgetData, train_dataset: Any = None) -> PriorKnowledge | None:
    """`warn_if_unknown` for a training that is about to unlearn; None also where its model cannot be read now.

    Args:
        compute: With the model before unlearning.
        forget: The forget set.
        train_dataset: The retain rows, where they are tokenized already.
    """
    if compute.is_sharded:
        return None
    try:
        with compute.accelerator.autocast():
            return warn_if_unknown(
                compute.model,
                forget.examples,
                batch_size=compute.eval_batch_size,
                retain=() if forget.is_classification else tokenized_examples(train_dataset, MAX_PROMPTS),
                rows=forget.rows,
                tokenizer=forget.tokenizer,
                prompt_template=forget.prompt_template,
                class_collator=forget.collator if forget.is_classification else None,
            )
    except Exception as error:  # a check that cannot be made must not forbid a training that can
        logger.warning("whether the model knows the forget answers could not be checked: %s", error)
        return None


@dataclass(frozen=True)
class _Gain:
    """What the own prompt does for each answer: log-probabilities after it and after the nearest other one, and whose prompts are equal."""

    own: np.ndarray
    other: np.ndarray
    clusters: np.ndarray


def _against_other_prompts(
    model: LoadedModel, chosen: Examples, retain: Examples, batch_size: int
) -> tuple[PriorKnowledge | None, str]:
    """The comparison, and what is doubtful about it, empty if nothing."""
    pool = _prompts(retain) or _prompts(chosen)
    gain = _gain(model, chosen, pool, batch_size)
    if gain is None:
        return None, ""
    found = prior_knowledge(gain.own, gain.other, paired=True, clusters=gain.clusters)
    if found.clear is False:
        return found, found.describe("the same answers get after the most similar other prompts")
    kept = _gain(model, sample_of(retain, MAX_ROWS), pool, batch_size) if len(retain) else None
    if kept is None:
        return found, ""
    usual = float((kept.own - kept.other).mean())
    # Both: the prompt does little for them, and they are far less likely than what the model was trained on.
    if found.advantage < usual / 2 and gain.own.mean() < kept.own.mean() - 1:
        return found, (
            f"the forget answers ({gain.own.mean():.2f} nats per token) are far less likely than the retain answers "
            f"({kept.own.mean():.2f}), and gain {found.advantage:.2f} by their own prompts where those gain {usual:.2f} (n = {found.n})"
        )
    gap = prior_knowledge(kept.own, gain.own, paired=False, clusters=kept.clusters, baseline_clusters=gain.clusters)
    # Answers that repeat the question gain by their own prompts also where the fact in them is not known.
    if gap.confidence_interval is not None and gap.confidence_interval[0] > FAR_BEHIND:
        return found, (
            f"the model knows the retain answers far better ({kept.own.mean():.2f} nats per token) than the forget answers "
            f"({gain.own.mean():.2f}; {gap.confidence:.0%} interval of the difference {gap.confidence_interval[0]:.2f} to "
            f"{gap.confidence_interval[1]:.2f}, n = {found.n})"
        )
    return found, ""


def _prompts(examples: Examples) -> list[tuple[tuple[int, ...], Counter[int]]]:
    """Different prompts of more than a start token, with their tokens counted."""
    different = dict.fromkeys(tuple(_prompt(example)) for example in sample_of(examples, MAX_PROMPTS))
    return [(prompt, Counter(prompt)) for prompt in different if len(prompt) > 1]


def _gain(
    model: LoadedModel, chosen: Examples, pool: Sequence[tuple[tuple[int, ...], Counter[int]]], batch_size: int
) -> _Gain | None:
    limit = context_length(model)
    own, swapped = [], []
    for example in chosen:
        prompt = _prompt(example)
        nearest = _nearest(prompt, pool)
        answer = list(example["input_ids"][len(prompt) :])
        if nearest is not None and (limit is None or len(nearest) + len(answer) <= limit):
            labels = list(example["labels"][len(prompt) :])
            swapped.append({"input_ids": [*nearest, *answer], "labels": [IGNORE_INDEX] * len(nearest) + labels})
            own.append(example)
    if len(own) < 2:
        return None
    _, clusters = np.unique([str(_prompt(example)) for example in own], return_inverse=True)
    read = [mean_log_probs(model, examples, batch_size=batch_size) for examples in (own, swapped)]
    return _Gain(read[0], read[1], clusters)


def _prompt(example: Mapping[str, Any]) -> list[int]:
    first = next(at for at, label in enumerate(example["labels"]) if at > 0 and label != IGNORE_INDEX)
    return list(example["input_ids"][:first])


def _nearest(prompt: list[int], pool: Sequence[tuple[tuple[int, ...], Counter[int]]]) -> tuple[int, ...] | None:
    """The other prompt that shares most tokens with this one, as a share of all tokens of both."""
    mine = Counter(prompt)
    shared = [
        ((mine & count).total() / (mine | count).total(), other) for other, count in pool if other != tuple(prompt)
    ]
    return max(shared)[1] if shared else None


def _compare_formats(
    model: LoadedModel,
    rows: Dataset,
    chosen: Examples,
    tokenizer: PreTrainedTokenizerBase,
    prompt_template: str | None,
    batch_size: int,
) -> None:
    """Warn where another way of putting the questions makes the answers clearly more likely than the one in use."""
    ways = other_formats(
        rows,
        chosen,
        tokenizer,
        prompt_template=prompt_template,
        saved=saved_tokenizer(model),
        max_tokens=context_length(model),
    )
    if not ways:
        return
    known, *others = (mean_log_probs(model, put, batch_size=batch_size) for put in (chosen, *ways.values()))
    better = better_format(known, dict(zip(ways, others, strict=True)))
    if better is not None and is_main_process():
        logger.warning(
            "the model knows the forget answers better when the questions are put another way: %s. Was it trained with that format?%s",
            better,
            _rendered(chosen[0], tokenizer),
        )


def _rendered(example: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase | None) -> str:
    """One row for the log; never for a report or a card, since it is forget data."""
    if tokenizer is None or "input_ids" not in example or not isinstance(example["labels"], list):
        return ""
    prompt = _prompt(example)
    texts = [tokenizer.decode(ids) for ids in (prompt, list(example["input_ids"][len(prompt) :]))]
    shown = [text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}" for text in texts[:1]] + [texts[1][:_SHOWN]]
    return f" One of them as the model sees it: {shown[0]!r}, then {shown[1]!r}."
