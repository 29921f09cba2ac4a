import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn.functional import (
    IGNORE_INDEX,
    answer_mask,
    answer_positions,
    flat_token_log_probs,
    log_prob_divergence,
    sequence_log_probs,
    step_divergence,
    token_log_probs,
)


def test_log_probs_are_read_one_position_before_their_label():
    """Position 0 predicts token 1. With logits (log 1, log 3) there, token 1 = 1 has probability 3/4."""
    logits = torch.tensor([[[0.0, math.log(3)], [5.0, -5.0]]])
    labels = torch.tensor([[IGNORE_INDEX, 1]])
    assert token_log_probs(logits, labels).tolist() == [[pytest.approx(math.log(3 / 4))]]


def test_only_labelled_positions_count_whatever_the_logits_elsewhere_hold():
    labels = torch.tensor([[IGNORE_INDEX, IGNORE_INDEX, 2, IGNORE_INDEX]])
    logits = torch.full((1, 4, 3), torch.nan)
    logits[0, 1] = torch.tensor([0.0, 0.0, math.log(2)])
    values = token_log_probs(logits, labels)
    assert values.tolist() == [[0.0, pytest.approx(math.log(1 / 2)), 0.0]]
    assert answer_mask(labels).tolist() == [[False, True, False]]


def test_a_label_on_the_first_token_has_no_prediction():
    rows, positions, targets = answer_positions(torch.tensor([[4, 5], [IGNORE_INDEX, 6]]))
    assert (rows.tolist(), positions.tolist(), targets.tolist()) == ([0, 1], [0, 0], [5, 6])


def test_bfloat16_logits_are_normalised_in_float32():
    logits = torch.randn(1, 3, 1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.tensor([[IGNORE_INDEX, 7, 8]])
    values = token_log_probs(logits, labels)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, token_log_probs(logits.double(), labels).float(), rtol=0, atol=1e-5)


def test_sequence_sums_are_float64():
    values = torch.full((1, 100_000), 0.1)
    assert sequence_log_probs(values).item() == pytest.approx(100_000 * float(torch.tensor(0.1)), abs=1e-6)


def test_gradient_is_softmax_minus_one_hot_at_the_answer_and_zero_elsewhere():
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.tensor([[-100, 2, -100, 1], [-100, -100, -100, 4]])
    (-token_log_probs(logits, labels).sum()).backward()
    expected = torch.zeros_like(logits)
    for row, position, target in ((0, 0, 2), (0, 2, 1), (1, 2, 4)):
        expected[row, position] = logits.detach()[row, position].softmax(-1)
        expected[row, position, target] -= 1
    torch.testing.assert_close(logits.grad, expected)


def test_shifted_inputs_are_refused():
    with pytest.raises(ValueError, match=r"unshifted"):
        token_log_probs(torch.zeros(1, 3, 4), torch.zeros(1, 4, dtype=torch.int64))


def test_step_divergence_known_answer():
    """KL((.5, .5)‖(.75, .25)) = ½ log(4/3); the other way ¾ log(3/2) + ¼ log(1/2)."""
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    assert step_divergence(p, q).item() == pytest.approx(0.5 * math.log(4 / 3), rel=1e-6)
    assert step_divergence(q, p).item() == pytest.approx(0.75 * math.log(1.5) - 0.25 * math.log(2), rel=1e-6)


def test_step_divergence_is_infinite_where_q_excludes_what_p_can_produce():
    impossible = torch.tensor([[0.0, -torch.inf]])
    assert step_divergence(torch.zeros(1, 2), impossible).item() == math.inf
    assert step_divergence(impossible, torch.zeros(1, 2)).item() == pytest.approx(math.log(2))


def test_log_prob_divergence_agrees_with_step_divergence():
    p, q = torch.randn(2, 7, 50, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(log_prob_divergence(p.log_softmax(-1), q.log_softmax(-1)), step_divergence(p, q))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.floats(1e-6, 30.0), st.floats(-50, 50))
def test_step_divergence_properties(seed: int, scale: float, shift: float):
    """Never negative, exactly 0 with itself, unchanged by adding a constant to logits."""
    generator = torch.Generator().manual_seed(seed)
    p, q = scale * torch.randn(2, 4, 33, generator=generator)
    assert (step_divergence(p, q) >= 0).all()
    assert (step_divergence(p, p) == 0).all()
    torch.testing.assert_close(
        step_divergence(p.double() + shift, q.double()), step_divergence(p.double(), q.double()), rtol=1e-6, atol=1e-9
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_padding_never_changes_a_log_prob(seed: int, padding: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, 11, generator=generator)
    labels = torch.randint(0, 11, (2, 5), generator=generator)
    labels[:, :2] = IGNORE_INDEX
    noise = torch.randn(2, padding, 11, generator=generator)
    nothing = torch.full((2, padding), IGNORE_INDEX)
    plain = token_log_probs(logits, labels).sum(-1)
    right = token_log_probs(torch.cat([logits, noise], 1), torch.cat([labels, nothing], 1)).sum(-1)
    left = token_log_probs(torch.cat([noise, logits], 1), torch.cat([nothing, labels], 1)).sum(-1)
    torch.testing.assert_close(right, plain)
    torch.testing.assert_close(left, plain)


def test_flat_log_probs_match_the_dense_form():
    logits = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(5))
    labels = torch.tensor([[-100, 3, 4, 5]])
    rows, positions, targets = answer_positions(labels)
    flat = flat_token_log_probs(logits[rows, positions], targets)
    torch.testing.assert_close(flat, token_log_probs(logits, labels)[0])
