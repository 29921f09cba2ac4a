"""What is said wherever a number rests on an assumption, and whose value a floor is: one wording for all views. Knows no metric and no model."""

from typing import Protocol


ASSUMPTIONS = ("", "counterfactual")
"""What numbers may rest on; "" = on a retrained model, or on the candidate alone."""
EXCHANGEABLE = "counterfactual, assumes that subjects are exchangeable"
"""Beside every judgement on a counterfactual number."""
FLOORS = {"": "the twin", "stand-in": "unseen names", "continued": "continued models"}
"""Whose value a floor is, by `MetricResult.floor_of`."""


class Titled(Protocol):
    """A spec, or the part of it that travels."""

    @property
    def title(self) -> str:
        """In tables and sentences."""
        ...

    @property
    def assumes(self) -> str:
        """One of `ASSUMPTIONS`."""
        ...


def marked(title: str, assumes: str) -> str:
    """A title that says what its numbers rest on.

    Example:
        >>> marked("distance", "counterfactual"), marked("counterfactual FADE", "counterfactual"), marked("FADE", "")
        ('distance (counterfactual)', 'counterfactual FADE', 'FADE')
    """
    return title if not assumes or assumes in title.lower() else f"{title} ({assumes})"


def titled(spec: Titled) -> str:
    """The title of a metric as every view shows it."""
    return marked(spec.title, spec.assumes)


def floor_word(floor_of: str) -> str:
    """Whose value a floor is, in words."""
    return FLOORS.get(floor_of, "the floor")
