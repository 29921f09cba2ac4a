"""Objectives and retain terms by name."""

import difflib
from typing import TypeVar

from hf_unlearn.objectives._base import Objective, RetainTerm
from hf_unlearn.objectives._grad_ascent import GradientAscent
from hf_unlearn.objectives._npo import NPO
from hf_unlearn.objectives._retain import KLRetain, NLLRetain


OBJECTIVES: dict[str, type] = {"grad_ascent": GradientAscent, "npo": NPO}
"""Name → class; `objective="npo"` is `OBJECTIVES["npo"]()`."""

RETAIN_TERMS: dict[str, type] = {"nll": NLLRetain, "kl": KLRetain}
"""Name → class; `retain_term="kl"` is `RETAIN_TERMS["kl"]()`."""

Kind = TypeVar("Kind")


def get_objective(objective: str | Objective) -> Objective:
    """The objective itself, or the one of that name with its defaults.

    Raises:
        ValueError: An unknown name; suggests the nearest.
        TypeError: An object that lacks what an objective must have; says what.
    """
    found = _by_name(objective, OBJECTIVES, "objective")
    _check_members(found, ("name", "reduction", "needs_original", "__call__"), "objective")
    if found.reduction not in ("token", "example"):
        raise ValueError(f"the objective's reduction must be 'token' or 'example', got {found.reduction!r}.")
    return found


def get_retain_term(retain_term: str | RetainTerm) -> RetainTerm:
    """The retain term itself, or the one of that name.

    Raises:
        ValueError: An unknown name; suggests the nearest.
        TypeError: An object that lacks what a retain term must have.
    """
    found = _by_name(retain_term, RETAIN_TERMS, "retain term")
    _check_members(found, ("name", "needs_original", "__call__"), "retain term")
    return found


def _by_name(given: str | Kind, known: dict[str, type], kind: str) -> Kind:
    if not isinstance(given, str):
        return given() if isinstance(given, type) else given
    if given not in known:
        close = difflib.get_close_matches(given.lower().replace("-", "_"), known, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"there is no {kind} {given!r}; there are {', '.join(sorted(known))}.{hint}")
    return known[given]()


def _check_members(found: object, members: tuple[str, ...], kind: str) -> None:
    missing = [member for member in members if not hasattr(found, member)]
    if missing:
        raise TypeError(f"a {type(found).__name__} is no {kind}: it lacks {', '.join(missing)}.")
