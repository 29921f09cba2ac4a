"""What the publisher says about an audited model, which no measurement can know."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.utils import HFValidationError, validate_repo_id


logger = logging.getLogger(__name__)
Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Statement:
    """Goes into the card beside the numbers, and is marked there as what the publisher says.

    Attributes:
        forgotten: What was forgotten, in the publisher's words ("records of 20 invented persons"). Never taken from the data.
        objective: Name of the objective, and how it was reached.
        settings: Of the unlearning: learning rate, epochs, weights.
        base_model: Hub id of the model before unlearning.
        datasets: Hub ids of public data sets that were used.
        examples: Texts of the forget set to be shown. Empty unless the publisher gives them: nothing of the data is published otherwise.
    """

    forgotten: str | None = None
    objective: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    base_model: str | None = None
    datasets: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("datasets", "examples"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a list of texts, not one text.")

    def to_plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "forgotten": self.forgotten,
            "objective": self.objective,
            "settings": dict(self.settings),
            "base_model": self.base_model,
            "datasets": list(self.datasets),
            "examples": list(self.examples),
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> "Statement":
        """Back from `to_plain`; what a later version added is left out."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        for name in ("datasets", "examples"):
            known[name] = tuple(map(str, known.get(name) or ()))
        settings = known.get("settings") or {}
        if not isinstance(settings, Mapping):
            raise ValueError("the settings of a statement must be a mapping.")
        texts = {name: known.get(name) for name in ("forgotten", "objective", "base_model")}
        return cls(
            **{name: None if value is None else str(value) for name, value in texts.items()},
            settings=dict(settings),
            datasets=known["datasets"],
            examples=known["examples"],
        )


def is_repo_id(text: str) -> bool:
    """Whether the Hub would take it as an id."""
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def settings_of_run(folder: Path) -> tuple[str | None, dict[str, Setting]]:
    """Objective and settings that `unlearn` wrote beside a model; nothing where there is no `unlearning.json`.

    Only numbers, names and switches are taken: no path, no hash of data.
    """
    path = folder / "unlearning.json"
    if not path.is_file():
        return None, {}
    data = json.loads(path.read_text(encoding="utf-8"))
    objective = str(data.get("objective", {}).get("name"))
    settings: dict[str, Setting] = {}
    for part in ("objective", "retain_term"):
        for name, value in (data.get(part) or {}).items():
            settings[part if name == "name" else f"{part}.{name}"] = value
    for name in ("forget_weight", "retain_weight", "learning_rate", "num_train_epochs", "seed", "fila", "adapter"):
        settings[name] = data.get(name)
    if data.get("max_steps") is not None:  # then there is no number of passes
        settings["max_steps"] = data["max_steps"]
        del settings["num_train_epochs"]
    kept = {name: value for name, value in settings.items() if publishable(value)}
    return objective, kept


def publishable(value: object) -> bool:
    """Numbers, switches and words; nothing that may name a place."""
    if isinstance(value, float):
        return math.isfinite(value)
    return (
        value is None
        or isinstance(value, (bool, int))
        or (isinstance(value, str) and "/" not in value and "\\" not in value)
    )


def make_statement(
    forgotten: str | None,
    objective: str | None,
    settings: Mapping[str, Setting] | None,
    base_model: str | None,
    datasets: Sequence[str],
    show_examples: Sequence[str] = (),
    weights: Path | None = None,
) -> Statement:
    """What the publisher says, checked.

    Args:
        forgotten: In the publisher's words.
        objective: Name; default: what `unlearn` noted beside the weights.
        settings: Of the unlearning; the same default. What may name a place is left out.
        base_model: Hub id.
        datasets: Hub ids.
        show_examples: Texts of the forget set that are to be public.
        weights: Folder of the model.

    Raises:
        ValueError: A base model or data set that is not on the Hub: its name would be published.
        TypeError: One text where a list is expected.
    """
    found, run = (None, {}) if weights is None else settings_of_run(weights)
    given = (datasets, show_examples)
    if any(isinstance(value, str) for value in given):
        raise TypeError("datasets and show_examples must be lists of texts, not one text.")
    for name in (*datasets, *(() if base_model is None else (base_model,))):
        if not is_repo_id(name) or Path(name).exists():
            raise ValueError(
                f"{name!r} is no id on the Hub. base_model and datasets are published, so they must not name a local place."
            )
    chosen = {name: value for name, value in (run if settings is None else settings).items() if publishable(value)}
    if settings is not None and len(chosen) < len(settings):
        logger.warning(
            "not published, because they name places or are no numbers: %s", ", ".join(set(settings) - set(chosen))
        )
    return Statement(forgotten, objective or found, dict(chosen), base_model, tuple(datasets), tuple(show_examples))
