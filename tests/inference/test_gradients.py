"""Norms of gradients: a plain backward pass of every architecture, no trace on the model, and models that have none."""

import copy
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
import torch
import world
from toys import markov_lm

from hf_unlearn.inference import NoGradientsError, check_gradients, gradient_tables, tell_apart


EXAMPLES = [
    {"input_ids": [1, 5, 6, 7, 8, 9], "labels": [-100, -100, 6, 7, 8, 9]},
    {"input_ids": [1, 5, 6], "labels": [-100, -100, 6]},
    {"input_ids": [1, 5, 6, 7, 8, 9], "labels": [-100, -100, 6, 7, 8, 9]},
    {"input_ids": [1, 12, 2, 2], "labels": [-100, 12, 2, 2]},
]


def read(model: Any, examples: Sequence[dict] = EXAMPLES, **options: Any) -> dict[str, list]:
    return pa.concat_tables(gradient_tables(model, examples, progress=False, **options)).sort_by("item").to_pydict()


def plain(model: torch.nn.Module, example: dict, virtual: int = 0) -> tuple[float, float]:
    """By `backward`, on a copy."""
    model = copy.deepcopy(model).eval()
    for weight in model.parameters():
        weight.requires_grad_(True)
        weight.grad = None
    logits = model(input_ids=torch.tensor([example["input_ids"]]), use_cache=False).logits[0, virtual:].float()
    labels = torch.tensor(example["labels"])[1:]
    log_p = logits[:-1].log_softmax(-1).gather(1, labels.clamp_min(0)[:, None])[:, 0]
    (-log_p[labels >= 0].mean()).backward()
    norms = [float(weight.grad.float().norm()) for weight in model.parameters() if weight.grad is not None]
    return sum(norm**2 for norm in norms) ** 0.5, sum(norms) / len(norms)


@pytest.mark.parametrize("name", world.names("causal_lm"))
def test_norms_are_those_of_a_plain_backward_pass(name: str):
    model = world.build(name)
    found = read(model)
    assert found["item"] == [0, 1, 2, 3]
    for item in (0, 1, 3):
        expected = plain(model, EXAMPLES[item])
        assert (found["norm"][item], found["mean_norm"][item]) == pytest.approx(expected, rel=1e-4)
    assert found["norm"][0] == found["norm"][2]


def test_norm_on_a_chain_by_hand():
    """∂(mean NLL)/∂(logits of state s) = Σ over steps from s of (P_s − e_next) / steps."""
    model = markov_lm(3)
    p = model.transition_logits.detach().softmax(-1)
    gradient = torch.zeros_like(p)
    for state, following in ((5, 6), (6, 5), (5, 7)):
        gradient[state] += (p[state] - torch.eye(8)[following]) / 3
    found = read(model, [{"input_ids": [1, 5, 6, 5, 7], "labels": [-100, -100, 6, 5, 7]}])
    assert found["norm"] == pytest.approx([float(gradient.norm())], rel=1e-6) and found["mean_norm"] == found["norm"]


def test_the_model_is_left_as_it_was():
    """In training, half frozen, with gradients waiting for the next step, and noise."""
    model = world.build("llama", dropout=0.5).train()
    for number, weight in enumerate(model.parameters()):
        weight.requires_grad_(number % 2 == 0)
        weight.grad = torch.full_like(weight, number) if number % 4 == 0 else None
    model.model.layers[0].eval()
    state = [(weight.clone(), weight.grad, weight.requires_grad, weight._version) for weight in model.parameters()]
    modes, generator = [module.training for module in model.modules()], torch.get_rng_state()
    found = read(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator) and torch.is_grad_enabled()
    for weight, (before, gradient, asked, version) in zip(model.parameters(), state, strict=True):
        assert torch.equal(weight, before) and weight.grad is gradient and weight.requires_grad == asked
        assert weight._version == version
    frozen = world.build("llama").requires_grad_(False)
    assert read(frozen)["norm"] == pytest.approx(found["norm"]) and not any(
        w.requires_grad for w in frozen.parameters()
    )


def test_nobodys_hooks_are_called():
    """An optimizer that steps as gradients arrive must not step."""
    model = world.build("gpt2")
    calls: list[int] = []
    for weight in model.parameters():
        weight.register_post_accumulate_grad_hook(lambda _: calls.append(1))
    read(model)
    assert not calls


def test_padding_copies_and_order_do_not_matter():
    model = world.build("gemma2")
    padded = [
        {**example, "input_ids": example["input_ids"] + [0], "labels": example["labels"] + [-100]}
        for example in EXAMPLES
    ]
    padded = [{**row, "attention_mask": [1] * (len(row["input_ids"]) - 1) + [0]} for row in padded]
    found = read(model)
    assert read(model, padded)["norm"] == pytest.approx(found["norm"], rel=1e-6)
    assert read(model, EXAMPLES[::-1])["norm"][::-1] == pytest.approx(found["norm"], rel=1e-6)
    some = read(model, items=[3, 1])
    assert some["item"] == [1, 3] and some["norm"] == [found["norm"][1], found["norm"][3]]


def test_half_precision():
    model = world.build("llama", dtype=torch.bfloat16)
    assert read(model)["norm"][0] == pytest.approx(plain(model.float(), EXAMPLES[0])[0], rel=0.05)


def test_adapters_at_work_count_and_others_do_not():
    base = world.build("llama")
    alone = read(world.build("llama"))["norm"]
    views = tell_apart({"reference": base, "candidate": world.with_lora(base, "llama")})
    assert read(views["reference"])["norm"] == pytest.approx(alone, rel=1e-6)
    found = read(views["candidate"])["norm"]
    assert found == pytest.approx([plain(views["candidate"].model, row)[0] for row in EXAMPLES], rel=1e-4)
    assert abs(found[0] - alone[0]) > 1e-3
    asked = {name for name, weight in views["candidate"].model.named_parameters() if weight.requires_grad}
    assert asked and all("lora_" in name for name in asked)


def test_soft_prompts():
    model = world.with_prompt_tuning(world.build("llama"))
    assert read(model)["norm"][0] == pytest.approx(plain(model, EXAMPLES[0], virtual=3)[0], rel=1e-4)


class Quantized(torch.nn.Module):
    """An output layer of whole numbers, through which no gradient leads."""

    def __init__(self, head: torch.nn.Linear):
        super().__init__()
        self.scale = float(head.weight.detach().abs().max()) / 127
        self.register_buffer("weight", (head.weight.detach() / self.scale).round().to(torch.int8))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states.detach() @ (self.weight.to(states.dtype) * self.scale).T


def test_a_model_without_gradients_is_refused_in_words():
    model = world.build("llama")
    model.lm_head = Quantized(model.lm_head)
    with pytest.raises(NoGradientsError, match=r"no gradient leads back.*quantized"):
        check_gradients(model, EXAMPLES[0])
    whole = world.build("llama")
    for parameter in [*whole.parameters()]:
        parameter.requires_grad_(False)
        parameter.data = (parameter.data * 100).to(torch.int32)
    with pytest.raises(NoGradientsError, match="stores no weights as floating-point numbers"):
        check_gradients(whole, EXAMPLES[0])


def test_a_layer_that_cannot_be_derived_is_named():
    class Broken(torch.nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError("no derivative of this")

    model = world.build("llama")
    model.lm_head = Broken()
    with pytest.raises(NoGradientsError, match="cannot be derived: no derivative of this"):
        check_gradients(model, EXAMPLES[0])


def test_weights_in_pieces_are_refused():
    model = world.build("llama")
    model.lm_head.weight.ds_id = 0
    with pytest.raises(NoGradientsError, match="processes hold pieces of the weights"):
        check_gradients(model, EXAMPLES[0])


@pytest.mark.parametrize(
    ("examples", "options", "words"),
    [
        ([], {}, "no examples"),
        ([{"input_ids": [1, 2], "labels": [1, -100]}], {}, "example 0 has no labelled token"),
        ([{"input_ids": [3] * 65, "labels": [3] * 65}], {}, "65 tokens; the model's context holds 64"),
        (EXAMPLES, {"items": [9]}, "no item 9"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(examples: list, options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        gradient_tables(world.build("llama"), examples, **options)
