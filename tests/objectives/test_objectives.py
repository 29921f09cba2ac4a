"""Losses against closed forms; and what every objective must hold, enrolled by listing."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn.functional import answer_mask, answer_positions, token_log_probs
from hf_unlearn.objectives import (
    COMPOSITIONS,
    DPO,
    NEEDS,
    NPO,
    OBJECTIVES,
    PDU,
    RETAIN_TERMS,
    AltPO,
    CounterfactualBatch,
    CounterfactualStates,
    ForgetBatch,
    GradientAscent,
    IdkDPO,
    SimNPO,
    SoftLabels,
    ce_u_loss,
    control_direction,
    dpo_loss,
    get_objective,
    get_retain_term,
    grad_ascent_loss,
    hidden_retain_loss,
    idk_loss,
    ihl_loss,
    kl_retain_loss,
    npo_loss,
    pdu_loss,
    random_label_loss,
    rmu_loss,
    sat_imp_loss,
    scrub_loss,
    simnpo_loss,
    undial_loss,
    wga_loss,
)


def batch_of(
    logits: torch.Tensor,
    labels: torch.Tensor,
    original: torch.Tensor | None = None,
    alternative: torch.Tensor | None = None,
) -> ForgetBatch:
    """Everything an objective may ask for; hidden states are the logits themselves, the original is a little surer, substitutes get
    any answer."""
    rows, positions, targets = answer_positions(labels)
    other = logits.detach().cos() if alternative is None else alternative
    read, tokens = logits[rows, positions], len(rows)
    shares = 1 / torch.bincount(rows, minlength=len(labels)).float()[rows]
    states = CounterfactualStates(read[:, None], torch.zeros(tokens, 1, read.shape[-1]), torch.ones(1), rows, shares)
    alternative_log_probs = token_log_probs(other, labels)
    return ForgetBatch(
        token_log_probs(logits, labels),
        answer_mask(labels),
        original_log_probs=original,
        logits=logits[rows, positions],
        targets=targets,
        original_logits=1.1 * logits.detach()[rows, positions],
        hidden=logits[rows, positions],
        original_hidden_norm=1.5,
        alternative_token_log_probs=alternative_log_probs,
        alternative_mask=answer_mask(labels),
        original_alternative_log_probs=alternative_log_probs.detach().sum(-1) - 0.3,
        counterfactual=CounterfactualBatch(
            read,
            SoftLabels(torch.arange(3).expand(tokens, 3), torch.full((tokens, 3), 1 / read.shape[-1])),
            rows,
            torch.zeros(tokens, dtype=torch.bool),
            shares,
            states,
        ),
    )


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


def test_simnpo_known_answer_and_no_length_bias():
    """−log p = 6 over 3 tokens, β = ½, δ = 1: −4 log σ(½) = 4 log(1 + e^−½); twice the length at the same mean is the same."""
    expected = 4 * math.log(1 + math.exp(-0.5))
    values = simnpo_loss(torch.tensor([-6.0, -12.0]), torch.tensor([3, 6]), beta=0.5, delta=1.0)
    assert values.tolist() == [pytest.approx(expected, rel=1e-6)] * 2


def test_dpo_known_answers():
    """r_l = −2, r_w = 1, β = ½: −4 log σ(1.5); at the original (2/β) log 2; without an alternative's change it is NPO's."""
    one = torch.ones(1)
    value = dpo_loss(-3 * one, -one, 2 * one, one, beta=0.5)
    assert value.item() == pytest.approx(4 * math.log(1 + math.exp(-1.5)), rel=1e-6)
    assert dpo_loss(one, one, one, one, beta=0.1).item() == pytest.approx(20 * math.log(2), rel=1e-6)
    assert dpo_loss(-3 * one, -one, one, one, beta=0.5).item() == pytest.approx(
        npo_loss(-3 * one, -one, beta=0.5).item()
    )


def test_rmu_known_answer_and_seeded_direction():
    """h = (1, 1), c·u = 5·(0.6, 0.8): ((1 − 3)² + (1 − 4)²)/2 = 6.5."""
    value = rmu_loss(torch.ones(1, 2), torch.tensor([0.6, 0.8]), coefficient=5.0)
    assert value.tolist() == [pytest.approx(6.5)]
    assert torch.equal(control_direction(9, 3), control_direction(9, 3))
    assert not torch.equal(control_direction(9, 3), control_direction(9, 4))
    assert control_direction(9, 3).norm().item() == pytest.approx(1)


def test_undial_known_answer():
    """Original logits (2, 0, 0), β = 2: the target is uniform; against softmax(log ½, log ¼, log ¼): (log 2 + 2 log 4)/3."""
    logits, original = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[2.0, 0.0, 0.0]])
    value = undial_loss(logits, original, torch.tensor([0]), beta=2.0)
    assert value.item() == pytest.approx((math.log(2) + 2 * math.log(4)) / 3, rel=1e-6)
    assert torch.equal(original, torch.tensor([[2.0, 0.0, 0.0]]))


def test_ce_u_known_answer_and_gradient():
    """p = (½, ¼, ¼), true token 0: the teacher is (0, ½, ½), CE = log 4; gradient = p − teacher, and none through the teacher."""
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    loss = ce_u_loss(logits, torch.tensor([0]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(4), rel=1e-6)
    torch.testing.assert_close(logits.grad, torch.tensor([[0.5, -0.25, -0.25]]))


def test_weighted_ascents_known_answers_and_gradients():
    """p = ¼: wga β = 2: log(¼)/16, gradient 1/16; sat_imp β₁ = 1, β₂ = 2: ¼ · 9/16 · log ¼. Weights have no gradient."""
    log_p = torch.tensor([0.25]).log().requires_grad_()
    (wga_loss(log_p, beta=2.0) + sat_imp_loss(log_p, beta1=1.0, beta2=2.0)).sum().backward()
    assert wga_loss(log_p, beta=2.0).item() == pytest.approx(math.log(0.25) / 16, rel=1e-6)
    assert sat_imp_loss(log_p, beta1=1.0, beta2=2.0).item() == pytest.approx(9 / 64 * math.log(0.25), rel=1e-6)
    assert log_p.grad.item() == pytest.approx(1 / 16 + 9 / 64, rel=1e-6)


def test_ihl_known_answers():
    """1 + p(y) − max of the others: (.2, .7, .1) with y = 0 gives .5; certain of y gives 2; certain of another gives 0."""
    logits = torch.tensor([[0.2, 0.7, 0.1], [1.0, 1e-30, 1e-30], [1e-30, 1.0, 1e-30]]).log()
    assert ihl_loss(logits, torch.zeros(3, dtype=torch.int64)).tolist() == pytest.approx([0.5, 2.0, 0.0], abs=1e-6)


def test_pdu_known_answers():
    """(5 − 2)² = 9; and λ ← max(0, λ + η (L − ε)): 2 + ½(.7 − .3) = 2.2, and never below 0."""
    assert pdu_loss(torch.tensor([[5.0, 0.0, 1.0]])).item() == pytest.approx(9)
    objective = PDU(bound=0.3, step_size=0.5)
    assert objective.next_retain_weight(2.0, 0.7) == pytest.approx(2.2)
    assert objective.next_retain_weight(0.1, -9.0) == 0


def test_scrub_is_minus_the_divergence():
    """Original (½, ½), model (¾, ¼): −½ log(4/3)."""
    value = scrub_loss(torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2))
    assert value.item() == pytest.approx(-0.5 * math.log(4 / 3), rel=1e-5)


def test_random_label_known_answer():
    """p = (½, ¼, ¼): mean of the wrong labels' NLL is log 4 for y = 0, and (log 2 + log 4)/2 for y = 1."""
    logits = torch.tensor([[0.5, 0.25, 0.25]] * 2).log()
    values = random_label_loss(logits, torch.tensor([0, 1])).tolist()
    assert values == pytest.approx([math.log(4), 1.5 * math.log(2)], rel=1e-6)


def test_idk_and_hidden_retain_known_answers():
    assert idk_loss(torch.tensor([-2.0, 0.0])).tolist() == [2.0, 0.0]
    labels = torch.tensor([[-100, -100, 1]])
    hidden = torch.zeros(1, 3, 2)
    hidden[0, 1] = torch.tensor([3.0, 4.0])  # where the labelled token is predicted
    hidden[0, 2] = 99.0
    assert hidden_retain_loss(hidden, torch.zeros(1, 3, 2), labels).tolist() == [12.5]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contract_members(name: str):
    objective = get_objective(name)
    assert objective.name == name
    assert objective.reduction in ("token", "example", "alternative_token")
    assert set(objective.needs) <= set(NEEDS)
    assert get_objective(objective) is objective
    assert type(get_objective(OBJECTIVES[name])) is OBJECTIVES[name]
    assert re.search(r"arXiv|et al\.|TOFU", OBJECTIVES[name].__doc__ or "")  # the source is named


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
    plain = get_objective(name)(batch_of(logits, labels, original)).sum()

    def around(tensor: torch.Tensor, fill: torch.Tensor | None) -> torch.Tensor:
        shape = (3, left, *tensor.shape[2:]), (3, right, *tensor.shape[2:])
        parts = [torch.randn(s, generator=generator) if fill is None else fill.expand(s) for s in shape]
        return torch.cat([parts[0], tensor, parts[1]], dim=1)

    other = logits.clone()
    other[:, 0] += torch.randn(3, 11, generator=generator)  # predicts a token without a label
    padded = batch_of(around(other, None), around(labels, torch.tensor(-100)), original)
    torch.testing.assert_close(get_objective(name)(padded).sum(), plain)


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
    """By the gradient on all that the objective reads. IDK works on refusals and RMU on hidden states: there the loss falls."""
    generator = torch.Generator().manual_seed(0)
    logits, alternative = (torch.randn(2, 4, 7, generator=generator, requires_grad=True) for _ in range(2))
    labels = torch.tensor([[-100, 1, 2, 3], [-100, -100, 4, 5]])
    rows, positions, targets = answer_positions(labels)
    with torch.no_grad():
        logits[rows, positions, targets] += 4  # it knows the answers
    original = token_log_probs(logits, labels).sum(-1).detach() - 0.1
    before = get_objective(name)(batch_of(logits, labels, original, alternative)).sum()
    before.backward()
    leaves = [leaf for leaf in (logits, alternative) if leaf.grad is not None]
    assert leaves and all(torch.isfinite(leaf.grad).all() for leaf in leaves)
    assert all(not leaf.grad[:, -1].any() and not leaf.grad[1, 0].any() for leaf in leaves)  # no label after or before
    with torch.no_grad():
        moved = [leaf - 0.01 * leaf.grad if leaf.grad is not None else leaf for leaf in (logits, alternative)]
        if name in ("idk", "rmu"):
            assert get_objective(name)(batch_of(moved[0], labels, original, moved[1])).sum() < before
        else:
            assert (token_log_probs(moved[0], labels).sum(-1) < original + 0.1).all()


@pytest.mark.parametrize("name", RETAIN_TERMS)
def test_retain_terms_by_name(name: str):
    assert get_retain_term(name).name == name
    assert get_retain_term(name).needs_original is (name != "nll")


def test_names_are_suggested():
    with pytest.raises(ValueError, match=r"no objective 'gradient_ascent'.*Did you mean 'grad_ascent'"):
        get_objective("gradient_ascent")
    with pytest.raises(
        ValueError, match=r"no objective 'zzz'; there are altpo, ce_u, counterfactual, dpo, .*, wga\.$"
    ):
        get_objective("zzz")
    with pytest.raises(TypeError, match="it lacks name, reduction, needs"):
        get_objective(object())
    with pytest.raises(TypeError, match="it lacks name"):
        get_retain_term(3)


def test_a_wrong_reduction_is_refused():
    class Sum:
        name, reduction, needs = "sum", "sum", ()

        def __call__(self, batch):
            return batch.log_probs

    with pytest.raises(ValueError, match="one of token, example, alternative_token; got 'sum'"):
        get_objective(Sum())


def test_a_wish_that_cannot_be_fulfilled_is_refused():
    class Odd:
        name, reduction, needs = "odd", "token", ("attentions",)

        def __call__(self, batch):
            return batch.log_probs

    with pytest.raises(ValueError, match="objective 'odd' needs 'attentions'; it can ask for logits"):
        get_objective(Odd())


def test_compositions_name_both_parts():
    for name, (objective, retain_term) in COMPOSITIONS.items():
        assert get_objective(name).name == objective
        assert get_retain_term(None, name).name == retain_term
    with pytest.raises(ValueError, match="'grad_diff' is grad_ascent with retain term 'nll', not 'kl'"):
        get_retain_term("kl", "grad_diff")
    assert get_retain_term(None, "npo").name == "nll"


@pytest.mark.parametrize("kind", [NPO, SimNPO, DPO, IdkDPO, AltPO])
def test_temperatures_must_be_positive(kind: type):
    with pytest.raises(ValueError, match="beta must be above 0, got -1"):
        kind(beta=-1)
