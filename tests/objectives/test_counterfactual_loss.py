"""The losses of `counterfactual` against closed forms, and how the forget answers' share is taken out."""

import math

import pytest
import torch

from hf_unlearn import Counterfactual
from hf_unlearn.functional import Continuations
from hf_unlearn.objectives import (
    CounterfactualBatch,
    CounterfactualStates,
    ForgetBatch,
    SoftLabels,
    get_retain_term,
    scaled_state_distance,
    soft_label_divergence,
)


def labels_of(probabilities: torch.Tensor, top_k: int) -> SoftLabels:
    best = probabilities.topk(top_k, dim=-1)
    return SoftLabels(best.indices, best.values)


def batch_of(logits: torch.Tensor, labels: SoftLabels, states: CounterfactualStates | None = None, **changes):
    """Two examples: two tokens of the original's answer of the first, one of its true answer, and one of the second's."""
    parts = {
        "rows": torch.tensor([0, 0, 0, 1]),
        "is_true_answer": torch.tensor([False, False, True, False]),
        "weights": torch.tensor([0.5, 0.5, 1.0, 1.0]),
        **changes,
    }
    mask = torch.ones(2, 3, dtype=torch.bool)
    return ForgetBatch(
        torch.zeros(2, 3), mask, counterfactual=CounterfactualBatch(logits, labels, states=states, **parts)
    )


def test_two_tokens_by_hand():
    """Label (¾, ¼) against (½, ½): ¾ log(3/2) + ¼ log(1/2)."""
    found = soft_label_divergence(torch.zeros(1, 2), SoftLabels(torch.tensor([[0, 1]]), torch.tensor([[0.75, 0.25]])))
    assert found.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)


def test_the_rest_is_one_class():
    """The label ½ on token 1 and the rest on others; the model (¼, ¼, ½): ½ log 2 + ½ log(½ / ¾)."""
    logits = torch.tensor([[0.25, 0.25, 0.5]]).log()
    found = soft_label_divergence(logits, SoftLabels(torch.tensor([[1]]), torch.tensor([[0.5]])))
    assert found.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75), rel=1e-5)


@pytest.mark.parametrize("top_k", [1, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_to_learn_where_the_model_says_what_the_stand_in_says(top_k: int, dtype: torch.dtype):
    """Loss 0 and gradient 0, also in few bits and with a whole label."""
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    found = soft_label_divergence(logits, labels_of(logits.detach().float().softmax(-1), top_k))
    assert found.abs().max().item() < 1e-6
    found.sum().backward()
    assert logits.grad.abs().max().item() < 1e-6


@pytest.mark.parametrize("top_k", [2, 4, 6])
def test_a_shortened_label_never_asks_for_more_and_misleads_by_no_more_than_it_leaves_out(top_k: int):
    """The merged divergence is at most the whole one; the gradients differ by at most twice the probability left out."""
    generator = torch.Generator().manual_seed(1)
    label = torch.randn(20, 9, generator=generator).mul(2).softmax(-1)
    found = []
    for size in (top_k, 9):
        logits = torch.randn(20, 9, generator=torch.Generator().manual_seed(2)).requires_grad_()
        losses = soft_label_divergence(logits, labels_of(label, size))
        losses.sum().backward()
        found.append((losses.detach(), logits.grad))
    outside = 1 - labels_of(label, top_k).probabilities.sum(-1)
    assert bool((found[0][0] <= found[1][0] + 1e-6).all()) and bool((found[0][0] >= -1e-6).all())
    assert bool(((found[0][1] - found[1][1]).abs().sum(-1) <= 2 * outside + 1e-5).all())
    assert not torch.equal(found[0][1], found[1][1])


def test_a_hard_label_gives_the_nll():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    labels = SoftLabels(torch.tensor([[1, 1], [4, 4], [0, 0]]), torch.tensor([[1.0, 0.0]] * 3))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 4, 0]), reduction="none")
    torch.testing.assert_close(soft_label_divergence(logits, labels), expected)


def test_each_example_is_the_mean_over_the_tokens_of_its_answers():
    """Tokens cost log 2 each (label on one of two): ½ + ½ + w for the first example, 1 for the second."""
    labels = SoftLabels(torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1))
    losses = Counterfactual(answer_weight=3.0, hidden_weight=0)(batch_of(torch.zeros(4, 2), labels))
    assert losses.tolist() == [pytest.approx(4 * math.log(2)), pytest.approx(math.log(2))]
    left_out = batch_of(torch.zeros(4, 2), labels, weights=torch.tensor([0.5, 0.5, 1.0, 0.0]))
    assert Counterfactual(hidden_weight=0)(left_out)[1].item() == 0


def test_states_count_in_units_of_their_variance():
    """Two layers at distances 2 and 4 of variance 4 and 2: (4/4 + 16/2) / 2 = 4.5, twice as weight ½ with hidden weight 4."""
    current, stand_in = torch.zeros(1, 2, 3), torch.tensor([[[2.0] * 3, [4.0] * 3]])
    states = CounterfactualStates(current, stand_in, torch.tensor([4.0, 2.0]), torch.tensor([1]), torch.tensor([0.5]))
    labels = labels_of(torch.full((4, 2), 0.5), 2)
    losses = Counterfactual(hidden_weight=4.0)(batch_of(torch.zeros(4, 2), labels, states))
    assert losses.tolist() == [pytest.approx(0, abs=1e-6), pytest.approx(4 * 0.5 * 4.5)]
    assert scaled_state_distance(current, current, states.variance, states.weights).item() == 0


def test_the_forget_answers_share_by_hand():
    """After (1, 2) both sets go on: forget twice with 3; retained once with 3 and once with 4, each standing for two. α = ½.

    share(3) = 2 / (2 + 2 + ½) = 4/9, so ½ becomes ½·5/9; 4 is of no forget answer and stays ½: normalised 5/14 and 9/14.
    """
    found = Continuations([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [1, 2, 4]], pseudo_count=0.5, retain_scale=2.0)
    given = torch.zeros(3, 5)
    given[0, 1] = given[1, 2] = 1.0
    given[2, 3:] = 0.5
    cleansed = found.cleansed(given, [1, 2, 4])
    assert cleansed[2].tolist() == pytest.approx([0, 0, 0, 5 / 14, 9 / 14])
    assert cleansed[:2].tolist() == given[:2].tolist()
    shares = found.forget_share(given, [1, 2, 4])
    assert shares.tolist() == pytest.approx([2 / (2 + 4 + 0.5), 2 / 6.5, 0.5 * 4 / 9])


def test_what_no_forget_answer_says_is_left_alone():
    found = Continuations([[1, 2]], [[3, 4]])
    given = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).softmax(-1)
    cleansed = found.cleansed(given, [3, 4, 5])
    torch.testing.assert_close(cleansed[1:], given[1:])
    assert cleansed[0, 1] < given[0, 1]  # which the forget answer begins with


def test_a_short_context_sees_common_phrases():
    """Only forget answers begin like this one, but "in" is followed by 7 in retained answers, too: a look at one token back keeps it."""
    forget, retain = [[1, 5, 7]], [[2, 5, 7]] * 9
    given = torch.full((3, 8), 1 / 8)
    whole, short = (
        Continuations(forget, retain, context=context).cleansed(given, forget[0])[2, 7].item() for context in (0, 1)
    )
    assert whole < 0.02 and short > 0.1


def test_its_retain_term_is_the_divergence_from_the_original():
    assert get_retain_term(None, "counterfactual").name == "kl"
    assert get_retain_term(None, Counterfactual()).name == "kl"
    assert get_retain_term("nll", "counterfactual").name == "nll"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("num_counterfactuals", 1, "num_counterfactuals must be at least 2, got 1"),
        ("names_per_answer", 0, "names_per_answer must be at least 1"),
        ("top_k", 0, "top_k must be at least 1"),
        ("hidden_weight", -1.0, "hidden_weight must be at least 0"),
        ("pseudo_count", 0.0, "pseudo_count must be above 0"),
        ("max_left_out", 1.0, "max_left_out must be at least 0 and below 1"),
    ],
)
def test_options_that_cannot_work_are_refused(option: str, value: float, message: str):
    with pytest.raises(ValueError, match=message):
        Counterfactual(**{option: value})
