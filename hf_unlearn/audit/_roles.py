"""Are the models what they are said to be? One model in two roles, and a reference or twin that was never trained on what had to stay.

Either makes distances small or large for reasons that have nothing to do with unlearning. Knows fingerprints, rows and results; runs no
model. Whether there was anything to forget is `_vacuity`.
"""

import logging
from collections.abc import Mapping

from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._splits import Split
from hf_unlearn.audit._subjects import Subject
from hf_unlearn.functional import PriorKnowledge, prior_knowledge
from hf_unlearn.inference import AnswerRows, is_main_process


logger = logging.getLogger(__name__)
FAR_BEHIND = 1.0
"""Nats per token on the retain answers, a factor of e in their probability. Retrainings on the same rows differ by little there; a model
that was never trained on them lacks several nats."""
RETRAINED = ("reference", "twin")
_EQUAL = {
    frozenset(("reference", "candidate")): "so the audit compares a model with itself",
    frozenset(("reference", "original")): "so that there was nothing to forget, or one of the two is another model's",
    frozenset(("original", "candidate")): "so nothing was unlearned",
}
_EQUAL_TWIN = "but the twin must be a second retraining, with another seed, so floor and relative mean nothing"


def mark_equal(models: dict[str, dict[str, str]], seen: dict[str, str], subject: Subject) -> None:
    """Add `same_as` to what is known of a role whose model, used in the same way, had another role before; and say so at once.

    Args:
        models: Per role, as in `Provenance.models`; changed here.
        seen: The first role of each fingerprint so far; changed here.
        subject: Opened in its role.
    """
    first = seen.setdefault(subject.fingerprint, subject.role)
    if first != subject.role:
        models[subject.role]["same_as"] = first
        if is_main_process():
            logger.warning("%s", _equal(first, subject.role))


def _equal(first: str, second: str) -> str:
    why = _EQUAL.get(frozenset((first, second)), _EQUAL_TWIN)
    return f"{first} and {second} are equal (weights, settings, answers), {why}."


def known_worse(answers: Mapping[str, AnswerRows], retain: Split, confidence: float) -> dict[str, PriorKnowledge]:
    """How much better the original knows the retain answers than reference or twin, where that is far more than retrainings differ.

    Args:
        answers: Per role, of the retain set; without an original there is nothing to compare with.
        retain: The set.
        confidence: Of the interval.
    """
    found = {}
    for role in RETRAINED:
        if role in answers and "original" in answers:
            pair = [answers[name].mean_log_probs(name) for name in ("original", role)]
            gap = prior_knowledge(*pair, paired=True, clusters=retain.clusters, confidence=confidence)
            if gap.clear and gap.advantage > FAR_BEHIND:
                found[role] = gap
    return found


def warn_if_not_retrained(found: Mapping[str, PriorKnowledge], role: str) -> None:
    """Say it while the rest can still be stopped."""
    if role in found and is_main_process():
        logger.warning(
            "%s", _not_retrained(role, found[role].advantage, found[role].confidence_interval, found[role].n)
        )


def behind_as_details(found: Mapping[str, PriorKnowledge]) -> dict[str, float]:
    """For the details of `retain_probability`; nothing where reference and twin are what they should be."""
    details: dict[str, float] = {}
    for role, gap in found.items():
        assert gap.confidence_interval is not None  # or it would not be clear
        low, high = gap.confidence_interval
        details |= {f"{role}_behind": gap.advantage, f"{role}_behind_low": low, f"{role}_behind_high": high}
    return details


def behind_sentences(metrics: Mapping[str, MetricResult]) -> list[str]:
    """Of reference and twin, where they were never trained on what had to stay."""
    result = metrics.get("retain_probability")
    sentences = []
    for role in RETRAINED:
        if result is not None and f"{role}_behind" in result.details:
            value, low, high = (result.details.get(f"{role}_behind{end}", 0.0) for end in ("", "_low", "_high"))
            sentences.append(_not_retrained(role, value, (low, high), result.n))
    return sentences


def void_sentences(metrics: Mapping[str, MetricResult], models: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong with the roles so that nothing follows from the numbers; a candidate that equals the original is poor, not void.

    Args:
        metrics: The results.
        models: Per role, as in `Provenance.models`.
    """
    equal = [(models[role]["same_as"], role) for role in models if "same_as" in models[role]]
    return [_equal(*pair) for pair in equal if pair != ("original", "candidate")] + behind_sentences(metrics)


def _not_retrained(role: str, value: float, interval: tuple[float, float] | None, count: int) -> str:
    low, high = interval or (value, value)
    void = "floor and relative mean nothing" if role == "twin" else "distances to it say nothing about unlearning"
    return (
        f"the {role} is no model retrained on the retain set: the original knows the retain answers {value:.2f} nats per token better "
        f"(interval {low:.2f} to {high:.2f}, n = {count}), so {void}."
    )
