"""Models in their roles: which adapters are at work while each of them answers.

PEFT puts its layers into the base model that it is given. A base handed in beside an adapter made on it, or two adapters on one base,
are then one module answering in several roles, and compared as they stand they would be equal. Here, and only here, it is decided what
each role means, and switched for the moment of a pass.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper

from hf_unlearn.inference._loading import LoadedModel, ModelLike, load_model
from hf_unlearn.inference._models import base_model


logger = logging.getLogger(__name__)
HARMLESS_INITS = (True, False, "gaussian", "orthogonal", "eva")
"""Initialisations of LoRA that leave the base as it is; others (PiSSA, OLoRA, …) change its weights."""
LOAD_APART = (
    "Load each of these models for itself (from_pretrained once for every role), or save them and pass the paths."
)


@dataclass(frozen=True, eq=False)
class View:
    """A model as it answers in one role.

    Attributes:
        model: The model.
        adapters: Which adapters inside it are at work, none if empty; None: as it stands.
        switches: Its modules that have adapters to be switched.
    """

    model: LoadedModel
    adapters: tuple[str, ...] | None = None
    switches: tuple[Any, ...] = ()

    @contextmanager
    def active(self) -> Iterator[LoadedModel]:
        """The model with this view's adapters; afterwards everything is as it was."""
        if self.adapters is None:
            yield self.model
            return
        before = [(module, module._active_adapter, module._disable_adapters) for module in self.switches]
        try:
            for module in self.switches:
                # Not PEFT's set_adapter: it also decides what is trainable.
                module._active_adapter = _known_to(module, self.adapters)
                module._disable_adapters = not self.adapters
            yield self.model
        finally:
            for module, names, disabled in before:
                module._active_adapter, module._disable_adapters = names, disabled


Viewable: TypeAlias = ModelLike | View
"""A model, a path or an id, or a model in its role."""


def open_view(model: Viewable, *, kind: str = "causal_lm", dtype: str = "auto", device_map: str | None = None) -> View:
    """The model, opened as `load_model` does if it is a path or an id, as it stands; a view stays as it is."""
    return model if isinstance(model, View) else View(load_model(model, kind=kind, dtype=dtype, device_map=device_map))


def tell_apart(models: Mapping[str, Viewable]) -> dict[str, Viewable]:
    """What each role means where loaded models share weights: a base beside adapters made on it answers without them, a `PeftModel` with
    those that it says are active.

    Args:
        models: By role. Paths and ids are not opened: they share nothing.

    Returns:
        A `View` for every loaded model, in the same order; paths and ids as they are.

    Raises:
        ValueError: Roles that cannot be told apart, with the way to load them apart; or a wrapper with a hook or `forward` of its own.
    """
    views = {role: model for role, model in models.items() if isinstance(model, (str, os.PathLike, View))}
    together: dict[int, dict[str, LoadedModel]] = {}
    switches: dict[int, tuple[torch.nn.Module, ...]] = {}
    for role, model in models.items():
        if role not in views:
            loaded = load_model(model, kind="any")
            base_model(loaded)  # what cannot be read as it is, is refused before anything runs
            found = _switches(loaded)
            key = id(found[0] if found else _innermost(loaded))
            together.setdefault(key, {})[role], switches[key] = loaded, found
    for key, group in together.items():
        _warn_of_stowaways(group, switches[key])
        adapters = _adapters_by_role(group, switches[key]) if len(group) > 1 else dict.fromkeys(group)
        views |= {role: View(model, adapters[role], switches[key]) for role, model in group.items()}
    return {role: views[role] for role in models}


def _adapters_by_role(
    group: Mapping[str, LoadedModel], switches: Sequence[torch.nn.Module]
) -> dict[str, tuple[str, ...] | None]:
    """Active adapters of roles that share one base; None: as it stands."""
    roles = " and ".join(group)
    wrapped = {role: model for role, model in group.items() if isinstance(model, PeftModel)}
    reason = _why_inseparable(group, wrapped, switches)
    if reason:
        raise ValueError(f"{roles} share weights and cannot be told apart: {reason}. {LOAD_APART}")
    plain = [role for role in group if role not in wrapped]
    if len(plain) > 1:
        logger.warning(
            "%s are one and the same model object, so every distance between them is 0 WHATEVER THEY WERE MEANT TO BE. PEFT's merge_and_unload "
            "changes the model that the adapter was made from and returns that very object. %s",
            " and ".join(plain),
            LOAD_APART,
        )
    if not switches:
        return dict.fromkeys(group)
    return {role: tuple(wrapped[role].active_adapters) if role in wrapped else () for role in group}


def _warn_of_stowaways(group: Mapping[str, LoadedModel], switches: Sequence[torch.nn.Module]) -> None:
    """A model from which adapters were made has them inside, also where the `PeftModel` is somewhere else."""
    (role, model), *others = group.items()
    if (
        switches
        and not others
        and not isinstance(model, PeftModel)
        and not getattr(model, "_hf_peft_config_loaded", False)
    ):
        logger.warning(
            "%s is a %s with PEFT adapters inside, and answers with them: adapters are put into the model that they are made from. If the model "
            "without them is meant, load it anew; otherwise pass the PeftModel.",
            role,
            type(model).__name__,
        )


def _why_inseparable(
    group: Mapping[str, LoadedModel], wrapped: Mapping[str, PeftModel], switches: Sequence[torch.nn.Module]
) -> str | None:
    soft = [model for model in wrapped.values() if model.active_peft_config.is_prompt_learning]
    if len({id(model) for model in wrapped.values()}) < len(wrapped):
        return "one PeftModel object is in two roles and answers alike in both"
    if not switches:
        return (
            None
            if len(soft) == len(wrapped)
            else "an adapter was merged into the base, or is of a kind without layers"
        )
    if soft or any(isinstance(_base(model), PeftModel) for model in wrapped.values()):
        return "adapters of different kinds lie on top of each other"
    if not wrapped or any(getattr(model, "_hf_peft_config_loaded", False) for model in group.values()):
        return "the adapters are part of the model object itself"
    if any(getattr(module, "merged", False) for module in switches):
        return "an adapter is merged into the base"
    if any(module._disable_adapters for module in switches):
        return "the adapters are switched off at present, in every role"
    names = [tuple(model.active_adapters) for model in wrapped.values()]
    if len(set(names)) < len(names):
        return (
            f"they use one adapter ({', '.join(names[0])}); a second of that name on the same base replaces the first"
        )
    configs = next(iter(wrapped.values())).peft_config
    if any(getattr(config, "bias", "none") != "none" for config in configs.values()):
        return "an adapter with bias= trains the biases of the base itself"
    if any(getattr(config, "init_lora_weights", True) not in HARMLESS_INITS for config in configs.values()):
        return "the adapter's init_lora_weights changes the weights of the base"
    return None


def _switches(model: LoadedModel) -> tuple[torch.nn.Module, ...]:
    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    return tuple(module for module in _innermost(model).modules() if isinstance(module, kinds))


def _base(model: PeftModel) -> LoadedModel:
    return model.base_model if model.active_peft_config.is_prompt_learning else model.get_base_model()


def _innermost(model: LoadedModel) -> LoadedModel:
    while isinstance(model, PeftModel):
        model = _base(model)
    return model


def _known_to(module: torch.nn.Module, adapters: Sequence[str]) -> list[str]:
    """A module saved whole for one adapter must not be asked for another."""
    if isinstance(module, AuxiliaryTrainingWrapper):
        return [name for name in adapters if name in module._adapters]
    return list(adapters)
