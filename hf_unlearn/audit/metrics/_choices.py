"""Readings of questions with choices as numbers per question."""

from functools import partial
from typing import ClassVar

import numpy as np

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import MeanOverExamples, is_compatible, log_probs
from hf_unlearn.functional import Bootstrap, choice_accuracy, choice_probability


Questions = tuple[tuple[np.ndarray, int], ...]
"""Of each question its choices' numbers, and which is right."""


class ChoiceMetric(MeanOverExamples):
    """Accuracy among choices; subclasses say how choices are said, and whether by byte.

    Attributes:
        reading: Which one.
        by_byte: Whether likelihoods are divided by the number of bytes of the choice.
    """

    reading: ClassVar[str]
    by_byte: ClassVar[bool]

    def per_example(self, rows: Rows) -> np.ndarray:
        """Share of the right choice in the most likely ones."""
        return self._accuracies(rows, self.by_byte)

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The right choice's probability among all, and what guessing gives."""
        questions = self._questions(rows, False)
        shares = np.array([choice_probability(values, right) for values, right in questions])
        known = {"probability_of_right": float(np.nanmean(shares))} if np.isfinite(shares).any() else {}
        return {**known, "guessing": float(np.mean([1 / len(values) for values, _ in questions]))}

    def _accuracies(self, rows: Rows, by_byte: bool) -> np.ndarray:
        accuracy = partial(choice_accuracy, compatible=is_compatible(rows))
        return np.array([accuracy(values, right) for values, right in self._questions(rows, by_byte)])

    def _questions(self, rows: Rows, by_byte: bool) -> Questions:
        if not rows.has(self.reading):
            raise Undefined(f"the {rows.split} set has no rows with the columns question, choices and answer")

        def compute() -> Questions:
            values, example = log_probs(rows, self.reading), rows.column(self.reading, "example")
            is_right = rows.column(self.reading, "is_right").astype(bool)
            if by_byte:
                values = values / rows.column(self.reading, "num_bytes")
            parts = [example == number for number in range(rows.count)]
            return tuple((values[mine], int(np.flatnonzero(is_right[mine])[0])) for mine in parts)

        return rows.memo(("choices", self.reading, by_byte), compute)
