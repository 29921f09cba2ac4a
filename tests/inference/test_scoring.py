import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from toys import markov_lm, tiny_llama
from transformers import Gemma2Config, Gemma2ForCausalLM

from hf_unlearn.inference import OwnStates, cross_score, sample_completions, score


PROMPTS = [[1, 5, 6, 7], [1, 8], [1, 9, 10, 11, 12, 13], [1]]


def by_hand(model, prompt: list[int], answer: list[int]) -> np.ndarray:
    """Float64 log-softmax over the whole vocabulary at the answer's positions, one sequence at a time."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1].numpy()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("chunk", [97, 1 << 21])
def test_cross_score_equals_the_formula(batch_size: int, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hf_unlearn.inference._logits.CPU_CHUNK", chunk)
    models = {"a": tiny_llama(0), "b": tiny_llama(1), "c": tiny_llama(2)}
    completions = sample_completions(models["a"], PROMPTS, num_samples=3, max_new_tokens=7, progress=False)
    rows = cross_score(completions, sampled_from="a", models=models, batch_size=batch_size, progress=False)
    table = rows.table.to_pylist()
    assert [row["scored_by"] for row in table] == ["b"] * 12 + ["c"] * 12
    for index, row in enumerate(table):
        completion = index % 12
        assert (row["prompt_index"], row["sample_index"]) == divmod(completion, 3)
        prompt, answer = PROMPTS[row["prompt_index"]], completions.answer(completion)
        own, other = (by_hand(models[name], prompt, answer) for name in ("a", row["scored_by"]))
        steps = np.arange(len(answer))
        assert row["num_tokens"] == len(answer)
        assert row["log_prob_own"] == pytest.approx(own[steps, answer].sum(), abs=2e-5)
        assert row["log_prob_other"] == pytest.approx(other[steps, answer].sum(), abs=2e-5)
        assert row["step_divergence"] == pytest.approx((np.exp(own) * (own - other)).sum(), abs=2e-5)


def test_a_model_against_itself_diverges_by_exactly_nothing():
    model = tiny_llama()
    completions = sample_completions(model, PROMPTS, num_samples=2, max_new_tokens=6, progress=False)
    rows = cross_score(completions, sampled_from="a", models={"a": model, "b": tiny_llama()}, progress=False)
    assert (rows.column("step_divergence") == 0).all()
    assert np.array_equal(rows.column("log_prob_own"), rows.column("log_prob_other"))


def tiny_gemma2() -> Gemma2ForCausalLM:
    """Squashes its logits after the output layer."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=1.0,
        initializer_range=1.0,
        attn_implementation="eager",
    )
    return Gemma2ForCausalLM(config).eval()


def test_soft_capped_logits_are_read_through_the_whole_model():
    """Body and output layer alone would be wrong."""
    model = tiny_gemma2()
    example = {"input_ids": [1, 4, 5, 6], "labels": [-100, -100, 5, 6]}
    expected = by_hand(model, [1, 4], [5, 6])[np.arange(2), [5, 6]].sum()
    assert score({"m": model}, [example], progress=False).column("log_prob")[0] == pytest.approx(expected, abs=1e-5)


def test_score_known_answer():
    """A chain whose rows are uniform over 8 tokens: three labelled tokens have log-probability −3 log 8, probability 1/8."""
    uniform = markov_lm(0, scale=0.0)
    examples = [{"input_ids": [1, 2, 3, 4], "labels": [-100, 2, 3, 4]}, {"input_ids": [5, 0], "labels": [-100, 0]}]
    rows = score({"u": uniform}, examples, progress=False)
    assert rows.column("num_tokens").tolist() == [3, 1]
    np.testing.assert_allclose(rows.column("log_prob"), [-3 * np.log(8), -np.log(8)], rtol=1e-6)
    np.testing.assert_allclose(rows.probability("u"), [1 / 8, 1 / 8], rtol=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 9), st.permutations(range(6)))
def test_batches_and_order_never_change_a_score(seed: int, batch_size: int, order: list[int]):
    generator = np.random.default_rng(seed)
    examples = []
    for _ in range(6):
        ids = generator.integers(3, 97, generator.integers(2, 20)).tolist()
        start = int(generator.integers(1, len(ids)))
        examples.append({"input_ids": ids, "labels": [-100] * start + ids[start:]})
    model = tiny_llama()
    plain = score({"m": model}, examples, batch_size=1, progress=False).column("log_prob")
    mixed = score({"m": model}, [examples[i] for i in order], batch_size=batch_size, progress=False)
    np.testing.assert_allclose(mixed.column("log_prob"), plain[list(order)], atol=2e-5)


def test_adapters_and_bfloat16_are_scored():
    examples = [{"input_ids": [1, 4, 5], "labels": [-100, 4, 5]}]
    adapted = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    merged = score({"m": adapted.merge_and_unload()}, examples, progress=False).column("log_prob")
    adapted = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    live = score({"m": adapted}, examples, progress=False).column("log_prob")
    assert live[0] == pytest.approx(by_hand(adapted, [1], [4, 5])[np.arange(2), [4, 5]].sum(), abs=1e-5)
    assert live[0] != merged[0]
    half = score({"m": tiny_llama().bfloat16()}, examples, progress=False).column("log_prob")
    assert half[0] == pytest.approx(
        score({"m": tiny_llama()}, examples, progress=False).column("log_prob")[0], abs=0.2
    )


def test_scoring_leaves_the_model_as_it_was():
    model = tiny_llama(attention_dropout=0.5).train()
    example = {"input_ids": [1, 4, 5], "labels": [-100, 4, 5]}
    state = torch.get_rng_state()
    values = [score({"m": model}, [example], progress=False).column("log_prob")[0] for _ in range(2)]
    assert values[0] == values[1]
    assert model.training and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "no examples"),
        (
            [{"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [1, 2], "labels": [1, -100]}],
            "example 1 has no labelled",
        ),
        ([{"input_ids": [1] * 200, "labels": [1] * 200}], "example 0 has 200 tokens; the model's context holds 128"),
    ],
)
def test_bad_examples_are_refused(examples: list, message: str):
    with pytest.raises(ValueError, match=message):
        score({"m": tiny_llama()}, examples, progress=False)


def test_other_vocabularies_are_refused():
    model = tiny_llama()
    completions = sample_completions(model, PROMPTS, num_samples=1, max_new_tokens=2, progress=False)
    with pytest.raises(ValueError, match=r"do not share a vocabulary .*'a': 97, 'b': 98"):
        cross_score(completions, sampled_from="a", models={"a": model, "b": tiny_llama(vocab_size=98)}, progress=False)
    with pytest.raises(ValueError, match="at least one other"):
        cross_score(completions, sampled_from="a", models={"a": model}, progress=False)


def test_a_model_that_does_not_change_is_not_run_again():
    """Kept states give the same rows, also where the output layer is more than a matrix (soft-capped logits)."""
    soft = tiny_gemma2()
    for own, other in ((tiny_llama(), tiny_llama(1)), (soft, tiny_llama(1, vocab_size=50))):
        prompts = [[1, 5, 6], [1, 7]]
        completions = sample_completions(own, prompts, num_samples=2, max_new_tokens=5, progress=False)
        kept, forwards = OwnStates(), []
        own.model.layers[0].register_forward_hook(lambda *_, seen=forwards: seen.append(1))
        settings = {"sampled_from": "own", "models": {"own": own, "other": other}, "batch_size": 3, "progress": False}
        fresh = cross_score(completions, **settings)
        cross_score(completions, **settings, own_states=kept)
        before = len(forwards)
        again = cross_score(completions, **settings, own_states=kept)
        assert before > 0 and len(forwards) == before
        for column in ("log_prob_own", "log_prob_other", "step_divergence"):
            assert again.column(column).tolist() == fresh.column(column).tolist()
