"""Audits with counterfactual questions of a second each: rows of tokens, a tiny Llama with an adapter on it in another role."""

from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from toys import tiny_llama, word_tokenizer


EACH = 3
"""Names for the stand-in, and as many for its floor."""
METRICS = (
    "counterfactual_fade",
    "counterfactual_exposure",
    "counterfactual_residual_ratio",
    "counterfactual_progress",
)


def _prompt(middle: list[int], name: int) -> list[int]:
    return [1, 5, *[name] * (1 + name % 2), *middle, 6]


def forget_rows(count: int = 9) -> Dataset:
    """Prompts of unequal length, one of them with two answers; the last row has no counterfactual question."""
    generator, rows = np.random.default_rng(0), []
    for at in range(count):
        middle = generator.integers(20, 90, at % 4).tolist()
        prompt = partial(_prompt, middle)
        answer = generator.integers(20, 90, 1 + at % 3).tolist()
        asked = (
            [] if at == count - 1 else [prompt(int(name)) for name in generator.choice(range(30, 90), 2 * EACH, False)]
        )
        own = rows[-1]["input_ids"][: rows[-1]["labels"].count(-100)] if at == 5 else prompt(10 + at)
        rows.append(
            {
                "input_ids": [*own, *answer, 2],
                "labels": [-100] * len(own) + [*answer, 2],
                "person_id": at // 2,
                "counterfactual_question": asked,
            }
        )
    return Dataset.from_list(rows)


def moved(model: torch.nn.Module, seed: int, scale: float = 0.1) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += scale * weights.abs().mean() * torch.randn(weights.shape, generator=generator)
    return model


def adapted(base: torch.nn.Module) -> torch.nn.Module:
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.copy_(0.3 * torch.randn(weights.shape, generator=generator))
    return model.eval()


def arguments(**changes: Any) -> dict[str, Any]:
    """Of `audit`; the candidate is an adapter on the original. What is None is left out."""
    original = tiny_llama(0, pad_token_id=2)
    given = {
        "original": original,
        "candidate": adapted(original),
        "forget": forget_rows(),
        "metrics": METRICS,
        "processing_class": word_tokenizer(*(f"w{number}" for number in range(96))),
        "max_new_tokens": 4,
        "num_counterfactuals": EACH,
        "num_resamples": 100,
        "progress": False,
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}
