"""What a search minimises: how far a model is from retraining on the forget set, and what it lost beyond that on the retain set."""

from dataclasses import dataclass

from hf_unlearn.audit._metric_result import MetricResult


@dataclass(frozen=True)
class Score:
    """The audited distance on both sets.

    `value = (forget − forget_floor + max(0, retain − retain_floor)) / (forget_start − forget_floor)`

    The first part is FADE's relative on the forget set: 0 as good as another retraining, 1 as if nothing had been unlearned. The second is
    what was lost on the retain set beyond what retraining costs, on the same scale. Lower is better; below 0 is closer than another retraining.

    Attributes:
        forget: Distance on the forget set, nats per sequence; 0 is equal.
        forget_floor: The twin's there; 0 without one.
        forget_start: The original's there.
        retain: Distance on the retain set.
        retain_floor: The twin's there; without one the original's.
    """

    forget: float
    forget_floor: float
    forget_start: float
    retain: float
    retain_floor: float

    @property
    def relative(self) -> float:
        """Of the distance on the forget set."""
        return (self.forget - self.forget_floor) / (self.forget_start - self.forget_floor)

    @property
    def excess(self) -> float:
        """What was lost on the retain set, in units of what is to be forgotten; never below 0."""
        return max(0.0, self.retain - self.retain_floor) / (self.forget_start - self.forget_floor)

    @property
    def value(self) -> float:
        """What the search minimises.

        Example:
            Floor 2, start 12: (5 − 2 + (4 − 3)) / 10.

            >>> Score(forget=5.0, forget_floor=2.0, forget_start=12.0, retain=4.0, retain_floor=3.0).value
            0.4
        """
        return self.relative + self.excess


def score_of(forget: MetricResult, retain: MetricResult) -> Score:
    """From what an audit measures.

    Args:
        forget: The distance on the forget set, with the original's.
        retain: On the retain set.

    Raises:
        ValueError: The original is not farther from the reference than another retraining: there is no scale, and nothing to find.
    """
    floor, start = forget.floor or 0.0, forget.start
    assert start is not None  # the original is always given
    if not start > floor:
        raise ValueError(
            f"{forget.name} of the original on these forget rows is {start:.3g}, no more than the floor ({floor:.3g}): they cannot tell it from another "
            "retraining, so there is nothing to search for. Give more rows (max_examples), more samples (num_samples), or look whether the model knows the forget set."
        )
    retained = retain.floor if retain.floor is not None else retain.start
    return Score(forget.value, floor, start, retain.value, retained or 0.0)
