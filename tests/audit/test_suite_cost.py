"""What the TOFU suite costs, in tokens: a guard of the ratios that tests/benchmarks/suite.py prints, on few rows and a tiny model."""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hf_unlearn.inference import _batching


SCRIPT = Path(__file__).parents[1] / "benchmarks" / "suite.py"


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    spec = importlib.util.spec_from_file_location("suite_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.shared_data
def test_tokens_beside_the_fields_way_and_beside_the_floor(
    suite: ModuleType, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers on both sides, from far fewer tokens; what a model is tried on is a larger part than in a real audit."""
    monkeypatch.setattr(_batching, "CALL_WORK", 0.0)  # as for models whose tokens are what costs
    given = argparse.Namespace(rows=12, layers=1, width=32, vocabulary=512, epochs=1, max_new_tokens=16)
    world = suite.make_world(shared_data / "tofu", given)
    found = suite.run(world, given)
    for name, least in (("default", 1.9), ("with membership", 2.6)):
        side = found[name]
        assert side["apart"] <= 1e-5
        assert side["theirs"].tokens > least * side["ours"].tokens, name
        assert side["floor"] < side["ours"].tokens < 1.4 * side["floor"], name
