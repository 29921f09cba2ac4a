"""Half-precision models: their logits are theirs, but whatever is computed from logits is float32 at least, and sums are float64.

A log-softmax in bfloat16 is off by a part in 256 of its value, several hundredths of a nat; a sum in float32 loses what is small beside it.
"""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
import world
from toys import MarkovLM, markov_lm

from hf_unlearn.functional import gumbel_draw
from hf_unlearn.inference import (
    answer_tables,
    cross_score,
    lens_log_probs,
    patching_effects,
    sample_completions,
    score,
)
from hf_unlearn.inference._batching import right_padded
from hf_unlearn.inference._features import pool
from hf_unlearn.inference._hidden import HiddenReader
from hf_unlearn.inference._lens import LogitLens
from hf_unlearn.inference._logits import LogitReader
from hf_unlearn.inference._views import open_view


HALVES = (torch.bfloat16, torch.float16)
CLOSE = 1e-5
"""Nats. Float32 is off by a tenth of that, a log-softmax in half precision by a hundred times as much and more."""


def chain(seed: int, dtype: torch.dtype) -> MarkovLM:
    """Its logits are rows of a table, the same bits in whatever batch."""
    return markov_lm(seed, vocab_size=12, scale=4.0).to(dtype)


def exact(model: MarkovLM) -> np.ndarray:
    """Log-probability of each token after each, float64."""
    return model.transition_logits.detach().double().log_softmax(-1).numpy()


def walks(lengths: tuple[int, ...]) -> list[dict]:
    generator = np.random.default_rng(0)
    rows = [[1, *generator.integers(1, 12, length).tolist()] for length in lengths]
    return [{"input_ids": ids, "labels": [-100, *ids[1:]]} for ids in rows]


@pytest.mark.parametrize("dtype", HALVES)
def test_a_log_softmax_in_half_precision_would_be_seen(dtype: torch.dtype):
    """What the tests below can see at all."""
    model = chain(0, dtype)
    poor = model.transition_logits.detach().log_softmax(-1).double().numpy()
    assert np.abs(poor - exact(model)).max() > 100 * CLOSE


@pytest.mark.parametrize("dtype", HALVES)
def test_answers(dtype: torch.dtype):
    model, rows = chain(0, dtype), walks((3, 9, 5, 1))
    table, log_p = (
        pa.concat_tables(list(answer_tables(model, rows, progress=False))).sort_by("item"),
        exact(chain(0, dtype)),
    )
    for row, found in zip(rows, table.to_pylist(), strict=True):
        ids = row["input_ids"]
        here = log_p[ids[:-1]]
        mean = (np.exp(here) * here).sum(1)
        spread = np.sqrt((np.exp(here) * (here - mean[:, None]) ** 2).sum(1))
        for name, expected in {
            "log_probs": here[np.arange(len(here)), ids[1:]],
            "entropy": -mean,
            "vocab_mean": mean,
            "vocab_std": spread,
        }.items():
            np.testing.assert_allclose(found[name], expected, atol=CLOSE, err_msg=name)
    assert {str(table.schema.field(name).type) for name in ("log_probs", "entropy")} == {"list<item: double>"}


@pytest.mark.parametrize("dtype", HALVES)
def test_drawing_and_scoring_both_ways(dtype: torch.dtype):
    model, other = chain(0, dtype), chain(1, dtype)
    drawn = sample_completions(model, [[3], [4], [5]], num_samples=4, max_new_tokens=9, progress=False)
    log_p, log_q = exact(model), exact(other)
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(1)
    rows = cross_score(drawn, sampled_from="a", models={"a": model, "b": other}, progress=False).table.to_pylist()
    assert drawn.log_probs is not None
    for item, row in enumerate(rows):
        answer = drawn.answer(item)
        before = [*drawn.prompts[int(drawn.prompt_index[item])], *answer][-len(answer) - 1 : -1]
        own = log_p[before, answer]
        np.testing.assert_allclose(drawn.log_probs[item, : len(answer)].numpy(), own, atol=CLOSE)
        assert row["log_prob_own"] == pytest.approx(own.sum(), abs=CLOSE)
        assert row["log_prob_other"] == pytest.approx(log_q[before, answer].sum(), abs=CLOSE)
        assert row["step_divergence"] == pytest.approx(divergence[before].sum(), abs=CLOSE)


@pytest.mark.parametrize("dtype", HALVES)
def test_draws_from_logits_of_half_precision(dtype: torch.dtype):
    logits = chain(0, dtype).transition_logits.detach()
    tokens, log_probs = gumbel_draw(logits, seed=3, rows=list(range(12)), position=0)
    expected = logits.double().log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.double(), expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32])
def test_sums_are_of_float64(dtype: torch.dtype):
    """Four texts of 30,000 tokens, some 120,000 nats: float32 would know a sum to the nearest 1/128."""
    model, rows = chain(0, dtype), walks((30_000, 30_001, 30_007, 30_003))
    table = pa.concat_tables(list(answer_tables(model, rows, progress=False))).sort_by("item")
    tokens = [math.fsum(row) for row in table["log_probs"].to_pylist()]
    assert min(map(abs, tokens)) > 60_000
    assert score({"model": model}, rows, progress=False).column("log_prob") == pytest.approx(tokens, rel=0, abs=1e-6)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_what_follows_the_layers_is_float32(name: str, dtype: torch.dtype):
    """Logits of real layers differ in the last bit between batches, so these are asked for the very logits that are read."""
    model = world.build(name, dtype=dtype)
    row = {"input_ids": [1, 5, 9, 7, 3, 8], "labels": [-100, -100, 9, 7, 3, 8]}
    batch = right_padded([row])
    with torch.no_grad():
        reader = LogitReader(model)
        states = reader.states(*batch.inputs.values(), *batch.answers[:2])
        logits = reader.logits(states)
        assert logits.dtype == dtype
        expected = logits.double().log_softmax(-1).gather(1, batch.answers[2][:, None])[:, 0]
        found = reader.log_probs(states, batch.answers[2])
        lens = LogitLens(HiddenReader(open_view(model), batch.inputs), reader, batch)
        at_layer = lens.log_probs(states, batch.answers[2])
        wanted = (
            lens.rest.logits(lens._norm(states)).double().log_softmax(-1).gather(1, batch.answers[2][:, None])[:, 0]
        )
    for value, other in ((found, expected), (at_layer, wanted)):
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, other, atol=CLOSE, rtol=0)
    assert lens_log_probs(model, [row], progress=False).dtype == torch.float64
    assert (
        patching_effects(model, world.build(name, seed=1, dtype=dtype), [row], progress=False).dtype == torch.float64
    )


def test_pooling_is_float32_where_a_trainer_computes_in_half_precision():
    hidden = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    pooled = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 0, 0, 0], [0, 1, 1, 1, 1]]).bool()
    expected = torch.stack([states[own].double().mean(0) for states, own in zip(hidden, pooled, strict=True)])
    with torch.autocast("cpu", torch.bfloat16):
        found = pool(hidden, pooled, "answer_mean")
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
