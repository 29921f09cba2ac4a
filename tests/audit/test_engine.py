"""The way from models to evidence: several twins, conditions, versions of readings, memory, and circumstances that must not matter."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_audits import Noisy, arguments, numbers, relatives

from hf_unlearn.audit import _completion_reading, audit
from hf_unlearn.audit.domains import _answer_reading, _causal_lm


OF_OUTPUTS = ["probability", "fade", "exposure"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of what is computed, in order."""
    labels: list[str] = []

    def watched(real: Callable) -> Callable:
        def tables(*args, label: str, **settings):
            labels.append(label)
            return real(*args, label=label, **settings)

        return tables

    for module, names in (
        (_answer_reading, ("answer_tables",)),
        (_causal_lm, ("patching_tables",)),
        (_completion_reading, ("sample_tables", "score_tables")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, watched(getattr(module, name)))
    return labels


def test_the_floor_of_several_twins_is_their_mean():
    models = relatives(roles=("candidate", "reference", "original", "twin", "second"))
    second = models.pop("second")
    given = {**arguments(), **models}
    one, other, both = (
        audit(**{**given, "twin": twin}) for twin in (models["twin"], second, [models["twin"], second])
    )
    assert set(both.metrics) == set(one.metrics) > {"fade/retain", "logit_lens_erasure/forget"}
    for key, found in both.metrics.items():
        if found.by_layer or found.floor is None:
            continue  # layers are averaged where all have a value
        assert found.floor == pytest.approx((one.metrics[key].floor + other.metrics[key].floor) / 2, rel=1e-9), key
        assert found.value == pytest.approx(one.metrics[key].value, rel=1e-9)
    cka = [report.metrics["cka"].floor for report in (one, other, both)]
    assert cka[2] == pytest.approx(np.mean(cka[:2]), rel=1e-9)
    assert {"twin", "twin 2"} <= set(both.provenance.models)
    with pytest.raises(ValueError, match="twin and twin 2 are equal"):
        audit(**{**given, "twin": [second, second], "metrics": "probability"})


@pytest.mark.parametrize("roles", [("candidate",), ("candidate", "original", "twin"), ("candidate", "reference", "original", "twin")])  # fmt: skip
def test_a_condition_gives_a_result_beside_the_plain_one(roles: tuple[str, ...]):
    """As if the models had been given so; the others are as they are."""
    attack = Noisy(roles=roles, metrics=("probability", "fade", "residual_ratio"))
    given = arguments(metrics=["probability", "fade", "residual_ratio", "exposure"])
    plain = audit(**given)
    report = audit(**given, conditions=[attack, Noisy(0.6, "more", roles, ("probability",))])
    assert {key.split("@")[0] for key in report.metrics if "@noise" in key} == set(plain.metrics) - {"exposure/forget"}
    assert [key for key in report.metrics if "@more" in key] == [f"probability/{s}@more" for s in ("forget", "retain", "holdout")]  # fmt: skip

    class Subject:
        def __init__(self, model):
            self.model = model

    changed = {role: attack.apply(Subject(given[role])) for role in roles}
    alone = audit(**{**given, **changed})
    assert plain.metrics == {key: found for key, found in report.metrics.items() if "@" not in key}
    for key, found in report.metrics.items():
        if found.condition == "noise":
            expected = alone.metrics[key.split("@")[0]]
            for name in ("value", "floor", "start", "relative", "confidence_interval", "ideal"):
                value = getattr(expected, name)
                wanted = None if value is None else pytest.approx(value, rel=1e-6, abs=1e-9)
                assert getattr(found, name) == wanted, (key, name)


def test_an_attack_on_twins_is_on_all_of_them():
    models = relatives(roles=("candidate", "reference", "original", "twin", "second"))
    given = {**arguments(metrics="probability"), **models, "twin": [models["twin"], models["second"]]}
    del given["second"]
    attack = Noisy(roles=("candidate", "twin"))
    found = audit(**given, conditions=[attack]).metrics["probability/forget@noise"]
    changed = {name: attack.apply(type("Subject", (), {"model": models[name]})) for name in ("twin", "second")}
    expected = audit(**{**given, "twin": [changed["twin"], changed["second"]]}).metrics["probability/forget"]
    assert found.floor == pytest.approx(expected.floor, rel=1e-9)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([Noisy(name="a/b")], "without '/' and '@', got 'a/b'"),
        ([Noisy(name="")], "conditions must not be empty"),
        ([Noisy(), Noisy(0.5)], "conditions names 'noise' twice"),
        ([Noisy(roles=("student",))], r"for the roles \['student'\]; there are candidate"),
        ([Noisy(roles=())], "there are candidate"),
    ],
)
def test_conditions_that_cannot_be_told_apart_are_refused(conditions: list, words: str):
    with pytest.raises(ValueError, match=words):
        audit("/no/model", reference="/no/other", forget="/no/rows.jsonl", conditions=conditions)


def test_conditions_never_share_evidence(tmp_path: Path, read: list[str]):
    """Of equal names, because the weights differ; of equal weights, because the names do."""
    given = arguments(metrics=OF_OUTPUTS)
    for scale in (0.2, 0.5):
        kept = audit(**given, conditions=[Noisy(scale)], output_dir=tmp_path)
        assert numbers(kept) == numbers(audit(**given, conditions=[Noisy(scale)]))
    read.clear()
    audit(**given, conditions=[Noisy(0.5, "renamed")], output_dir=tmp_path)
    assert read and all("candidate@renamed" in label for label in read)


@pytest.mark.parametrize("reading", ["answers", "completions", "patching"])
def test_another_version_of_a_reading_is_read_again_and_nothing_else(
    reading: str, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    given = arguments(metrics=["probability", "fade", "unlearning_depth_score", "cka"], retain=None, num_samples=1)
    first = audit(**given, output_dir=tmp_path)
    read.clear()
    assert numbers(audit(**given, output_dir=tmp_path)) == numbers(first) and not read
    versions = _causal_lm.CausalLM.versions
    monkeypatch.setattr(_causal_lm.CausalLM, "versions", {**versions, reading: versions[reading] + 1})
    again = audit(**given, output_dir=tmp_path)
    begins = {"answers": "answers ", "completions": "scoring ", "patching": "patching "}[reading]
    assert read and all(label.startswith(begins) for label in read)
    assert numbers(again) == numbers(first)
    assert again.provenance.readings[reading] == versions[reading] + 1


def test_at_most_three_models_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    roles = ("candidate", "reference", "original", "twin", "second")
    for role, model in relatives(roles=roles).items():
        model.save_pretrained(tmp_path / role)
    paths = {role: str(tmp_path / role) for role in roles}
    alive: list[weakref.ref] = []
    counts: list[int] = []
    real = _causal_lm.open_subject

    def watched(key, model, **settings):
        subject = real(key, model, **settings)
        alive.append(weakref.ref(subject.model))
        gc.collect()
        counts.append(sum(found() is not None for found in alive))
        return subject

    monkeypatch.setattr(_causal_lm, "open_subject", watched)
    given = {**arguments(), **paths, "twin": [paths["twin"], paths["second"]]}
    del given["second"]
    audit(**given)
    assert counts == [1, 2, 3, 3, 3]
    gc.collect()
    assert not any(found() for found in alive)


@pytest.mark.parametrize(
    "architecture", ["gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("llama", "gemma2"))]
)
def test_circumstances_do_not_matter(architecture: str):
    """Batch size, the order of the rows, the side on which the tokenizer pads."""
    given = arguments(architecture)
    base = numbers(audit(**given))
    reordered = given["forget"].select([5, 2, 7, 0, 1, 6, 4, 3])
    given["processing_class"].padding_side = "left"
    for change in ({"batch_size": 3}, {}, {"forget": reordered}):
        found = numbers(audit(**{**given, **change}))
        assert found.keys() == base.keys()
        for place, value in base.items():
            rel = (
                1e-4 if "relative" in place else 1e-5
            )  # a quotient of two differences enlarges what rounding does to them
            assert found[place] == pytest.approx(value, rel=rel, abs=1e-5), (change.keys(), place)
