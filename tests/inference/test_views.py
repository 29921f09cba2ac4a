"""Roles that share weights: each answers as if it had been loaded for itself."""

import copy
import logging

import numpy as np
import pytest
import torch
import world
from peft import LoraConfig, PeftModel, get_peft_model

from hf_unlearn.audit import measure_fade
from hf_unlearn.inference import (
    FeatureSettings,
    cross_score,
    feature_rows,
    patching_effects,
    representation_moments,
    sample_completions,
    score,
    share_starting_weights,
    tell_apart,
)


PROMPTS = [[1, 5, 6], [1, 8, 9, 10], [1, 4]]
SAMPLING = {"num_samples": 4, "max_new_tokens": 4, "progress": False}


def fade(**models) -> float:
    return measure_fade(prompts=PROMPTS, **models, **SAMPLING).estimate.fade


def lora(base, adapter: str = "default", seed: int = 0, **options) -> PeftModel:
    return world.with_lora(base, "llama", adapter=adapter, seed=seed, **options)


def answers(model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([[1, 5, 6, 7]])).logits


@pytest.fixture
def apart() -> dict[str, float]:
    """FADE of models that were loaded for themselves."""
    base, a, b = world.build("llama"), lora(world.build("llama")), lora(world.build("llama"), seed=1)
    values = {"base-a": fade(reference=base, candidate=a), "a-b": fade(reference=a, candidate=b)}
    assert min(values.values()) > 1
    return values


def test_a_base_beside_its_adapter(apart):
    base = world.build("llama")
    candidate = lora(base)
    before = answers(candidate)
    assert fade(reference=base, candidate=candidate) == pytest.approx(apart["base-a"], rel=1e-4)
    assert fade(reference=candidate, candidate=base) == pytest.approx(apart["base-a"], rel=1e-4)
    assert torch.equal(answers(candidate), before)  # left as they were
    assert all(parameter.requires_grad == ("lora_" in name) for name, parameter in candidate.named_parameters())


@pytest.mark.parametrize("active_last", ["a", "b"])
def test_two_adapters_on_one_base(apart, active_last: str):
    base = world.build("llama")
    models = {"a": lora(base, "a"), "b": lora(base, "b", seed=1)}
    models[active_last].set_adapter(active_last)
    assert fade(reference=models["a"], candidate=models["b"]) == pytest.approx(apart["a-b"], rel=1e-4)


def test_a_base_two_adapters_and_a_stranger_in_four_roles():
    base = world.build("llama")
    a, b = lora(base, "a"), lora(base, "b", seed=1)
    shared = measure_fade(
        prompts=PROMPTS, reference=a, candidate=b, original=base, twin=world.build("llama", seed=3), **SAMPLING
    )
    alone = measure_fade(
        prompts=PROMPTS,
        reference=lora(world.build("llama")),
        candidate=lora(world.build("llama"), seed=1),
        original=world.build("llama"),
        twin=world.build("llama", seed=3),
        **SAMPLING,
    )
    for role in ("estimate", "start", "floor"):
        assert getattr(shared, role).fade == pytest.approx(getattr(alone, role).fade, rel=1e-4)


def test_a_module_saved_whole_is_switched_too():
    base, twin = world.build("llama"), world.build("llama")
    shared, alone = (lora(model, modules_to_save=["lm_head"]) for model in (base, twin))
    with torch.no_grad():
        for model in (shared, alone):
            model.base_model.model.lm_head.modules_to_save["default"].weight.mul_(-1)
    expected = fade(reference=world.build("llama"), candidate=alone)
    assert fade(reference=base, candidate=shared) == pytest.approx(expected, rel=1e-4)


def test_hidden_states_and_patching():
    base, stranger = world.build("llama"), world.build("llama")
    shared, alone = lora(base), lora(world.build("llama"))
    rows = [{"input_ids": [1, *np.random.default_rng(at).integers(3, 23, 5)], "labels": [-100, -100, 4, 5, 6, 7]} for at in range(6)]  # fmt: skip
    options = (rows, FeatureSettings())
    found = representation_moments({"reference": base, "candidate": shared}, *options, progress=False).moments
    expected = representation_moments({"reference": stranger, "candidate": alone}, *options, progress=False).moments
    for layer in (1, 2):
        for role in ("reference", "candidate"):
            np.testing.assert_allclose(found[layer].mean(role), expected[layer].mean(role), atol=1e-5)
    assert not np.allclose(found[2].mean("reference"), found[2].mean("candidate"), atol=1e-2)
    together = patching_effects(base, shared, rows, progress=False)
    torch.testing.assert_close(together, patching_effects(stranger, alone, rows, progress=False), rtol=1e-4, atol=1e-5)
    assert together.abs().max() > 0.01
    assert share_starting_weights(base, shared)


def test_scoring_alone_tells_apart():
    base = world.build("llama")
    models = {"base": base, "adapted": lora(base)}
    views = tell_apart(models)
    completions = sample_completions(views["base"], PROMPTS, **SAMPLING)
    plain = sample_completions(world.build("llama"), PROMPTS, **SAMPLING)
    assert torch.equal(completions.token_ids, plain.token_ids)
    rows = cross_score(completions, sampled_from="base", models=models, progress=False)
    assert rows.column("step_divergence").mean() > 0.5


def test_models_that_share_nothing_stay_as_they_stand():
    adapted = lora(world.build("llama"))
    views = tell_apart({"reference": world.build("llama"), "candidate": adapted, "twin": "some/path"})
    assert views["twin"] == "some/path"
    assert views["candidate"].adapters is None
    with adapted.disable_adapter(), views["candidate"].active() as model:
        assert torch.equal(answers(model), answers(world.build("llama")))


def test_the_same_plain_model_twice_is_itself(caplog):
    model = world.build("llama")
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        assert fade(reference=model, candidate=model) == 0
    assert "reference and candidate are one and the same model object" in caplog.text
    assert "merge_and_unload" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        assert fade(reference=model, candidate=copy.deepcopy(model)) == 0
    assert not caplog.text


def test_the_base_twice_beside_its_adapter_says_so(caplog):
    base = world.build("llama")
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        tell_apart({"reference": base, "candidate": lora(base), "original": base})
    assert "reference and original are one and the same model object" in caplog.text


def test_a_base_that_has_an_adapter_inside_says_so(caplog):
    base = world.build("llama")
    lora(base)
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        fade(reference=world.build("llama", seed=1), candidate=base)
    assert "candidate is a LlamaForCausalLM with PEFT adapters inside, and answers with them" in caplog.text


def test_adapters_that_begin_at_an_invocation_keep_their_wrapper():
    """aLoRA: tokens before the invocation see the base."""
    model = lora(world.build("llama"), alora_invocation_tokens=[7, 9], task_type="CAUSAL_LM")
    ids = [1, 5, 6, 7, 9, 12, 13]
    with torch.no_grad():
        log_probs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        inner = model.get_base_model()(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    expected = float(log_probs[torch.arange(4, 6), torch.tensor(ids[5:])].sum())
    assert abs(expected - float(inner[torch.arange(4, 6), torch.tensor(ids[5:])].sum())) > 0.01
    example = {"input_ids": ids, "labels": [-100] * 5 + ids[5:]}
    assert score({"m": model}, [example], progress=False).column("log_prob")[0] == pytest.approx(expected, abs=1e-4)
    completions = sample_completions(model, [ids[:5], [1, 7, 9]], num_samples=3, max_new_tokens=3, progress=False)
    models = {"m": model, "plain": world.build("llama")}
    assert len(cross_score(completions, sampled_from="m", models=models, progress=False)) == 6
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0, 5:].mean(0)
    np.testing.assert_allclose(feature_rows(model, [example], progress=False)[1][0], states, atol=1e-4)


def test_an_invocation_that_is_drawn_is_named():
    """aLoRA looks for it in the prompt when it generates, and in all of the text when it is scored."""
    model = lora(world.build("llama", vocab_size=6), alora_invocation_tokens=[4], task_type="CAUSAL_LM")
    completions = sample_completions(model, [[1, 3, 5]], num_samples=32, max_new_tokens=4, progress=False)
    assert (completions.token_ids == 4).any()
    models = {"m": model, "plain": world.build("llama", vocab_size=6)}
    with pytest.raises(RuntimeError, match="aLoRA adapter, which begins at its invocation"):
        cross_score(completions, sampled_from="m", models=models, progress=False)


def test_soft_prompts_beside_their_base():
    base = world.build("llama")
    expected = fade(reference=world.build("llama"), candidate=world.with_prompt_tuning(world.build("llama")))
    assert expected > 0.1
    assert fade(reference=base, candidate=world.with_prompt_tuning(base)) == pytest.approx(expected, rel=1e-4)


def _twice():
    adapted = lora(world.build("llama"))
    return adapted, adapted


def _overwritten():
    base = world.build("llama")
    return lora(base), lora(base, seed=1)


def _merged():
    base = world.build("llama")
    adapted = lora(base)
    adapted.merge_adapter()
    return base, adapted


def _merged_and_unloaded():
    base = world.build("llama")
    adapted = lora(base)
    adapted.merge_and_unload()
    return base, adapted


def _biased():
    base = world.build("llama", attention_bias=True)
    return base, lora(base, bias="lora_only", target_modules=["q_proj"])


def _changed_base():
    base = world.build("llama")
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights="pissa_niter_2")
    return base, get_peft_model(base, config)


def _mixture():
    base = world.build("llama")
    return lora(base), world.with_prompt_tuning(base)


def _own_adapter():
    base = world.build("llama")
    base.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    return base, base


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (_twice, "one PeftModel object is in two roles"),
        (_overwritten, "one adapter .default.; a second of that name on the same base replaces the first"),
        (_merged, "an adapter is merged into the base"),
        (_merged_and_unloaded, "an adapter was merged into the base"),
        (_biased, "trains the biases of the base"),
        (_changed_base, "init_lora_weights changes the weights"),
        (_mixture, "different kinds lie on top of each other"),
        (_own_adapter, "part of the model object itself"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_before_a_model_runs(pair, reason: str, monkeypatch):
    reference, candidate = pair()
    for model in (reference, candidate):
        monkeypatch.setattr(model, "forward", None)
    with pytest.raises(
        ValueError, match=f"reference and candidate share weights .*{reason}.* Load each of these models"
    ):
        fade(reference=reference, candidate=candidate)
