"""Losses against closed forms; and what every objective must hold, enrolled by listing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn.functional import answer_mask, token_log_probs
from hf_unlearn.objectives import (
    NPO,
    OBJECTIVES,
    RETAIN_TERMS,
    ForgetBatch,
    GradientAscent,
    get_objective,
    get_retain_term,
    grad_ascent_loss,
    kl_retain_loss,
    npo_loss,
)


def batch_of(logits: torch.Tensor, labels: torch.Tensor, original: torch.Tensor | None = None) -> ForgetBatch:
    return ForgetBatch(token_log_probs(logits, labels), answer_mask(labels), original)


def test_gradient_ascent_is_minus_the_nll_of_each_answer_token():
    """Uniform over 4: log ¼ for each of two labelled tokens, 0 for the others."""
    labels = torch.tensor([[-100, 1, 2]])
    losses = GradientAscent()(batch_of(torch.zeros(1, 3, 4), labels))
    assert losses.tolist() == [[pytest.approx(math.log(1 / 4))] * 2]
    assert grad_ascent_loss(torch.tensor(-3.0)).item() == -3.0


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_npo_at_the_original_is_two_log_two_over_beta_with_the_gradient_of_ascent_on_sums(beta: float):
    """d/dℓ of −(2/β) log σ(−β(ℓ − ℓ_o)) is 2σ(β(ℓ − ℓ_o)); at ℓ = ℓ_o that is 1."""
    log_probs = torch.tensor([-4.0, -0.5], requires_grad=True)
    losses = npo_loss(log_probs, log_probs.detach().clone(), beta=beta)
    assert losses.tolist() == [pytest.approx(2 / beta * math.log(2))] * 2
    losses.sum().backward()
    assert log_probs.grad.tolist() == [pytest.approx(1.0)] * 2


def test_npo_known_answer_away_from_the_original():
    """r = −3 − (−1) = −2, β = ½: −4 log σ(1) = 4 log(1 + e⁻¹) = 1.253047."""
    value = npo_loss(torch.tensor([-3.0]), torch.tensor([-1.0]), beta=0.5)
    assert value.item() == pytest.approx(4 * math.log(1 + math.exp(-1)), rel=1e-6)


def test_npo_does_not_run_away():
    """Far below the original the loss and its gradient vanish; far above, the loss grows linearly and stays finite."""
    log_probs = torch.tensor([-1e4, 1e4], requires_grad=True)
    losses = npo_loss(log_probs, torch.zeros(2), beta=0.1)
    losses.sum().backward()
    assert losses[0].item() == 0 and log_probs.grad[0].item() == 0
    assert losses[1].item() == pytest.approx(2e4) and log_probs.grad[1].item() == pytest.approx(2)


def test_npo_needs_a_positive_beta():
    with pytest.raises(ValueError, match="beta must be above 0, got 0"):
        NPO(beta=0)


def test_kl_retain_known_answer():
    """Original (½, ½), model (¾, ¼) at the one labelled token: ½ log(4/3); prompt and padding do not count."""
    labels = torch.tensor([[-100, -100, 1, -100]])
    original, model = torch.full((1, 4, 2), 7.0), torch.zeros(1, 4, 2)
    model[0, 1] = torch.tensor([0.75, 0.25]).log()
    losses = kl_retain_loss(model, original, labels)
    assert losses.tolist() == [pytest.approx(0.5 * math.log(4 / 3), rel=1e-5)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contract_members(name: str):
    objective = get_objective(name)
    assert objective.name == name
    assert objective.reduction in ("token", "example")
    assert isinstance(objective.needs_original, bool)
    assert get_objective(objective) is objective
    assert type(get_objective(OBJECTIVES[name])) is OBJECTIVES[name]
    assert "arXiv" in (OBJECTIVES[name].__doc__ or "")


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), left=st.integers(0, 4), right=st.integers(0, 4))
def test_contract_padding_and_masked_positions_do_not_matter(name: str, seed: int, left: int, right: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 6, 11, generator=generator)
    labels = torch.randint(0, 11, (3, 6), generator=generator)
    labels[:, :2] = -100
    labels[0, 5] = -100
    original = torch.randn(3, generator=generator)
    plain = get_objective(name)(batch_of(logits, labels, original)).reshape(3, -1).sum(1)

    def around(tensor: torch.Tensor, fill: torch.Tensor | None) -> torch.Tensor:
        shape = (3, left, *tensor.shape[2:]), (3, right, *tensor.shape[2:])
        parts = [torch.randn(s, generator=generator) if fill is None else fill.expand(s) for s in shape]
        return torch.cat([parts[0], tensor, parts[1]], dim=1)

    other = logits.clone()
    other[:, 0] += torch.randn(3, 11, generator=generator)  # predicts a token without a label
    padded = batch_of(around(other, None), around(labels, torch.tensor(-100)), original)
    torch.testing.assert_close(get_objective(name)(padded).reshape(3, -1).sum(1), plain)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contract_losses_do_not_mix_examples(name: str):
    """So that the sum over micro-batches is the sum over the batch."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 5, 7, generator=generator), torch.randint(0, 7, (4, 5), generator=generator)
    original = torch.randn(4, generator=generator)
    whole = get_objective(name)(batch_of(logits, labels, original)).sum()
    parts = [
        get_objective(name)(batch_of(logits[i : i + 1], labels[i : i + 1], original[i : i + 1])).sum()
        for i in range(4)
    ]
    torch.testing.assert_close(whole, torch.stack(parts).sum())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contract_a_small_step_makes_the_answer_less_likely(name: str):
    logits = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[-100, 1, 2, 3], [-100, -100, 4, 5]])
    original = token_log_probs(logits, labels).sum(-1).detach()
    get_objective(name)(batch_of(logits, labels, original)).sum().backward()
    assert torch.isfinite(logits.grad).all()
    with torch.no_grad():
        after = token_log_probs(logits - 0.01 * logits.grad, labels).sum(-1)
    assert (after < original).all()


@pytest.mark.parametrize("name", RETAIN_TERMS)
def test_retain_terms_by_name(name: str):
    assert get_retain_term(name).name == name
    assert get_retain_term(name).needs_original is (name != "nll")


def test_names_are_suggested():
    with pytest.raises(ValueError, match=r"no objective 'gradient_ascent'.*Did you mean 'grad_ascent'"):
        get_objective("gradient_ascent")
    with pytest.raises(ValueError, match=r"no objective 'zzz'; there are grad_ascent, npo\.$"):
        get_objective("zzz")
    with pytest.raises(TypeError, match="it lacks name, reduction, needs_original"):
        get_objective(object())
    with pytest.raises(TypeError, match="it lacks name"):
        get_retain_term(3)


def test_a_wrong_reduction_is_refused():
    class Sum:
        name, reduction, needs_original = "sum", "sum", False

        def __call__(self, batch):
            return batch.log_probs

    with pytest.raises(ValueError, match="'token' or 'example', got 'sum'"):
        get_objective(Sum())
