"""When memory runs out, batches are read in halves: the same numbers, nothing twice, and a clear end where one row is too much."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
import torch
import world
from accelerate.utils.memory import should_reduce_batch_size
from toys import markov_lm

from hf_unlearn.inference import (
    FeatureSettings,
    OwnStates,
    _batching,
    _memory,
    answer_tables,
    cross_score,
    feature_rows,
    patching_effects,
    representation_moments,
    sample_completions,
)
from hf_unlearn.inference._memory import Halving, halves, is_out_of_memory


ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", "more"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    MemoryError(),
)  # fmt: skip


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch):
    """Plans as for models of a real size, whose tokens are what costs; and no search for garbage in all that pytest holds."""
    monkeypatch.setattr(_batching, "CALL_WORK", 0.0)
    monkeypatch.setattr(_memory, "clear_device_cache", lambda garbage_collection: None)


@contextmanager
def small_memory(*models: torch.nn.Module, rows: int, error: Exception = ERRORS[0]) -> Iterator[list[int]]:
    """Models that run out of memory with more rows; the rows of each pass that did not."""
    seen: list[int] = []

    def before(module: torch.nn.Module, given: tuple) -> None:
        if len(given[0]) > rows:
            raise error
        seen.append(len(given[0]))

    handles = [model.get_input_embeddings().register_forward_pre_hook(before) for model in models]
    yield seen
    for handle in handles:
        handle.remove()


@contextmanager
def fails_once(model: torch.nn.Module, at: int) -> Iterator[itertools.count]:
    """Memory runs out at one call of a part of the model: embeddings, any layer of its body, or output layer."""
    calls = itertools.count()

    def before(module: torch.nn.Module, given: tuple) -> None:
        if next(calls) == at:
            raise ERRORS[0]

    layers = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_pre_hook(before) for module in layers]
    yield calls
    for handle in handles:
        handle.remove()


def texts(count: int = 9, *, shortest: int = 3, longest: int = 12) -> list[dict]:
    generator = np.random.default_rng(3)
    rows = []
    for _ in range(count):
        ids = [1, *generator.integers(3, world.VOCABULARY, generator.integers(shortest, longest)).tolist()]
        start = int(generator.integers(1, len(ids)))
        rows.append({"input_ids": ids, "labels": [-100] * start + ids[start:]})
    return rows


def answers(model, rows: list[dict], **options) -> list[dict]:
    tables = answer_tables(model, rows, **{"batch_size": 8, "progress": False, **options})
    return pa.concat_tables(list(tables)).sort_by("item").to_pylist()


def assert_close(found: list[dict], expected: list[dict], tolerance: float = 2e-5) -> None:
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            np.testing.assert_allclose(value, other[name], atol=tolerance, rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_nothing_is_read_twice_and_no_later_batch_is_as_large_as_one_that_failed(error: Exception):
    """Five rows at most: 16 fails, then 8, and its halves of 4 go through; the next 16 come as 4, without another attempt."""
    tried, done = [], []

    def read(batch: list[int]) -> int:
        tried.append(len(batch))
        if len(batch) > 5:
            raise error
        done.extend(batch)
        return sum(batch)

    reader = Halving(read, [markov_lm(0)], len, halves, "reading")
    found = [pair for batch in (list(range(16)), list(range(16, 32)), [32, 33]) for pair in reader(batch)]
    assert tried == [16, 8, 4, 4, 4, 4, 4, 4, 4, 4, 2]
    assert done == list(range(34)) == [row for batch, _ in found for row in batch]
    assert all(value == sum(batch) for batch, value in found)


def test_other_errors_are_not_taken_for_it():
    for error in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), KeyError(1)):
        assert not is_out_of_memory(error)
        with pytest.raises(type(error)):
            Halving(_raising(error), [markov_lm(0)], len, halves, "reading")([1, 2, 3])


def _raising(error: Exception):
    def read(batch: list[int]) -> None:
        raise error

    return read


def test_where_one_row_is_too_much_the_error_says_so():
    """It is still what Accelerate takes for running out of memory, so that a Trainer that looks for its batch size goes on looking."""
    model = world.build("llama")
    with small_memory(model, rows=0), pytest.raises(torch.OutOfMemoryError, match="answers of forget: out of memory") as caught:  # fmt: skip
        answers(model, texts(), label="answers of forget")
    assert "device_map='auto'" in str(caught.value) and "Tried to allocate 2.00 GiB" in str(caught.value)
    assert should_reduce_batch_size(caught.value)


def test_weights_in_pieces_are_not_halved():
    """Under ZeRO-3 all processes run the same passes: one that halved its batch alone would wait for the others for ever."""
    model = world.build("llama")
    next(model.parameters()).ds_id = 0
    with small_memory(model, rows=2) as seen, pytest.raises(torch.OutOfMemoryError, match="cannot be divided"):
        answers(model, texts())
    assert max(seen, default=1) <= 2


def test_it_is_said_aloud_once_per_model(caplog: pytest.LogCaptureFixture):
    model = world.build("llama")
    with caplog.at_level(logging.INFO, "hf_unlearn"), small_memory(model, rows=2):
        answers(model, texts())
        answers(model, texts())
    said = [record for record in caplog.records if "out of memory" in record.message]
    assert [record.levelno for record in said].count(logging.WARNING) == 1 and len(said) > 2


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mamba"])
def test_readings_give_the_same_numbers(name: str):
    """Answers with features and lens, samples token for token, scores both ways, patching, features and moments, at most two rows at a time."""
    one, two, rows = world.build(name), world.build(name, seed=1), texts()
    prompts = [row["input_ids"][:3] for row in rows]
    settings = FeatureSettings(batch_size=8)

    def everything() -> dict:
        drawn = sample_completions(one, prompts, num_samples=4, max_new_tokens=6, batch_size=16, progress=False)
        scored = cross_score(drawn, sampled_from="one", models={"one": one, "two": two}, batch_size=8, progress=False)
        moments = representation_moments({"one": one, "two": two}, rows, settings, progress=False).moments
        return {
            "answers": answers(one, rows),
            "layers": answers(one, rows, features=settings, lens=True),
            "drawn": drawn.token_ids.tolist(),
            "scored": scored.table.to_pylist(),
            "patching": patching_effects(one, two, rows, batch_size=8, progress=False).tolist(),
            "features": [part.tolist() for part in feature_rows(one, rows, settings, progress=False).values()],
            "moments": [part.covariance("one", "two").tolist() for part in moments.values()],
        }

    expected = everything()
    with small_memory(one, two, rows=2) as seen:
        found = everything()
    assert max(seen) == 2 and len(seen) > 20
    assert found["drawn"] == expected["drawn"]
    for kind in ("answers", "layers"):
        assert_close(found[kind], expected[kind])
    for row, other in zip(found["scored"], expected["scored"], strict=True):
        assert row == pytest.approx(other, abs=2e-5)
    for kind in ("patching", "features", "moments"):
        for value, other in zip(found[kind], expected[kind], strict=True):
            np.testing.assert_allclose(value, other, atol=2e-5 * np.abs(other).max(), err_msg=kind)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_wherever_memory_runs_out_the_numbers_stay(name: str):
    """Also while the reader finds out how the model ends: Gemma 2 caps its logits after the output layer, which must not be lost."""
    rows, model = texts(4, shortest=9, longest=10), world.build(name)
    for options in ({}, {"features": FeatureSettings(), "lens": True}):
        expected = answers(model, rows, **options)
        outcomes = []
        while True:
            with fails_once(model, at := 7 * len(outcomes)) as calls:
                try:
                    assert_close(answers(model, rows, **options), expected)
                    outcomes.append("read")
                except torch.OutOfMemoryError:
                    outcomes.append("failed")
            if next(calls) <= at:
                break
        # Layers are looked for on a single sequence, which cannot be halved.
        assert len(outcomes) > 8 and outcomes.count("read") > 3
        assert options or "failed" not in outcomes


def test_kept_states_are_given_up_when_memory_is_short():
    one, two = world.build("llama"), world.build("llama", seed=1)
    drawn = sample_completions(one, [[1, 5], [1, 6, 7]], num_samples=4, max_new_tokens=4, progress=False)
    own = OwnStates()
    models = {"one": one, "two": two}
    expected = cross_score(drawn, sampled_from="one", models=models, progress=False, own_states=own).table
    assert own.states
    with small_memory(two, rows=2):
        found = cross_score(drawn, sampled_from="one", models=models, progress=False, own_states=own).table
    assert not own.states and own.limit == 0
    for row, other in zip(found.to_pylist(), expected.to_pylist(), strict=True):
        assert row == pytest.approx(other, abs=2e-5)
