"""Objectives and retain terms by name."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from hf_unlearn.objectives._base import NEEDS, REDUCTIONS, Objective, RetainTerm
from hf_unlearn.objectives._ce_u import CEU
from hf_unlearn.objectives._counterfactual import Counterfactual
from hf_unlearn.objectives._dpo import DPO, AltPO, IdkDPO
from hf_unlearn.objectives._grad_ascent import GradientAscent
from hf_unlearn.objectives._idk import IDK
from hf_unlearn.objectives._ihl import IHL
from hf_unlearn.objectives._lifecycle import completed
from hf_unlearn.objectives._npo import NPO
from hf_unlearn.objectives._pdu import PDU
from hf_unlearn.objectives._random_label import RandomLabel
from hf_unlearn.objectives._retain import HiddenRetain, KLRetain, NLLRetain
from hf_unlearn.objectives._rmu import RMU
from hf_unlearn.objectives._sat_imp import SatImp
from hf_unlearn.objectives._scrub import Scrub
from hf_unlearn.objectives._simnpo import SimNPO
from hf_unlearn.objectives._undial import UNDIAL
from hf_unlearn.objectives._wga import WGA


OBJECTIVES: dict[str, type] = {
    "grad_ascent": GradientAscent,
    "npo": NPO,
    "simnpo": SimNPO,
    "dpo": DPO,
    "idk_dpo": IdkDPO,
    "altpo": AltPO,
    "idk": IDK,
    "rmu": RMU,
    "undial": UNDIAL,
    "ce_u": CEU,
    "wga": WGA,
    "sat_imp": SatImp,
    "ihl": IHL,
    "pdu": PDU,
    "scrub": Scrub,
    "random_label": RandomLabel,
    "counterfactual": Counterfactual,
}
"""Name → class; `objective="npo"` is `OBJECTIVES["npo"]()`."""

COMPOSITIONS: dict[str, tuple[str, str]] = {"grad_diff": ("grad_ascent", "nll"), "kl_min": ("grad_ascent", "kl")}
"""Names that the field gives to an objective together with a retain term."""

RETAIN_TERMS: dict[str, type] = {"nll": NLLRetain, "kl": KLRetain, "hidden": HiddenRetain}
"""Name → class; `retain_term="kl"` is `RETAIN_TERMS["kl"]()`."""

Kind = TypeVar("Kind")


def get_objective(objective: str | Objective, options: Mapping[str, Any] | None = None) -> Objective:
    """The objective itself, or the one of that name; of a composition, its forget term.

    Args:
        objective: An objective, or its name.
        options: Of the one named; default: its defaults.

    Raises:
        ValueError: An unknown name (suggests the nearest), unknown options (says which there are), or options beside an object.
        TypeError: An object that lacks what an objective must have, or an option that is no number where one is needed; says what.
    """
    if isinstance(objective, str) and objective in COMPOSITIONS:
        objective = COMPOSITIONS[objective][0]
    found = _by_name(objective, {**OBJECTIVES, **dict.fromkeys(COMPOSITIONS, object)}, "objective")
    _check_members(found, ("name", "reduction", "needs", "__call__"), "objective")
    if options:
        found = _with_options(objective, found, options)
    if found.reduction not in REDUCTIONS:
        raise ValueError(f"the objective's reduction must be one of {', '.join(REDUCTIONS)}; got {found.reduction!r}.")
    unknown = [need for need in found.needs if need not in NEEDS]
    if unknown:
        raise ValueError(f"objective {found.name!r} needs {unknown[0]!r}; it can ask for {', '.join(NEEDS)}.")
    return found


def get_retain_term(retain_term: str | RetainTerm | None, objective: str | Objective = "npo") -> RetainTerm:
    """The retain term itself, or the one of that name; None: what the composition says, else what goes with the objective.

    Raises:
        ValueError: An unknown name, or one that contradicts the composition.
        TypeError: An object that lacks what a retain term must have.
    """
    implied = COMPOSITIONS[objective][1] if isinstance(objective, str) and objective in COMPOSITIONS else None
    if retain_term is None:
        retain_term = implied or completed(get_objective(objective)).retain_term
    found = _by_name(retain_term, RETAIN_TERMS, "retain term")
    _check_members(found, ("name", "needs_original", "__call__"), "retain term")
    if implied is not None and found.name != implied:
        raise ValueError(
            f"{objective!r} is {COMPOSITIONS[str(objective)][0]} with retain term {implied!r}, not {found.name!r}."
        )
    return found


def _with_options(objective: str | Objective, found: Objective, options: Mapping[str, Any]) -> Objective:
    if not isinstance(objective, str):
        raise ValueError(f"options go with an objective's name; give them to {type(found).__name__}(…) itself.")
    known = [each.name for each in fields(OBJECTIVES[objective]) if each.init]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"objective {objective!r} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}.")
    return OBJECTIVES[objective](**options)


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
