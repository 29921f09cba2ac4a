"""Is the model being destroyed rather than made to forget? Looked at after each optimisation step. Knows answers; no Trainer."""

import logging
import math
from dataclasses import dataclass

import torch


logger = logging.getLogger(__name__)
CLASSIFIER_SHARE = 0.1


@dataclass
class Collapse:
    """Watches how likely the forget answers of a step are, and warns once.

    Tokens are judged by their mean log-probability: twice as far down as that of guessing. Classes are few: twice as far down is one in
    16 for one in 4, which a single confident row pulls the mean log-probability to while most rows are as likely as under guessing.
    There the mean probability itself counts, and must fall below a tenth of guessing, which no few rows can do.

    Attributes:
        objective: As the user named it.
        num_outputs: Tokens of the vocabulary, or classes.
        is_classification: Whether an answer is a class.
        has_come_before: Whether the answers of a step had collapsed.
    """

    objective: str
    num_outputs: int
    is_classification: bool
    has_come_before: bool = False

    def counted(self, log_probs: torch.Tensor) -> torch.Tensor:
        """What of each answer token goes into the step's mean: log-probabilities; of classes probabilities."""
        return log_probs.float().exp() if self.is_classification else log_probs

    def has_come(self, mean: float | None, step: int) -> bool:
        """Whether the step's answers have collapsed; the first time a warning says so.

        Args:
            mean: Of what was counted, over the step and all processes; None if nothing was.
            step: Optimisation steps done.
        """
        guessing = 1 / self.num_outputs
        threshold = CLASSIFIER_SHARE * guessing if self.is_classification else 2 * math.log(guessing)
        if mean is None or mean >= threshold:
            return False
        if not self.has_come_before:
            logger.warning(
                "step %d: the forget answers are far less likely than guessing; %s is destroying the model rather than making "
                "it forget. Use fewer steps, a smaller learning rate or forget weight, or a bounded objective such as npo.",
                step,
                self.objective,
            )
        self.has_come_before = True
        return True
