"""A report in sentences: which, in which order, with which numbers."""

import dataclasses
from types import SimpleNamespace

import pytest
from made_reports import made, result, results, spec

from hf_unlearn.audit import _narrative
from hf_unlearn.audit._findings import Finding
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._narrative import general_sentence, ranges


BETWEEN = "the candidate lies between the twin, which is one other retraining, and the original"
LIKE = "the candidate cannot be told from another retraining, where the original can"


def test_a_whole_report_in_words():
    assert made().reading() == [
        "Recall of the answer on the forget set: candidate 0.40, a retrained model 0.20, before unlearning 0.90 (n = 24 from 12 clusters); "
        f"{BETWEEN} (relative 0.30, interval 0.20 to 0.40).",
        f"Gap between answers on the forget set: candidate 4.00, the twin 1.00, the original 10.00; {BETWEEN} (relative 0.33, interval 0.23 to "
        "0.43; n = 24 from 12 clusters).",
        f"Gap between answers on the retain set: candidate 1.10, the twin 1.00, the original 10.00; {LIKE} (difference from the floor -0.50 to "
        "0.70; relative 0.01, interval -0.09 to 0.11; n = 24 from 12 clusters).",
        f"Twist of states on the forget set: in layers 1–2 {BETWEEN} (mean 4.50, the twin 1.00, the original 10.00); in layer 3 {LIKE} (mean "
        "1.10, the twin 1.00, the original 10.00) (n = 24 from 12 clusters).",
        f"Gap between answers on the forget set after int8: candidate 8.00, the twin 1.00, the original 10.00; {BETWEEN} (relative 0.78, "
        "interval 0.68 to 0.88; n = 24 from 12 clusters).",
    ]


def test_where_no_headline_was_asked_for_the_others_speak():
    quiet = result("gap", 4.0)
    (sentence,) = made(quiet, gap=spec("gap", headline=False)).reading()
    assert "n = 24" in sentence


def test_findings_that_void_the_numbers_are_all_that_is_said():
    void = Finding("not known before", "original", value=0.1, interval=(-0.2, 0.4), n=24)
    (sentence,) = made(findings=(void,)).reading()
    assert sentence.startswith("Nothing can be said about forgetting: the original does not clearly know")
    poor = Finding("equal", "original", "candidate")
    assert made(findings=(poor,)).reading() == made().reading()


@pytest.mark.parametrize("split", ["forget", "retain"])
def test_every_judgement_states_n(split: str):
    """Whatever is missing."""
    whole = dataclasses.replace(results()[3], split=split)
    names = (
        "floor",
        "start",
        "over_floor_interval",
        "start_over_floor_interval",
        "relative",
        "relative_confidence_interval",
        "clusters",
    )
    for name in names:
        for found in (
            dataclasses.replace(whole, **{name: None}),
            dataclasses.replace(whole, **{name: None}, others={}),
        ):
            assert "n = 24" in general_sentence(found, spec("recall"))


def test_few_clusters_are_said_once():
    few = [
        dataclasses.replace(found, clusters=count)
        for found, count in zip(results(), (6, 5, 40, 7, 40, 4), strict=True)
    ]
    said = made(*few).reading()
    assert [sentence for sentence in said if "fewer than 10" in sentence] == said[-1:]
    assert "(here 5)" in said[-1]  # the result of 4 clusters has no sentence
    assert "fewer than 10" not in " ".join(made().reading())
    without = dataclasses.replace(few[0], clusters=2, over_floor_interval=None, confidence_interval=None)
    assert made(without).reading() == [
        "Gap between answers on the forget set: candidate 4.00, the twin 1.00, the original 10.00; the distance cannot be judged: an interval "
        "takes at least 3 clusters (n = 24 from 2 clusters)."
    ]


def test_what_is_not_judged_is_not_said():
    descriptive = result("gap", 4.0, direction="none", ideal=None)
    assert made(descriptive, result("spread", 2.0)).reading() == []
    holdout = dataclasses.replace(results()[3], split="holdout")
    assert made(holdout).reading() == [
        "Recall of the answer on the holdout set: candidate 0.40, a retrained model 0.20, before unlearning 0.90 (n = 24 from 12 clusters)."
    ]


def own_sentence(found: MetricResult) -> str | None:
    return f"Mine: {found.details['number']:.1f}." if found.value < 9 else None


def test_a_metric_s_own_sentence_is_used(monkeypatch: pytest.MonkeyPatch):
    """Also of one that is not shown first; a foreign report without its numbers gets the general one."""
    known = SimpleNamespace(sentence=own_sentence)
    monkeypatch.setattr(_narrative, "known_spec", lambda name: known if name == "mine" else None)
    mine = result("mine", 4.0, details={"number": 2.0})
    assert made(mine, mine=spec("mine", headline=False)).reading() == ["Mine: 2.0."]
    assert made(dataclasses.replace(mine, value=9.5), mine=spec("mine")).reading() == []
    (general,) = made(dataclasses.replace(mine, details={}), mine=spec("mine")).reading()
    assert general.startswith("Mine on the forget set: candidate 4.00") and BETWEEN in general


def test_layers_are_named_in_ranges():
    assert ranges(["11", "2", "1", "9", "10"]) == "layers 1–2, 9–11"
