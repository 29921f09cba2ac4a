"""Was there anything to forget? Measured before the expensive part, told loudly, and kept in the report.

Where the original does not clearly know the forget answers better than the reference does, every distance on them is small for everybody
and no sentence about unlearning follows from it. Knows rows and results; runs no model.
"""

import logging
from collections.abc import Mapping

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._splits import Split
from hf_unlearn.data import other_formats
from hf_unlearn.functional import PriorKnowledge, better_format, prior_knowledge
from hf_unlearn.inference import AnswerRows, View, context_length, is_main_process, read_answers, saved_tokenizer


logger = logging.getLogger(__name__)
LEAKED = "The reference has seen the data, or original and reference are swapped."
CAUSES = (
    "Usual causes: another chat template or prompt_template than in training, another tokenizer, rows that the original was not "
    "trained on, or a reference that was."
)
FORMAT_ROWS = 16
"""So many forget rows are put in the other usual ways."""
_SHOWN = 300


def known_before(answers: Mapping[str, AnswerRows], forget: Split, confidence: float) -> PriorKnowledge | None:
    """How much better the original knows the forget answers than the reference; None without an original."""
    if "original" not in answers:
        return None
    original, reference = (answers[role].mean_log_probs(role) for role in ("original", "reference"))
    return prior_knowledge(original, reference, paired=True, clusters=forget.clusters, confidence=confidence)


def warn_of_vacuity(found: PriorKnowledge | None, forget: Split, tokenizer: PreTrainedTokenizerBase) -> None:
    """Say it while the rest can still be stopped, with one prompt as the models see it: in the log only, since it is forget data."""
    if found is not None and found.clear is False and is_main_process():
        prompt = tokenizer.decode(forget.prompts[0])
        logger.warning(
            "there was nothing to forget: %s. What this audit finds about forgetting means nothing. %s One prompt as the models see it: %r",
            found.describe("the reference gives them"),
            LEAKED if found.reverse else CAUSES,
            prompt if len(prompt) <= _SHOWN else f"…{prompt[-_SHOWN:]}",
        )


def other_format(
    original: View, forget: Split, tokenizer: PreTrainedTokenizerBase, prompt_template: str | None, batch_size: int
) -> list[str]:
    """A note, logged already, where the original knows the answers clearly better when the questions are put another way; else nothing.

    It may still know a bit the way they are put, and then nothing else shows that another model is being looked at than was trained.
    """
    rows, used = forget.dataset, list(forget.examples[:FORMAT_ROWS])
    ways = (
        {}
        if forget.texts is not None
        else other_formats(
            rows.select(range(len(used))),
            used,
            tokenizer,
            prompt_template=prompt_template,
            saved=saved_tokenizer(original.model),
            max_tokens=context_length(original.model),
        )
    )
    if not ways:
        return []
    known, *others = (
        np.array(
            [
                reading.log_probs.mean()
                for reading in read_answers(original, put, batch_size=batch_size, progress=False)
            ]
        )
        for put in (used, *ways.values())
    )
    better = better_format(known, dict(zip(ways, others, strict=True)))
    if better is None:
        return []
    note = f"The original knows the forget answers better when the questions are put another way: {better}. Was it trained with that format?"
    if is_main_process():
        logger.warning("%s", note)
    return [note]


def as_details(found: PriorKnowledge | None) -> dict[str, float]:
    """For a result's `details`: `known_before` is 1 where there was something to forget and 0 where not; nothing where it is not known."""
    if found is None or found.confidence_interval is None:
        return {}
    low, high = found.confidence_interval
    return {
        "known_before": float(bool(found.clear)),
        "original_over_reference": found.advantage,
        "original_over_reference_low": low,
        "original_over_reference_high": high,
    }


def vacuity_sentence(metrics: Mapping[str, MetricResult]) -> str | None:
    """What a report has to say instead of everything else, or None where there was something to forget or nobody knows."""
    result = metrics.get("forget_probability")
    if result is None or result.details.get("known_before") != 0:
        return None
    value, low, high = (result.details.get(f"original_over_reference{end}", 0.0) for end in ("", "_low", "_high"))
    if high < 0:
        return (
            "Nothing can be said about forgetting: the reference knows the forget answers better than the original does "
            f"({-value:.2f} nats per token, interval {-high:.2f} to {-low:.2f}, n = {result.n}), so all distances here mean nothing. {LEAKED}"
        )
    return (
        "Nothing can be said about forgetting: the original does not clearly know the forget answers better than the reference does "
        f"({value:.2f} nats per token, interval {low:.2f} to {high:.2f}, n = {result.n}), so all distances here mean nothing. {CAUSES}"
    )


def vacuity_notes(models: Mapping[str, object], metrics: Mapping[str, MetricResult]) -> list[str]:
    """The same for the notes, and that it could not be checked."""
    sentence = vacuity_sentence(metrics)
    if sentence is not None:
        return [sentence]
    if "known_before" in metrics["forget_probability"].details:
        return []
    why = "there are too few forget prompts" if "original" in models else "that takes the original"
    return [f"Whether there was anything to forget in these rows, put this way, was not checked: {why}."]
