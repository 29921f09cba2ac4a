"""The same prompt given many times is one prompt: intervals and probes must not believe otherwise."""

import numpy as np
import pytest
import world
from datasets import Dataset
from toys import word_tokenizer

from hf_unlearn.audit import audit, measure_fade


PROMPTS = [[1, first, second] for first in (5, 6, 7) for second in (8, 9)]


def _width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def test_fade_of_a_prompt_given_twenty_times():
    models = {"candidate": world.build("llama"), "reference": world.build("llama", seed=1)}
    options = {**models, "num_samples": 2, "max_new_tokens": 5, "progress": False}
    once = measure_fade(prompts=PROMPTS, **options).estimate
    often = measure_fade(prompts=PROMPTS * 20, **options).estimate
    assert once.num_prompts == often.num_prompts == len(PROMPTS)
    assert often.num_samples == 40
    assert _width(often.confidence_interval) > 0.4 * _width(once.confidence_interval)  # before: about a fifth
    alone = measure_fade(prompts=PROMPTS[:1] * 20, **options).estimate
    assert alone.num_prompts == 1 and alone.confidence_interval is None


@pytest.fixture(scope="module")
def reports() -> dict:
    """The audit of ten rows, and of the same ten given six times."""
    tokenizer = word_tokenizer(*(f"w{number}" for number in range(world.VOCABULARY - 1)))

    def rows(start: int, times: int) -> Dataset:
        drawn = np.random.default_rng(start).integers(3, world.VOCABULARY, size=(10, 4)).tolist()
        whole = [
            {"input_ids": [1, start, at + 3, *answer], "labels": [-100] * 3 + answer}
            for at, answer in enumerate(drawn)
        ]
        return Dataset.from_list(whole * times)

    found = {}
    for times in (1, 6):
        found[times] = audit(
            world.build("llama"), reference=world.build("llama", seed=1), original=world.build("llama", seed=2),
            twin=world.build("llama", seed=3), forget=rows(2, times), holdout=rows(9, times), processing_class=tokenizer,
            num_samples=2, max_new_tokens=4, space="feature", progress=False,
        )  # fmt: skip
    return found


@pytest.mark.parametrize("name", ["fade", "probability", "residual_ratio", "progress", "probe_auc"])
def test_no_interval_of_an_audit_believes_in_copies(name: str, reports: dict):
    once, often = (reports[times].metrics[name] for times in (1, 6))
    assert _width(often.confidence_interval) > 0.6 * _width(once.confidence_interval)  # copies as rows: 0.41
    if name == "probability":
        assert often.value == pytest.approx(once.value) and often.n == 60


def test_depth_of_copies_is_that_of_the_rows(reports: dict):
    """At most 64 examples are patched; of 60 copies all are."""
    for name in ("unlearning_depth_score", "logit_lens_erasure"):
        once, often = (reports[times].metrics[name] for times in (1, 6))
        assert often.value == pytest.approx(once.value)
        assert np.allclose(often.confidence_interval, once.confidence_interval, atol=1e-9)


def test_a_reader_is_told(reports: dict):
    notes = " ".join(reports[6].notes)
    assert "The 60 forget examples have 10 different prompts" in notes
    assert "different prompts" not in " ".join(reports[1].notes)
