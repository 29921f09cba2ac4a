"""Every example runs with --smoke; they use public names only."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


def run(script: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--smoke", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


EXPECTED = {
    "evaluate_script.py": "nats per sequence",
    "trainer_callback.py": "forget_loss",
    "audit_model.py": "relative 1.0",
    "representation_forgetting.py": "gradient ascent",
    "compare_objectives.py": "| `npo` |",
    "counterfactual_unlearning.py": "| counterfactual |",
    "sequential_requests.py": "request-3",
    "custom_objective.py": "last forget_loss",
    "plain_loop.py": "forget_loss",
    "watch_forgetting.py": "best checkpoint",
    "tune.py": "| found | 1 | ",
    "retrain.py": "rows removed",
    "counterfactual_audit.py": "Ships, pocket-0: refused",
    "retraining_noise.py": "continued 0.1, resampled",
    "publish.py": "after a later push: weights not reproduced",
}


@pytest.mark.parametrize("script", sorted(EXPECTED))
def test_an_example_runs(script: str, tmp_path: Path):
    assert EXPECTED[script] in run(script, cwd=tmp_path)


@pytest.mark.shared_data
def test_tofu_runs_from_a_local_folder(shared_data: Path, tmp_path: Path):
    output = run("tofu.py", "--tofu", str(shared_data / "tofu"), cwd=tmp_path)
    assert "8 rows to forget, 24 rows to keep" in output
    assert "probability/retain" in output


@pytest.mark.shared_data
def test_counterfactual_unlearning_of_tofus_authors(shared_data: Path, tmp_path: Path):
    output = run("counterfactual_unlearning.py", "--data", str(shared_data / "tofu"), cwd=tmp_path)
    assert "TOFU: 20 forget rows, 40 retain rows" in output and "| counterfactual |" in output


@pytest.mark.shared_data
def test_tofu_as_a_benchmark_runs_from_a_local_folder(shared_data: Path, tmp_path: Path):
    output = run("tofu_benchmark.py", "--data", str(shared_data / "tofu"), cwd=tmp_path)
    assert "real_authors: 100 rows, retain" in output and "no holdout: " in output
    assert "forget_quality/forget: " in output and "model_utility/retain: " in output


@pytest.mark.slow
@pytest.mark.shared_data
def test_counterfactual_audit_runs_on_tofu_from_a_local_folder(shared_data: Path, tmp_path: Path):
    output = run("counterfactual_audit.py", "--data", str(shared_data / "tofu"), cwd=tmp_path)
    assert "counterfactual FADE against FADE, 6 candidates: Spearman" in output
    assert (tmp_path / "counterfactual-audit" / "true-against-counterfactual.png").is_file()


def test_every_example_is_tested():
    assert set(SCRIPTS) == {*EXPECTED, "tofu.py", "tofu_benchmark.py"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_uses_public_names_only(script: str):
    tree = ast.parse((EXAMPLES / script).read_text())
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hf_unlearn"):
            assert not any(part.startswith("_") for part in (node.module or "").split("."))
            assert not any(alias.name.startswith("_") for alias in node.names)
