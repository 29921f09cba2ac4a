"""The arguments that measurements share, checked by name before anything is opened."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_unlearn._arguments import given, one_of, open_share, switch, whole_number, whole_numbers
from hf_unlearn.functional import ESTIMATORS
from hf_unlearn.inference import ModelLike, plain_model


SPACES = ("auto", "feature", "gram")
_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(("num_samples", "max_examples", "num_resamples", "batch_size"), partial(whole_number, minimum=1)),
    "max_new_tokens": partial(whole_number, minimum=1),
    "seed": partial(whole_number, minimum=0),
    "confidence": open_share,
    "estimator": partial(one_of, choices=ESTIMATORS),
    "space": partial(one_of, choices=SPACES),
    "layers": partial(whole_numbers, minimum=0),
    **dict.fromkeys(("allow_overlap", "debiased", "progress"), switch),
}
_OPTIONAL = ("layers", "max_new_tokens")


def check_arguments(**arguments: object) -> dict[str, Any]:
    """The arguments as plain values.

    Raises:
        TypeError: Of another kind than the argument has.
        ValueError: Of the right kind, but out of range.

    Example:
        >>> check_arguments(num_samples=8, layers=None)
        {'num_samples': 8, 'layers': None}
    """
    return {
        name: None if value is None and name in _OPTIONAL else _CHECKS[name](name, value)
        for name, value in arguments.items()
    }


def check_roles(
    models: Mapping[str, ModelLike | None],
    processing_class: PreTrainedTokenizerBase | str | os.PathLike | None,
    *,
    kind: str = "causal_lm",
    needs_reference: bool = True,
) -> dict[str, ModelLike]:
    """The models that were given, by role, without wrappers of data parallelism.

    Args:
        models: By role; the candidate must be there.
        processing_class: The tokenizer, if one was given.
        kind: What they have to be.
        needs_reference: Whether there must be one.

    Raises:
        TypeError: Something that is not a model, or not a tokenizer.
        ValueError: A model without weights.
    """
    given("candidate", models["candidate"], "the unlearned model")
    if needs_reference:
        given("reference", models["reference"], "a model that never saw the forget set")
    if processing_class is not None and not isinstance(processing_class, (PreTrainedTokenizerBase, str, os.PathLike)):
        raise TypeError(
            f"processing_class must be a tokenizer, or a path or id where one is; got {type(processing_class).__name__}."
        )
    return {role: plain_model(model, kind=kind) for role, model in models.items() if model is not None}


def check_precision(models: Mapping[str, ModelLike], dtype: str) -> None:
    """Refuse loaded models of another precision than was asked for: they are measured as they are.

    Args:
        models: By role.
        dtype: Name of the precision, or "auto".

    Raises:
        ValueError: Names the role.
    """
    for role, model in models.items():
        if dtype == "auto" or isinstance(model, (str, os.PathLike)):
            continue
        found = str(model.dtype).removeprefix("torch.")
        if found != dtype:
            raise ValueError(
                f"the {role} is loaded in {found}, not in dtype={dtype!r}. Load it in that precision, pass its path, or leave dtype out."
            )
