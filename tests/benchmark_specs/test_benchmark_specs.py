"""Benchmarks as specs: what each one says of itself holds together, before any data is loaded."""

from dataclasses import replace

import pytest

from hf_unlearn.audit import METRICS
from hf_unlearn.benchmarks import BENCHMARKS, BenchmarkSet, Configuration, Source
from hf_unlearn.config import AuditConfig
from hf_unlearn.data._template import parse_template


CONFIGURATIONS = [
    pytest.param(benchmark, configuration, id=f"{name}:{part}")
    for name, benchmark in BENCHMARKS.items()
    for part, configuration in benchmark.configurations.items()
]


@pytest.mark.parametrize(("benchmark", "configuration"), CONFIGURATIONS)
def test_a_benchmark_says_what_a_user_must_know(benchmark, configuration):
    assert benchmark.title and benchmark.licence and benchmark.note and benchmark.citation.text
    assert configuration.headline
    for key in configuration.headline:
        metric, place = key.split("/")
        described = configuration.sets[place]
        assert not described.metrics or metric in described.metrics
        assert described.role in METRICS[metric].from_settings({}).spec.splits
    AuditConfig(metrics=configuration.metrics, **configuration.options)
    templates = [part.prompt_template for part in (*configuration.sets.values(), *configuration.models.values())]
    for template in filter(None, templates):
        parse_template(template)


@pytest.mark.parametrize(("benchmark", "configuration"), CONFIGURATIONS)
def test_published_models_are_ids_of_different_models(benchmark, configuration):
    for models in configuration.models.values():
        named = [model for model in (models.reference, models.original, models.twin) if isinstance(model, str)]
        assert len(set(named)) == len(named)
        assert all(model.count("/") == 1 for model in named)
    everything = [
        models.reference
        for other in benchmark.configurations.values()
        for models in other.models.values()
        if isinstance(models.reference, str)
    ]
    assert len(set(everything)) == len(everything)  # each configuration forgets something else


@pytest.mark.parametrize(("benchmark", "configuration"), CONFIGURATIONS)
def test_what_is_measured_exists_and_is_for_the_role(benchmark, configuration):
    assert set(configuration.metrics) <= set(METRICS)
    for name, described in configuration.sets.items():
        for metric in described.metrics:
            assert described.role in METRICS[metric].from_settings({}).spec.splits, (name, metric)
    used = {metric for found in configuration.sets.values() for metric in found.metrics or configuration.metrics}
    assert used == set(configuration.metrics)  # none is measured nowhere


PLAIN = Configuration({"forget": BenchmarkSet(Source(data="f.jsonl"), "forget")}, ("fade",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sets": {}}, "needs a forget set, got none"),
        ({"sets": {**PLAIN.sets, "retain": BenchmarkSet(Source(), "forget")}}, "the retain set has the role 'forget'"),
        ({"sets": {**PLAIN.sets, "x": BenchmarkSet(Source(), "retain", ("cka",))}}, "'x' asks for 'cka'"),
        ({"options": {"num_sample": 3}}, "Did you mean 'num_samples'"),
        ({"headline": ("cka/forget",)}, "headline names 'cka'"),
    ],
)
def test_a_configuration_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a:b"}, "one word without"),
        ({"configurations": {}}, "has no configuration"),
        ({"default": "else"}, "default configuration 'else' is none of"),
    ],
)
def test_a_benchmark_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        replace(BENCHMARKS["tofu"], **change)


def test_a_set_has_a_role():
    with pytest.raises(ValueError, match="role of a set is one of forget, retain, holdout, got 'keep'"):
        BenchmarkSet(Source(), "keep")
