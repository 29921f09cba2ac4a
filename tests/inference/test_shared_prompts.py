"""One prompt, several answers: read once, with the numbers of reading each sequence whole, or not at all."""

import numpy as np
import pyarrow as pa
import pytest
import torch
import world

from hf_unlearn.inference import _batching, answer_tables, cross_score, sample_completions, tell_apart
from hf_unlearn.inference._batching import right_padded
from hf_unlearn.inference._logits import LogitReader
from hf_unlearn.inference._shared_prompts import PromptSharer, can_share, plan_reading
from hf_unlearn.inference._views import open_view


SHARE = ["llama", "llama_tied", "gpt2", "qwen3", "gemma2", "gemma3", "mistral", "phi3", "mixtral", "gpt_neox", "granite", "cohere", "vaultgemma"]  # fmt: skip
COLUMNS = ("log_prob_own", "log_prob_other", "step_divergence")


@pytest.fixture(autouse=True)
def passes_cost_nothing(monkeypatch: pytest.MonkeyPatch):
    """Plans as for models of a real size, whose tokens are what costs."""
    monkeypatch.setattr(_batching, "CALL_WORK", 0.0)


def variants(count: int = 9, answers: int = 6) -> list[dict]:
    """Long questions of several lengths, short answers of several lengths."""
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        prompt = [1, *generator.integers(3, world.VOCABULARY, generator.integers(16, 22)).tolist()]
        for _ in range(answers):
            answer = generator.integers(3, world.VOCABULARY, generator.integers(1, 7)).tolist()
            rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


def read(model, rows: list[dict], **options) -> list[dict]:
    tables = list(answer_tables(model, rows, **{"progress": False, **options}))
    return pa.concat_tables(tables).sort_by("item").to_pylist()


def passed_tokens(model) -> list[int]:
    seen: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, given, out: seen.append(given[0].numel()))
    return seen


@pytest.mark.parametrize("name", world.names("causal_lm"))
def test_answers_are_those_of_whole_sequences(name: str):
    """Every architecture; those of plain attention do share."""
    if name == "xlnet":
        pytest.skip("not causal")
    model, rows = world.build(name), variants()
    alone = read(model, rows, batch_size=1)
    seen = passed_tokens(model)
    found = read(model, rows, batch_size=16)
    for column in ("log_probs", "entropy", "vocab_std"):
        for row, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(row[column], other[column], atol=2e-5)
    assert [row["rank"] for row in found] == [row["rank"] for row in alone]
    if name in SHARE:
        assert sum(seen) < 0.7 * sum(len(row["input_ids"]) for row in rows)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral", "gpt_neox"])
def test_completions_are_those_of_whole_sequences(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    """What is sampled is what is scored, in half precision too, and within its resolution of what the whole sequences give."""
    pair = {"a": world.build(name, dtype=dtype), "b": world.build(name, seed=1, dtype=dtype)}
    prompts = [row["input_ids"][:16] for row in variants(3, 1)]
    completions = sample_completions(pair["a"], prompts, num_samples=8, max_new_tokens=5, progress=False)
    options = {"sampled_from": "a", "models": pair, "progress": False}
    shared: list[bool] = []
    planned = plan_reading
    monkeypatch.setattr(
        "hf_unlearn.inference._scoring.plan_reading",
        lambda *given: (found := planned(*given), shared.append(found[1]))[0],
    )
    found = cross_score(completions, **options)
    assert shared == [True]
    monkeypatch.setattr("hf_unlearn.inference._scoring.plan_reading", lambda *given: (planned(*given)[0], False))
    whole = cross_score(completions, **options)
    for column in COLUMNS:
        np.testing.assert_allclose(found.column(column), whole.column(column), atol=0.25, rtol=0.05)


def test_a_model_against_itself_still_diverges_by_exactly_nothing():
    pair = {"a": world.build("llama"), "b": world.build("llama")}
    prompts = [row["input_ids"][:16] for row in variants(3, 1)]
    completions = sample_completions(pair["a"], prompts, num_samples=8, max_new_tokens=5, progress=False)
    seen = passed_tokens(pair["b"])
    rows = cross_score(completions, sampled_from="a", models=pair, progress=False)
    assert (rows.column("step_divergence") == 0).all()
    assert sum(seen) < 0.7 * (24 * 16 + int(completions.num_tokens.sum()))


def test_adapters_are_at_work_in_both_parts():
    """A base and two adapters on it, one object in memory: each role shares prompts under its own adapter."""
    base = world.build("llama")
    models = {"base": base, "tuned": world.with_lora(base, "llama", seed=3)}
    rows = variants()
    views = tell_apart(models)
    apart = {"base": world.build("llama"), "tuned": world.with_lora(world.build("llama"), "llama", seed=3)}
    for role, view in views.items():
        assert can_share(view)
        for row, other in zip(read(view, rows), read(apart[role], rows, batch_size=1), strict=True):
            np.testing.assert_allclose(row["log_probs"], other["log_probs"], atol=2e-5)


@pytest.mark.parametrize("how", ["halves the values", "cannot go on"])
def test_a_cache_that_does_not_serve_is_found_and_not_used(how: str):
    """Tried on two answers of a prompt, refused, and everything is read whole."""
    model, rows = world.build("llama"), variants()
    expected = [row["log_probs"] for row in read(model, rows, batch_size=1)]

    def forget(module, arguments, named):
        cache = named.get("past_key_values")
        if cache is not None and cache.get_seq_length():
            if how == "cannot go on":
                raise ValueError("no")
            for layer in cache.layers:
                layer.values = layer.values * 0.5

    model.model.register_forward_pre_hook(forget, with_kwargs=True)
    for row, log_probs in zip(read(model, rows, batch_size=16), expected, strict=True):
        np.testing.assert_allclose(row["log_probs"], log_probs, atol=2e-5)
    sharer = PromptSharer(LogitReader(model), wanted=True)
    with torch.no_grad():
        sharer.states(right_padded(rows[:3]))
    assert sharer._works is False


def test_a_prompt_of_one_token_beside_longer_ones():
    """Nothing of it can be cached; whoever shares its batch is read whole."""
    model, rows = world.build("llama"), variants()
    rows += [{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}, {"input_ids": [1, 7], "labels": [-100, 7]}]
    alone = read(model, rows, batch_size=1)
    for row, other in zip(read(model, rows, batch_size=64), alone, strict=True):
        np.testing.assert_allclose(row["log_probs"], other["log_probs"], atol=2e-5)


def test_sharing_is_planned_only_where_it_saves_work():
    view = open_view(world.build("llama"))
    prompts = [(1, *range(20))] * 8 + [(1, *range(30))] * 8
    long_answers, short_answers = ([len(prompt) + rest for prompt in prompts] for rest in (300, 3))
    plan, shared = plan_reading(short_answers, prompts, 16, [view])
    assert shared and sorted(row for batch in plan for row in batch) == list(range(16))
    assert not plan_reading(long_answers, prompts, 16, [view])[1]
    assert not plan_reading(short_answers, [(1, row) for row in range(16)], 16, [view])[1]
    soft = open_view(world.with_prompt_tuning(world.build("llama")))
    for other in (soft, open_view(world.build("mamba")), open_view(world.build("rwkv"))):
        assert not can_share(other) and not plan_reading(short_answers, prompts, 16, [view, other])[1]
    assert can_share(open_view(world.with_lora(world.build("llama"), "llama")))


def test_small_models_are_read_in_few_passes(monkeypatch: pytest.MonkeyPatch):
    """What a pass costs by itself is worth many tokens of a small model: more padding, and prompts read again."""
    view, lengths = open_view(world.build("llama")), [*range(8, 28)]
    small = {}
    for cost in (0.0, 1e7):
        monkeypatch.setattr(_batching, "CALL_WORK", cost)
        prompts = [(1, 2, 3, 4, 5)] * 10 + [(1, 2, 3, 4, 6)] * 10
        plan, shared = plan_reading(lengths, prompts, 64, [view])
        assert sorted(row for batch in plan for row in batch) == [*range(20)]
        small[cost] = len(_batching.batches(lengths, 64, [view])), shared
    assert small[1e7] == (1, False) and small[0.0][0] > 2
