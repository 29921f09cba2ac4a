"""`metrics=`: which are measured, what is read for them and nothing else, and what is said where one has no value."""

from dataclasses import replace

import numpy as np
import pytest
from small_audits import arguments

from hf_unlearn.audit import BaseMetric, Rows, _completion_reading, audit
from hf_unlearn.audit.domains import _causal_lm
from hf_unlearn.audit.metrics.probability import Probability
from hf_unlearn.functional import Bootstrap, Estimate


class Certainty(BaseMetric):
    """A metric of one's own: like the probability, but on the forget set only."""

    spec = replace(Probability.spec, name="certainty", splits=("forget",), standard=False)

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        return Probability()(rows, uncertainty)


class Nothing(Certainty):
    """Has no value for anybody."""

    spec = replace(Certainty.spec, name="nothing")

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        return rows.on("another")  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("probability", ["probability/forget", "probability/retain", "probability/holdout"]),
        (["exposure", "probability"], ["probability/forget", "probability/retain", "probability/holdout", "exposure/forget"]),
        (Certainty(), ["certainty/forget"]),
        (("exposure", Certainty()), ["exposure/forget", "certainty/forget"]),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_measured_in_the_order_of_the_registry(given, keys: list[str]):
    report = audit(**arguments(metrics=given))
    assert list(report.metrics) == keys and set(report.specs) == {key.split("/")[0] for key in keys}
    assert report.provenance.settings["metrics"].count(",") == len(report.specs) - 1


def test_standard_and_more():
    standard, more = audit(**arguments()), audit(**arguments(metrics=["standard", Certainty()]))
    assert list(more.metrics) == [*standard.metrics, "certainty/forget"]
    assert more.metrics["certainty"].value == standard.metrics["probability"].value


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("probabilty", ValueError, "there is no metric 'probabilty'.*Did you mean 'probability'"),
        (["fade", "zzz"], ValueError, "there is no metric 'zzz'; there are probability, .*accuracy, "),
        ([], ValueError, "metrics must name at least one"),
        (["fade", "fade"], ValueError, "fade.* twice"),
        (["probability", Probability()], ValueError, "'probability'.* twice"),
        ([Certainty(), Certainty()], ValueError, "'certainty'.* twice"),
        ([3], TypeError, "metrics"),
        (3, TypeError, "metrics"),
    ],
)
def test_wrong_choices_are_refused_before_anything_is_opened(given, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        audit("/no/model", reference="/no/other", forget="/no/rows.jsonl", metrics=given)


def test_only_what_a_metric_needs_is_read(monkeypatch: pytest.MonkeyPatch):
    """Each text once per model, and nothing sampled, patched, or kept of hidden states."""

    def never(*args, **settings):
        raise AssertionError("not needed")

    for module, name in (
        (_completion_reading, "sample_tables"),
        (_completion_reading, "score_tables"),
        (_causal_lm, "patching_tables"),
    ):
        monkeypatch.setattr(module, name, never)
    given = arguments(metrics=["probability"], retain=None)
    passed: dict[str, int] = {}
    for role in ("candidate", "reference", "original", "twin"):

        def count(module, args, named, role=role):
            passed[role] = passed.get(role, 0) + named["input_ids"].numel()

        given[role].register_forward_pre_hook(count, with_kwargs=True)
    audit(**given)
    tokens = sum(len(row["input_ids"]) for name in ("forget", "holdout") for row in given[name])
    print(passed, tokens)
    assert set(passed) == {"candidate", "reference", "original", "twin"}
    assert max(passed.values()) <= 1.15 * tokens


def test_what_has_no_value_is_quiet_unless_it_was_asked_for():
    given = arguments(original=None, twin=None, retain=None, holdout=None)
    quiet = audit(**given)
    assert not [note for note in quiet.notes if "not defined" in note.lower()]
    assert "truth_ratio/forget" not in quiet.metrics and "excess_over_twins/forget" not in quiet.metrics
    asked = audit(
        **{
            **given,
            "metrics": ["probability", "truth_ratio", "excess_over_twins", "unlearning_depth_score", Nothing()],
        }
    )
    said = [note for note in asked.notes if note.startswith("Not defined")]
    assert list(asked.metrics) == ["probability/forget"]
    for words in (
        "truth_ratio/forget: there is no reading 'variants' of the candidate on the forget set.",
        "excess_over_twins/forget: needs a twin and an original.",
        "unlearning_depth_score/forget: ",
        "nothing/forget: it needs a another set.",
    ):
        assert [words in note for note in said].count(True) == 1, (words, said)
    assert audit(**{**given, "metrics": "truth_ratio"}).notes[-1] == said[0]


def test_a_value_of_some_examples_only_is_over_those():
    class Some(Certainty):
        spec = replace(Certainty.spec, name="some")

        def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
            values = np.where(np.arange(rows.count) < 5, 0.25, np.nan)
            from hf_unlearn.audit import mean_of

            return mean_of(values, rows)

    found = audit(**arguments(metrics=[Some()])).metrics["some"]
    assert found.value == 0.25 and found.clusters == 5
