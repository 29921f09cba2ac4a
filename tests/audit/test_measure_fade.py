"""FADE from models: exact on chains whose divergence is known, and the same whatever the circumstances."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import exact_divergence, markov_lm, tiny_llama, word_tokenizer

from hf_unlearn.audit import EvidenceStore, _completion_reading, fade_from_log_probs, measure_fade


STARTS = (1, 2, 3, 4)
LENGTH = 12


def different_prompts(count: int) -> list[list[int]]:
    """As many for each start; the chain sees the last token only, so what comes before it makes them different and no more."""
    prefixes = list(itertools.product(range(1, 8), repeat=3))[:count]
    return [[*prefix, start] for prefix in prefixes for start in STARTS]


@pytest.mark.parametrize("estimator", ["exact_step", "sampled"])
@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_estimates_lie_within_four_standard_errors_of_the_closed_form(estimator: str, scale: float):
    """600 prompts (150 a start) and 4 samples; |error| > 4 se happens by chance once in 16,000 such checks.

    Prompts are the sampling units, but the four starts are fixed strata, so the standard error is conservative.
    """
    reference = markov_lm(0)
    candidate = markov_lm(1, near=reference, scale=scale)
    result = measure_fade(
        prompts=different_prompts(150),
        candidate=candidate,
        reference=reference,
        num_samples=4,
        max_new_tokens=LENGTH,
        estimator=estimator,
        batch_size=2400,
        progress=False,
    ).estimate
    forward = np.mean([exact_divergence(reference, candidate, start, LENGTH) for start in STARTS])
    backward = np.mean([exact_divergence(candidate, reference, start, LENGTH) for start in STARTS])
    assert result.standard_error is not None
    assert abs(result.fade - (forward + backward)) < 4 * result.standard_error
    assert result.standard_error < 0.1 * (forward + backward)  # or the check above could not fail
    assert 0 < result.truncated_fraction < 1


def test_exact_step_is_never_negative_and_varies_less():
    reference = markov_lm(0)
    candidate = markov_lm(1, near=reference, scale=0.5)
    options = {"max_new_tokens": LENGTH, "num_samples": 4, "batch_size": 2400, "progress": False}
    prompts = different_prompts(50)
    exact, sampled = (
        measure_fade(prompts=prompts, candidate=candidate, reference=reference, estimator=name, **options).estimate
        for name in ("exact_step", "sampled")
    )
    assert (exact.per_prompt >= 0).all()
    assert exact.per_prompt.var() < 0.5 * sampled.per_prompt.var()


@pytest.mark.parametrize("estimator", ["exact_step", "sampled"])
def test_self_fade_is_exactly_zero(estimator: str):
    model = tiny_llama()
    result = measure_fade(
        prompts=[[1, 5], [1, 6, 7]], candidate=model, reference=tiny_llama(), estimator=estimator, progress=False
    )
    assert result.to_dict()["fade"] == 0.0
    assert result.to_dict()["fade_per_token"] == 0.0


def test_swapping_models_swaps_directions():
    one, two = tiny_llama(0), tiny_llama(1)
    options = {"prompts": [[1, 5], [1, 6, 7]], "max_new_tokens": 5, "progress": False}
    forward = measure_fade(candidate=one, reference=two, **options).estimate
    backward = measure_fade(candidate=two, reference=one, **options).estimate
    assert forward.fade == pytest.approx(backward.fade)
    assert forward.reference_to_candidate == pytest.approx(backward.candidate_to_reference)


GENERATION_SETTINGS = [
    {"do_sample": True, "temperature": 0.2, "top_k": 2, "top_p": 0.4, "min_p": 0.2},
    {"repetition_penalty": 3.0, "no_repeat_ngram_size": 1},
    {"suppress_tokens": [10, 20, 30], "bad_words_ids": [[62]]},
]


@pytest.mark.parametrize("settings", GENERATION_SETTINGS)
def test_generation_settings_do_not_move_the_value(settings: dict):
    options = {"prompts": [[1, 5], [1, 6, 7]], "max_new_tokens": 6, "num_samples": 3, "progress": False}
    plain = measure_fade(candidate=tiny_llama(0), reference=tiny_llama(1), **options).to_dict()
    candidate, reference = tiny_llama(0), tiny_llama(1)
    for key, value in settings.items():
        setattr(candidate.generation_config, key, value)
        setattr(reference.generation_config, key, value)
    assert measure_fade(candidate=candidate, reference=reference, **options).to_dict() == plain


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batch_size_does_not_move_the_value(batch_size: int):
    options = {"prompts": [[1, 5], [1, 6, 7], [1]], "max_new_tokens": 6, "num_samples": 3, "progress": False}
    models = {"candidate": tiny_llama(0), "reference": tiny_llama(1)}
    plain = measure_fade(**models, **options).estimate
    assert measure_fade(**models, batch_size=batch_size, **options).estimate.fade == pytest.approx(
        plain.fade, abs=1e-5
    )


def test_models_stop_at_the_end_tokens_of_both():
    """One model names 2, the other 9; a comparison must stop both at either."""
    candidate, reference = markov_lm(0, vocab_size=16), markov_lm(1, vocab_size=16)
    candidate.generation_config.eos_token_id = [2, 9]
    result = measure_fade(
        prompts=[[1]], candidate=candidate, reference=reference, num_samples=40, max_new_tokens=200, progress=False
    )
    assert result.estimate.truncated_fraction == 0


def test_floor_start_and_relative():
    reference = tiny_llama(0)
    near, far, between = (tiny_llama(0) for _ in range(3))
    for model, distance in ((near, 0.02), (between, 0.05), (far, 0.1)):
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(distance * torch.randn(parameter.shape, generator=generator))
    result = measure_fade(
        prompts=[[1, token] for token in range(3, 23)],
        candidate=between,
        reference=reference,
        original=far,
        twin=near,
        max_new_tokens=8,
        progress=False,
    ).to_dict()
    assert result["floor"] < result["fade"] < result["start"]
    expected = (result["fade"] - result["floor"]) / (result["start"] - result["floor"])
    assert result["relative"] == pytest.approx(expected)
    low, high = result["relative_confidence_interval"]
    assert low <= result["relative"] <= high


def test_evidence_is_used_again_and_only_for_the_same_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = {"candidate": tiny_llama(0), "reference": tiny_llama(1), "max_new_tokens": 5, "progress": False}
    store = EvidenceStore(tmp_path)
    first = measure_fade(prompts=[[1, 5], [1, 6]], store=store, **options)
    labels = sorted(path.name.rsplit("-", 3)[0] for path in tmp_path.glob("*.parquet"))
    assert labels == ["completions-candidate", "samples-candidate", "samples-reference"]

    def unexpected(*args, **kwargs):
        raise AssertionError("sampled again")

    with monkeypatch.context() as patch:
        patch.setattr(_completion_reading, "sample_tables", unexpected)
        again = measure_fade(prompts=[[1, 5], [1, 6]], store=store, batch_size=1, **options)
        assert again.to_dict() == first.to_dict()
        with pytest.raises(AssertionError, match="sampled again"):
            measure_fade(prompts=[[1, 5], [1, 7]], store=store, **options)
        with torch.no_grad():
            options["candidate"].lm_head.weight.mul_(1.1)
        with pytest.raises(AssertionError, match="sampled again"):
            measure_fade(prompts=[[1, 5], [1, 6]], store=store, **options)


def test_from_log_probs_known_answer():
    """Log-ratios .5 and .5 from the reference, 1 and 2 from the candidate: .5 + 1.5 = 2; per token 1/8 + 3/6 = .625."""
    one = {"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -2.5], "num_tokens": [3, 5]}
    two = {"log_prob_own": [-1.0, -1.0], "log_prob_other": [-2.0, -3.0], "num_tokens": [3, 3]}
    result = fade_from_log_probs(one, two).to_dict()
    assert (result["fade"], result["fade_per_token"], result["estimator"]) == (2.0, 0.625, "sampled")
    assert (result["num_prompts"], result["num_samples"]) == (2, 1)
    steps = {**one, "step_divergence": [1.0, 3.0]}
    assert fade_from_log_probs(steps, steps).to_dict()["fade"] == 4.0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"log_prob_own": [0.0], "num_tokens": [1]}, r"from_reference lacks \['log_prob_other'\]"),
        ({"log_prob_own": [0.0], "log_prob_other": [0.0, 0.0], "num_tokens": [1]}, "must have 1 entries"),
        ({"log_prob_own": [0.0], "log_prob_other": [float("nan")], "num_tokens": [1]}, "not finite"),
        (
            {"log_prob_own": [0.5], "log_prob_other": [-1.0], "num_tokens": [1]},
            "log_prob_own of completion 0 from the reference is 0.5, but",
        ),
        ({"log_prob_own": [-1.0], "log_prob_other": [2.0], "num_tokens": [1]}, "a log-probability is at most 0"),
        (
            {"log_prob_own": [-1.0], "log_prob_other": [-1.0], "num_tokens": [1], "step_divergence": [-6.0]},
            "step_divergence of completion 0 .* is -6, but a divergence is at least 0",
        ),
        ({"log_prob_own": [], "log_prob_other": [], "num_tokens": []}, "no completions"),
    ],
)
def test_bad_log_probs_are_refused(columns: dict, message: str):
    good = {"log_prob_own": [0.0], "log_prob_other": [0.0], "num_tokens": [1]}
    with pytest.raises(ValueError, match=message):
        fade_from_log_probs(columns, good)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples must be at least 1"),
        ({"estimator": "exact"}, "unknown estimator 'exact'; choose one of exact_step, sampled"),
        ({"prompts": []}, "non-empty"),
        ({"prompts": ["text"]}, "pass processing_class="),
        ({"candidate": tiny_llama(vocab_size=98)}, "do not share a vocabulary"),
        ({"prompts": [[1] * 100]}, "prompt 0 has 100 tokens"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sampled(options: dict, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_completion_reading, "sample_tables", None)
    good = {"prompts": [[1]], "candidate": tiny_llama(), "reference": tiny_llama(), "progress": False}
    with pytest.raises(ValueError, match=message):
        measure_fade(**{**good, **options})


def test_broken_weights_are_named():
    candidate = tiny_llama()
    with torch.no_grad():
        candidate.lm_head.weight[3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        measure_fade(prompts=[[1]], candidate=candidate, reference=tiny_llama(), progress=False)


def test_models_saved_with_different_tokenizers_are_refused(tmp_path: Path):
    for name, words in {"candidate": ("a", "b"), "reference": ("b", "a")}.items():
        tiny_llama().save_pretrained(tmp_path / name)
        word_tokenizer(*words).save_pretrained(tmp_path / name)
    with pytest.raises(ValueError, match="tokenizers of reference and candidate differ in 2 ids"):
        measure_fade(
            prompts=["a b"],
            candidate=str(tmp_path / "candidate"),
            reference=str(tmp_path / "reference"),
            progress=False,
        )


def test_a_model_in_data_parallel_or_frozen_is_measured_as_it_is():
    candidate, reference = tiny_llama(0), tiny_llama(1)
    options = {"prompts": [[1, 5], [1, 6]], "max_new_tokens": 3, "reference": reference, "progress": False}
    expected = measure_fade(candidate=candidate, **options).estimate.fade
    assert measure_fade(candidate=torch.nn.DataParallel(candidate), **options).estimate.fade == expected
    assert measure_fade(candidate=candidate.requires_grad_(False), **options).estimate.fade == expected
