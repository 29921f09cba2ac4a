"""Membership metrics on readings made by hand: every attack points the same way, odd answers have a place, and what has none says why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from hf_unlearn.audit import METRICS
from hf_unlearn.audit._contracts import SubjectKey, Undefined
from hf_unlearn.audit._measure import measure
from hf_unlearn.audit._rows import Evidence, Rows
from hf_unlearn.functional import Bootstrap, min_k_score


ATTACKS = [
    "membership_loss",
    "membership_zlib",
    "membership_min_k",
    "membership_min_k_plus_plus",
    "membership_reference",
]
Answers = list[np.ndarray]
CANDIDATE = SubjectKey("candidate")


@dataclass
class Set:
    """One set of answers."""

    name: str
    clusters: np.ndarray
    answer_texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.clusters)

    @property
    def groups(self) -> np.ndarray:
        return self.clusters


def answers(level: float, count: int, seed: int, lengths: Sequence[int] = (1, 2, 9, 30)) -> Answers:
    """Log-probabilities of tokens around a level, of answers of these lengths in turn."""
    generator = np.random.default_rng(seed)
    return [level - 0.3 * np.abs(level) * generator.exponential(1, lengths[at % len(lengths)]) for at in range(count)]


def text_of(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("abcdefghij "), 4 * length))


def table(log_probs: Answers) -> pa.Table:
    """As the reading `answers` leaves it, the vocabulary the same everywhere."""
    lists = {"log_probs": log_probs, "vocab_mean": [np.full(len(p), -1.5) for p in log_probs]}
    lists["vocab_std"] = [np.full(len(p), 0.7) for p in log_probs]
    arrays = {name: pa.array(parts, pa.list_(pa.float64())) for name, parts in lists.items()}
    return pa.table({"item": pa.array(range(len(log_probs)), pa.int64()), **arrays})


def evidence(by_role: Mapping[str, tuple[Answers, Answers]], people: bool = False, **settings: object) -> Evidence:
    """What was read of forget and holdout answers, by role."""
    first = next(iter(by_role.values()))
    splits = {}
    for name, parts in zip(("forget", "holdout"), first, strict=True):
        clusters = np.arange(len(parts)) // (4 if people else 1)
        splits[name] = Set(name, clusters, tuple(text_of(len(part), at) for at, part in enumerate(parts)))
    found = Evidence(splits, settings)
    for role, sides in by_role.items():
        for name, parts in zip(("forget", "holdout"), sides, strict=True):
            found.tables["answers", SubjectKey(role), name] = table(parts)
    return found


def usual(forget: float = -0.1, holdout: float = -3.0, count: int = 24) -> dict[str, tuple[Answers, Answers]]:
    """A candidate with these levels, and a reference that knows neither set."""
    return {
        "candidate": (answers(forget, count, 1), answers(holdout, count, 2)),
        "reference": (answers(-3.0, count, 3), answers(-3.0, count, 4)),
    }


def rows_of(found: Evidence) -> Rows:
    return Rows(found, CANDIDATE, "forget")


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("compatible", [False, True])
def test_every_attack_points_the_same_way(name: str, compatible: bool):
    """Memorised: above 0.9; forgotten beyond retraining: below 0.1; the field's forms of zlib and Min-K% are weaker, not turned."""
    metric = METRICS[name].from_settings({"compatible": compatible})
    edge = 0.6 if compatible else 0.9
    known = metric(rows_of(evidence(usual(), compatible=compatible)), Bootstrap()).value
    gone = metric(rows_of(evidence(usual(forget=-12.0), compatible=compatible)), Bootstrap()).value
    assert known > edge and gone < 1 - edge


@pytest.mark.parametrize("name", ATTACKS)
def test_a_value_is_scikit_learns_of_the_scores(name: str):
    found = evidence(usual(forget=-2.5))
    metric, rows = METRICS[name](), rows_of(found)
    scores = [metric.scores(side) for side in (rows, rows.on("holdout"))]
    area = roc_auc_score(np.repeat([1, 0], [24, 24]), np.concatenate(scores))
    assert metric(rows, Bootstrap()).value == pytest.approx(area, rel=1e-12)
    result = measure(metric, found, "forget", "", Bootstrap())
    assert result.n == 48 and result.family == "membership"
    low, high = result.confidence_interval
    assert 0 <= low < area < high <= 1


@pytest.mark.parametrize("name", [*ATTACKS, "privleak"])
def test_without_a_holdout_set_there_is_none(name: str):
    found = evidence(usual())
    del found.splits["holdout"]
    assert measure(METRICS[name](), found, "forget", "", Bootstrap()) == "it needs a holdout set"


@pytest.mark.parametrize("name", ["membership_reference", "privleak"])
def test_without_a_reference_there_is_none(name: str):
    found = evidence({"candidate": usual()["candidate"]})
    assert measure(METRICS[name](), found, "forget", "", Bootstrap()) == "it needs the reference"


@pytest.mark.parametrize("name", [*ATTACKS, "privleak"])
@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_named(name: str, place: int):
    by_role = usual()
    by_role["candidate"][place][5][0] = np.nan
    why = measure(METRICS[name](), evidence(by_role), "forget", "", Bootstrap())
    assert why.startswith("the candidate gives NaN") and "of 24" in why and ("forget", "holdout")[place] in why


@pytest.mark.parametrize("name", ["membership_loss", "membership_min_k_plus_plus", "privleak"])
def test_nan_of_the_reference_alone(name: str):
    """The candidate's own AUC stands, without an ideal; what compares the two has no value, and says whose fault it is."""
    by_role = usual()
    by_role["reference"][0][5][0] = np.nan
    found = measure(METRICS[name](), evidence(by_role), "forget", "", Bootstrap())
    if name == "privleak":
        assert found.startswith("the reference gives NaN in 1 of 24 forget answers")
    else:
        assert found.value > 0.9 and found.ideal is None


def test_the_same_texts_on_both_sides_are_at_half():
    same = answers(-1.0, 20, 0)
    found = evidence({"candidate": (same, same), "reference": (answers(-3.0, 20, 1), answers(-3.0, 20, 1))})
    for name in ATTACKS:
        assert METRICS[name]()(rows_of(found), Bootstrap()).value == pytest.approx(0.5)
    assert METRICS["privleak"]()(rows_of(found), Bootstrap()).value == pytest.approx(0)


def test_lengths_from_one_to_ten_thousand():
    """A memorised set of any lengths; one token counts."""
    lengths = (1, 2, 4, 5, 100, 10_000)
    by_role = {
        role: (answers(level, 12, 5, lengths), answers(-3.0, 12, 6, lengths))
        for role, level in (("candidate", -0.2), ("reference", -3.0))
    }
    for name in ATTACKS:
        assert METRICS[name]()(rows_of(evidence(by_role)), Bootstrap()).value > 0.9


def test_people_are_the_unit():
    """Four answers a person: the interval is wider than if each answer were by itself, and hits have no interval."""
    by_role = usual(forget=-2.6, count=120)
    metric, wide, narrow = METRICS["membership_loss"](), evidence(by_role, people=True), evidence(by_role)
    for found in (wide, narrow):
        for side in found.splits.values():
            assert len(side) == 120
    # Answers of one person resemble each other.
    results = []
    for found in (wide, narrow):
        for name in ("forget", "holdout"):
            parts = [np.full(3, level) for level in np.repeat(np.random.default_rng(len(name)).normal(-2, 1, 30), 4)]
            found.tables["answers", CANDIDATE, name] = table(parts)
        results.append(measure(metric, found, "forget", "", Bootstrap()))
    widths = [high - low for low, high in (result.confidence_interval for result in results)]
    assert results[0].value == results[1].value and widths[0] > 1.5 * widths[1]
    assert set(results[0].details) == {"tpr_at_1_percent_fpr"}
    assert set(results[1].details) == {
        "tpr_at_1_percent_fpr",
        "tpr_at_1_percent_fpr_low",
        "tpr_at_1_percent_fpr_high",
    }


def test_hits_at_one_percent_need_a_hundred_holdout_texts():
    metric = METRICS["membership_loss"]()
    few, enough = rows_of(evidence(usual(count=99))), rows_of(evidence(usual(count=100)))
    assert metric.details(few, Bootstrap()) == {} and "99 holdout texts are too few" in metric.notes(few)[0]
    assert metric.details(enough, Bootstrap())["tpr_at_1_percent_fpr"] > 0.9 and metric.notes(enough) == []


def test_order_of_rows_does_not_matter():
    by_role = usual(forget=-2.5)
    turned = {role: tuple(parts[::-1] for parts in sides) for role, sides in by_role.items()}
    one, other = evidence(by_role), evidence(turned)
    other.splits = {
        name: replace(side, answer_texts=one.splits[name].answer_texts[::-1]) for name, side in other.splits.items()
    }
    for name in [*ATTACKS, "privleak"]:
        first, second = (measure(METRICS[name](), found, "forget", "", Bootstrap()) for found in (one, other))
        assert first.value == pytest.approx(second.value, rel=1e-12)
        assert first.confidence_interval == pytest.approx(second.confidence_interval, rel=1e-9)


def test_compatible_min_k_leaves_out_the_last_token():
    """As open-unlearning: 40 % of all tokens but the last; an answer of one token scores 0."""
    by_role = usual()
    metric = METRICS["membership_min_k"].from_settings({"compatible": True})
    rows = rows_of(evidence(by_role, compatible=True))
    expected = [min_k_score(part[:-1], 0.4) if len(part) > 1 else 0.0 for part in by_role["candidate"][0]]
    assert metric.scores(rows).tolist() == pytest.approx(expected)
    plain = METRICS["membership_min_k"]().scores(rows_of(evidence(by_role)))
    assert plain.tolist() == pytest.approx([min_k_score(part, 0.2) for part in by_role["candidate"][0]])


@pytest.mark.parametrize("name", ["membership_min_k", "membership_min_k_plus_plus"])
def test_the_share_of_tokens_is_said(name: str):
    found = evidence(usual())
    shares = [
        measure(metric, found, "forget", "", Bootstrap()).details["k"]
        for metric in (METRICS[name](), METRICS[name](k=0.1), METRICS[name].from_settings({"compatible": True}))
    ]
    assert shares == [0.2, 0.1, 0.4]


def test_privleak_of_a_memorised_set():
    """MUSE's tables have about −100 for the model before unlearning, and 0 for the retrained one."""
    found = evidence(usual() | {"twin": (answers(-3.0, 24, 8), answers(-3.0, 24, 9))})
    result = measure(METRICS["privleak"](), found, "forget", "", Bootstrap())
    assert result.value < -95 and result.details["auc"] > 0.97
    assert result.confidence_interval[0] >= -100 and result.confidence_interval[1] > result.value
    assert result.floor_confidence_interval[0] < 0 < result.floor_confidence_interval[1]


def test_privleak_without_a_rate_to_compare_with():
    by_role = usual()
    by_role["reference"] = (answers(-0.1, 24, 3), answers(-9.0, 24, 4))
    why = measure(METRICS["privleak"](), evidence(by_role), "forget", "", Bootstrap())
    assert "differ in more than membership" in why


@pytest.mark.parametrize("change", [lambda parts: parts, lambda parts: [part[:0] for part in parts]])
def test_an_answer_without_tokens_is_no_score(change: Callable):
    """Cannot come from the reading; said in words all the same."""
    by_role = usual(count=8)
    by_role = {role: tuple(map(change, sides)) for role, sides in by_role.items()}
    rows = rows_of(evidence(by_role))
    if len(by_role["candidate"][0][0]):
        assert METRICS["membership_loss"]()(rows, Bootstrap()).value > 0.9
    else:
        with pytest.raises(ValueError, match="at least one token"):
            METRICS["membership_loss"]()(rows, Bootstrap())


def test_no_text_no_zlib():
    found = evidence(usual())
    found.splits = {name: replace(side, answer_texts=None) for name, side in found.splits.items()}
    with pytest.raises(Undefined, match="no text"):
        METRICS["membership_zlib"]()(rows_of(found), Bootstrap())
