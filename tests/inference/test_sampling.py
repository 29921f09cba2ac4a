import random

import numpy as np
import pytest
import torch
import world
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from scipy import stats
from toys import MarkovLM, markov_lm, tiny_llama
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessorList

from hf_unlearn.inference import Completions, sample_completions


PROMPTS = [[1, 5, 6, 7], [1, 8], [1, 9, 10, 11, 12, 13], [1]]


def sample(model, prompts=PROMPTS, **options) -> Completions:
    return sample_completions(model, prompts, **{"num_samples": 3, "max_new_tokens": 8, "progress": False, **options})


def texts(completions: Completions) -> list[list[int]]:
    return [completions.answer(row) for row in range(len(completions))]


def test_first_tokens_follow_the_model():
    """Chi-square on 4,000 first tokens after token 3; false alarm rate 1e-4."""
    model = markov_lm(0)
    first = sample(model, [[3]], num_samples=4000, max_new_tokens=1, batch_size=1000).token_ids[:, 0]
    expected = model.transition_logits[3].softmax(-1).detach().double().numpy()
    counts = np.bincount(first.numpy(), minlength=8)
    assert stats.chisquare(counts, expected / expected.sum() * 4000).pvalue > 1e-4


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_samples_do_not_depend_on_the_batch(batch_size: int):
    model = tiny_llama()
    assert texts(sample(model, batch_size=batch_size)) == texts(sample(model, batch_size=12))


def test_samples_of_a_prompt_do_not_depend_on_the_others():
    model = tiny_llama()
    together = texts(sample(model))
    assert texts(sample(model, PROMPTS[::-1]))[-3:] == together[:3]
    assert texts(sample(model, PROMPTS[1:2], num_samples=5))[:3] == together[3:6]


def test_a_prompt_that_occurs_twice_is_sampled_independently():
    first, second = sample(tiny_llama(), [[1, 5], [1, 5]], num_samples=1).token_ids
    assert not torch.equal(first, second)


def test_seeds_differ_and_repeat():
    model = tiny_llama()
    assert texts(sample(model, seed=1)) == texts(sample(model, seed=1))
    assert texts(sample(model, seed=1)) != texts(sample(model, seed=2))


def test_completions_end_at_the_first_stop_token_and_say_when_they_were_cut():
    completions = sample(markov_lm(0), [[3]], num_samples=200, max_new_tokens=4)
    for row in range(len(completions)):
        answer = completions.answer(row)
        assert 0 not in answer[:-1]
        assert bool(completions.truncated[row]) == (answer[-1] != 0)
        assert len(answer) == 4 or answer[-1] == 0
    assert 0 < completions.truncated.double().mean() < 1


def test_several_stop_tokens():
    completions = sample(markov_lm(0), [[3]], num_samples=50, stop_token_ids=[0, 5], max_new_tokens=200)
    ends = {answer[-1] for answer in texts(completions)}
    assert ends == {0, 5}
    assert not completions.truncated.any()


SETTINGS = {
    "temperature": {"do_sample": True, "temperature": 0.3},
    "top_k": {"do_sample": True, "top_k": 2},
    "top_p": {"do_sample": True, "top_p": 0.5},
    "min_p": {"do_sample": True, "min_p": 0.3},
    "typical_p": {"do_sample": True, "typical_p": 0.4},
    "repetition_penalty": {"repetition_penalty": 5.0},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "suppress_tokens": {"suppress_tokens": [10, 20, 30, 62]},
    "bad_words_ids": {"bad_words_ids": [[62], [47]]},
    "sequence_bias": {"sequence_bias": [[[62], -50.0]]},
    "min_new_tokens": {"min_new_tokens": 8},
    "forced_eos_token_id": {"forced_eos_token_id": 2},
    "max_time": {"max_time": 1e-9},
    "max_length": {"max_length": 3},
    "num_beams": {"num_beams": 3},
    "num_return_sequences": {"num_beams": 2, "num_return_sequences": 2},
    "use_cache": {"use_cache": False},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_generation_settings_of_the_model_change_nothing(name: str):
    plain = texts(sample(tiny_llama()))
    model = tiny_llama()
    for key, value in SETTINGS[name].items():
        setattr(model.generation_config, key, value)
    before = model.generation_config.to_dict()
    assert texts(sample(model)) == plain
    assert model.generation_config.to_dict() == before


class _Stubborn(MarkovLM):
    def _get_logits_processor(self, *args, **kwargs):
        def halve(input_ids, scores):
            return scores / 2

        processors = super()._get_logits_processor(*args, **kwargs)
        return LogitsProcessorList([halve, *processors])


def test_the_guard_names_what_cannot_be_set_aside():
    model = _Stubborn(markov_lm(0).config)
    torch.nn.init.normal_(model.transition_logits)
    with pytest.raises(RuntimeError, match=r"_Stubborn changes 8 of 8 logits .* the cause is _get_logits_processor"):
        sample(model, [[3]])


def test_the_model_and_the_world_stay_as_they_were():
    model = tiny_llama(attention_dropout=0.3).train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    config, settings = model.generation_config, model.generation_config.to_dict()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    drawn = texts(sample(model))
    assert [module.training for module in model.modules()] == modes
    assert model.generation_config is config and config.to_dict() == settings
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1] and np.array_equal(np.random.get_state()[1], states[2])
    assert drawn == texts(sample(tiny_llama()))  # dropout was off
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_is_restored_after_an_error():
    model = _Stubborn(markov_lm(0).config).train()
    torch.nn.init.normal_(model.transition_logits)
    config = model.generation_config
    with pytest.raises(RuntimeError, match=r"changes .* logits while generating"):
        sample(model, [[3]])
    assert model.training and model.generation_config is config


def test_left_padding_and_absolute_positions():
    """GPT-2 looks positions up, so a wrong count under left padding would change what is drawn."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_positions=64, n_embd=32, n_layer=2, n_head=2, eos_token_id=2, bos_token_id=1)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(50)
        model.lm_head.weight.mul_(20)
    assert texts(sample(model, batch_size=64)) == texts(sample(model, batch_size=1, num_samples=3))


def test_sharing_the_prompt_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    shared = texts(sample(tiny_llama()))
    monkeypatch.setattr("hf_unlearn.inference._sampling.shared_prefix_cache", lambda *args, **kwargs: None)
    assert texts(sample(tiny_llama())) == shared


@pytest.mark.parametrize("sliding_window", [4, 64])
def test_sliding_windows(sliding_window: int):
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=97,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=sliding_window,
            initializer_range=0.5,
            attn_implementation="eager",
        )
    ).eval()
    assert texts(sample(model, batch_size=64)) == texts(sample(model, batch_size=1))


def test_adapters_are_at_work_and_left_as_they_were():
    base = tiny_llama()
    plain = texts(sample(base))
    peft = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    settings = peft.generation_config
    adapted = texts(sample(peft))
    assert adapted != plain
    with peft.disable_adapter():
        assert texts(sample(peft)) == plain
    assert peft.generation_config is settings
    assert adapted == texts(sample(peft.merge_and_unload()))


def test_bfloat16_models_are_sampled():
    """Chi-square on 2,000 first tokens; false alarm rate 1e-4."""
    model = tiny_llama().bfloat16()
    first = sample(model, [[1, 5]], num_samples=2000, max_new_tokens=1, batch_size=2000).token_ids[:, 0]
    with torch.no_grad():
        expected = model(torch.tensor([[1, 5]])).logits[0, -1].double().softmax(-1).numpy() * 2000
    often = expected >= 5
    observed = np.bincount(first.numpy(), minlength=97)
    pooled = [np.append(counts[often], counts[~often].sum()) for counts in (observed, expected)]
    assert often.sum() > 5 and stats.chisquare(*pooled).pvalue > 1e-4


def test_texts_need_a_tokenizer():
    with pytest.raises(ValueError, match="processing_class"):
        sample(tiny_llama(), ["a question"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"prompts": []}, "non-empty list"),
        ({"prompts": "one text"}, "non-empty list"),
        ({"prompts": [[1], []]}, "1 prompts have no tokens .first: prompt 1"),
        ({"prompts": [[1], [1] * 125]}, "prompt 1 has 125 tokens; with max_new_tokens=8 .* context of 128"),
    ],
)
def test_bad_input_is_refused_before_the_model_runs(options: dict, message: str, monkeypatch: pytest.MonkeyPatch):
    model = tiny_llama()
    monkeypatch.setattr(model, "forward", None)
    with pytest.raises(ValueError, match=message):
        sample(model, **options)


def test_encoder_decoders_are_refused():
    from transformers import T5Config, T5ForConditionalGeneration

    model = T5ForConditionalGeneration(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    with pytest.raises(TypeError, match="encoder-decoder"):
        sample(model)


def test_completions_hold_their_invariants():
    good = {
        "prompts": ((1,),),
        "token_ids": torch.tensor([[4, 0]]),
        "mask": torch.tensor([[True, False]]),
        "prompt_index": torch.tensor([0]),
        "sample_index": torch.tensor([0]),
        "truncated": torch.tensor([False]),
    }
    assert Completions(**good).answer(0) == [4]
    with pytest.raises(ValueError, match="no generated token"):
        Completions(**{**good, "mask": torch.tensor([[False, False]])})
    with pytest.raises(ValueError, match="holes"):
        Completions(**{**good, "mask": torch.tensor([[False, True]])})
    with pytest.raises(ValueError, match="longest"):
        Completions(**{**good, "truncated": torch.tensor([False, True])})


def test_prompt_learning_adapters_are_sampled_and_left_as_they_were():
    """Their prompt lies outside the inner model, so nothing may bypass the wrapper."""
    adapted = get_peft_model(tiny_llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with torch.no_grad():
        adapted.prompt_encoder["default"].embedding.weight.mul_(20)
    settings = adapted.generation_config
    drawn = texts(sample(adapted, [[1, 5], [1, 8]], max_new_tokens=4))
    assert max(map(len, drawn)) == 4
    assert drawn == texts(sample(adapted, [[1, 5], [1, 8]], max_new_tokens=4, batch_size=1))
    assert drawn != texts(sample(tiny_llama(), [[1, 5], [1, 8]], max_new_tokens=4))
    assert adapted.generation_config is settings


@pytest.mark.parametrize("name", world.CORE)
def test_rows_that_have_ended_leave_and_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch):
    """In legs of two tokens, of eight, or in one go: the same completions, drawn with the same log-probabilities; fewer tokens pass."""
    model, prompts = world.build(name), [[1, 5, 9], [1, 7], [1, 4, 8, 6]]
    found, passed = {}, {}
    for leg in (2, 8, 1000):
        monkeypatch.setattr("hf_unlearn.inference._sampling.LEG", leg)
        seen: list[int] = []
        hook = model.get_input_embeddings().register_forward_hook(
            lambda m, given, out, to=seen: to.append(given[0].numel())
        )
        found[leg] = sample_completions(
            model, prompts, num_samples=6, max_new_tokens=20, stop_token_ids=[*range(3, 9)], seed=1, progress=False
        )
        hook.remove()
        passed[leg] = sum(seen)
    for other in (8, 1000):
        assert torch.equal(found[2].token_ids, found[other].token_ids)
        assert torch.allclose(found[2].log_probs, found[other].log_probs, atol=1e-5)
    assert passed[2] <= passed[8] <= passed[1000]
