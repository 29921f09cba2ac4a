"""Options as fields: made, checked, written down and read back."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import pytest

from hf_unlearn import config, functional, inference
from hf_unlearn._arguments import one_of, switch, texts, whole_number, whole_numbers
from hf_unlearn.config import AuditConfig, Config, TrackerConfig, option, options_of
from hf_unlearn.config._audit_config import ESTIMATORS, POOLINGS


@dataclass(frozen=True, kw_only=True)
class Kitchen(Config):
    """Every kind of option there is."""

    pots: int = option(2, "How many.", check=partial(whole_number, minimum=1))
    heat: float = option(0.5, "Unchecked.")
    layers: Sequence[int] | None = option(None, "Which.", check=partial(whole_numbers, minimum=0))
    spices: str | Sequence[str] = option(("salt",), "Which.", check=texts)
    recipe: Mapping[str, Any] | None = option(None, "By name.", cli=("--step",))
    taste: str = option("sweet", "Sweet or sour.", check=partial(one_of, choices=("sweet", "sour")))
    covered: bool | None = option(None, "Lid.", check=switch)
    cook: Any = option(None, "Who.", cli=None)


def test_what_came_is_left_plain():
    made = Kitchen(pots=np.int64(3), layers=range(2), spices=["salt", "thyme"], covered=np.bool_(True))
    assert (made.pots, made.layers, made.spices, made.covered) == (3, (0, 1), ("salt", "thyme"), True)
    assert [type(value) for value in (made.pots, made.layers, made.covered)] == [int, tuple, bool]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"pots": 0}, ValueError, "pots must be at least 1, got 0"),
        ({"pots": None}, TypeError, "pots must be a whole number, got None"),  # None only where it is the default
        ({"taste": "bitter"}, ValueError, "unknown taste 'bitter'; choose one of sweet, sour"),
        ({"covered": "no"}, TypeError, "covered must be True or False"),
        ({"layers": [-1]}, ValueError, "each of layers must be at least 0"),
        ({"pot": 1}, TypeError, "pot"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Kitchen(**given)


def test_of_takes_its_own_arguments_only_and_misses_none():
    arguments = {each.name: each.default for each in options_of(Kitchen)}
    assert Kitchen.of({**arguments, "guest": 1, "pots": 5}) == Kitchen(pots=5)
    del arguments["taste"]
    with pytest.raises(KeyError, match="taste"):
        Kitchen.of(arguments)


def test_kinds_of_options_are_told_by_their_annotation():
    kinds = {each.name: (each.item_type, each.is_mapping) for each in options_of(Kitchen)}
    assert kinds["layers"] == (int, False) and kinds["spices"] == (str, False) and kinds["recipe"] == (None, True)
    assert {kinds[name] for name in ("pots", "taste", "covered", "cook")} == {(None, False)}


def test_items_of_the_wrong_kind_are_refused_in_words():
    layers = next(each for each in options_of(Kitchen) if each.name == "layers")
    assert layers.items("3, 7") == [3, 7]
    with pytest.raises(ValueError, match=r"layers must be numbers separated by commas, got '3,x'"):
        layers.items("3,x")


OTHERS = {
    "harness_tasks": ["mmlu", "arc_easy"],
    "harness_include_path": "tasks",
    "harness_limit": 5,
    "benchmark": "tofu:forget10@1",
    "domain": "image_classification",
    "metrics": ["fade", "cka"],
    "conditions": ["int8", "relearned"],
    "prompt_template": "Q: {question}, please\nA:",  # a comma that divides nothing
    "num_samples": 3,
    "max_new_tokens": 9,
    "max_examples": 7,
    "estimator": "sampled",
    "layers": [3, 7],
    "pooling": "last_token",
    "space": "gram",
    "cluster_column": "person",
    "dtype": "bfloat16",
    "device_map": "cuda:1",
    "confidence": 0.9,
    "num_resamples": 50,
    "seed": 4,
    "batch_size": 2,
    "evidence_dir": "elsewhere",
    "num_counterfactuals": 3,
    "subject_column": "about",
    "allow_overlap": True,
    "compatible": True,
    "progress": False,
}


@pytest.mark.parametrize("given", [{}, OTHERS, {"metrics": "standard"}, {"metrics": ["fade"], "layers": [0]}])
def test_a_report_gives_back_what_was_chosen(given: dict):
    """But for what cannot change a result: whoever verifies it chooses that anew."""
    free = {each.name: each.default for each in options_of(AuditConfig) if not each.recorded}
    assert set(free) == {"batch_size", "device_map", "evidence_dir", "harness_include_path", "progress"}
    chosen = AuditConfig(**{**given, **free})
    settings = json.loads(json.dumps(chosen.plain()))
    assert all(value is None or isinstance(value, (str, int, float, bool)) for value in settings.values())
    assert AuditConfig.read_back({**settings, "chat_template": True, "batch_size": 1}) == chosen


def test_every_option_of_an_audit_can_be_chosen():
    assert set(OTHERS) == {part.name for part in fields(AuditConfig)}
    assert all(getattr(AuditConfig(**OTHERS), name) != getattr(AuditConfig(), name) for name in OTHERS)


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"seed": -1}, ValueError), ({"layers": "a"}, ValueError), ({"num_samples": "8"}, TypeError)],
)
def test_what_a_report_claims_is_checked_like_an_argument(settings: dict, error: type[Exception]):
    with pytest.raises(error, match=next(iter(settings))):
        AuditConfig.read_back(settings)


@pytest.mark.parametrize("where", ["nowhere at all", "meta", "cuda:one", ""])
def test_a_place_is_a_word_for_all_devices_or_a_device(where: str):
    assert [AuditConfig(device_map=each).device_map for each in ("auto", "cpu", "cuda:1")] == ["auto", "cpu", "cuda:1"]
    with pytest.raises(ValueError, match="device_map must"):
        AuditConfig(device_map=where)


@pytest.mark.parametrize("one", ["standard", ["standard"], ("standard",)])
def test_the_standard_metrics_have_one_name(one: object):
    assert AuditConfig(metrics=one).metrics == "standard"
    assert AuditConfig(metrics="fade").metrics == ("fade",)


@pytest.mark.parametrize("kind", [AuditConfig, TrackerConfig])
def test_defaults_pass_their_own_checks(kind: type[Config]):
    for each in options_of(kind):
        assert each.checked(each.default) == each.default
        assert each.help.endswith(".")


def test_choices_are_those_that_are_implemented():
    assert ESTIMATORS == functional.ESTIMATORS
    assert set(POOLINGS) == set(inference.POOLINGS) - {"all_tokens"}  # gives no row per example


def test_options_need_nothing_but_the_standard_library():
    ours = f"import sys, {config.__name__}\nprint([name for name in sys.modules if name.split('.')[0] in ('numpy', 'torch', 'typer', 'datasets')])"
    done = subprocess.run([sys.executable, "-c", ours], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
