"""The package's face: names that are found when they are used, and commands that answer at once."""

import ast
import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import hf_unlearn
from hf_unlearn.cli import app


def in_a_fresh_process(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_type_checkers_see_the_names_that_there_are():
    tree = ast.parse(Path(hf_unlearn.__file__).read_text())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hf_unlearn.")
        for alias in node.names
    }
    assert seen == {name: f"hf_unlearn.{home}" for name, home in hf_unlearn._HOMES.items()}
    assert set(seen) == set(hf_unlearn.__all__) <= set(dir(hf_unlearn))


@pytest.mark.parametrize("name", hf_unlearn.__all__)
def test_every_name_is_found(name: str):
    found = getattr(hf_unlearn, name)
    assert found is getattr(sys.modules[f"hf_unlearn.{hf_unlearn._HOMES[name]}"], name)
    assert not isinstance(found, ModuleType)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'audits'"):
        hf_unlearn.audits  # noqa: B018 - looking it up is the test
    with pytest.raises(ImportError, match="audits"):
        exec("from hf_unlearn import audits")


@pytest.mark.parametrize("first", ["import hf_unlearn.audit", "from hf_unlearn.audit import AuditReport"])
def test_audit_is_the_function_whatever_was_imported_first(first: str):
    """Importing a package makes it an attribute of its parent, under the name that the function has."""
    program = f"import hf_unlearn\n{first}\nfrom hf_unlearn import audit\nassert callable(audit) and callable(hf_unlearn.audit)"
    in_a_fresh_process(program)


def test_packages_are_found_without_being_imported():
    assert (
        in_a_fresh_process("import hf_unlearn; print(hf_unlearn.data.load_pocket.__name__)").strip() == "load_pocket"
    )


def test_the_version_is_that_of_the_distribution():
    assert hf_unlearn.__version__ == version("hf-unlearn")
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0 and result.output == f"hf-unlearn {version('hf-unlearn')}\n"


@pytest.mark.parametrize("arguments", [None, "--help", "--version", "unlearn --help"])
def test_nothing_heavy_is_imported_before_there_is_work(arguments: str | None):
    """Under a second on an idle machine, which is what a test can promise by what it does not import."""
    call = (
        ""
        if arguments is None
        else f"from hf_unlearn.cli import app\napp({arguments.split()!r}, standalone_mode=False)\n"
    )
    heavy = (
        "torch",
        "transformers",
        "datasets",
        "evaluate",
        "accelerate",
        "peft",
        "huggingface_hub",
        "numpy",
        "matplotlib",
    )
    program = f"import sys, hf_unlearn\n{call}print('heavy:', [name for name in {heavy!r} if name in sys.modules])"
    assert in_a_fresh_process(program).splitlines()[-1] == "heavy: []"


def test_the_public_functions_carry_their_documentation():
    assert all(inspect.getdoc(getattr(hf_unlearn, name)) for name in hf_unlearn.__all__ if name != "OBJECTIVES")


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "hf_unlearn", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith(version("hf-unlearn")), done.stderr
