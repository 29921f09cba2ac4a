"""Signature, defaults, documentation, config and command line of a function are one set of options; a file gives them, too, and the command line
overrides it."""

import importlib
import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hf_unlearn.cli import app
from hf_unlearn.config import AuditConfig, Config, ForgetConfig, TrackerConfig, TuneConfig, UnlearnConfig, options_of
from hf_unlearn.training import UnlearnResult
from hf_unlearn.tuning import Recipe, TuneResult


REQUIRED = {
    "unlearn": {"model": "m", "forget": "f.jsonl", "retain": "r.jsonl", "output_dir": "out"},
    "tune": {"model": "m", "forget": "f.jsonl", "retain": "r.jsonl", "output_dir": "out"},
    "audit": {"candidate": "c", "reference": "r", "forget": "f.jsonl", "output_dir": "out"},
}


@dataclass(frozen=True)
class Case:
    """A function, and the config that declares its options.

    Attributes:
        home: Module of the function.
        config: Of its options.
        inputs: Its other parameters, models and data, as they are called on the command line.
        instead: What the command line has in place of options that are objects of Python.
        chosen: For each option on the command line something that is not its default.
    """

    home: str
    config: type[Config]
    inputs: dict[str, str]
    instead: dict[str, str]
    chosen: dict[str, object]


CASES = {
    "unlearn": Case(
        "hf_unlearn.training",
        UnlearnConfig,
        {name: name for name in ("model", "forget", "retain", "output_dir")} | {"processing_class": "tokenizer"},
        {
            "peft_config": "lora_r",
            "resume_from_checkpoint": "resume",
            "args": "config",  # a file has all that it replaces
        },
        {
            "objective": "simnpo", "objective_options": {"beta": 0.5}, "retain_term": "kl", "forget_weight": 2.0, "retain_weight": 0.5, "saliency": 0.5,
            "fila": True, "prompt_template": "Q: {question}, please", "max_length": 9, "num_train_epochs": 2.5, "max_steps": 11, "learning_rate": 1e-3,
            "per_device_train_batch_size": 3, "gradient_accumulation_steps": 4, "forget_batch_size": 5, "bf16": True, "save_steps": 6,
            "allow_overlap": True, "stop_on_collapse": True, "seed": 7, "trust_remote_code": True,
        },
    ),
    "tune": Case(
        "hf_unlearn.tuning",
        TuneConfig,
        {name: name for name in (*REQUIRED["tune"], "reference", "original", "twin", "holdout")} | {"processing_class": "tokenizer"},
        {"peft_config": "lora_r"},
        {
            "objectives": ["rmu", "idk"], "retain_terms": ["kl", "nll"], "num_trials": 9, "timeout": 2.5, "max_steps": 11, "evaluations": 3, "pruner": "hyperband",
            "metric": "probability", "max_examples": 7, "num_samples": 3, "num_counterfactuals": 5, "subject_column": "who",
            "max_new_tokens": 9, "batch_size": 2, "cluster_column": "person",
            "prompt_template": "Q: {question}, please", "max_length": 10, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 4,
            "forget_batch_size": 5, "bf16": True, "allow_overlap": True, "seed": 4, "progress": False, "trust_remote_code": True,
        },
    ),
    "audit": Case(
        "hf_unlearn.audit",
        AuditConfig,
        {name: name for name in REQUIRED["audit"]}
        | {name: name for name in ("retain", "holdout", "sets", "original", "twin", "continued")}
        | {"processing_class": "tokenizer"},
        {"benchmark": "benchmark"},
        {
            "harness_tasks": ["mmlu", "arc_easy"], "harness_include_path": "tasks", "harness_limit": 5,
            "domain": "image_classification", "metrics": ["fade", "rouge_l"], "conditions": ["int8"], "prompt_template": "Q: {question}, please",
            "cluster_column": "person", "num_samples": 3, "max_new_tokens": 9, "max_examples": 7, "estimator": "sampled", "layers": [3, 7],
            "dtype": "bfloat16", "device_map": "cuda:1",
            "pooling": "last_token", "space": "gram", "confidence": 0.9, "num_resamples": 50, "seed": 4, "batch_size": 2, "evidence_dir": "there", "allow_overlap": True, "compatible": True,
            "num_counterfactuals": 3, "subject_column": "about", "progress": False,
        },
    ),
}  # fmt: skip
TRIAL = {
    "state": "complete",
    "number": 0,
    "is_default": True,
    "objective": "npo",
    "score": 0.5,
    "relative": 0.25,
    "excess": 0.25,
    "other_score": None,
}
BY_OPTION = [(command, name) for command, case in CASES.items() for name in case.chosen]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command whose function only notes what it was called with."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, command: str = "unlearn") -> dict:
        noted = {}

        def note(model: object, **options: object) -> UnlearnResult | TuneResult:
            noted.update(options, model=model)
            if command == "tune":
                return TuneResult(Recipe(UnlearnConfig()), Recipe(UnlearnConfig()), [TRIAL], [], None, Path("out"))
            return UnlearnResult(None, None, Path("out"), [], {}, {"forget_probability": 0.9}, {"forget_probability": 0.125})  # fmt: skip

        monkeypatch.setattr(importlib.import_module(CASES[command].home), command, note)
        monkeypatch.setattr(importlib.import_module("hf_unlearn.cli._audit"), "print_report", lambda *shown: None)
        result = CliRunner().invoke(app, [command, *map(str, arguments)])
        noted |= {"exit_code": result.exit_code, "output": " ".join(result.output.split())}
        return noted

    return run


def flags(options: dict) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def command_of(command: str) -> inspect.Signature:
    return inspect.signature(importlib.import_module(f"hf_unlearn.cli._{command}").__dict__[command])


DECLARED = {
    **{command: (case.home, case.config, set(case.inputs)) for command, case in CASES.items()},
    "UnlearningCallback": (
        "hf_unlearn.training",
        ForgetConfig,
        {"trainer", "forget_dataset", "processing_class", "seed"},  # by default the Trainer's
    ),
    "ForgettingTracker": (
        "hf_unlearn.training",
        TrackerConfig,
        {
            "trainer",
            "forget_dataset",
            "retain_dataset",
            "reference",
            "original",
            "twin",
            "continued",
            "output_dir",
            "processing_class",
        },
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_signature_defaults_and_documentation_are_the_config(name: str):
    home, config, inputs = DECLARED[name]
    function = getattr(importlib.import_module(home), name)
    parameters = inspect.signature(function).parameters
    options = {each.name: each for each in options_of(config)}
    assert set(parameters) == inputs | set(options)
    assert {each: parameters[each].default for each in options} == {
        each.name: each.default for each in options.values()
    }
    arguments = re.split(r"\n(?:Args|Returns|Raises):\n", inspect.getdoc(function) or "")[1]
    documented = dict(re.findall(r"^    (\w+): ((?:.|\n        )+)", arguments, flags=re.MULTILINE))
    assert set(documented) == set(parameters)
    assert all(" ".join(documented[each.name].split()) == each.help for each in options.values())


@pytest.mark.parametrize("command", CASES)
def test_the_command_line_has_all_of_it(command: str):
    case = CASES[command]
    options = {each.name: each for each in options_of(case.config)}
    absent = {name for name, each in options.items() if each.cli is None}
    assert set(case.instead) == absent and set(case.chosen) == set(options) - absent
    expected = {*case.chosen, *case.instead.values(), *case.inputs.values()}
    assert expected <= set(command_of(command).parameters)


@pytest.mark.parametrize(("command", "name"), BY_OPTION)
def test_every_option_arrives_by_flag_and_by_file(called, tmp_path: Path, command: str, name: str):
    value, required = CASES[command].chosen[name], flags(REQUIRED[command])
    if name in ("harness_limit", "harness_include_path"):
        required += ["--harness-tasks", "mmlu"]
    spelling = f"--{name.replace('_', '-')}"
    given = {True: [spelling], False: [f"--no-{spelling[2:]}"]}.get(value) if isinstance(value, bool) else None
    if isinstance(value, dict):
        given = [f"{spelling}={key}={part}" for key, part in value.items()]
    shown = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    noted = called(*required, *(given or [spelling, shown]), command=command)
    assert noted["exit_code"] == 0, noted["output"]
    expected = tuple(value) if isinstance(value, list) else value
    assert noted[name] == expected and type(noted[name]) is type(expected)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({name: value}))
    assert called("--config", "settings.yaml", *required, command=command)[name] == expected
    assert called(*required, command=command)[name] == getattr(CASES[command].config(), name) != expected


def test_flags_arrive(called):
    chosen = ["--objective-option", "beta=0.5", "--objective-option", "name_of=x y", "--bf16", "--lora-r", 4, "--lora-target", "q_proj",
              "--lora-target", "v_proj", "--lora-dropout", 0.1, "--lora-alpha", 3, "--max-length", 99, "--gradient-accumulation-steps", 3,
              "--prompt-template", "Q: {question}\nA:", "--save-steps", 7]  # fmt: skip
    noted = called(*flags(REQUIRED["unlearn"]), *chosen)
    assert noted["exit_code"] == 0, noted["output"]
    assert noted["objective_options"] == {"beta": 0.5, "name_of": "x y"} and noted["bf16"] is True
    adapter = noted["peft_config"]
    assert (adapter.r, adapter.lora_alpha, adapter.lora_dropout, set(adapter.target_modules)) == (4, 3, 0.1, {"q_proj", "v_proj"})  # fmt: skip
    assert (noted["max_length"], noted["gradient_accumulation_steps"], noted["save_steps"]) == (99, 3, 7)
    assert noted["prompt_template"] == "Q: {question}\nA:"
    assert "forget probability: 0.9 before, 0.125 after" in noted["output"]


@pytest.mark.parametrize(("text", "value"), [(".5", 0.5), ("5.", 5.0), ("1e-1", 0.1), ("-2", -2), ("true", True)])
def test_numbers_of_options_are_numbers(called, text: str, value: float):
    found = called(*flags(REQUIRED["unlearn"]), "--objective-option", f"beta={text}")["objective_options"]["beta"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("suffix", ["yaml", "json", "toml"])
def test_a_file_gives_what_the_command_line_does_not(called, tmp_path: Path, suffix: str):
    options = {**REQUIRED["unlearn"], "objective": "simnpo", "objective-option": {"beta": 0.5, "gamma": 1}, "learning_rate": 1e-3, "bf16": True,
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
    assert noted["layers"] == (1, 3) and noted["confidence"] == 0.9 and noted["model"] == "c"


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
    noted = called("--config", tmp_path / "wrong.yaml", *flags(REQUIRED["unlearn"]))
    assert noted["exit_code"] == 2 and message in noted["output"].replace(" │ │ ", " "), noted["output"]
    assert called("--config", tmp_path / "nowhere.yaml", *flags(REQUIRED["unlearn"]))["exit_code"] == 2
    assert "a .yaml, .json or .toml file" in called("--config", "settings.ini", *flags(REQUIRED["unlearn"]))["output"]


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
    noted = called(*flags(REQUIRED["unlearn"]), *options)
    assert noted["exit_code"] == 1 and message in noted["output"]


def test_further_sets_of_an_audit(called):
    noted = called(
        *flags(REQUIRED["audit"]),
        "--set",
        "facts=retain:me/facts:train",
        "--set",
        "far=forget:x.json",
        command="audit",
    )
    assert {name: (found.data, found.role) for name, found in noted["sets"].items()} == {
        "facts": ("me/facts:train", "retain"),
        "far": ("x.json", "forget"),
    }


@pytest.mark.parametrize("given", ["facts", "facts=retain", "facts=keep:x.json", "=retain:x.json"])
def test_a_set_that_cannot_be_read(called, given: str):
    noted = called(*flags(REQUIRED["audit"]), "--set", given, command="audit")
    assert noted["exit_code"] == 1 and ("NAME=ROLE:DATA" in noted["output"] or "role of a set" in noted["output"])


@pytest.mark.parametrize("option", ["--harness-limit=3", "--harness-include-path=tasks"])
def test_options_of_the_harness_without_tasks_are_refused(called, option: str):
    noted = called(*flags(REQUIRED["audit"]), option, command="audit")
    assert noted["exit_code"] == 1 and "--harness-tasks, which names none" in noted["output"]
