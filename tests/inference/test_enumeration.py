"""FADE by enumeration: all continuations, read one at a time without a cache, give what sampling and scoring estimate."""

import itertools

import numpy as np
import pytest
import torch
import world
from peft import PeftModel
from scipy import stats

from hf_unlearn.audit import measure_fade
from hf_unlearn.inference import Completions, cross_score, sample_completions, tell_apart


STOP, VOCABULARY, STEPS = 2, 6, 3
PROMPTS = [[1, 3], [1, 4, 5, 3, 3, 4, 5]]
"""The second is longer than the sliding windows of the world."""
ALSO = ("granite", "cohere", "vaultgemma", "openai_gpt", "bloom", "opt")
EXACT = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Largest honest difference of a log-probability of three tokens."""


def continuations() -> list[tuple[int, ...]]:
    """All that end, or are cut after `STEPS` tokens."""
    going_on = [token for token in range(VOCABULARY) if token != STOP]
    ended = [(*start, STOP) for length in range(STEPS) for start in itertools.product(going_on, repeat=length)]
    return ended + list(itertools.product(going_on, repeat=STEPS))


def enumerate_all(model, prompt: list[int]) -> dict[tuple[int, ...], float]:
    """Log-probability of every continuation, float64, from plain full passes over single prefixes."""
    steps: dict[tuple[int, ...], np.ndarray] = {}
    found = {}
    for continuation in continuations():
        total = 0.0
        for at, token in enumerate(continuation):
            prefix = continuation[:at]
            if prefix not in steps:
                with torch.no_grad():
                    logits = model(torch.tensor([[*prompt, *prefix]]), use_cache=False).logits[0, -1]
                steps[prefix] = logits.double().log_softmax(-1).numpy()
            total += steps[prefix][token]
        found[continuation] = total
    assert np.exp(list(found.values())).sum() == pytest.approx(1, abs=1e-9)
    return found


def as_completions(prompts: list[list[int]]) -> Completions:
    every = continuations()
    token_ids = torch.zeros(len(prompts) * len(every), STEPS, dtype=torch.int64)
    mask = torch.zeros_like(token_ids, dtype=torch.bool)
    for row, continuation in enumerate(every * len(prompts)):
        token_ids[row, : len(continuation)] = torch.tensor(continuation)
        mask[row, : len(continuation)] = True
    index = torch.arange(len(token_ids))
    ended = ((token_ids == STOP) & mask).any(1)
    prompt_index, sample_index = index // len(every), index % len(every)
    return Completions(tuple(map(tuple, prompts)), token_ids, mask, prompt_index, sample_index, ~ended)


def check(p, q, *, exact: float, num_samples: int = 300) -> None:
    """Scores of every continuation, frequencies of samples, and FADE, against the enumeration."""
    views = tell_apart({"reference": p, "candidate": q})
    log_p, log_q = [], []
    for view, into in zip(views.values(), (log_p, log_q), strict=True):
        with view.active() as model:
            into += [np.array(list(enumerate_all(model, prompt).values())) for prompt in PROMPTS]
    _check_scores(views, log_p, log_q, exact)
    _check_samples(views["reference"], log_p, num_samples)
    truth = [(np.exp(a) * (a - b)).sum() + (np.exp(b) * (b - a)).sum() for a, b in zip(log_p, log_q, strict=True)]
    assert min(truth) > 0.2
    for estimator in ("exact_step", "sampled"):
        found = measure_fade(
            prompts=PROMPTS, reference=p, candidate=q, num_samples=num_samples, max_new_tokens=STEPS, estimator=estimator, progress=False
        )  # fmt: skip
        spread = np.sqrt(sum(_variance(a, b) + _variance(b, a) for a, b in zip(log_p, log_q, strict=True)))
        allowed = 4 * spread / len(PROMPTS) / np.sqrt(num_samples) + 2 * exact
        assert abs(found.estimate.fade - np.mean(truth)) < allowed, estimator


def _check_scores(views, log_p: list[np.ndarray], log_q: list[np.ndarray], exact: float) -> None:
    """Batched, padded, chunked: the same log-probabilities; weighted by them, step divergences add up to the divergence."""
    rows = cross_score(as_completions(PROMPTS), sampled_from="reference", models=views, batch_size=64, progress=False)
    np.testing.assert_allclose(rows.column("log_prob_own"), np.concatenate(log_p), atol=exact)
    np.testing.assert_allclose(rows.column("log_prob_other"), np.concatenate(log_q), atol=exact)
    steps = rows.column("step_divergence").reshape(len(PROMPTS), -1)
    for a, b, values in zip(log_p, log_q, steps, strict=True):
        assert (np.exp(a) * values).sum() == pytest.approx((np.exp(a) * (a - b)).sum(), abs=2 * exact)


def _check_samples(view, log_p: list[np.ndarray], num_samples: int) -> None:
    """Chi-square over first two tokens of each prompt; false alarm rate 1e-5 each."""
    drawn = sample_completions(view, PROMPTS, num_samples=num_samples, max_new_tokens=STEPS, progress=False)
    for number, truth in enumerate(log_p):
        expected: dict[tuple[int, ...], float] = {}
        for continuation, value in zip(continuations(), truth, strict=True):
            expected[continuation[:2]] = expected.get(continuation[:2], 0.0) + float(np.exp(value))
        counts = dict.fromkeys(expected, 0)
        for row in torch.nonzero(drawn.prompt_index == number)[:, 0].tolist():
            counts[tuple(drawn.answer(row)[:2])] += 1
        often = [start for start, probability in expected.items() if probability * num_samples >= 5]
        observed = [*(counts[start] for start in often), num_samples - sum(counts[start] for start in often)]
        wanted = [*(expected[start] * num_samples for start in often)]
        wanted.append(num_samples - sum(wanted))
        assert len(often) > 1 and stats.chisquare(observed, wanted).pvalue > 1e-5


def _variance(log_p: np.ndarray, log_q: np.ndarray) -> float:
    """Of the log-ratio of one completion; the exact steps vary less."""
    weights, values = np.exp(log_p), log_p - log_q
    return float((weights * values**2).sum() - (weights * values).sum() ** 2)


def pair(name: str, dtype: torch.dtype = torch.float32) -> tuple:
    return tuple(world.build(name, seed=seed, vocab_size=VOCABULARY, dtype=dtype) for seed in (0, 1))


@pytest.mark.parametrize("name", [*world.CORE, *ALSO])
def test_float32(name: str):
    check(*pair(name), exact=EXACT[torch.float32])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("rwkv", RuntimeError, r"sampled from reference \(RwkvForCausalLM\) is not what is scored"),
        ("xlnet", ValueError, "XLNetLMHeadModel is not causal"),
    ],
)
def test_models_without_one_distribution_are_refused_by_name(name: str, error: type, message: str):
    p, q = pair(name)
    with pytest.raises(error, match=message):
        measure_fade(prompts=PROMPTS, reference=p, candidate=q, num_samples=4, max_new_tokens=4, progress=False)


def check_variant(name: str, variant: str) -> None:
    p, q = pair(name, torch.bfloat16 if variant == "bfloat16" else torch.float32)
    if variant == "lora":
        q = world.with_lora(q, name)
    elif variant == "prompt_tuning":
        q = world.with_prompt_tuning(q)
    elif variant == "shared_base":
        q = world.with_lora(p, name)
        assert isinstance(q, PeftModel) and q.get_base_model() is p
    check(p, q, exact=EXACT[p.dtype], num_samples=200)


VARIANTS = ("bfloat16", "lora", "prompt_tuning", "shared_base")


@pytest.mark.parametrize(
    ("name", "variant"),
    [("llama", variant) for variant in VARIANTS] + [("gemma2", "bfloat16"), ("gpt2", "prompt_tuning")],
)
def test_variants(name: str, variant: str):
    check_variant(name, variant)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant"),
    [pair for pair in itertools.product(world.CORE, VARIANTS) if pair != ("mamba", "prompt_tuning")],  # PEFT has none
)
def test_all_variants(name: str, variant: str):
    check_variant(name, variant)
