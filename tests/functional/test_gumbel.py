import numpy as np
import pytest
import torch
from scipy import stats

from hf_unlearn.functional import gumbel_draw, gumbel_sample


def test_draws_follow_the_distribution():
    """Chi-square over 20,000 draws from 11 tokens (not a square, so the last block is padded); false alarm rate 1e-4."""
    logits = torch.randn(11, generator=torch.Generator().manual_seed(0)) * 1.5
    draws = gumbel_sample(logits.expand(20_000, -1), seed=7, rows=list(range(20_000)), position=3)
    expected = logits.softmax(-1).double().numpy()
    counts = np.bincount(draws.numpy(), minlength=11)
    assert stats.chisquare(counts, expected / expected.sum() * 20_000).pvalue > 1e-4


def test_draws_at_different_positions_and_rows_are_independent():
    """Two fair coins, 4,000 pairs: agreement within 4.5 standard errors of one half (false alarm rate 7e-6 each)."""
    coin = torch.zeros(4_000, 2)
    rows = list(range(4_000))
    first = gumbel_sample(coin, seed=1, rows=rows, position=0)
    next_position = gumbel_sample(coin, seed=1, rows=rows, position=1)
    next_row = gumbel_sample(coin, seed=1, rows=[row + 1 for row in rows], position=0)
    for other in (next_position, next_row[:-1]):
        agreement = (first[: len(other)] == other).double().mean().item()
        assert abs(agreement - 0.5) < 4.5 * 0.5 / np.sqrt(len(other))


def test_a_draw_depends_on_seed_row_and_position_only():
    logits = torch.randn(6, 100, generator=torch.Generator().manual_seed(2))
    rows = [0, 5, 2**63, 2**64 - 1, 17, 3]
    together = gumbel_sample(logits, seed=3, rows=rows, position=9)
    alone = [gumbel_sample(logits[i : i + 1], seed=3, rows=[row], position=9).item() for i, row in enumerate(rows)]
    assert together.tolist() == alone
    uniform = torch.zeros(1, 1000)
    seeds = {gumbel_sample(uniform, seed=seed, rows=[0], position=0).item() for seed in range(20)}
    assert len(seeds) > 15


def test_impossible_tokens_are_never_drawn():
    logits = torch.full((500, 10), -torch.inf)
    logits[:, [2, 9]] = 0.0
    assert set(gumbel_sample(logits, seed=0, rows=list(range(500)), position=0).tolist()) == {2, 9}


@pytest.mark.parametrize("vocabulary", [1, 2, 3, 4, 5, 97, 1024])
def test_every_vocabulary_size_works(vocabulary: int):
    logits = torch.full((1, vocabulary), -torch.inf)
    logits[0, -1] = 0.0
    assert gumbel_sample(logits, seed=0, rows=[0], position=0).item() == vocabulary - 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_no_distribution_is_an_error(value: float):
    with pytest.raises(ValueError, match="cannot sample"):
        gumbel_sample(torch.full((1, 3), value), seed=0, rows=[0], position=0)


@pytest.mark.parametrize("vocabulary", [1, 2, 8, 97, 1000])
def test_log_probabilities_of_the_draws(vocabulary: int):
    logits = torch.randn(50, vocabulary, generator=torch.Generator().manual_seed(0)) * 20 - 300
    logits[:, 1::3] = -torch.inf
    rows = list(range(50))
    tokens, log_probs = gumbel_draw(logits, seed=1, rows=rows, position=2)
    assert torch.equal(tokens, gumbel_sample(logits, seed=1, rows=rows, position=2))
    expected = logits.double().log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(log_probs.double(), expected, atol=1e-4, rtol=0)
