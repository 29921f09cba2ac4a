"""Audits of a second each: random models of the world on rows of tokens. Nothing was learnt or forgotten there, but every number has to hold."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import world
from datasets import Dataset
from toys import word_tokenizer


ROLES = ("candidate", "reference", "original", "twin")


def token_rows(seed: int, count: int = 8, people: int | None = None) -> Dataset:
    """Questions that differ, answers of two to five tokens; about so many people."""
    generator = np.random.default_rng(seed)
    rows = []
    for at in range(count):
        prompt = [1, 3 + seed, 3 + at, *generator.integers(3, world.VOCABULARY, at % 3).tolist()]
        answer = generator.integers(3, world.VOCABULARY, 2 + at % 4).tolist()
        about = {} if people is None else {"person_id": at % people}
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer, **about})
    return Dataset.from_list(rows)


def relatives(architecture: str = "llama", roles: tuple[str, ...] = ROLES) -> dict[str, torch.nn.Module]:
    """Models that differ a little, as fine-tuned from one, by role; the original most."""
    base = world.build(architecture)
    models = {}
    for seed, role in enumerate(roles):
        models[role] = copy.deepcopy(base)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in models[role].parameters():
                weights += (
                    (0.2 if role == "original" else 0.05)
                    * weights.abs().mean()
                    * torch.randn(weights.shape, generator=generator)
                )
    return models


def arguments(architecture: str = "llama", **changes: Any) -> dict[str, Any]:
    """Everything that `audit` takes; what is None is left out."""
    given = {
        **relatives(architecture),
        "processing_class": word_tokenizer(*(f"w{number}" for number in range(world.VOCABULARY - 1))),
        "forget": token_rows(1),
        "retain": token_rows(2),
        "holdout": token_rows(4),
        "num_samples": 2,
        "max_new_tokens": 4,
        "num_resamples": 100,
        "progress": False,
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


@dataclass
class Noisy:
    """An attack: noise on all weights."""

    scale: float = 0.3
    name: str = "noise"
    roles: tuple[str, ...] = ("candidate",)
    metrics: tuple[str, ...] | None = None

    def apply(self, subject: Any) -> torch.nn.Module:
        model = copy.deepcopy(subject.model)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in model.parameters():
                weights += self.scale * weights.abs().mean() * torch.randn(weights.shape, generator=generator)
        return model


def numbers(report: Any) -> dict[str, float]:
    """Every number of the results of a report, by its place."""

    def walk(place: str, part: Any) -> None:
        if isinstance(part, dict):
            for name, value in part.items():
                walk(f"{place} {name}", value)
        elif isinstance(part, (list, tuple)):
            for at, value in enumerate(part):
                walk(f"{place} {at}", value)
        elif isinstance(part, (int, float)):
            found[place] = float(part)

    found: dict[str, float] = {}
    walk("", {key: result.to_plain() for key, result in report.metrics.items()})
    return found


def by_prompt(rows: Dataset) -> Dataset:
    """Of the pocket benchmark, without the columns that say who a row is about: there are few people, and each prompt then counts."""
    return rows.remove_columns(["person_id", "cluster_id", "subject"])
