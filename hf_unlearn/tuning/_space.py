"""What a search may choose: objective, its options, retain term, weight, learning rate and length. Knows no model and no data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Protocol

from hf_unlearn.objectives import get_objective, get_retain_term
from hf_unlearn.objectives._registry import COMPOSITIONS


LEARNING_RATE, FORGET_WEIGHT, OPTION = (0.2, 5.0), (0.05, 5.0), (0.2, 5.0)
"""Ranges, as multiples of the default, drawn on the logarithmic scale. Adam follows the ratio of both weights alone, so the retain weight stays 1."""
SHORTEST = 8
"""The shortest length is this part of the longest."""


CHOSEN = ("objective", "retain_term", "learning_rate", "forget_weight", "max_steps")
"""Parameters that are options of `unlearn` by the same name."""


class Draw(Protocol):
    """A trial of Optuna's, as much of it as is used."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any: ...


@dataclass(frozen=True)
class Space:
    """What may be chosen.

    Attributes:
        objectives: Names.
        retain_terms: Names, for objectives that do not name their own.
        learning_rate: The default.
        max_steps: The greatest length, which is the default, too.
    """

    objectives: tuple[str, ...]
    retain_terms: tuple[str, ...]
    learning_rate: float
    max_steps: int

    def defaults(self) -> list[dict[str, Any]]:
        """The defaults of each objective as parameters, with the first retain term."""
        return [self._default(name) for name in self.objectives]

    def _default(self, objective: str) -> dict[str, Any]:
        found: dict[str, Any] = {"objective": objective, "learning_rate": self.learning_rate, "forget_weight": 1.0}
        found |= {"max_steps": self.max_steps}
        if not names_retain_term(objective):
            found["retain_term"] = "nll" if "nll" in self.retain_terms else self.retain_terms[0]
        return found | {f"{objective}.{name}": value for name, value in searched_options(objective).items()}

    def draw(self, trial: Draw) -> dict[str, Any]:
        """Choose once.

        Returns:
            Options of `unlearn` by name.
        """
        objective = trial.suggest_categorical("objective", self.objectives)
        chosen: dict[str, Any] = {"objective": objective}
        if not names_retain_term(objective):
            chosen["retain_term"] = trial.suggest_categorical("retain_term", self.retain_terms)
        low, high = (self.learning_rate * factor for factor in LEARNING_RATE)
        chosen["learning_rate"] = trial.suggest_float("learning_rate", low, high, log=True)
        chosen["forget_weight"] = trial.suggest_float("forget_weight", *FORGET_WEIGHT, log=True)
        shortest = max(1, self.max_steps // SHORTEST)
        chosen["max_steps"] = trial.suggest_int("max_steps", shortest, self.max_steps, log=True)
        for name, value in searched_options(objective).items():
            name = f"{objective}.{name}"
            chosen[name] = trial.suggest_float(name, value * OPTION[0], value * OPTION[1], log=True)
        return chosen_of(chosen)

    def default(self, objective: str) -> dict[str, Any]:
        """The defaults of one, as options of `unlearn`."""
        return chosen_of(self._default(objective))

    def described(self) -> dict[str, Any]:
        """For telling one search from another."""
        options = {name: searched_options(name) for name in self.objectives}
        ranges = {"learning_rate": LEARNING_RATE, "forget_weight": FORGET_WEIGHT, "option": OPTION}
        return {**asdict(self), "options": options, "ranges": ranges, "shortest": SHORTEST}


def chosen_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `unlearn` from the parameters of a trial; others, and what is None, are left out.

    Example:
        >>> chosen_of({"objective": "npo", "npo.beta": 0.1, "max_steps": 9, "retain_term": None, "seconds": 3.0})
        {'objective': 'npo', 'max_steps': 9, 'objective_options': {'beta': 0.1}}
    """
    chosen = {name: parameters[name] for name in CHOSEN if parameters.get(name) is not None}
    prefix = f"{parameters['objective']}."
    options = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    return chosen | ({"objective_options": options} if options else {})


def names_retain_term(objective: str) -> bool:
    """Whether an objective comes with a retain term of its own, which then stays.

    Example:
        >>> names_retain_term("kl_min"), names_retain_term("npo")
        (True, False)
    """
    return objective in COMPOSITIONS or get_retain_term(None, objective).name != "nll"


def searched_options(objective: str) -> Mapping[str, float]:
    """Options of an objective that are searched, with their defaults: numbers above 0, unless the field's metadata say `searched=False`.

    Example:
        >>> searched_options("simnpo")
        {'beta': 4.5}
    """
    if objective in COMPOSITIONS:
        return {}  # its options are those of the forget term's own name, which `unlearn` takes under that name alone
    found = get_objective(objective)
    if not is_dataclass(found):
        return {}
    searched = [each.name for each in fields(found) if each.init and each.metadata.get("searched", True)]
    named = {name: getattr(found, name) for name in searched}
    return {name: value for name, value in named.items() if isinstance(value, float) and value > 0}
