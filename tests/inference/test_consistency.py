"""What is sampled is what is scored, or the model is refused by name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import world
from test_enumeration import check
from toys import MarkovLM, markov_lm, tiny_llama
from transformers import BertConfig, BertLMHeadModel

from hf_unlearn.inference import (
    cross_score,
    feature_rows,
    model_fingerprint,
    read_answers,
    sample_completions,
    score,
)
from hf_unlearn.inference._consistency import resolution
from hf_unlearn.inference._logits import LogitReader


PROMPTS = [[1, 5, 6, 7], [1, 8], [1, 4, 9, 10, 11, 12]]
SAMPLING = {"num_samples": 8, "max_new_tokens": 6, "progress": False}


def scored(model, completions=None):
    completions = completions or sample_completions(model, PROMPTS, **SAMPLING)
    other = world.build("llama", vocab_size=model.get_output_embeddings().weight.shape[0])
    return cross_score(
        completions, sampled_from="candidate", models={"candidate": model, "other": other}, progress=False
    )


def test_tokens_keep_the_log_probability_they_were_drawn_with():
    model = tiny_llama()
    completions = sample_completions(model, PROMPTS, **SAMPLING)
    for row in (0, 9, 20):
        prompt, answer = completions.prompts[int(completions.prompt_index[row])], completions.answer(row)
        with torch.no_grad():
            log_probs = model(torch.tensor([[*prompt, *answer]])).logits[0].double().log_softmax(-1)
        expected = log_probs[len(prompt) - 1 : -1][torch.arange(len(answer)), torch.tensor(answer)]
        torch.testing.assert_close(completions.log_probs[row, : len(answer)].double(), expected, atol=1e-5, rtol=0)
        assert (completions.log_probs[row, len(answer) :] == 0).all()


def test_a_model_that_changes_in_between_is_noticed():
    model = tiny_llama()
    completions = sample_completions(model, PROMPTS, **SAMPLING)
    with torch.no_grad():
        model.lm_head.weight[7] += 1e-2
    with pytest.raises(
        RuntimeError, match=r"sampled from candidate \(LlamaForCausalLM\) is not what is scored: \d+ of 24"
    ):
        scored(model, completions)


class _Wilful(MarkovLM):
    """Asks for the logits processor once and then goes on greedily."""

    def generate(self, input_ids, attention_mask, max_new_tokens=None, logits_processor=None, **options):
        rest = self.generation_config.max_new_tokens - 1 if max_new_tokens is None else 0
        first = super().generate(
            input_ids=input_ids, attention_mask=attention_mask, max_new_tokens=1, logits_processor=logits_processor, **options
        )  # fmt: skip
        return super().generate(input_ids=first, max_new_tokens=rest) if rest else first


def test_generation_that_goes_around_the_processor_is_refused():
    model = _Wilful(markov_lm(0).config).eval()
    with torch.no_grad():
        model.transition_logits.copy_(markov_lm(0).transition_logits)
    with pytest.raises(RuntimeError, match=r"_Wilful does not follow the logits processor .* step 1"):
        sample_completions(model, [[3]], num_samples=20, max_new_tokens=4, progress=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral", "mixtral", "mamba"])
def test_honest_models_pass_in_half_precision(name: str, dtype: torch.dtype):
    assert len(scored(world.build(name, dtype=dtype))) == 24


def test_rounding_may_add_up_over_layers():
    assert len(scored(world.build("llama", dtype=torch.bfloat16, num_hidden_layers=24))) == 24


@pytest.mark.parametrize(("shift", "refused"), [(0.01, False), (0.2, True)])
def test_a_small_difference_of_every_token_adds_up(shift: float, refused: bool):
    """In half precision no single token gives it away; the mean, which every divergence would be wrong by, does."""
    model = world.build("llama", dtype=torch.bfloat16)
    completions = sample_completions(model, PROMPTS, **SAMPLING)
    moved = replace(completions, log_probs=(completions.log_probs + shift) * completions.mask)
    if refused:
        with pytest.raises(RuntimeError, match=r"is not what is scored: 0 of 24 .* drawn with 0\.2"):
            scored(model, moved)
    else:
        assert len(scored(model, moved)) == 24


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_soft_cap_that_scoring_drops_is_noticed(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    model = world.build("gemma2", dtype=dtype)
    scored(model)
    monkeypatch.setattr("hf_unlearn.inference._logits._head_is_all", lambda *args: True)
    with pytest.raises(RuntimeError, match="Gemma2ForCausalLM"):
        scored(model)


@pytest.mark.parametrize("name", ["gemma2", "granite", "cohere", "vaultgemma"])
def test_caps_and_scales_are_found_however_small_the_logits(name: str):
    """In bfloat16 a cap of 3 leaves a logit of 0.01 as it is, and must still be there for one of 100."""
    model = world.build(name, dtype=torch.bfloat16)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e-3)
        reader = LogitReader(model)
        place = torch.tensor([0]), torch.tensor([3])
        reader.states(torch.tensor([[1, 5, 6, 7]]), torch.ones(1, 4, dtype=torch.int64), *place)
        model.get_output_embeddings().weight.mul_(1e5)
        inputs = torch.tensor([[1, 8, 9, 10]])
        read = reader.logits(reader.states(inputs, torch.ones_like(inputs), *place))
        whole = model(inputs).logits[0, -1:]
    assert (read - whole).abs().max() <= 2 * resolution(model) * whole.abs().max()
    assert reader.body is not None  # memory follows the chunk here too


def longrope(seed: int = 0, **options):
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
    rope["original_max_position_embeddings"] = 5
    return world.build("phi3", seed=seed, rope_parameters=rope, original_max_position_embeddings=5, **options)


def prefix_by_prefix(model, ids: list[int], start: int) -> float:
    with torch.no_grad():
        steps = [model(torch.tensor([ids[:at]])).logits[0, -1].double().log_softmax(-1)[ids[at]] for at in range(start, len(ids))]  # fmt: skip
    return float(sum(steps))


def test_longrope_reads_a_row_as_the_model_meets_it():
    """The longest row of a batch turns all positions: rows on both sides, and one that crosses, read together."""
    model = longrope()
    rows = [[1, 5, 6], [1, 5, 6, 7, 8], [1, 5, 6, 7, 8, 9, 10, 4], [1, 9, 4, 4, 7, 8, 3, 3, 12]]
    examples = [{"input_ids": ids, "labels": [-100, *ids[1:]]} for ids in rows]
    expected = [prefix_by_prefix(model, ids, 1) for ids in rows]
    with torch.no_grad():
        mixed = model(torch.tensor([rows[2]])).logits[0].double().log_softmax(-1)
    assert abs(float(mixed[torch.arange(7), torch.tensor(rows[2][1:])].sum()) - expected[2]) > 0.1  # it matters here
    np.testing.assert_allclose(score({"m": model}, examples, progress=False).column("log_prob"), expected, atol=1e-4)
    readings = read_answers(model, examples, progress=False)
    np.testing.assert_allclose([reading.log_probs.sum() for reading in readings], expected, atol=1e-4)
    alone = np.concatenate([feature_rows(model, [example], progress=False)[2] for example in examples])
    np.testing.assert_allclose(feature_rows(model, examples, progress=False)[2], alone, atol=1e-5)


def test_reading_a_long_row_leaves_no_trace():
    """Longrope turns its frequencies with the last batch; a model that was only read is still the same model."""
    model = longrope()
    before = model_fingerprint(model)
    ids = [1, 5, 6, 7, 8, 9, 10, 4]
    score({"m": model}, [{"input_ids": ids, "labels": [-100, *ids[1:]]}], progress=False)
    assert model_fingerprint(model) == before


def test_longrope_by_enumeration_on_both_sides():
    check(longrope(0, vocab_size=6), longrope(1, vocab_size=6), exact=1e-4)


def test_completions_that_cross_the_switch_are_refused():
    with pytest.raises(ValueError, match=r"prompt 0 has 4 tokens; .* crosses the 5 tokens at which Phi3ForCausalLM"):
        sample_completions(longrope(), [[1, 3, 4, 5]], num_samples=1, max_new_tokens=4, progress=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_encoders_are_no_language_models(dtype: torch.dtype):
    config = {**world.ARCHITECTURES["bert"].settings, "vocab_size": 23}
    torch.manual_seed(0)
    encoder = BertLMHeadModel(BertConfig(**config)).eval().to(dtype)
    example = {"input_ids": [1, 4, 5, 6], "labels": [-100, 4, 5, 6]}
    with pytest.raises(ValueError, match=r"BertLMHeadModel is not causal.*is_decoder=True"):
        score({"m": encoder}, [example], progress=False)
    with pytest.raises(ValueError, match="BertLMHeadModel is not causal"):
        scored(encoder)
    decoder = BertLMHeadModel(BertConfig(**config, is_decoder=True)).eval().to(dtype)
    assert score({"m": decoder}, [example], progress=False).column("log_prob")[0] < 0
    assert feature_rows(encoder, [example], progress=False)[1].shape == (1, 32)  # its hidden states can be compared
