"""Completions that each model reads after a prompt of its own."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from toys import tiny_llama

from hf_unlearn.inference import Completions, OwnStates, cross_score, sample_completions, score_tables, tell_apart
from hf_unlearn.inference._memory import is_out_of_memory


PROMPTS = [[1, 5, 6, 7], [1, 8], [1, 8], [1, 9, 10, 11, 12, 13], [1]]
OTHERS = [[1, 20, 21], [1, 22, 23, 24, 25, 26, 27, 28], [1], [1, 9, 10], [1, 30]]
COLUMNS = ("log_prob_own", "log_prob_other", "step_divergence")


def by_hand(model, prompt: list[int], answer: list[int]) -> np.ndarray:
    """Float64 log-softmax at the answer's positions, one sequence at a time."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1].numpy()


def adapted() -> torch.nn.Module:
    model = get_peft_model(tiny_llama(0), LoraConfig(r=4, target_modules=["q_proj"]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


def drawn(model, **changes) -> Completions:
    return sample_completions(model, PROMPTS, **{"num_samples": 4, "max_new_tokens": 5, "progress": False, **changes})


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("vocab_size", [97, 5])
def test_each_model_is_scored_after_its_own_prompt(batch_size: int, vocab_size: int):
    """Against a plain pass per sequence; a small vocabulary makes equal answers, which are read once and counted each."""
    models = {name: tiny_llama(seed, vocab_size=97) for seed, name in enumerate("abc")}
    completions = drawn(models["a"])
    if vocab_size < 97:
        tokens = completions.token_ids % vocab_size
        completions = Completions(
            completions.prompts,
            tokens * completions.mask,
            completions.mask,
            completions.prompt_index,
            completions.sample_index,
            completions.truncated,
        )
    settings = {"sampled_from": "a", "models": models, "batch_size": batch_size, "progress": False}
    rows = cross_score(completions, own_prompts={"b": OTHERS}, **settings).table.to_pylist()
    assert [row["scored_by"] for row in rows] == ["b"] * 20 + ["c"] * 20
    for index, row in enumerate(rows):
        at, answer = row["prompt_index"], completions.answer(index % 20)
        asked = OTHERS[at] if row["scored_by"] == "b" else PROMPTS[at]
        own, other = by_hand(models["a"], PROMPTS[at], answer), by_hand(models[row["scored_by"]], asked, answer)
        steps = np.arange(len(answer))
        assert row["log_prob_own"] == pytest.approx(own[steps, answer].sum(), abs=3e-5)
        assert row["log_prob_other"] == pytest.approx(other[steps, answer].sum(), abs=3e-5)
        assert row["step_divergence"] == pytest.approx((np.exp(own) * (own - other)).sum(), abs=3e-5)


def test_own_prompts_that_are_the_completions_change_nothing():
    models = {"a": tiny_llama(0), "b": tiny_llama(1)}
    completions = drawn(models["a"])
    settings = {"sampled_from": "a", "models": models, "batch_size": 3, "progress": False}
    plain, own = cross_score(completions, **settings), cross_score(completions, own_prompts={"b": PROMPTS}, **settings)
    assert plain.table.equals(own.table)


def test_one_model_in_two_roles_and_adapters_on_one_base():
    """Equal answers to equal prompts diverge by nothing, to other prompts by what a pass each says; an adapter is at work in its role only."""
    model = adapted()
    views = tell_apart({"base": model.get_base_model(), "adapted": model})
    completions = drawn(views["base"])
    alone = tiny_llama(0)
    for name, oracle in (("base", alone), ("adapted", adapted())):
        models = {"own": views["base"], "other": views[name]}
        rows = cross_score(
            completions, sampled_from="own", models=models, own_prompts={"other": OTHERS}, progress=False
        )
        for index, row in enumerate(rows.table.to_pylist()):
            at, answer = row["prompt_index"], completions.answer(index)
            own, other = by_hand(alone, PROMPTS[at], answer), by_hand(oracle, OTHERS[at], answer)
            assert row["step_divergence"] == pytest.approx((np.exp(own) * (own - other)).sum(), abs=1e-4)
    same = {"own": views["base"], "other": views["base"]}
    rows = cross_score(completions, sampled_from="own", models=same, own_prompts={"other": PROMPTS}, progress=False)
    assert (rows.column("step_divergence") == 0).all()


def test_kept_states_and_items_give_the_same_rows():
    """Kept states are those of the completions' own prompts, whatever the others are asked."""
    models = {"a": tiny_llama(0), "b": tiny_llama(1)}
    completions, kept = drawn(models["a"]), OwnStates()
    settings = {"sampled_from": "a", "models": models, "batch_size": 3, "progress": False}
    for prompts in (OTHERS, PROMPTS, OTHERS):
        fresh = cross_score(completions, own_prompts={"b": prompts}, **settings)
        again = cross_score(completions, own_prompts={"b": prompts}, own_states=kept, **settings)
        assert fresh.table.equals(again.table)
        tables = score_tables(completions, own_prompts={"b": prompts}, items=[3, 17], **settings)
        some = {row["item"]: row for table in tables for row in table.to_pylist()}
        assert sorted(some) == [3, 17]
        for item, row in some.items():
            assert [row[name] for name in COLUMNS] == [fresh.column(name)[item] for name in COLUMNS]


def test_a_batch_that_does_not_fit_is_read_in_halves(monkeypatch: pytest.MonkeyPatch):
    models = {"a": tiny_llama(0), "b": tiny_llama(1)}
    completions = drawn(models["a"])
    settings = {"sampled_from": "a", "models": models, "own_prompts": {"b": OTHERS}, "progress": False}
    whole = cross_score(completions, **settings)
    forward = models["b"].forward

    def small(*args, input_ids=None, **kwargs):
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("too large")
        return forward(*args, input_ids=input_ids, **kwargs)

    body = models["b"].model
    inside = body.forward

    def small_body(*args, input_ids=None, **kwargs):
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("too large")
        return inside(*args, input_ids=input_ids, **kwargs)

    assert is_out_of_memory(torch.OutOfMemoryError(""))
    monkeypatch.setattr(models["b"], "forward", small)
    monkeypatch.setattr(body, "forward", small_body)
    halved = cross_score(completions, **settings)
    for name in COLUMNS:
        np.testing.assert_allclose(halved.column(name), whole.column(name), atol=2e-5)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"b": OTHERS[:2]}, "b needs a prompt for each of the 5 prompts of the completions, got 2"),
        ({"b": [*OTHERS[:4], []]}, "prompts of b have no tokens"),
        ({"b": [*OTHERS[:4], [97]]}, r"has the token id 97, but LlamaForCausalLM knows 0 to 96"),
        ({"b": [*OTHERS[:4], [1] * 125]}, "prompt 4 has 125 tokens; .* exceeds the model's context of 128"),
        ({"a": OTHERS}, "own_prompts are for the other models, b; got some for 'a'"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(prompts: dict, message: str):
    models = {"a": tiny_llama(0), "b": tiny_llama(1)}
    with pytest.raises(ValueError, match=message):
        cross_score(drawn(models["a"]), sampled_from="a", models=models, own_prompts=prompts, progress=False)


def test_samples_are_still_checked_against_what_they_were_drawn_with():
    """The sampler is scored on its own prompt; completions of another model are refused."""
    models = {"a": tiny_llama(0), "b": tiny_llama(1)}
    with pytest.raises(RuntimeError, match=r"what was sampled from a .* is not what is scored"):
        cross_score(drawn(tiny_llama(5)), sampled_from="a", models=models, own_prompts={"b": OTHERS}, progress=False)
