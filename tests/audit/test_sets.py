"""Further sets of an audit: a role, a name, and perhaps metrics and a template of their own."""

from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from hf_unlearn.audit import METRICS, AuditSet, BaseMetric, Citation, MetricSpec, Reading, Rows, audit
from hf_unlearn.audit._selection import measured_on
from hf_unlearn.audit.domains._text_splits import load_splits
from hf_unlearn.data import Pocket, load_pocket, tokenize_examples
from hf_unlearn.functional import Bootstrap, Estimate


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def arguments(pocket: Pocket) -> dict[str, Any]:
    return {
        "reference": pocket.reference(),
        "original": pocket.original(),
        "processing_class": pocket.tokenizer,
        "forget": pocket.forget_request,
        "retain": pocket.retain.select(range(12)),
        "max_examples": 12,
        "progress": False,
    }


class Across(BaseMetric):
    """The mean of a probability over all sets of the role."""

    spec = MetricSpec(
        name="across_probability",
        title="Probability over all sets",
        unit="probability",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("retain",),
        needs=(Reading("answers"),),
        citation=Citation("Nobody 2026"),
        across=True,
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        values = [METRICS["probability"]()(rows.on(name), uncertainty).value for name in rows.sets()]
        return Estimate(float(np.mean(values)), None)


def test_a_further_set_has_results_of_its_own_name(pocket: Pocket, arguments: dict[str, Any]) -> None:
    sets = {
        "others": pocket.retain.select(range(12, 24)),
        "ood": AuditSet(pocket.forget_ood, role="forget", metrics=("probability",)),
    }
    report = audit(pocket.original(), metrics=["probability", "exact_memorization", Across()], sets=sets, **arguments)
    assert {key for key in report.metrics if "/" in key} == {
        *("probability/forget", "probability/retain", "probability/others", "probability/ood"),
        *("exact_memorization/forget", "exact_memorization/retain", "exact_memorization/others"),
        "across_probability/retain",
    }
    both = [report.metrics[f"probability/{name}"].value for name in ("retain", "others")]
    assert report.metrics["across_probability/retain"].value == pytest.approx(np.mean(both), rel=1e-12)
    alone = audit(
        pocket.original(),
        metrics=["probability"],
        **(arguments | {"retain": pocket.retain.select(range(12, 24))}),
    )
    assert report.metrics["probability/others"].value == alone.metrics["probability/retain"].value
    assert "others" in report.to_json() and "probability/others" in str(report.metrics)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"retain": [1]}, "argument of its own"),
        ({"a/b": [1]}, "name of a set"),
        ({"x": AuditSet([1], metrics=("fade",))}, "'fade', which is not among those chosen"),
        ([1], "sets is a mapping"),
    ],
)
def test_a_set_that_cannot_be_is_refused_at_once(
    sets: Any, message: str, pocket: Pocket, arguments: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        audit(pocket.original(), metrics=["probability"], sets=sets, **arguments)


def test_a_set_with_another_role_than_its_name_is_refused(pocket: Pocket, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="forget set was given with the role 'retain'"):
        audit(pocket.original(), **(arguments | {"forget": AuditSet(pocket.forget)}))
    with pytest.raises(ValueError, match="role of a set is one of"):
        AuditSet(pocket.forget, role="test")


def test_further_forget_rows_may_not_be_in_what_stays(pocket: Pocket, arguments: dict[str, Any]) -> None:
    twice = {"more": AuditSet(pocket.retain.select(range(3)), role="forget")}
    with pytest.raises(ValueError, match="more"):
        audit(pocket.original(), metrics=["probability"], sets=twice, **arguments)


def test_answers_are_there_as_text(pocket: Pocket, arguments: dict[str, Any]) -> None:
    seen: list[str] = []

    class Look(Across):
        spec = MetricSpec(
            name="look",
            title="t",
            unit="u",
            ideal=None,
            bounds=(None, None),
            family="utility",
            splits=("forget",),
            needs=(Reading("answers"),),
        )

        def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
            seen.extend(rows.texts)
            return Estimate(float(len(rows.texts)), None)

    audit(pocket.original(), metrics=[Look()], **arguments)
    forget = pocket.forget_request["answer"]
    assert set(seen) <= set(forget) and seen


def test_an_across_metric_is_named_after_the_first_set() -> None:
    class Set:
        def __init__(self, name: str, role: str):
            self.name, self.role = name, role

    sets = {name: Set(name, "retain") for name in ("facts", "retain")} | {"forget": Set("forget", "forget")}
    assert measured_on(Across(), sets) == ["retain"]
    assert measured_on(METRICS["probability"](), sets) == ["forget", "retain", "facts"]


def test_in_context_examples_stand_before_each_question(pocket: Pocket) -> None:
    shots = Dataset.from_dict({"question": ["What is {x}?\nSay."], "answer": ["{y}"]})
    mine = AuditSet(
        pocket.forget.select(range(3)), "forget", prompt_template="Q: {question}\nA: {answer}!", examples=shots
    )
    split = load_splits({"forget": mine, "retain": pocket.retain}, pocket.tokenizer, 8, 0, False)["forget"]
    by_hand = mine.data.map(
        lambda row: {"prompt": f"Q: What is {{x}}?\nSay.\nA: {{y}}!\n\nQ: {row['question']}\nA:", "completion": f" {row['answer']}!"}
    )  # fmt: skip
    assert (
        list(split.examples)
        == tokenize_examples(by_hand.select_columns(["prompt", "completion"]), pocket.tokenizer).to_list()
    )
    assert split.answer_texts == tuple(mine.data["answer"])
    assert {name: split.asked[name] for name in ("prompt_template", "examples")} == {"prompt_template": mine.prompt_template, "examples": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (Dataset.from_dict({"text": ["a"]}), "in-context examples: they have no question"),
        (Dataset.from_dict({"question": ["same?"], "answer": ["no"]}), "1 of them are questions of the set itself"),
    ],
)
def test_in_context_examples_that_cannot_be(pocket: Pocket, examples: Dataset, message: str) -> None:
    rows = Dataset.from_dict({"question": ["same?", "other?"], "answer": ["yes", "no"]})
    with pytest.raises(ValueError, match=message):
        load_splits({"forget": AuditSet(rows, "forget", examples=examples)}, pocket.tokenizer, 8, 0, False)
