"""Metrics from other answers to the same questions, on readings made by hand: each number follows from the docstring's arithmetic."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from hf_unlearn.audit import METRICS, MetricResult, SubjectKey
from hf_unlearn.audit._measure import measure
from hf_unlearn.audit._rows import Evidence, Rows
from hf_unlearn.functional import Bootstrap, exposure_by_skew_normal


@dataclass(frozen=True)
class _Split:
    name: str
    people: tuple[int, ...]
    role: str = ""

    @property
    def clusters(self) -> np.ndarray:
        return np.unique(np.array(self.people), return_inverse=True)[1]

    @property
    def groups(self) -> np.ndarray:
        return np.arange(len(self.people))

    def __len__(self) -> int:
        return len(self.people)


def _tokens(sums: list[float], lengths: list[int]) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    with np.errstate(invalid="ignore"):
        return pa.ListArray.from_arrays(offsets, np.repeat(np.array(sums, float) / np.array(lengths), lengths))


def answers(probabilities: list[float], lengths: list[int] | None = None) -> pa.Table:
    """Answers with these mean probabilities per token."""
    lengths = lengths or [1] * len(probabilities)
    with np.errstate(divide="ignore"):
        sums = (np.log(probabilities) * np.array(lengths)).tolist()
    return pa.table({"item": pa.array(range(len(lengths))), "log_probs": _tokens(sums, lengths)})


def variants(found: list[tuple[int, bool, float]], length: int = 1) -> pa.Table:
    """(example, is wrong, mean probability) of each."""
    table = answers([p for _, _, p in found], [length] * len(found))
    table = table.append_column("example", pa.array([example for example, _, _ in found], pa.int64()))
    return table.append_column("is_wrong", pa.array([wrong for _, wrong, _ in found], pa.bool_()))


def evidence(
    tables: dict[tuple[str, str, str], pa.Table], people: tuple[int, ...] = (), **settings: object
) -> Evidence:
    """By reading, role and set; sets named after no role are for what had to stay."""
    splits = {}
    for (reading, _, name), table in tables.items():
        if reading == "answers":
            role = name if name in ("forget", "retain", "holdout") else "retain"
            splits[name] = _Split(name, people or tuple(range(len(table))), role)
    found = Evidence(splits, settings)
    found.tables = {(reading, SubjectKey(role), name): table for (reading, role, name), table in tables.items()}
    return found


def value(
    name: str,
    tables: dict[tuple[str, str, str], pa.Table],
    split: str = "forget",
    people: tuple[int, ...] = (),
    **settings: object,
) -> MetricResult | str:
    made = evidence(tables, people, **settings)
    return measure(METRICS[name].from_settings(dict(settings)), made, split, "", Bootstrap(num_resamples=50))


def result(*args: Any, **settings: Any) -> MetricResult:
    found = value(*args, **settings)
    assert isinstance(found, MetricResult), found
    return found


# Ratios R = √(wrong · wrong) / paraphrased: √(.2 · .05)/.2 = ½; √(.4 · .4)/.1 = 4; √(.1 · .1)/.1 = 1. The third row has no wrong answers.
ROWS = [
    *((0, False, 0.2), (0, True, 0.2), (0, True, 0.05)),
    *((1, False, 0.1), (1, True, 0.4), (1, True, 0.4)),
    *((3, False, 0.1), (3, True, 0.1), (3, True, 0.1)),
]
OWN = [0.5, 0.2, 0.9, 0.3]


def tables(role: str = "candidate", split: str = "forget") -> dict[tuple[str, str, str], pa.Table]:
    return {("answers", role, split): answers(OWN, [1, 2, 3, 4]), ("variants", role, split): variants(ROWS, 3)}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("truth_ratio", (0.5 + 4 + 1) / 3),
        ("truth_ratio_closer_to_1_better", (0.5 + 0.25 + 1) / 3),
        ("truth_ratio_true_better", (0.5 + 0 + 0) / 3),
        ("truth_ratio_prob_mean", (2 / 3 + 1 / 5 + 1 / 2) / 3),
        ("normalized_probability", (0.5 / 0.75 + 0.2 / 1.0 + 0.3 / 0.5) / 3),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"compatible": True}])
def test_by_hand(name: str, wanted: float, settings: dict[str, bool]) -> None:
    """The row without wrong answers counts nowhere; what open-unlearning adds does not show where models are alive."""
    found = result(name, tables(), **settings)
    assert found.value == pytest.approx(wanted, abs=1e-8) and found.n == 3
    assert found.confidence_interval is not None


def test_the_true_answer_stands_for_a_paraphrase_that_no_row_has() -> None:
    """R = √(.2 · .05)/.5 = .2 and .4/.2 = 2: closer to 1 (.2 + .5)/2, true better (.8 + 0)/2; options as they are."""
    wrong = [(0, True, 0.2), (0, True, 0.05), (1, True, 0.4)]
    given = {
        ("answers", "candidate", "facts"): answers(OWN, [1, 2, 3, 4]),
        ("variants", "candidate", "facts"): variants(wrong),
    }
    assert result("truth_ratio", given, "facts").value == pytest.approx(1.1)
    assert result("truth_ratio_true_better", given, "facts").value == pytest.approx(0.4)
    assert result("normalized_probability", given, "facts").value == pytest.approx((0.5 / 0.75 + 0.2 / 0.6) / 2)


def test_the_report_says_what_stands_for_a_paraphrase() -> None:
    """With other wrong answers the same title would be about something else."""
    given = tables() | tables("reference")
    alone = {**given, ("variants", "candidate", "forget"): variants([(0, True, 0.2), (1, True, 0.4)])}
    for name in ("truth_ratio", "truth_ratio_prob_mean", "forget_quality"):
        said = [
            METRICS[name]().notes(Rows(evidence(each), SubjectKey("candidate"), "forget")) for each in (given, alone)
        ]
        assert said[0] == [] and len(said[1]) == 1 and "no true answers in other words" in said[1][0]


def test_ratios_without_end_have_bounded_aggregations_and_no_mean() -> None:
    """A destroyed model: the true answer of row 0 has no probability at all (R = ∞: 0, 0, 0), nothing of row 1 has any (no ratio), row 3 has R = 1."""
    broken = [(0, False, 0.0), (0, True, 0.1), (1, False, 0.0), (1, True, 0.0), (3, False, 0.1), (3, True, 0.1)]
    given = {**tables(), ("variants", "candidate", "forget"): variants(broken)}
    assert value("truth_ratio", given) == "a true answer has no probability at all"
    closer = result("truth_ratio_closer_to_1_better", given)
    assert (closer.value, closer.n) == (0.5, 2)
    assert result("truth_ratio_true_better", given).value == 0.0
    assert result("truth_ratio_prob_mean", given).value == pytest.approx(0.25)
    nothing = {**tables(), ("variants", "candidate", "forget"): variants([(0, False, 0.0), (0, True, 0.0)])}
    assert value("truth_ratio", nothing) == "no example has a value"


def test_nan_is_named() -> None:
    """Half of a reading that is NaN is no reading of the other half."""
    given = {**tables(), ("answers", "candidate", "forget"): answers([0.5, np.nan, 0.9, 0.3])}
    for name in ("probability", "normalized_probability", "relative_exposure", "carlini_exposure"):
        found = value(name, given)
        assert isinstance(found, str) and "the candidate gives NaN" in found and "1 of 4 answers" in found
    spoiled = {**tables(), ("variants", "candidate", "forget"): variants([(0, False, np.nan), (0, True, 0.1)])}
    found = value("truth_ratio", spoiled)
    assert isinstance(found, str) and "variants of the forget set" in found
    good = {**tables(), **tables("twin"), ("answers", "twin", "forget"): answers([np.nan] * 4)}
    assert result("probability", good).floor is None, "the twin's NaN is not the candidate's"


def test_nothing_is_the_first_choice_of_nan() -> None:
    """Tokens of NaN are not the first choice: a broken model would seem to have forgotten all."""
    table = answers([np.nan, 0.5]).append_column("correct", pa.array([[False], [True]]))
    for name in ("exact_memorization", "extraction_strength", "accuracy"):
        assert "gives NaN" in str(value(name, {("answers", "candidate", "forget"): table}))
    fine = answers([0.3, 0.5]).append_column("correct", pa.array([[False], [True]]))
    assert result("accuracy", {("answers", "candidate", "forget"): fine}).value == 0.5


def test_people_are_clusters() -> None:
    """Rows of one person count as one, whatever is averaged: as many clusters as people with a value."""
    alone, together = (
        result("truth_ratio_prob_mean", tables(), people=people) for people in ((0, 1, 2, 3), (0, 0, 1, 1))
    )
    assert alone.value == together.value and (alone.clusters, together.clusters) == (3, 2)
    assert together.confidence_interval is None, "two people say nothing"


def test_forget_quality_is_the_test_against_the_reference() -> None:
    """Of 40 ratios each against scipy; of the twin the floor, of the original the start; p-values without interval, relative and better side."""
    generator = np.random.default_rng(0)
    given, ratios = {}, {}
    for role, centre in (("candidate", 0.8), ("reference", 1.0), ("twin", 1.05), ("original", 0.2)):
        ratios[role] = centre * generator.uniform(0.5, 1.5, 40)
        rows = [row for at, ratio in enumerate(ratios[role]) for row in ((at, False, 0.1), (at, True, 0.1 * ratio))]
        given["answers", role, "forget"] = answers([0.5] * 40)
        given["variants", role, "forget"] = variants(rows)
    found = result("forget_quality", given)
    for role, got in (("candidate", found.value), ("twin", found.floor), ("original", found.start)):
        assert got == pytest.approx(ks_2samp(ratios[role], ratios["reference"]).pvalue, rel=1e-9)
    assert found.details["ks_statistic"] == ks_2samp(ratios["candidate"], ratios["reference"]).statistic
    assert found.details["log10_p_value"] == pytest.approx(np.log10(found.value))
    assert found.confidence_interval is None and found.relative is None and found.direction == "none"
    sentence = METRICS["forget_quality"].spec.sentence
    assert (
        sentence is not None and f"p = {found.value:.3g}" in str(sentence(found)) and "n = 40" in str(sentence(found))
    )
    assert value("forget_quality", tables()) == "it needs the reference"


def test_one_row_and_ties() -> None:
    """One ratio on either side, or equal ones: nothing is told apart, p = 1."""
    same = {**tables(), **tables("reference")}
    assert result("forget_quality", same).value == 1.0
    one = {
        (reading, role, "forget"): table
        for role in ("candidate", "reference")
        for reading, table in (("answers", answers([0.5])), ("variants", variants([(0, False, 0.1), (0, True, 0.2)])))
    }
    assert result("forget_quality", one).value == 1.0 and result("forget_quality", one).n == 1
    assert result("truth_ratio", one).value == pytest.approx(2.0)
    assert result("truth_ratio", one).confidence_interval is None


def test_exposure_among_wrong_answers() -> None:
    """Log-likelihoods of whole answers: row 0 one token of .5 against .2³ and .05³: first of three, log2 2 − log2 1 = 1. Row 1 .2² = .04 against
    .064, .064: last, log2 2 − log2 3. Row 3 .3⁴ = .0081 against .001, .001: 1."""
    found = result("carlini_exposure", tables())
    assert found.value == pytest.approx((1 + (1 - np.log2(3)) + 1) / 3) and found.n == 3
    assert (
        found.details["max"] == 1.0
        and found.details["candidates"] == 2.0
        and found.details["candidates_are_wrong_answers"] == 1.0
    )


def test_relative_exposure_by_hand() -> None:
    """log2(.5) − log2((.008 + .000125)/2), log2(.04) − log2(.064), log2(.0081) − log2(.001)."""
    wanted = [0.5 / 0.0040625, 0.04 / 0.064, 0.0081 / 0.001]
    found = result("relative_exposure", tables())
    assert found.value == pytest.approx(np.log2(wanted).mean()) and found.details["max"] == pytest.approx(
        np.log2(wanted).max()
    )


def test_exposure_among_answers_that_nobody_was_trained_on() -> None:
    """Without wrong answers: .5, .04, .729, .0081 among holdout answers .6, .1, .05, .01 of one token; the set's own answers are no candidates."""
    given = {
        ("answers", "candidate", "forget"): answers(OWN, [1, 2, 3, 4]),
        ("answers", "candidate", "holdout"): answers([0.6, 0.1, 0.05, 0.01]),
    }
    found = result("carlini_exposure", given)
    assert found.value == pytest.approx(2 - np.log2([2, 4, 1, 5]).mean())
    assert found.details["candidates_are_wrong_answers"] == 0.0
    assert "skew_normal_median" not in found.details, "four candidates are no distribution"
    many = np.exp(np.linspace(-6, -0.5, 12))
    given["answers", "candidate", "holdout"] = answers(many.tolist())
    found = result("carlini_exposure", given)
    fitted = [exposure_by_skew_normal(np.log(x), np.log(many)) for x in (0.5, 0.04, 0.729, 0.0081)]
    assert found.details["skew_normal_median"] == pytest.approx(np.median(fitted))
    del given["answers", "candidate", "holdout"]
    assert "needs wrong answers, or a holdout set" in str(value("carlini_exposure", given))


def test_exposure_to_the_original() -> None:
    """Half as likely per token as before unlearning: lengths 1, 2, 3, 4 lose as many bits."""
    given = {
        **tables(),
        ("answers", "original", "forget"): answers([2 * p for p in (0.25, 0.1, 0.45, 0.15)], [1, 2, 3, 4]),
    }
    given["answers", "candidate", "forget"] = answers([0.25, 0.1, 0.45, 0.15], [1, 2, 3, 4])
    found = result("relative_exposure_to_original", given)
    assert found.value == pytest.approx(-2.5) and found.start == 0.0 and found.details["max"] == pytest.approx(-1.0)


def test_generalized_exposure_per_token_is_a_ratio_of_sums() -> None:
    """Twice as likely per token: 1, 2, 3, 4 bits over 10 tokens are one bit a token, whatever their mean (2.5)."""
    given = {**tables(), ("answers", "reference", "forget"): answers([p / 2 for p in OWN], [1, 2, 3, 4])}
    found = result("exposure", given)
    assert found.value == pytest.approx(2.5) and found.details["per_token"] == pytest.approx(1.0)


def test_model_utility_by_hand() -> None:
    """Retain: probability of the answers (.5 + .2 + .9 + .3)/4 = .475, truth ratio true better 1/6. Facts, without paraphrases: normalised (2/3 + 1/3)/2 = .5,
    true better .4. Plain, without wrong answers: probability .6 alone. 5 / (1/.475 + 6 + 2 + 2.5 + 1/.6)."""
    given = {
        **tables(split="retain"),
        ("answers", "candidate", "facts"): answers(OWN, [1, 2, 3, 4]),
        ("variants", "candidate", "facts"): variants([(0, True, 0.2), (0, True, 0.05), (1, True, 0.4)]),
        ("answers", "candidate", "plain"): answers([0.6, 0.6, 0.6]),
        **tables(),
    }
    found = result("model_utility", given, "retain")
    assert found.value == pytest.approx(5 / (1 / 0.475 + 6 + 2 + 2.5 + 1 / 0.6))
    assert found.details == pytest.approx(
        {
            **{"components": 5, "probability_retain": 0.475, "truth_ratio_retain": 1 / 6, "probability_plain": 0.6},
            **{"normalized_probability_facts": 0.5, "truth_ratio_facts": 0.4},
        }
    )
    assert found.n == 4 + 4 + 3 and found.clusters is None
    assert found.confidence_interval is None, "of facts two examples have wrong answers, which is too few"
    made = evidence(given)
    notes = METRICS["model_utility"]().notes(Rows(made, SubjectKey("candidate"), "retain"))
    assert len(notes) == 1 and "truth ratio of plain" in notes[0] and "truth ratio of facts" not in notes[0]
    assert all(f"rouge l of {name} (" in notes[0] for name in ("retain", "facts", "plain"))


def test_model_utility_of_equal_models_differs_by_nothing() -> None:
    """Candidate and twin with the same readings: the paired difference is 0 with no width, the components of one set not being independent."""
    given = {
        **tables(split="retain"),
        **tables("twin", "retain"),
        **tables("original", "retain"),
        **tables("reference", "retain"),
    }
    given["answers", "original", "retain"] = answers([0.9, 0.8, 0.99, 0.7], [1, 2, 3, 4])
    found = result("model_utility", given, "retain")
    assert found.floor == found.value and found.over_floor_interval == (0.0, 0.0)


def test_the_error_of_model_utility_is_that_of_resampled_sets() -> None:
    """Rows drawn anew from each set by itself, 2,000 times: the standard deviation of the harmonic mean, to 10 %."""
    generator = np.random.default_rng(0)
    given, arrays = {}, {}
    for name in ("retain", "facts"):
        own, wrong = generator.uniform(0.2, 0.9, 60), generator.uniform(0.05, 0.4, 60)
        arrays[name] = own, wrong
        given["answers", "candidate", name] = answers(own.tolist())
        given["variants", "candidate", name] = variants([(at, True, p) for at, p in enumerate(wrong)])
    found = METRICS["model_utility"]()(Rows(evidence(given), SubjectKey("candidate"), "retain"), Bootstrap())

    def utility() -> float:
        parts = []
        for own, wrong in arrays.values():
            drawn = generator.integers(0, 60, 60)
            a, b = own[drawn], wrong[drawn]
            parts += [(a / (a + b)).mean(), np.maximum(0, 1 - b / a).mean()]
        return 4 / sum(1 / part for part in parts)

    assert found.standard_error == pytest.approx(np.std([utility() for _ in range(2000)]), rel=0.1)


def test_model_utility_of_nothing() -> None:
    """A component of exactly 0 makes it 0."""
    given = {
        ("answers", "candidate", "retain"): answers([0.0, 0.0, 0.0]),
        ("answers", "candidate", "facts"): answers([0.5, 0.5]),
    }
    assert result("model_utility", given, "retain").value == 0.0


@pytest.mark.parametrize("broken", ["candidate", "twin", "reference"])
@pytest.mark.parametrize("reading", ["answers", "variants"])
def test_a_model_that_gives_nan_has_no_utility_of_fewer_components(broken: str, reading: str) -> None:
    """One NaN of one model in one set: that model has no value, with the reason, and the others keep all of their components."""
    given = {}
    for role in ("candidate", "twin", "reference", "original"):
        given |= tables(role, "retain")
        given["answers", role, "facts"] = answers(OWN)
        given["variants", role, "facts"] = variants([(0, True, 0.2), (1, True, 0.4), (2, True, 0.3), (3, True, 0.3)])
    whole = result("model_utility", given, "retain")
    found = [float("nan"), *OWN[1:]]
    if reading == "answers":
        given["answers", broken, "facts"] = answers(found)
    else:
        rows = [(0, True, float("nan")), (1, True, 0.4), (2, True, 0.3), (3, True, 0.3)]
        given["variants", broken, "facts"] = variants(rows)
    utility = value("model_utility", given, "retain")
    if broken == "candidate":
        assert isinstance(utility, str) and "NaN" in utility and "facts" in utility and "candidate" in utility
        return
    assert isinstance(utility, MetricResult)
    assert utility.value == whole.value and utility.details == whole.details
    assert utility.floor == (None if broken == "twin" else whole.floor)
    assert utility.others.get("reference") == (None if broken == "reference" else whole.others["reference"])
