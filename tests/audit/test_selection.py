"""Metrics, conditions and domains are chosen by name or as objects, and named in the record either way."""

import pytest

from hf_unlearn.audit import CONDITIONS, DOMAINS, METRICS, audit
from hf_unlearn.audit._selection import choose_conditions, choose_domain, choose_metrics, names_of


class Shaken:
    """A condition that only this file knows."""

    name = "shaken"
    roles = ("candidate",)
    metrics = None

    def apply(self, subject: object) -> object:
        """Never called."""
        return subject


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CONDITIONS, "shaken", Shaken)


def test_names_and_objects_are_one():
    mine = Shaken()
    assert choose_conditions([mine]) == [mine] and choose_conditions(()) == []
    assert [type(found) for found in choose_conditions(["shaken"])] == [Shaken]
    assert choose_domain("causal_lm") is DOMAINS["causal_lm"] is choose_domain(DOMAINS["causal_lm"])
    chosen = choose_metrics(["fade", METRICS["probability"]()], {})
    assert [metric.spec.name for metric in chosen] == ["fade", "probability"]


def test_what_was_chosen_has_a_name():
    assert names_of("standard") == "standard"
    assert names_of(["fade", METRICS["probability"]()]) == ["fade", "probability"]
    assert names_of((Shaken(), "int8")) == ["shaken", "int8"]
    assert names_of(DOMAINS["causal_lm"]) == "causal_lm"  # what the class calls itself


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditions": ["shakn"]}, "there is no condition 'shakn'; there are .*Did you mean 'shaken'"),
        ({"conditions": ["shaken", Shaken()]}, "conditions names 'shaken' twice"),
        ({"domain": "causal-lm"}, "there is no domain 'causal-lm'; .*Did you mean 'causal_lm'"),
        ({"metrics": ["fad"]}, "there is no metric 'fad'; .*Did you mean 'fade'"),
        ({"metrics": ["fade", "fade"]}, "metrics names 'fade' twice"),
        ({"cluster_column": ""}, "cluster_column must not be empty"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_opened(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        audit("no-model-is-opened", reference="nor-this", forget="nor-this", **options)
