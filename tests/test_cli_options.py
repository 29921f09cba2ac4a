"""Every option of the functions is an option of the commands, by flag and by file; the command line overrides the file."""

import importlib
import inspect
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import hf_unlearn.audit
import hf_unlearn.training
from hf_unlearn.cli import app
from hf_unlearn.training import UnlearnResult


REQUIRED = {"model": "m", "forget": "f.jsonl", "retain": "r.jsonl", "output_dir": "out"}
RENAMED = {"processing_class": "tokenizer", "num_train_epochs": "epochs", "per_device_train_batch_size": "batch_size", "resume_from_checkpoint": "resume", "objective_options": "objective_option", "peft_config": "lora_r"}  # fmt: skip


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command whose function only notes what it was called with."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, command: str = "unlearn") -> dict:
        noted = {}

        def note(model: object, **options: object) -> UnlearnResult:
            noted.update(options, model=model)
            return UnlearnResult(None, None, Path("out"), [], {}, {"forget_probability": 0.9}, {"forget_probability": 0.125})  # fmt: skip

        home = {"unlearn": "hf_unlearn.training", "audit": "hf_unlearn.audit"}[command]
        monkeypatch.setattr(importlib.import_module(home), command, note)
        result = CliRunner().invoke(app, [command, *map(str, arguments)])
        noted |= {"exit_code": result.exit_code, "output": " ".join(result.output.split())}
        return noted

    return run


def flags(options: dict) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.parametrize(("command", "left_out"), [("unlearn", {"args"}), ("audit", {"progress"})])
def test_every_parameter_is_an_option(command: str, left_out: set[str]):
    function = {"unlearn": hf_unlearn.training.unlearn, "audit": importlib.import_module("hf_unlearn.audit").audit}[
        command
    ]
    ours = set(inspect.signature(importlib.import_module(f"hf_unlearn.cli._{command}").__dict__[command]).parameters)
    theirs = {RENAMED.get(name, name) for name in inspect.signature(function).parameters}
    assert theirs - left_out <= ours


def test_flags_arrive(called):
    chosen = ["--objective-option", "beta=0.5", "--objective-option", "name_of=x y", "--bf16", "--lora-r", 4, "--lora-target", "q_proj",
              "--lora-target", "v_proj", "--lora-dropout", 0.1, "--lora-alpha", 3, "--max-length", 99, "--gradient-accumulation-steps", 3,
              "--prompt-template", "Q: {question}\nA:", "--save-steps", 7]  # fmt: skip
    noted = called(*flags(REQUIRED), *chosen)
    assert noted["exit_code"] == 0, noted["output"]
    assert noted["objective_options"] == {"beta": 0.5, "name_of": "x y"} and noted["bf16"] is True
    adapter = noted["peft_config"]
    assert (adapter.r, adapter.lora_alpha, adapter.lora_dropout, set(adapter.target_modules)) == (4, 3, 0.1, {"q_proj", "v_proj"})  # fmt: skip
    assert (noted["max_length"], noted["gradient_accumulation_steps"], noted["save_steps"]) == (99, 3, 7)
    assert noted["prompt_template"] == "Q: {question}\nA:"
    assert "forget probability: 0.9 before, 0.125 after" in noted["output"]


@pytest.mark.parametrize(("text", "value"), [(".5", 0.5), ("5.", 5.0), ("1e-1", 0.1), ("-2", -2), ("true", True)])
def test_numbers_of_options_are_numbers(called, text: str, value: float):
    found = called(*flags(REQUIRED), "--objective-option", f"beta={text}")["objective_options"]["beta"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("suffix", ["yaml", "json", "toml"])
def test_a_file_gives_what_the_command_line_does_not(called, tmp_path: Path, suffix: str):
    options = {**REQUIRED, "objective": "simnpo", "objective-option": {"beta": 0.5, "gamma": 1}, "learning_rate": 1e-3, "bf16": True,
               "lora_r": 4, "lora_target": ["q_proj", "v_proj"], "seed": 5, "epochs": 2}  # fmt: skip
    path = tmp_path / f"settings.{suffix}"
    toml = [f"{name} = {json.dumps(value)}" for name, value in options.items() if name != "objective-option"]
    text = {
        "yaml": yaml.safe_dump(options),
        "json": json.dumps(options),
        "toml": "\n".join([*toml, "[objective-option]", "beta = 0.5", "gamma = 1"]),
    }
    path.write_text(text[suffix])
    noted = called("--config", path, "--seed", 9, "--objective", "npo")
    assert noted["exit_code"] == 0, noted["output"]
    assert noted["model"] == "m" and noted["output_dir"] == Path("out") and noted["bf16"] is True
    assert noted["objective_options"] == {"beta": 0.5, "gamma": 1} and noted["learning_rate"] == 1e-3
    assert set(noted["peft_config"].target_modules) == {"q_proj", "v_proj"} and noted["num_train_epochs"] == 2
    assert noted["seed"] == 9 and noted["objective"] == "npo"  # the command line's


def test_an_audit_takes_a_file_too(called, tmp_path: Path):
    (tmp_path / "a.yaml").write_text(
        "candidate: c\nreference: r\nforget: f\noutput_dir: out\nlayers: [1, 3]\nconfidence: 0.9\n"
    )
    noted = called("--config", tmp_path / "a.yaml", command="audit")
    assert noted["layers"] == [1, 3] and noted["confidence"] == 0.9 and noted["model"] == "c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objectiv: npo", "names 'objectiv', which is no option here. Did you mean 'objective'?"),
        ("seed: 1.5", "Invalid value for '--seed'"),
        ("bf16: perhaps", "Invalid value for '--bf16'"),
        ("seed: {a: 1}", "gives seed several values by name"),
        ("- seed", "must hold options by name"),
        ("seed: [", "cannot be read as yaml"),
    ],
)
def test_a_wrong_file_is_refused_in_words(called, tmp_path: Path, text: str, message: str):
    (tmp_path / "wrong.yaml").write_text(text)
    noted = called("--config", tmp_path / "wrong.yaml", *flags(REQUIRED))
    assert noted["exit_code"] == 2 and message in noted["output"].replace(" │ │ ", " "), noted["output"]
    assert called("--config", tmp_path / "nowhere.yaml", *flags(REQUIRED))["exit_code"] == 2
    assert "a .yaml, .json or .toml file" in called("--config", "settings.ini", *flags(REQUIRED))["output"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--objective-option", "beta"), "must be given as name=value"),
        (("--objective-option", "beta=1", "--objective-option", "beta=2"), "gives 'beta' twice"),
        (("--lora-target", "q_proj"), "are for an adapter: pass --lora-r, too"),
        (("--lora-r", "-1"), "--lora-r must be 0"),
    ],
)
def test_wrong_options_are_refused_in_words(called, options: tuple, message: str):
    noted = called(*flags(REQUIRED), *options)
    assert noted["exit_code"] == 1 and message in noted["output"]
