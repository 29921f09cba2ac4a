"""Options of objectives and retain terms: checked where they are made, whoever makes them. Knows dataclasses; no tensors."""

from dataclasses import Field, fields
from typing import Any, get_args, get_type_hints

from hf_unlearn._arguments import real_number, switch, whole_number


def check_options(part: Any, kind: str) -> None:
    """Refuse text and the like where an option is a number or a switch; a comparison inside a loss would say it without a name.

    Args:
        part: A dataclass with a `name`; the metadata of a field may have "above", which its value must exceed.
        kind: "objective" or "retain term", for messages.

    Raises:
        TypeError: Not a number, or no switch, where one is needed.
        ValueError: Not finite, or not above its limit.
    """
    try:
        hints = get_type_hints(type(part))
    except NameError:  # of a type that is imported for type checkers only
        hints = {}
    for option in fields(part):
        if option.init:
            _check(option, getattr(part, option.name), hints.get(option.name), f"{kind} {part.name!r}")


def _check(option: Field, value: Any, hint: Any, owner: str) -> None:
    name, kinds = f"option {option.name!r} of {owner}", get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return
    if float in kinds:
        real_number(name, value)
    elif int in kinds:
        whole_number(name, value)
    elif bool in kinds:
        switch(name, value)
    if "above" in option.metadata and not value > option.metadata["above"]:
        raise ValueError(f"{option.name} must be above {option.metadata['above']}, got {value}.")
