"""Models that lie in several places: under Accelerate's hooks on CPU and disk, every number is that of the model in one place."""

import copy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import world
from accelerate.hooks import ModelHook, add_hook_to_module
from devices import spread
from places import PLACES

from hf_unlearn.inference import (
    FeatureSettings,
    NoGradientsError,
    _batching,
    answer_tables,
    check_gradients,
    cross_score,
    feature_rows,
    gradient_tables,
    greedy_tables,
    model_fingerprint,
    patching_effects,
    plain_model,
    representation_moments,
    sample_completions,
    share_starting_weights,
    weights_fingerprint,
)


@pytest.fixture(autouse=True)
def passes_cost_nothing(monkeypatch: pytest.MonkeyPatch):
    """Plans as for models of a real size, whose tokens are what costs."""
    monkeypatch.setattr(_batching, "CALL_WORK", 0.0)


def texts(count: int = 8) -> list[dict]:
    generator = np.random.default_rng(3)
    rows = []
    for at in range(count):
        prompt = [1, 3 + at // 2, *range(5, 12)]
        answer = generator.integers(3, world.VOCABULARY, generator.integers(2, 6)).tolist()
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


def everything(model, other) -> dict:
    """All kinds of readings."""
    rows, settings, quiet = texts(), FeatureSettings(), {"batch_size": 4, "progress": False}
    drawn = sample_completions(
        model, [row["input_ids"][:4] for row in rows], num_samples=2, max_new_tokens=12, **quiet
    )
    scored = cross_score(drawn, sampled_from="model", models={"model": model, "other": other}, **quiet)
    moments = representation_moments({"model": model, "other": other}, rows, settings, progress=False).moments
    tables = answer_tables(model, rows, features=settings, lens=True, **quiet)
    shared = answer_tables(model, rows, **quiet)
    greedy = greedy_tables(
        model, [row["input_ids"][:4] for row in rows], max_new_tokens=12, stop_token_ids=[2], **quiet
    )
    return {
        "greedy": pa.concat_tables(list(greedy)).sort_by("item").to_pylist(),
        "answers": pa.concat_tables(list(tables)).sort_by("item").to_pylist(),
        "shared": pa.concat_tables(list(shared)).sort_by("item").to_pylist(),
        "drawn": drawn.token_ids.tolist(),
        "scored": scored.table.to_pylist(),
        "patching": [patching_effects(*pair, rows, **quiet).tolist() for pair in ((model, other), (other, model))],
        "features": [part.tolist() for part in feature_rows(model, rows, settings, progress=False).values()],
        "moments": [part.covariance("model", "other").tolist() for part in moments.values()],
        "relatives": share_starting_weights(model, other),
    }


QUICK = (("llama", "memory"), ("llama", "split"), ("gemma2", "split"), ("gpt2", "disk"), ("llama_tied", "split"))
OF_EACH = [
    pytest.param(name, place, marks=() if (name, place) in QUICK else pytest.mark.slow)
    for name in ("llama", "gemma2", "gpt2", "llama_tied", "mamba")
    for place in PLACES
]


@pytest.mark.parametrize(("name", "place"), OF_EACH)
def test_every_reading_is_that_of_the_model_in_one_place(name: str, place: str, tmp_path: Path):
    """To the last bit, since the same operations run on the same device; Gemma 2 caps its logits, GPT-2 has another body."""
    model, other = world.build(name), world.build(name, seed=1)
    placed = PLACES[place](copy.deepcopy(model), tmp_path)
    if place != "hooks":
        assert any(weight.is_meta for weight in placed.parameters()), "nothing was offloaded"
    assert everything(placed, other) == everything(model, other)


@pytest.mark.parametrize(("name", "place"), OF_EACH)
def test_where_it_lies_is_not_what_it_is(name: str, place: str, tmp_path: Path):
    """Fingerprints are those of the model in one place, so evidence is found again; another weight is seen through the hooks."""
    model = world.build(name, dtype=torch.bfloat16 if name == "llama" else torch.float32)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        next(iter(reversed(list(changed.parameters())))).add_(0.01)
    placed, other = (PLACES[place](copy.deepcopy(each), tmp_path / each_name) for each_name, each in {"a": model, "b": changed}.items())  # fmt: skip
    assert weights_fingerprint(placed) == weights_fingerprint(model)
    assert model_fingerprint(placed) == model_fingerprint(model)
    assert weights_fingerprint(other) == weights_fingerprint(changed) != weights_fingerprint(model)
    assert model_fingerprint(other) != model_fingerprint(placed)


def test_a_hook_that_changes_something_still_counts():
    """Only hooks that move things are passed over."""

    class Doubling(ModelHook):
        def post_forward(self, module, output):
            return 2 * output

    model = world.build("llama")
    before = model_fingerprint(model)
    add_hook_to_module(model.lm_head, Doubling())
    assert model_fingerprint(model) != before


def test_meta_without_hooks_is_still_refused():
    with torch.device("meta"):
        model = world.build("llama")
    with pytest.raises(ValueError, match="has no weights"):
        plain_model(model)


@pytest.mark.parametrize("place", PLACES)
def test_gradients_of_offloaded_weights_are_refused_not_left_out(place: str, tmp_path: Path):
    """A pass works on what it fetched, so that gradients for the weights themselves would be those of the rest alone."""
    model, row = world.build("llama"), texts()[0]
    expected = pa.concat_tables(list(gradient_tables(model, [row], progress=False))).to_pylist()
    placed = PLACES[place](copy.deepcopy(model), tmp_path)
    if place == "hooks":
        assert pa.concat_tables(list(gradient_tables(placed, [row], progress=False))).to_pylist() == expected
        return
    with pytest.raises(NoGradientsError, match="offloaded"):
        check_gradients(placed, row)
    with pytest.raises(NoGradientsError, match="offloaded"):
        list(gradient_tables(placed, [row], progress=False))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_every_reading_of_a_model_on_two_devices(name: str):
    """On devices that are none but refuse what real ones refuse: indices follow states, states follow weights, and no number changes."""
    model, other = world.build(name), world.build(name, seed=1)
    for each in (model, other):
        each.set_attn_implementation("eager")
    expected = everything(model, other)
    with spread(copy.deepcopy(model)) as placed:
        assert {str(weight.device) for weight in placed.parameters()} == {"ipu:0", "ipu:1"}
        assert everything(placed, other) == expected


def test_the_two_devices_do_not_mix():
    """What the test above can see at all."""
    with spread(world.build("llama")) as model:
        first, last = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        for mixed in (
            lambda: first + last,
            lambda: first @ last.T,
            lambda: first[torch.zeros(1).long().to(last.device)],
        ):
            with pytest.raises(RuntimeError, match=r"same device"):
                mixed()
        with pytest.raises(RuntimeError, match="same device"):
            last[:, 0] + torch.zeros(len(last))
