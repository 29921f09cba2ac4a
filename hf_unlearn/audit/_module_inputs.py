"""What the Evaluate modules are handed beside their own inputs: refused, unless `evaluate.combine` sent it for another one."""

import difflib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import fields

from hf_unlearn.audit._fade import fade_from_log_probs, measure_fade
from hf_unlearn.audit._representation import measure_representation, representation_from_features
from hf_unlearn.inference import FeatureSettings


EVALUATES_OWN = ("predictions", "references")
"""What `evaluate.combine` sends to every module, given or not."""


def check_module_inputs(name: str, own: Collection[str], others: Mapping[str, object]) -> None:
    """Refuse what a module does not take.

    `evaluate.combine` sends every input to every module: what another of this library's modules takes is then left to it.

    Args:
        name: Of the module, for messages.
        own: Inputs that it takes.
        others: Further ones that came.

    Raises:
        TypeError: Predictions and references, or names that no module knows.
    """
    if any(others.get(word) is not None for word in EVALUATES_OWN):
        raise TypeError(
            f"{name} compares two models and takes no predictions or references; with evaluate.combine it goes together with this library's "
            "other modules only. Pass what its inputs description names, for example candidate= and reference=."
        )
    is_combined = set(EVALUATES_OWN) <= set(others)
    known = {*own, *(_everything() if is_combined else ())}
    unknown = [word for word in others if word not in known and word not in EVALUATES_OWN]
    if unknown:
        close = difflib.get_close_matches(unknown[0], sorted(known), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TypeError(f"{name} takes no input {unknown[0]!r}; it takes {', '.join(own)}.{hint}")


def _everything() -> set[str]:
    functions = (measure_fade, fade_from_log_probs, measure_representation, representation_from_features)
    names = {word for function in functions for word in inspect.signature(function).parameters}
    return names | {field.name for field in fields(FeatureSettings)}
