"""The search on pocket nano: what it leaves, that it goes on, and that the model that was given never changes."""

import copy
import csv
import importlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from typer.testing import CliRunner

from hf_unlearn import tune
from hf_unlearn.cli import app
from hf_unlearn.config import UnlearnConfig
from hf_unlearn.data import Pocket, load_pocket
from hf_unlearn.training import UnlearnResult
from hf_unlearn.tuning import Recipe, TuneResult


TUNE, TRIALS = (importlib.import_module(f"hf_unlearn.tuning.{name}") for name in ("_tune", "_trials"))
COUNTERFACTUALS = importlib.import_module("hf_unlearn.audit.domains._counterfactuals")
STEPS = 8


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


def options(pocket: Pocket, folder: Path, **others: Any) -> dict[str, Any]:
    return {
        "forget": pocket.forget, "retain": pocket.retain, "reference": pocket.reference(), "twin": pocket.twin(),
        "processing_class": pocket.tokenizer, "objectives": ["simnpo", "grad_diff"], "num_trials": 3, "max_steps": STEPS, "max_examples": 6,
        "num_samples": 1, "max_new_tokens": 12, "evaluations": 2, "progress": False, "output_dir": folder,
    } | others  # fmt: skip


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(weight, two[name]) for name, weight in one.items())


@pytest.fixture(scope="module")
def found(pocket: Pocket, tmp_path_factory: pytest.TempPathFactory):
    """A search, the weights that each of its trials ended with, and the model that it was given, before and after."""
    folder, ends = tmp_path_factory.mktemp("tuned"), []
    whole = TRIALS.run_trial

    def noted(recipe: Recipe, model: torch.nn.Module, *arguments: Any, **named: Any) -> Any:
        outcome = whole(recipe, model, *arguments, **named)
        ends.append(state(model))
        return outcome

    model = pocket.original()
    before = state(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TRIALS, "run_trial", noted)
        result = tune(model, **options(pocket, folder))
    return result, ends, before, state(model)


def test_the_model_that_was_given_is_as_it_was(found):
    _, ends, before, after = found
    assert same(before, after)
    assert not any(same(before, end) for end in ends)


def test_defaults_are_tried_first_so_what_is_found_is_no_worse(found):
    result: TuneResult = found[0]
    assert [(row["objective"], row["is_default"]) for row in result.trials[:2]] == [("simnpo", True), ("grad_diff", True)]  # fmt: skip
    whole = [row["score"] for row in result.trials if row["state"] == "complete"]
    assert result.best_trial["score"] == min(whole) <= min(row["score"] for row in result.trials[:2])
    assert result.default.objective == result.best.objective and result.default.config.max_steps == STEPS


def test_scores_are_what_they_are_defined_to_be(found):
    for row in found[0].trials:
        scale = row["forget_start"] - row["forget_floor"]
        relative = (row["forget"] - row["forget_floor"]) / scale
        excess = max(0.0, row["retain"] - row["retain_floor"]) / scale
        assert row["score"] == pytest.approx(relative + excess) and row["relative"] == pytest.approx(relative)
        # Halves have other people, so other starts; of pruned trials nobody looks at the other half.
        assert (row["other_score"] is None) is (row["state"] != "complete")
        assert row["other_forget_start"] != row["forget_start"]


def test_what_it_leaves_in_its_folder(found):
    result: TuneResult = found[0]
    assert {path.name for path in result.output_dir.iterdir()} == {"study.db", "trials.csv", "best.yaml", "pareto.png"}
    with (result.output_dir / "trials.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["score"]) for row in table] == [row["score"] for row in result.trials]
    assert (result.output_dir / "pareto.png").stat().st_size > 10_000
    assert len(result.study.trials) == len(result.trials) == 3
    said = " ".join(result.sentences())
    assert f"best of 3 trials: {result.best.objective}" in said and "imistic by" in said
    front = [(row["forget"], row["retain"]) for row in result.pareto]
    assert front and front == sorted(front) and sorted(front, key=lambda pair: -pair[1]) == front


def test_the_recipe_applied_is_the_trial(found, pocket: Pocket, tmp_path: Path):
    result, ends, *_ = found
    sets = {"forget": pocket.forget, "retain": pocket.retain, "processing_class": pocket.tokenizer}
    again = result.best.apply(pocket.original(), **sets, output_dir=tmp_path)
    assert same(state(again.model), ends[result.best_trial["number"]])
    assert again.settings["optimizer_steps"] == result.best_trial["steps"]


def read_by_the_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> dict[str, Any]:
    """What `hf-unlearn unlearn` calls `unlearn` with."""
    noted: dict[str, Any] = {}

    def note(model: object, **given: object) -> UnlearnResult:
        noted.update(given, model=model)
        return UnlearnResult(None, None, Path("out"), [], {}, {}, {})

    monkeypatch.setattr(sys.modules["hf_unlearn.training"], "unlearn", note)
    done = CliRunner().invoke(app, ["unlearn", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return noted


def test_the_file_is_what_the_command_takes(found, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    result: TuneResult = found[0]
    inputs = ("--model", "m", "--forget", "f", "--retain", "r", "--output-dir", tmp_path)
    noted = read_by_the_command(monkeypatch, "--config", result.output_dir / "best.yaml", *inputs)
    assert UnlearnConfig.of(noted | {"args": None}) == result.best.config


def test_more_trials_go_on_where_the_search_was(found, pocket: Pocket, monkeypatch: pytest.MonkeyPatch):
    result, _, *_ = found
    copied = result.output_dir.parent / "copy"
    copied.mkdir()
    (copied / "study.db").write_bytes((result.output_dir / "study.db").read_bytes())
    more = tune(pocket.original(), **options(pocket, copied, num_trials=4))
    assert list(more.trials[:3]) == list(result.trials) and len(more.trials) == 4
    monkeypatch.setattr(TRIALS, "run_trial", lambda *given, **named: pytest.fail("nothing is left to try"))
    again = tune(pocket.original(), **options(pocket, copied, num_trials=4))
    assert again.best == more.best
    with pytest.raises(ValueError, match="holds another search: forget differ"):
        tune(pocket.original(), **options(pocket, copied, forget=pocket.forget.select(range(9))))
    with pytest.raises(ValueError, match="holds another search: model, original differ"):
        tune(pocket.twin(), **options(pocket, copied, original=pocket.original()))


def test_ctrl_c_leaves_a_study_that_goes_on(found, pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    whole, calls = TRIALS.run_trial, []

    def stopped(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*given, **named)

    monkeypatch.setattr(TRIALS, "run_trial", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune(pocket.original(), **options(pocket, tmp_path))
    assert (tmp_path / "best.yaml").is_file() and (tmp_path / "trials.csv").is_file()
    resumed = tune(pocket.original(), **options(pocket, tmp_path))
    ended = [row for row in resumed.trials if row["state"] != "interrupted"]
    timeless = [{**row, "number": 0, "seconds": 0} for row in ended]
    # Another process's search of the same seed, and the same numbers: reproducible, too.
    assert sorted(map(str, timeless)) == sorted(str({**row, "number": 0, "seconds": 0}) for row in found[0].trials)
    assert resumed.best == found[0].best


def test_pruning_ends_a_training_early(pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(
        TUNE.Search, "report", lambda self, place, value: not self._running.user_attrs.get("is_default")
    )
    result = tune(pocket.original(), **options(pocket, tmp_path, objectives=["simnpo"], num_trials=2, max_steps=16))
    default, other = result.trials
    assert (default["state"], default["steps"]) == ("complete", 16)
    assert (other["state"], other["steps"]) == ("pruned", math.ceil(other["max_steps"] / 2))
    assert other["steps"] < other["max_steps"] and result.best == result.default


def test_a_recipe_that_destroys_the_model_has_failed(pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(TRIALS, "default_learning_rate", lambda model, adapter: 1e30)
    with pytest.raises(ValueError, match="none of 1 trials came to its end"):
        tune(pocket.original(), **options(pocket, tmp_path, objectives=["grad_diff"], num_trials=1))


def test_with_lora_the_recipe_has_the_adapter(pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    lora = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    model, kept = pocket.original(), copy.deepcopy(lora)
    before = state(model)
    chosen = {"objectives": ["simnpo"], "num_trials": 1, "peft_config": lora}
    result = tune(model, **options(pocket, tmp_path, **chosen))
    assert same(before, state(model)) and lora == kept
    inputs = ("--model", "m", "--forget", "f", "--retain", "r", "--output-dir", tmp_path / "out")
    adapter = read_by_the_command(monkeypatch, "--config", tmp_path / "best.yaml", *inputs)["peft_config"]
    assert (adapter.r, adapter.lora_alpha, set(adapter.target_modules)) == (2, 8, {"q_proj", "v_proj"})
    monkeypatch.undo()
    sets = {"forget": pocket.forget, "retain": pocket.retain, "processing_class": pocket.tokenizer}
    assert isinstance(result.best.apply(pocket.original(), **sets, output_dir=tmp_path / "out").model, PeftModel)


def test_without_a_reference_the_distance_is_counterfactual(
    pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    make, names = COUNTERFACTUALS.counterfactual_questions, []

    def noted(*given: Any, **named: Any) -> Any:
        found = make(*given, **named)
        names.append({name for drawn in found.names for name in drawn})
        return found

    monkeypatch.setattr(COUNTERFACTUALS, "counterfactual_questions", noted)
    model, chosen = pocket.original(), {"objectives": ["simnpo"], "num_trials": 1, "num_counterfactuals": 2}
    before = state(model)
    # With this seed the names of one half alone give some of the other half's.
    given = options(pocket, tmp_path, reference=None, twin=None, holdout=pocket.holdout, seed=2, **chosen)
    result = tune(model, **given)
    row = result.trials[0]
    assert same(before, state(model)) and row["state"] == "complete"
    # Names alone differ at the floor, and the untouched model keeps all that it says of what must stay.
    assert 0 < row["forget_floor"] < row["forget_start"] and row["retain_floor"] == 0.0 < row["retain"]
    assert row["other_score"] is not None
    known = {name for rows in (pocket.forget, pocket.retain, pocket.holdout) for name in rows["subject"]}
    assert len(names) == 2 and all(names) and not any(known & drawn for drawn in names)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objectives": ["npo", "npoo"]}, "no objective 'npoo'"),
        ({"retain_terms": ["mse"]}, "no retain term 'mse'"),
        ({"num_trials": 1}, "num_trials must be at least 2"),
        ({"objectives": ["dpo"]}, "column 'alternative_answer'"),
        ({"metric": "fadee"}, "Did you mean 'fade'"),
        ({"reference": None, "metric": "fade"}, "fade needs a reference"),
        ({"metric": "probability"}, "probability is no distance on the forget set"),
        ({"pruner": "mean"}, "unknown pruner 'mean'"),
        ({"cluster_column": "team"}, "no cluster column 'team'"),
        ({"timeout": 0}, "timeout must be above 0"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(
    pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: dict, message: str
):
    monkeypatch.setattr(TRIALS, "run_trial", lambda *given, **named: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match=message):
        tune(pocket.original(), **options(pocket, tmp_path, **wrong))
    assert not (tmp_path / "study.db").exists()


def test_a_base_with_another_models_adapter_in_it_is_refused(pocket: Pocket, tmp_path: Path):
    base = pocket.original()
    from peft import get_peft_model

    get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="a base that an adapter was put into"):
        tune(base, **options(pocket, tmp_path))


def test_forget_rows_that_the_original_does_not_know_are_nothing_to_search_for(pocket: Pocket, tmp_path: Path):
    with pytest.raises(ValueError, match="nothing to search for"):
        tune(pocket.reference(), **options(pocket, tmp_path, num_trials=2))


def test_several_processes_are_refused(pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(TUNE, "num_processes", lambda: 2)
    with pytest.raises(ValueError, match="tune runs in one process"):
        tune(pocket.original(), **options(pocket, tmp_path))


def test_without_optuna_it_says_how_to_install_it(pocket: Pocket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match="pip install optuna"):
        tune(pocket.original(), **options(pocket, tmp_path))
