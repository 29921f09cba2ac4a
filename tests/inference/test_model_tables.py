"""Samples, scores and patching, table by table: together what one call gives to the last bit, each item once, whatever is asked for first."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
import world

from hf_unlearn.inference import (
    OwnStates,
    completions_from_table,
    cross_score,
    patching_effects,
    patching_tables,
    sample_completions,
    sample_tables,
    score_tables,
)


PROMPTS = [[1, 5, 6, 7], [1, 8], [1, 9, 10, 11, 12, 13], [1], [1, 8]]
SAMPLING = {"num_samples": 3, "max_new_tokens": 6, "seed": 2, "progress": False}
VALUES = ("log_prob_own", "log_prob_other", "step_divergence")


@pytest.fixture(autouse=True)
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_unlearn.inference._rounds.ROUND", 30)


def models(name: str = "llama", **options) -> dict:
    return {"a": world.build(name, **options), "b": world.build(name, seed=1, **options)}


@pytest.mark.parametrize("name", ["llama", "gpt2", "mamba", "gemma2"])
def test_samples_come_in_tables_that_can_be_asked_for_apart(name: str):
    model = world.build(name)
    whole = sample_completions(model, PROMPTS, batch_size=6, **SAMPLING)
    tables = list(sample_tables(model, PROMPTS, batch_size=6, **SAMPLING))
    assert len(tables) > 1
    first, second = ([4, 3, 12, 13, 14, 5], [0, 1, 2, *range(6, 12)])
    apart = [
        *sample_tables(model, PROMPTS, items=first, batch_size=6, **SAMPLING),
        *sample_tables(model, PROMPTS, items=second, batch_size=6, **SAMPLING),
    ]
    for parts in (tables, apart):
        again = completions_from_table(pa.concat_tables(parts), PROMPTS, 3)
        for column in ("token_ids", "mask", "prompt_index", "sample_index", "truncated", "log_probs"):
            assert torch.equal(getattr(again, column), getattr(whole, column))
        assert again.prompts == whole.prompts
    with pytest.raises(ValueError, match=r"expected every one of 15 completions once .* got 9 rows"):
        completions_from_table(pa.concat_tables(apart).slice(0, 9), PROMPTS, 3)
    with pytest.raises(ValueError, match="all 3 samples of each prompt; got 4 items of 2 prompts"):
        sample_tables(model, PROMPTS, items=[0, 1, 2, 3], **SAMPLING)


def test_scores_come_in_tables_that_can_be_asked_for_apart():
    pair = models() | {"c": world.build("llama", seed=2)}
    completions = sample_completions(pair["a"], PROMPTS, **SAMPLING)
    options = {"sampled_from": "a", "models": pair, "batch_size": 2, "progress": False}
    whole = cross_score(completions, **options).table
    kept = OwnStates()
    for own_states in (None, kept, kept):
        parts = [
            table
            for items in ([0, 7, 3], [item for item in range(15) if item not in (0, 7, 3)])
            for table in score_tables(completions, items=items, own_states=own_states, **options)
        ]
        assert len(parts) > 4
        found = pa.concat_tables(parts).sort_by([("scored_by", "ascending"), ("item", "ascending")])
        assert found["item"].to_pylist() == [*range(15)] * 2
        assert found.drop_columns("item").equals(whole)
    assert kept.states


def test_equal_completions_are_read_once():
    """A model that knows its answer by heart gives it every time: each model reads it once."""
    pair = models()
    with torch.no_grad():
        pair["a"].lm_head.weight.mul_(100)
    completions = sample_completions(pair["a"], PROMPTS, **{**SAMPLING, "num_samples": 16})
    different = {
        (completions.prompts[at], *completions.answer(row)) for row, at in enumerate(completions.prompt_index)
    }
    assert len(different) < 8
    read: list[int] = []
    for model in pair.values():
        model.get_input_embeddings().register_forward_hook(lambda module, given, out: read.append(given[0].numel()))
    rows = cross_score(completions, sampled_from="a", models=pair, progress=False)
    tokens = sum(len(prompt) + len(answer) for prompt, *answer in different)
    assert sum(read) <= 2 * (1.1 * tokens + 3 * 12)
    for prompt in range(4):
        mine = rows.column("prompt_index") == prompt
        assert len(set(rows.column("log_prob_other")[mine])) <= len(different)


@pytest.mark.parametrize("row", [0, 7, 14])
def test_every_copy_is_compared_with_its_own_drawing(row: int):
    """Equal completions are scored once, but a drawing that is not of this model shows in whichever of them it is."""
    pair = models()
    with torch.no_grad():
        pair["a"].lm_head.weight.mul_(100)
    completions = sample_completions(pair["a"], PROMPTS, **SAMPLING)
    log_probs = completions.log_probs.clone()
    log_probs[row, 0] -= 1
    moved = replace(completions, log_probs=log_probs)
    with pytest.raises(RuntimeError, match=rf"is not what is scored: 1 of \d+ .*completion {row}:"):
        cross_score(moved, sampled_from="a", models=pair, progress=False)


def test_a_table_that_cannot_be_trusted_is_not_given_out():
    """Completions of another model: the error comes before the first table, not after the last."""
    pair = models()
    drawn = sample_completions(pair["b"], PROMPTS, **SAMPLING)
    tables = score_tables(drawn, sampled_from="a", models=pair, batch_size=1, progress=False)
    with pytest.raises(RuntimeError, match="what was sampled from a"):
        next(tables)


def test_kept_states_stay_within_their_limit():
    pair = models()
    completions = sample_completions(pair["a"], PROMPTS, **SAMPLING)
    options = {"sampled_from": "a", "models": pair, "batch_size": 2, "progress": False}
    plain, kept = cross_score(completions, **options), OwnStates(limit=4000)
    for _ in range(2):
        found = cross_score(completions, **options, own_states=kept)
        assert 0 < sum(states.nbytes for states in kept.states.values()) <= 4000
        for name in VALUES:
            np.testing.assert_allclose(found.column(name), plain.column(name), atol=1e-5)


def test_patching_comes_in_tables_that_can_be_asked_for_apart():
    pair = models("qwen3")
    examples = [{"input_ids": [*prompt, 4, 5], "labels": [-100] * len(prompt) + [4, 5]} for prompt in PROMPTS]
    options = {"batch_size": 2, "progress": False}
    whole = patching_effects(pair["a"], pair["b"], examples, **options)
    parts = [
        table
        for items in ([3, 1], [0, 2, 4])
        for table in patching_tables(*pair.values(), examples, items=items, **options)
    ]
    found = pa.concat_tables(parts).sort_by("item")
    assert found["item"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["effects"].to_pylist() == whole.tolist()
    assert found["effects"][1] == found["effects"][4]
