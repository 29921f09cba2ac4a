import numpy as np
import pytest

from hf_unlearn.functional import DirectedDivergence, fade


def side(
    values: list[float], prompts: list[int], tokens: list[int] | None = None, truncated: bool = False
) -> DirectedDivergence:
    count = len(values)
    return DirectedDivergence(
        np.array(values, dtype=float), np.array(prompts), np.array(tokens or [1] * count), np.full(count, truncated)
    )


def test_known_answer_in_all_keys():
    """Prompt 0: r→u (1 + 3)/2 = 2, u→r 4; prompt 1: r→u 6, u→r (0 + 2)/2 = 1.

    Directions (2 + 6)/2 = 4 and (4 + 1)/2 = 2.5, FADE 6.5; every prompt counts the same although samples differ.
    Per token: (1 + 3 + 6)/(2 + 2 + 6) + (4 + 0 + 2)/(1 + 1 + 4) = 1 + 1 = 2.
    """
    result = fade(side([1, 3, 6], [0, 0, 1], [2, 2, 6]), side([4, 0, 2], [0, 1, 1], [1, 1, 4], truncated=True))
    assert result.reference_to_candidate == 4
    assert result.candidate_to_reference == 2.5
    assert result.fade == 6.5
    assert result.fade_per_token == 2
    assert result.per_prompt.tolist() == [6.0, 7.0]
    assert result.standard_error == pytest.approx(0.5)
    assert (result.num_prompts, result.num_samples, result.truncated_fraction) == (2, 1.5, 0.5)
    assert result.confidence_interval is None  # two prompts


def test_swapping_models_swaps_the_directions():
    one, two = side([1, 2, 3], [0, 1, 2]), side([5, 0, 1], [0, 1, 2])
    forward, backward = fade(one, two), fade(two, one)
    assert forward.fade == backward.fade
    assert forward.reference_to_candidate == backward.candidate_to_reference
    assert forward.confidence_interval == backward.confidence_interval


def test_the_interval_is_clustered_by_prompt():
    """Equal samples within a prompt carry no extra information: 50 copies give the interval of one."""
    values = np.random.default_rng(0).exponential(size=12).tolist()
    once = fade(side(values, list(range(12))), side(values, list(range(12))))
    copies = side(np.repeat(values, 50).tolist(), np.repeat(np.arange(12), 50).tolist())
    assert fade(copies, copies).confidence_interval == pytest.approx(once.confidence_interval)


def test_order_of_completions_does_not_matter():
    values, prompts = [1.0, 2.0, 4.0, 8.0], [3, 1, 3, 2]
    shuffled = [2, 0, 3, 1]
    mixed = side([values[i] for i in shuffled], [prompts[i] for i in shuffled])
    assert fade(mixed, mixed).fade == fade(side(values, prompts), side(values, prompts)).fade


@pytest.mark.parametrize("count, error", [(1, None), (2, 1.0), (3, 2 / np.sqrt(3))])
def test_too_few_prompts_have_no_interval(count, error):
    """Prompts of 2, 4 and 6 nats: standard deviations √2 and 2."""
    values, prompts = [1.0, 2.0, 3.0][:count], list(range(count))
    found = fade(side(values, prompts), side(values, prompts))
    assert (found.confidence_interval is None) == (count < 3)
    assert found.standard_error == (None if error is None else pytest.approx(error))


def test_divergences_are_positive_and_log_ratios_are_not():
    """The interval of exact divergences stays above 0; that of sampled log-ratios may reach below, where half of them are negative."""
    generator = np.random.default_rng(1)
    values, prompts = generator.normal(0.3, 1, 30).tolist(), list(range(30))
    sampled = fade(side(values, prompts), side(values, prompts), estimator="sampled")
    assert sampled.confidence_interval[0] < 0 < sampled.confidence_interval[1]
    few = generator.lognormal(0, 2, 4).tolist()
    exact = fade(side(few, [0, 1, 2, 3]), side(few, [0, 1, 2, 3]), estimator="exact_step", confidence=0.99)
    assert exact.confidence_interval[0] > 0
    with pytest.raises(ValueError, match="estimator must be one of exact_step, sampled, got 'exact'"):
        fade(side([1.0], [0]), side([1.0], [0]), estimator="exact")


def test_prompts_about_one_person_are_one():
    """Three questions about each of four people: four clusters, and as many numbers to pair with another model's."""
    values, prompts = np.random.default_rng(2).exponential(size=12), list(range(12))
    found = fade(
        side(values.tolist(), prompts), side(values.tolist(), prompts), clusters=np.repeat(["d", "a", "c", "b"], 3)
    )
    people = 2 * values.reshape(4, 3).mean(1)
    assert found.fade == pytest.approx(people.mean()) and found.estimate.num_clusters == 4
    assert sorted(found.estimate.influence) == pytest.approx(sorted(people - people.mean()))
    assert found.standard_error == pytest.approx(people.std(ddof=1) / 2)


def test_prompts_must_agree():
    with pytest.raises(ValueError, match=r"only one has them for prompts \[2\]"):
        fade(side([1.0, 1.0], [0, 2]), side([1.0], [0]))


@pytest.mark.parametrize(
    ("values", "tokens", "message"),
    [
        ([np.nan, 1.0], [1, 1], "1 of 2 divergences are not finite .first: completion 0, prompt 0"),
        ([1.0, np.inf], [1, 1], "completion 1, prompt 1"),
        ([1.0, 1.0], [1, 0], "at least one generated token"),
        ([1.0, 1.0], [1], "one entry per completion"),
    ],
)
def test_bad_rows_are_refused(values: list[float], tokens: list[int], message: str):
    with pytest.raises(ValueError, match=message):
        DirectedDivergence(np.array(values), np.array([0, 1]), np.array(tokens), np.zeros(2, bool))


def test_no_completions_is_an_error():
    with pytest.raises(ValueError, match="no completions"):
        side([], [])
