"""Prompt learning: virtual tokens, or keys and values, before the first token. They are at work everywhere and counted nowhere."""

import numpy as np
import pytest
import torch
import world
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model

from hf_unlearn.inference import (
    cross_score,
    feature_rows,
    lens_log_probs,
    patching_effects,
    read_answers,
    sample_completions,
    score,
)


KINDS = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig, "p_tuning": PromptEncoderConfig}
ROWS = [[1, 5, 6, 7, 8], [1, 9, 10], [1, 4, 3, 12]]
EXAMPLES = [{"input_ids": ids, "labels": [-100, *ids[1:]]} for ids in ROWS]
CASES = [(kind, name) for kind in KINDS for name in ("llama", "gpt2")]


def soft(kind: str, name: str):
    base = world.build(name)
    adapted = get_peft_model(base, KINDS[kind](task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        for parameter in adapted.prompt_encoder.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return adapted


def by_hand(model, ids: list[int], *, layer: int | None = None) -> torch.Tensor:
    """Log-probabilities (or hidden states) of one sequence, from the wrapper's own forward."""
    with torch.no_grad():
        given = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    if layer is not None:
        return given.hidden_states[layer][0, -len(ids) :]
    log_probs = given.logits[0, -len(ids) :].double().log_softmax(-1)
    return log_probs[:-1][torch.arange(len(ids) - 1), torch.tensor(ids[1:])]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_scores(kind: str, name: str):
    model = soft(kind, name)
    expected = [by_hand(model, ids).sum() for ids in ROWS]
    without = [by_hand(world.build(name), ids).sum() for ids in ROWS]
    assert max(abs(a - b) for a, b in zip(expected, without, strict=True)) > 0.1
    np.testing.assert_allclose(score({"m": model}, EXAMPLES, progress=False).column("log_prob"), expected, atol=1e-4)
    readings = read_answers(model, EXAMPLES, progress=False)
    np.testing.assert_allclose([reading.log_probs.sum() for reading in readings], expected, atol=1e-4)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_samples_are_what_is_scored(kind: str, name: str):
    """Prompts of different lengths in one batch; scoring raises where it finds another log-probability than was drawn."""
    model = soft(kind, name)
    completions = sample_completions(model, [[1, 5, 6, 7], [1, 8], [1, 3, 4]], num_samples=6, max_new_tokens=5, progress=False)  # fmt: skip
    models = {"soft": model, "plain": world.build(name)}
    rows = cross_score(completions, sampled_from="soft", models=models, progress=False)
    assert rows.column("step_divergence").mean() > 0.05
    for row in range(len(completions)):
        prompt, answer = completions.prompts[int(completions.prompt_index[row])], completions.answer(row)
        expected = by_hand(model, [*prompt, *answer])[len(prompt) - 1 :].sum()
        assert rows.column("log_prob_own")[row] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_hidden_states(kind: str, name: str):
    model = soft(kind, name)
    found = feature_rows(model, EXAMPLES, progress=False)
    expected = np.stack([by_hand(model, ids, layer=1)[1:].mean(0) for ids in ROWS])
    np.testing.assert_allclose(found[1], expected, atol=1e-4)
    assert not np.allclose(found[1], feature_rows(world.build(name), EXAMPLES, progress=False)[1], atol=0.05)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_layers(kind: str, name: str):
    model = soft(kind, name)
    means = [float(by_hand(model, ids).mean()) for ids in ROWS]
    np.testing.assert_allclose(lens_log_probs(model, EXAMPLES, progress=False)[:, -1], means, atol=1e-4)
    other = world.build(name)
    effects = patching_effects(model, other, EXAMPLES, progress=False)
    plain = [float(by_hand(other, ids).mean()) for ids in ROWS]
    np.testing.assert_allclose(effects[:, -1], np.subtract(means, plain), atol=1e-4)  # the last block decides the rest


def test_room_counts_virtual_tokens():
    prompt = [1] * 55
    sample_completions(world.build("llama"), [prompt], num_samples=1, max_new_tokens=8, progress=False)
    with pytest.raises(ValueError, match="context of 61 tokens"):
        sample_completions(soft("prompt", "llama"), [prompt], num_samples=1, max_new_tokens=8, progress=False)
