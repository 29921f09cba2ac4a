"""counterfactual_fade, its floor and its start, against every completion enumerated."""

import numpy as np
import pytest
from counterfactual_oracle import distance, one_way
from datasets import Dataset
from toys import exact_divergence, markov_lm, tiny_llama, word_tokenizer

from hf_unlearn import audit


EOS, VOCABULARY, LENGTH, NAMES = 2, 12, 3, 16
PROMPTS, ANSWERS = ([1, 3, 3, 8, 9], [1, 4, 4, 10], [1, 5, 5, 8, 11, 9]), ([6], [7, 6], [11])


def asked(prompt: list[int], names: np.ndarray) -> list[list[int]]:
    """Names are two tokens, of which the subjects have others."""
    return [[prompt[0], 6 + name // 6, 6 + name % 6, *prompt[3:]] for name in names.tolist()]


def rows() -> Dataset:
    """Three subjects; the substitutes of the first half are the stand-in's, those of the second the floor's."""
    generator = np.random.default_rng(0)
    return Dataset.from_list(
        [
            {
                "input_ids": [*prompt, *answer, EOS],
                "labels": [-100] * len(prompt) + [*answer, EOS],
                "counterfactual_question": asked(prompt, generator.permutation(36)[: 2 * NAMES]),
            }
            for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
        ]
    )


def pairs(data: Dataset, *, floor: bool) -> list[tuple[list[int], list[int]]]:
    return [
        (mine, row["counterfactual_question"][NAMES + at] if floor else list(prompt))
        for prompt, row in zip(PROMPTS, data, strict=True)
        for at, mine in enumerate(row["counterfactual_question"][:NAMES])
    ]


def test_the_oracle_knows_a_chain_whose_divergence_is_exact():
    """Two Markov chains read their last token alone: the recursion over states gives the same number."""
    p, q = markov_lm(0, vocab_size=5), markov_lm(1, vocab_size=5)
    found = one_way(p, [3, 4], q, [4], eos=p.config.eos_token_id, max_new_tokens=4)
    assert found.mean == pytest.approx(exact_divergence(p, q, 4, 4), abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_value_floor_and_start_are_within_four_standard_errors(seed: int):
    """False alarms: 3 numbers on 2 seeds at 4 standard errors, about 4 in 10,000."""
    original, candidate, other = (tiny_llama(10 * seed + at, vocab_size=VOCABULARY, pad_token_id=0) for at in range(3))
    data, settings = rows(), {"eos": EOS, "max_new_tokens": LENGTH}
    report = audit(
        candidate, original=original, continued=other if seed else None, forget=data, metrics=["counterfactual_fade"],
        processing_class=word_tokenizer(*(f"w{number}" for number in range(VOCABULARY - 1))), max_new_tokens=LENGTH,
        num_counterfactuals=NAMES, num_resamples=100, seed=seed, progress=False,
    )  # fmt: skip
    found = report.metrics["counterfactual_fade"]
    expected = {
        "value": (found.value, distance((original, candidate), pairs(data, floor=False), **settings)),
        "start": (found.start, distance((original, original), pairs(data, floor=False), **settings)),
        "floor": (found.floor, distance((original, other if seed else original), pairs(data, floor=True), **settings)),
    }
    for name, (measured, exact) in expected.items():
        assert abs(measured - exact.mean) < 4 * exact.variance**0.5 + 1e-4, (name, measured, exact)
