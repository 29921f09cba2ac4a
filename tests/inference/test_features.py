"""Hidden states: which they are, how they are pooled, and that batches, padding and processes do not change them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import world
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import torchrun
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from toys import markov_lm, tiny_llama
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTForImageClassification,
)

from hf_unlearn.functional import IGNORE_INDEX, layer_metrics
from hf_unlearn.inference import (
    FeatureSettings,
    NoHiddenStatesError,
    feature_rows,
    lens_log_probs,
    patching_effects,
    representation_moments,
    score,
    share_starting_weights,
)
from hf_unlearn.inference._features import projection


SCRIPT = Path(__file__).with_name("two_processes_features.py")


def texts(count: int = 23, seed: int = 0) -> list[dict[str, list[int]]]:
    generator = np.random.default_rng(seed)
    found = []
    for index in range(count):
        ids = [1, *generator.integers(3, 90, 4 + index % 9).tolist()]
        found.append({"input_ids": ids, "labels": [IGNORE_INDEX] * 3 + ids[3:]})
    return found


@pytest.fixture(scope="module")
def three() -> dict:
    return {"reference": tiny_llama(1), "candidate": tiny_llama(0), "original": tiny_llama(2)}


def test_features_are_means_of_block_outputs_at_answer_tokens():
    """By hand: hidden_states of one unpadded text; the last block before the final norm, which hidden_states[-1] is after."""
    model = tiny_llama(3)
    found = feature_rows(model, texts(5), FeatureSettings(layers=(0, 1, 2)), progress=False)
    for index, row in enumerate(texts(5)):
        with torch.no_grad():
            states = model(torch.tensor([row["input_ids"]]), output_hidden_states=True).hidden_states
        for layer in (0, 1):
            np.testing.assert_allclose(found[layer][index], states[layer][0, 3:].mean(0), atol=1e-6)
    last = feature_rows(model, texts(5), FeatureSettings(layers=(2,), pooling="last_token"), progress=False)[2]
    with torch.no_grad():
        normed = model.model.norm(torch.tensor(last))
        expected = [model(torch.tensor([row["input_ids"]]), output_hidden_states=True).hidden_states[-1][0, -1] for row in texts(5)]  # fmt: skip
    np.testing.assert_allclose(normed, torch.stack(expected), atol=1e-5)
    assert not np.allclose(last, torch.stack(expected), atol=1e-2)


def test_the_first_token_is_never_pooled():
    rows = [{"input_ids": [1, 5, 6]}, {"input_ids": [1, 5, 6], "labels": [1, 5, 6]}]
    found = feature_rows(tiny_llama(), rows, progress=False)[1]
    np.testing.assert_array_equal(found[0], found[1])
    with torch.no_grad():
        states = tiny_llama()(torch.tensor([[1, 5, 6]]), output_hidden_states=True).hidden_states[1][0, 1:]
    np.testing.assert_allclose(found[0], states.mean(0), atol=1e-6)
    with pytest.raises(ValueError, match="1 tokens has none to pool"):
        feature_rows(tiny_llama(), [{"input_ids": [1]}], progress=False)


@settings(max_examples=8)
@given(batch_size=st.integers(1, 30), pad=st.integers(0, 5), left=st.booleans(), pooling=st.sampled_from(["answer_mean", "last_token", "all_tokens"]))  # fmt: skip
def test_batches_and_padding_do_not_matter(three, batch_size: int, pad: int, left: bool, pooling: str):
    """To 1e-6 in float32, whatever the batch size and the side on which the given ids are padded."""
    whole = representation_moments(three, texts(), FeatureSettings(pooling=pooling), progress=False)
    padded = []
    for row in texts():
        fill = {"input_ids": [0] * pad, "labels": [IGNORE_INDEX] * pad, "attention_mask": [0] * pad}
        full = {**row, "attention_mask": [1] * len(row["input_ids"])}
        padded.append({name: fill[name] + full[name] if left else full[name] + fill[name] for name in full})
    options = FeatureSettings(pooling=pooling, batch_size=batch_size)
    other = representation_moments(three, padded, options, progress=False)
    for layer in whole.moments:
        for name, value in layer_metrics(whole.moments[layer]).values.items():
            assert layer_metrics(other.moments[layer]).values[name] == pytest.approx(value, abs=1e-6), name


def test_moments_are_those_of_the_rows(three):
    streamed = representation_moments(three, texts(), FeatureSettings(batch_size=4), progress=False)
    rows = {name: feature_rows(model, texts(), progress=False) for name, model in three.items()}
    for layer, moments in streamed.moments.items():
        for name in three:
            np.testing.assert_allclose(moments.mean(name), rows[name][layer].mean(0), atol=1e-6)
            np.testing.assert_allclose(moments.covariance(name, name), np.cov(rows[name][layer].T) * 22, atol=1e-4)


def test_more_rows_than_a_buffer_holds(three):
    pair = {name: three[name] for name in ("reference", "candidate")}
    options = FeatureSettings(pooling="all_tokens", layers=(1,), batch_size=16)
    moments = representation_moments(pair, texts(90), options, progress=False).moments[1]
    assert moments.count == sum(len(row["input_ids"]) - 3 for row in texts(90)) > 512


@pytest.mark.distributed
def test_two_processes_give_the_numbers_of_one(three, tmp_path: Path):
    torchrun(SCRIPT, str(tmp_path))
    expected = representation_moments(three, texts(), FeatureSettings(batch_size=3), progress=False).moments
    rows = feature_rows(three["candidate"], texts(), FeatureSettings(batch_size=3), progress=False)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        for layer, moments in expected.items():
            for name, value in layer_metrics(moments).values.items():
                assert found["metrics"][layer][name] == pytest.approx(value, abs=1e-9), name
            np.testing.assert_array_equal(found["rows"][layer], rows[layer])


def test_wide_layers_are_projected_alike():
    """With an orthonormal map of full rank nothing changes; with a narrower one all models share it."""
    model = tiny_llama()
    narrow = feature_rows(model, texts(), FeatureSettings(max_width=8, seed=5), progress=False)[1]
    again = feature_rows(model, texts(), FeatureSettings(max_width=8, seed=5), progress=False)[1]
    other = feature_rows(model, texts(), FeatureSettings(max_width=8, seed=6), progress=False)[1]
    assert narrow.shape == (23, 8)
    np.testing.assert_array_equal(narrow, again)
    assert not np.allclose(narrow, other)
    full = feature_rows(model, texts(), progress=False)[1]
    np.testing.assert_allclose(narrow, full @ projection(32, 8, 5), atol=1e-4)
    turned = full @ projection(32, 32, 5)
    np.testing.assert_allclose(turned @ turned.T, full @ full.T, rtol=1e-5, atol=1e-3)  # of full rank nothing changes
    np.testing.assert_allclose(projection(32, 8, 5).T @ projection(32, 8, 5), 4 * np.eye(8), atol=1e-12)  # 32 / 8


@pytest.mark.parametrize(
    ("model", "inputs", "blocks"),
    [
        (BertModel(BertConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, vocab_size=99)), None, True),
        (GPT2LMHeadModel(GPT2Config(n_layer=3, n_embd=16, n_head=2, vocab_size=99, bos_token_id=1, eos_token_id=2)), None, True),
        (ViTForImageClassification(ViTConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4)), (3, 8, 8), True),
        (ResNetModel(ResNetConfig(embedding_size=16, hidden_sizes=[16, 16, 16], depths=[1, 1, 1], layer_type="basic")), (3, 32, 32), False),
    ],
    ids=["encoder", "gpt2", "vit", "resnet"],
)  # fmt: skip
def test_any_model_with_hidden_states(model, inputs, blocks: bool):
    generator = torch.Generator().manual_seed(0)
    rows = texts(6) if inputs is None else [{"pixel_values": torch.randn(inputs, generator=generator)} for _ in range(6)]  # fmt: skip
    found = feature_rows(model.eval(), rows, progress=False)
    assert sorted(found) == [1, 2, 3]
    for states in found.values():
        assert states.shape == (6, 16) and np.isfinite(states).all() and states.std(0).max() > 0
    one_by_one = feature_rows(model, rows, FeatureSettings(batch_size=1), progress=False)
    np.testing.assert_allclose(found[2], one_by_one[2], atol=1e-5)


def test_adapters_are_at_work_and_soft_prompts_are_not_pooled():
    base = tiny_llama()
    plain = feature_rows(base, texts(5), progress=False)
    tuned = get_peft_model(tiny_llama(), LoraConfig(r=2, init_lora_weights=False, task_type="CAUSAL_LM"))
    assert not np.allclose(feature_rows(tuned, texts(5), progress=False)[2], plain[2])
    soft = get_peft_model(tiny_llama(), PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    assert feature_rows(soft, texts(5), progress=False)[2].shape == (5, 32)
    assert share_starting_weights(base, tuned)
    assert not share_starting_weights(base, tiny_llama(1))


def test_models_are_left_as_they_were(three):
    model = three["candidate"].train()
    with torch.no_grad():  # transformers leaves hooks of its own the first time
        model(torch.tensor([[1, 2]]), output_hidden_states=True)
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    state = torch.get_rng_state()
    representation_moments(three, texts(4), progress=False)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert hooks == [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    model.eval()


def test_a_path_of_any_kind_opens(tmp_path: Path):
    model = BertModel(
        BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=99)
    )
    model.eval().save_pretrained(tmp_path)
    expected = feature_rows(model, texts(4), progress=False)[1]
    np.testing.assert_allclose(feature_rows(str(tmp_path), texts(4), progress=False)[1], expected, atol=1e-6)


def test_what_cannot_be_compared_is_refused(three):
    deep = tiny_llama(num_hidden_layers=4)
    with pytest.raises(ValueError, match=r"differ in depth .*pass match_depth=True"):
        representation_moments({"reference": three["reference"], "candidate": deep}, texts(5), progress=False)
    matched = representation_moments(
        {"reference": three["reference"], "candidate": deep}, texts(5), FeatureSettings(match_depth=True), progress=False
    )  # fmt: skip
    assert matched.layer_map == {1: {"reference": 1, "candidate": 2}, 2: {"reference": 2, "candidate": 4}}
    with pytest.raises(ValueError, match="no layer 3; layers go from 0"):
        feature_rows(three["reference"], texts(5), FeatureSettings(layers=(1, 3)), progress=False)
    with pytest.raises(NoHiddenStatesError, match="MarkovLM gives no hidden_states"):
        feature_rows(markov_lm(0), [{"input_ids": [1, 2]}], progress=False)
    with pytest.raises(ValueError, match="unknown pooling 'mean'; choose one of answer_mean"):
        FeatureSettings(pooling="mean")
    with pytest.raises(ValueError, match="no examples"):
        feature_rows(three["reference"], [], progress=False)
    with pytest.raises(ValueError, match="can only be streamed"):
        feature_rows(three["reference"], texts(5), FeatureSettings(pooling="all_tokens"), progress=False)
    broken = tiny_llama()
    with torch.no_grad():
        broken.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not all finite"):
        feature_rows(broken, texts(5), progress=False)


def test_patching_all_of_a_layer_gives_the_donors_answer(three):
    """The last block's output decides the rest: with the same final norm and output layer the answer is the donor's."""
    original, donor = tiny_llama(0), tiny_llama(0)
    with torch.no_grad():
        donor.model.layers[1].mlp.down_proj.weight.mul_(-1)
    effects = patching_effects(original, donor, texts(7), batch_size=3, progress=False)
    rows = score({"original": original, "donor": donor}, texts(7), progress=False)
    tokens = rows.column("num_tokens")[:7]
    drop = (rows.column("log_prob")[:7] - rows.column("log_prob")[7:]) / tokens
    np.testing.assert_allclose(effects[:, 1], drop, atol=1e-5)
    np.testing.assert_allclose(effects[:, 0], 0, atol=1e-6)  # their first blocks agree
    assert torch.equal(patching_effects(original, original, texts(7), progress=False), torch.zeros(7, 2).double())
    with pytest.raises(ValueError, match="equal depth"):
        patching_effects(original, tiny_llama(num_hidden_layers=3), texts(3), progress=False)


def test_the_lens_at_the_last_layer_is_the_model():
    model = tiny_llama(4)
    read = lens_log_probs(model, texts(7), batch_size=2, progress=False)
    rows = score({"model": model}, texts(7), progress=False)
    np.testing.assert_allclose(read[:, 1], rows.column("log_prob") / rows.column("num_tokens"), atol=1e-5)
    with torch.no_grad():
        row = texts(7)[2]
        states = model(torch.tensor([row["input_ids"]]), output_hidden_states=True).hidden_states[1]
        log_probs = model.lm_head(model.model.norm(states))[0].log_softmax(-1)
    expected = np.mean([float(log_probs[at - 1, row["input_ids"][at]]) for at in range(3, len(row["input_ids"]))])
    assert float(read[2, 0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("count", [1, 4])
def test_states_that_are_not_of_tokens_are_refused_by_name(count: int):
    """Gemma 3n keeps four streams of states, which lie where another model has its batch: four rows would mix silently."""
    model = world.build("gemma3n")
    rows = [{"input_ids": [1, 3, 4, 5, at + 6]} for at in range(count)]
    for read in (feature_rows, lens_log_probs):
        with pytest.raises(NoHiddenStatesError, match=r"Gemma3n.* shape \(4, 1, 5, 32\), not \(1, 5, 'width'\)"):
            read(model, rows, progress=False)
