"""Other answers to the same questions, example by example: the wrong ones, and what stands for the true one."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from hf_unlearn.audit._contracts import Citation, Reading, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import MeanOverExamples, is_compatible, log_probs, mean_log_probs
from hf_unlearn.functional import truth_ratio, truth_ratio_scores


VARIANTS = (Reading("answers"), Reading("variants"))
TOFU = Citation("TOFU", "2401.06121")


@dataclass(frozen=True, eq=False)
class Options:
    """What may be said to each example's question.

    Attributes:
        answers: Numbers of the true answers, shape `(examples,)`.
        true: Of the true answers in other words, where the set has them, else of the true answers; NaN where an example has no wrong ones.
        wrong: Of each example's wrong answers; empty where it has none.
        paraphrased: Whether the set has true answers in other words.
    """

    answers: np.ndarray
    true: np.ndarray
    wrong: tuple[np.ndarray, ...]
    paraphrased: bool


def options(rows: Rows, *, whole: bool = False) -> Options:
    """Log-probabilities of all answers, nats per token, or of whole answers.

    Raises:
        Undefined: The set has no wrong answers, or the subject was not read on them.
    """
    return rows.memo(("options", whole), partial(_options, rows, whole))


def truth_ratios(rows: Rows) -> np.ndarray:
    """Wrong over true of each example, shape `(examples,)`; NaN where it has no wrong answers, or nothing has any probability."""
    found, compatible = options(rows), is_compatible(rows)
    return np.array(
        [
            truth_ratio(true, wrong, compatible=compatible) if len(wrong) else np.nan
            for true, wrong in zip(found.true, found.wrong, strict=True)
        ]
    )


def note_on_paraphrases(rows: Rows) -> list[str]:
    """Said of a set whose truth ratios are others than those of a set with paraphrased answers."""
    if options(rows).paraphrased:
        return []
    return [
        f"Truth ratios of the {rows.split} set compare wrong answers with the true ones themselves: it has no true answers in other words."
    ]


class TruthRatioMetric(MeanOverExamples):
    """One of the aggregations of truth ratios; subclasses name it.

    Attributes:
        aggregation: In `functional.AGGREGATIONS`.
    """

    aggregation: str

    def notes(self, rows: Rows) -> list[str]:
        """What stands for true answers in other words."""
        return [*super().notes(rows), *note_on_paraphrases(rows)]

    def per_example(self, rows: Rows) -> np.ndarray:
        """What each truth ratio contributes."""
        return truth_ratio_scores(truth_ratios(rows), self.aggregation, compatible=is_compatible(rows))


def _options(rows: Rows, whole: bool) -> Options:
    read = log_probs if whole else mean_log_probs
    values, example, is_wrong = (
        read(rows, "variants"),
        rows.column("variants", "example"),
        rows.column("variants", "is_wrong").astype(bool),
    )
    answers = read(rows)
    wrong = tuple(values[is_wrong & (example == number)] for number in range(rows.count))
    if not any(map(len, wrong)):
        raise Undefined(f"the {rows.split} set has no wrong answers")
    paraphrased = not is_wrong.all()
    true = np.full(rows.count, np.nan)
    if paraphrased:
        true[example[~is_wrong][::-1]] = values[~is_wrong][::-1]  # of several the first
    else:
        has = np.array([len(part) > 0 for part in wrong])
        true[has] = answers[has]
    return Options(answers, true, wrong, paraphrased)
