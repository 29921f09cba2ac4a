"""The lens and the layers, over many architectures: the last layer read by the lens is the model."""

import logging

import numpy as np
import pytest
import torch
import world

from hf_unlearn.inference import feature_rows, lens_log_probs, patching_effects, score


ROWS = [[1, 5, 6, 7, 8], [1, 9, 10], [1, 4, 3, 12, 12, 15, 16]]
EXAMPLES = [{"input_ids": ids, "labels": [-100, -100, *ids[2:]]} for ids in ROWS]
NAMES = [*world.CORE, "granite", "cohere", "vaultgemma", "openai_gpt", "bloom", "opt", "rwkv"]


def means(model) -> np.ndarray:
    rows = score({"model": model}, EXAMPLES, progress=False)
    return rows.column("log_prob") / rows.column("num_tokens")


@pytest.mark.parametrize("name", NAMES)
def test_the_lens_at_the_last_layer_is_the_model(name: str):
    model = world.build(name)
    read = lens_log_probs(model, EXAMPLES, progress=False)
    np.testing.assert_allclose(read[:, -1], means(model), atol=1e-4)
    assert not np.allclose(read[:, 0], read[:, -1], atol=0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cap_is_applied_in_half_precision_too(dtype: torch.dtype):
    model = world.build("gemma2", dtype=dtype)
    read = lens_log_probs(model, EXAMPLES, progress=False)
    np.testing.assert_allclose(read[:, -1], means(model), atol=0.05)
    model.config.final_logit_softcapping = None
    assert np.abs(read[:, -1].numpy() - means(model)).max() > 0.5


def test_no_lens_where_the_way_to_the_logits_is_not_found(caplog: pytest.LogCaptureFixture):
    """Something lies between the final norm and the output layer that is no module."""
    model = world.build("llama")

    def shift(module, arguments, answer):
        answer.last_hidden_state = answer.last_hidden_state + 1

    model.model.register_forward_hook(shift)
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        assert lens_log_probs(model, EXAMPLES, progress=False) is None
    assert "no logit lens for LlamaForCausalLM" in caplog.text


@pytest.mark.parametrize("name", ["mamba", "llama", "gpt_neox"])
def test_layers_are_outputs_of_the_blocks(name: str):
    """Mamba's own hidden_states begin after the first block and end after the norm."""
    model = world.build(name)
    body = getattr(model, model.base_model_prefix)
    outputs: list[torch.Tensor] = []
    handles = [
        block.register_forward_hook(lambda *given: outputs.append(given[2][0] if isinstance(given[2], tuple) else given[2]))
        for block in body.layers
    ]  # fmt: skip
    with torch.no_grad():
        model(torch.tensor([ROWS[0]]), use_cache=False)
    for handle in handles:
        handle.remove()
    found = feature_rows(model, [{"input_ids": ROWS[0]}], progress=False)
    assert sorted(found) == [1, 2]
    for layer, states in found.items():
        np.testing.assert_allclose(states[0], outputs[layer - 1][0, 1:].mean(0), atol=1e-5)


@pytest.mark.parametrize("name", ["mamba", "gemma2"])
def test_patching_the_last_block_of_a_model_with_the_same_end_gives_the_donors_answer(name: str):
    original, donor = world.build(name), world.build(name)
    blocks = getattr(donor, donor.base_model_prefix).layers
    with torch.no_grad():
        for parameter in blocks[1].parameters():
            if parameter.dim() == 2:
                parameter.mul_(-1)
    effects = patching_effects(original, donor, EXAMPLES, progress=False)
    np.testing.assert_allclose(effects[:, 1], means(original) - means(donor), atol=1e-4)
    np.testing.assert_allclose(effects[:, 0], 0, atol=1e-5)
    assert np.abs(means(original) - means(donor)).max() > 0.01


def longrope(seed: int = 0):
    rope = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
    return world.build("phi3", seed=seed, rope_parameters=rope, original_max_position_embeddings=6)


# One row below the switch, one whose answer lies across it, one beyond it.
ACROSS = [
    {"input_ids": [1, 5, 6, 7], "labels": [-100, -100, 6, 7]},
    {"input_ids": [1, 3, 4, 5, 6, 7, 8, 9, 10], "labels": [-100] * 4 + [6, 7, 8, 9, 10]},
    {"input_ids": [1, 12, 4, 15, 6, 17, 8, 9, 4, 3], "labels": [-100] * 8 + [4, 3]},
]


def test_the_lens_follows_a_switch_of_positions():
    """longrope: each prefix is read as it is met in generation, so that the last layer is the model on every row."""
    model = longrope()
    rows = score({"model": model}, ACROSS, progress=False)
    expected = rows.column("log_prob") / rows.column("num_tokens")
    for batch_size in (1, 3):
        read = lens_log_probs(model, ACROSS, batch_size=batch_size, progress=False)
        np.testing.assert_allclose(read[:, -1], expected, atol=1e-4)


def test_patching_follows_a_switch_of_positions():
    """The donor's last layer is all of the donor that the output layer sees; patched whole, only the shared head is left to differ."""
    original, donor = longrope(0), longrope(1)
    donor.lm_head.load_state_dict(original.lm_head.state_dict())
    donor.model.norm.load_state_dict(original.model.norm.state_dict())
    rows = score({"original": original, "donor": donor}, ACROSS, progress=False)
    means_of = rows.column("log_prob") / rows.column("num_tokens")
    expected = means_of[: len(ACROSS)] - means_of[len(ACROSS) :]
    for batch_size in (1, 3):
        drops = patching_effects(original, donor, ACROSS, batch_size=batch_size, progress=False)
        np.testing.assert_allclose(drops[:, -1], expected, atol=1e-4)
    assert torch.equal(
        patching_effects(original, original, ACROSS, progress=False), torch.zeros(3, 2, dtype=torch.float64)
    )
