"""One teacher-forced pass: every column against the model's full logits, and what the pass costs."""

import numpy as np
import pyarrow as pa
import pytest
import torch
import world

from hf_unlearn.inference import (
    FeatureSettings,
    _batching,
    answer_tables,
    feature_rows,
    lens_log_probs,
    read_answers,
    score,
)


@pytest.fixture(autouse=True)
def passes_cost_nothing(monkeypatch: pytest.MonkeyPatch):
    """Plans as for models of a real size, whose tokens are what costs."""
    monkeypatch.setattr(_batching, "CALL_WORK", 0.0)


def texts(count: int = 10, *, seed: int = 0, longest: int = 14) -> list[dict]:
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = [1, *generator.integers(3, world.VOCABULARY, generator.integers(2, longest)).tolist()]
        start = int(generator.integers(1, len(ids)))
        rows.append({"input_ids": ids, "labels": [-100] * start + ids[start:]})
    return rows


def read(model, rows: list[dict], **options) -> list[dict]:
    tables = list(answer_tables(model, rows, **{"progress": False, **options}))
    return pa.concat_tables(tables).sort_by("item").to_pylist()


def passed_tokens(model) -> list[int]:
    """Tokens of each forward pass from now on, padding included."""
    seen: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, given, out: seen.append(given[0].numel()))
    return seen


@pytest.mark.parametrize("name", world.CORE)
def test_every_column_is_what_the_full_logits_say(name: str):
    """Float64 over the whole vocabulary, one sequence at a time."""
    model, rows = world.build(name), texts()
    for example, found in zip(rows, read(model, rows, batch_size=4), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([example["input_ids"]])).logits[0, :-1].double()
        wanted = np.array(example["labels"])[1:]
        log_p = logits.log_softmax(-1).numpy()[wanted != -100]
        answer = wanted[wanted != -100]
        own = log_p[np.arange(len(answer)), answer]
        mean = (np.exp(log_p) * log_p).sum(1)
        np.testing.assert_allclose(found["log_probs"], own, atol=2e-5)
        assert found["correct"] == (log_p.argmax(1) == answer).tolist()
        assert found["rank"] == (1 + (log_p > own[:, None]).sum(1)).tolist()
        np.testing.assert_allclose(found["entropy"], -mean, atol=2e-5)
        np.testing.assert_allclose(found["vocab_mean"], mean, atol=2e-5)
        spread = np.sqrt((np.exp(log_p) * (log_p - mean[:, None]) ** 2).sum(1))
        np.testing.assert_allclose(found["vocab_std"], spread, atol=2e-5)


def test_tokens_that_cannot_be_have_no_part_in_the_vocabularys_moments():
    model = world.build("llama")
    never = torch.arange(20, world.VOCABULARY)
    model.lm_head.register_forward_hook(lambda module, given, out: out.index_fill(-1, never, -torch.inf))
    found = read(model, [{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}])[0]
    with torch.no_grad():
        log_p = model(torch.tensor([[1, 5, 6]])).logits[0, :-1, :20].double().log_softmax(-1)
    np.testing.assert_allclose(found["entropy"], -(log_p.exp() * log_p).sum(1), atol=2e-5)
    assert np.isfinite(found["vocab_std"]).all()


def test_equally_likely_tokens_share_the_best_rank():
    """A model that knows nothing gives all tokens one logit: rank 1 for each, and only the first of them counts as its choice."""
    model = world.build("llama")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    found = read(model, [{"input_ids": [1, 5, 0], "labels": [-100, 5, 0]}])[0]
    assert found["rank"] == [1, 1] and found["correct"] == [False, True]
    np.testing.assert_allclose(found["entropy"], [np.log(world.VOCABULARY)] * 2, rtol=1e-6)
    np.testing.assert_allclose(found["vocab_std"], [0, 0], atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mamba", "opt", "phi3", "bloom"])
def test_features_and_lens_come_out_of_the_same_pass(name: str):
    model, rows, settings = world.build(name), texts(), FeatureSettings(layers=(0, 2), max_width=24, batch_size=4)
    plain = feature_rows(model, rows, settings, progress=False)
    lens = lens_log_probs(model, rows, batch_size=4, progress=False)
    alone = read(model, rows, batch_size=4)
    ready = passed_tokens(model)
    found = read(model, rows, features=settings, lens=range(3), batch_size=4)
    for layer in (0, 2):
        np.testing.assert_array_equal([row[f"feature_{layer}"] for row in found], plain[layer])
    np.testing.assert_array_equal([row["lens"] for row in found[:3]], lens[:3])
    assert all(row["lens"] is None for row in found[3:])
    for row, other in zip(found, alone, strict=True):
        assert {name: row[name] for name in other} == other
    lengths = sum(len(row["input_ids"]) for row in rows)
    tried = 9 * len(
        rows[0]["input_ids"]
    )  # where the layers are, that it does not look ahead, where the output layer begins
    assert sum(ready) <= 1.1 * lengths + tried


def test_a_model_whose_layers_are_not_found_has_answers_and_no_lens(caplog: pytest.LogCaptureFixture):
    model = world.build("gemma3n")
    found = read(model, texts(3), lens=True)
    assert all(row["lens"] is None and row["log_probs"] for row in found)
    assert "no logit lens for Gemma3nForCausalLM" in caplog.text


def test_padding_is_rare_and_equal_examples_are_read_once():
    """Lengths as they come: the tokens that go through stay below 1.15 times those of the different texts."""
    model, rows = world.build("llama"), texts(60, longest=40)
    copies = [*rows, *rows[::-1], rows[0]]
    read(model, rows[:1])
    seen = passed_tokens(model)
    found = read(model, copies, batch_size=16)
    once = {(*row["input_ids"], -1, *row["labels"]): len(row["input_ids"]) for row in rows}
    assert sum(seen) <= 1.1 * sum(once.values()) + 4 * len(rows[0]["input_ids"])
    assert [row["log_probs"] for row in found[:60]] == [row["log_probs"] for row in found[60:120]][::-1]
    single = np.concatenate([reading.log_probs for reading in read_answers(model, rows, batch_size=1, progress=False)])
    np.testing.assert_allclose(np.concatenate([row["log_probs"] for row in found[:60]]), single, atol=1e-5)


def test_what_is_read_of_an_item_does_not_hang_on_what_else_is_asked_for():
    """To the last bit, hidden states included, so that a reading that was killed ends like one that was not."""
    model, rows = world.build("qwen3"), texts()
    options = {"features": FeatureSettings(), "lens": range(4), "batch_size": 3}
    everything = read(model, rows, **options)
    parts = [read(model, rows, items=items, **options) for items in ([7, 2], [0, 1, 3, 4, 5, 6, 8, 9])]
    assert [row["item"] for row in parts[0]] == [2, 7]
    assert sorted([*parts[0], *parts[1]], key=lambda row: row["item"]) == everything
    assert list(answer_tables(model, rows, items=[])) == []
    with pytest.raises(ValueError, match="no item 10; items go from 0 to 9"):
        answer_tables(model, rows, items=[10])


def test_between_tables_everything_is_the_callers(monkeypatch: pytest.MonkeyPatch):
    """A table at a time: gradients, random state and the model's mode are as they were while a table is looked at."""
    monkeypatch.setattr("hf_unlearn.inference._rounds.ROUND", 1)
    model = world.build("llama", dropout=0.5).train()
    torch.manual_seed(3)
    expected = [torch.rand(1).item() for _ in range(3)]
    torch.manual_seed(3)
    drawn = []
    for table in answer_tables(model, texts(3), batch_size=1, progress=False):
        assert table.num_rows == 1 and torch.is_grad_enabled() and model.training
        drawn.append(torch.rand(1).item())
    assert drawn == expected


def test_padding_that_an_example_brings_is_not_read():
    model = world.build("gpt2")
    plain = {"input_ids": [1, 5, 6, 7], "labels": [-100, -100, 6, 7]}
    padded = {
        "input_ids": [0, 0, 1, 5, 6, 7],
        "labels": [-100, -100, -100, -100, 6, 7],
        "attention_mask": [0, 0, 1, 1, 1, 1],
    }
    first, second = (score({"m": model}, [row], progress=False).column("log_prob")[0] for row in (plain, padded))
    assert first == second


def test_items_without_statistics_have_the_same_log_probs_and_nothing_else():
    """Also where an equal sequence is read in full."""
    model, rows = world.build("llama"), texts()
    rows.append(rows[2])
    full = read(model, rows, batch_size=4)
    for asked in ([2, 5], []):
        for item, (found, whole) in enumerate(
            zip(read(model, rows, batch_size=4, statistics=asked), full, strict=True)
        ):
            assert found["log_probs"] == pytest.approx(whole["log_probs"], abs=1e-6)
            others = {name: found[name] for name in ("correct", "rank", "entropy", "vocab_mean", "vocab_std")}
            if item in asked:
                assert others["correct"] == whole["correct"] and others["rank"] == whole["rank"]
                for name in ("entropy", "vocab_mean", "vocab_std"):
                    assert others[name] == pytest.approx(whole[name], abs=1e-5)
            else:
                assert set(others.values()) == {None}
