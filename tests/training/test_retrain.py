"""References from the user's own recipe: fresh, comparable, resumable, and refused where they would be something else."""

import json
import logging
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from recipes import Kill, Recipe, people, same, saved_base, tokenizer
from sft import CHAT_TEMPLATE
from toys import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from hf_unlearn import retrain
from hf_unlearn.training._recipe import _without_folders


FORGET = people("Cai", "Gus")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_base(tmp_path_factory.mktemp("base"))


def run(recipe, folder: Path, **options):
    return retrain(recipe, people(), without=FORGET, output_dir=folder, **options)


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with seed 0 done; tests that write take a copy."""
    return run(Recipe(base), tmp_path_factory.mktemp("trained"), seeds=[0]).reference.parent


def test_reference_and_twin_from_one_base(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    recipe = Recipe(base)
    made = run(recipe, tmp_path)
    assert made.reference == tmp_path / "seed-0" and made.twins == (tmp_path / "seed-1",)
    assert made.share_start and "start from different weights" not in caplog.text
    assert recipe.calls == [0, 1, 0, 1] and recipe.trained == [0, 1]
    assert not same(made.reference, made.twins[0]) and not same(made.reference, base)
    assert AutoTokenizer.from_pretrained(made.reference)("Ada")["input_ids"] == tokenizer()("Ada")["input_ids"]
    assert not [*tmp_path.rglob("seed-?/training_args.bin")]


def test_the_note_says_how_it_was_made_and_names_no_path_and_no_text(base: Path, tmp_path: Path):
    made = run(Recipe(base), tmp_path, seeds=[4])
    text = (made.reference / "retraining.json").read_text()
    note = json.loads(text)
    assert note["made"] == {
        "made_by": "retrain",
        "rows_before": 24,
        "rows_removed": 4,
        "removed_exact": 4,
        "removed_near_duplicates": 0,
        "near_duplicates_from": None,
        "forget_rows": 4,
        "forget_rows_not_found": 0,
        "seed": 4,
        "rows": 20,
        "rows_sha256": note["made"]["rows_sha256"],
    }
    assert note["recipe"]["learning_rate"] == 0.01 and note["recipe"]["configuration's hidden_size"] == 32
    assert note["finished"] and note["optimizer_steps"] == 4 and note["seconds"] > 0 and "torch" in note["versions"]
    assert str(tmp_path) not in text and str(base) not in text and "Cai" not in text


@pytest.mark.parametrize(
    ("step", "lora"),
    [(3, True), pytest.param(3, False, marks=pytest.mark.slow), pytest.param(1, False, marks=pytest.mark.slow)],
)
def test_an_interrupted_training_ends_bit_for_bit_as_an_uninterrupted_one(
    step: int, lora: bool, base: Path, tmp_path: Path
):
    whole = run(Recipe(base, lora=lora), tmp_path / "whole", seeds=[0])
    with pytest.raises(KeyboardInterrupt):
        run(Recipe(base, lora=lora, callbacks=[Kill(step)]), tmp_path / "cut", seeds=[0])
    recipe = Recipe(base, lora=lora)
    again = run(recipe, tmp_path / "cut", seeds=[0])
    assert recipe.trained == [0] and same(whole.reference, again.reference)
    note = json.loads((again.reference / "retraining.json").read_text())
    assert note["resumed_from"] == {1: None, 3: "checkpoint-2"}[step]


def test_what_is_finished_is_not_trained_again(base: Path, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run(_killed_at_seed(base, 1), tmp_path)
    before = (tmp_path / "seed-0" / "model.safetensors").stat().st_mtime_ns
    recipe = Recipe(base, logging_steps=3, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    run(recipe, tmp_path)
    assert recipe.trained == [1] and (tmp_path / "seed-0" / "model.safetensors").stat().st_mtime_ns == before
    recipe = Recipe(base)
    assert run(recipe, tmp_path).paths.keys() == {0, 1} and recipe.trained == []


def test_a_finished_model_that_somebody_deleted_is_made_again(base: Path, trained: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    (tmp_path / "seed-0" / "model.safetensors").unlink()
    run(Recipe(base), tmp_path, seeds=[0])
    assert same(trained / "seed-0", tmp_path / "seed-0")


def test_paths_in_a_recipe_are_cut_where_it_is_written_down():
    found = _without_folders(
        {"path": "/home/me/secret/chat.jinja", "list": [{"at": "/x/y"}], "id": "me/base", "rate": 1}
    )
    assert found == {"path": "chat.jinja", "list": [{"at": "y"}], "id": "me/base", "rate": 1}


def _killed_at_seed(base: Path, seed: int) -> Recipe:
    def change(trainer):
        if trainer.args.seed == seed:
            trainer.add_callback(Kill(2))

    return Recipe(base, change=change)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 1e-3}, "learning_rate was 0.01 and is 0.001"),
        ({"max_steps": 6}, "max_steps was 4 and is 6"),
        ({"per_device_train_batch_size": 2}, "rows per step was 4 and is 2"),
        ({"lora": True}, "model was|adapter was None and is LORA"),
        ({"base": 3}, "it started from other weights"),
        ({"dataset": people("Ada", "Cai", "Gus")}, "rows_before was 24 and is 6"),
        ({"near_duplicates": 0.9}, "near_duplicates_from was None and is 0.9"),
    ],
)
def test_another_recipe_in_the_same_folder_is_refused(
    changed: dict, message: str, base: Path, trained: Path, tmp_path: Path
):
    data = {"near_duplicates": changed.pop("near_duplicates", None)}
    dataset = changed.pop("dataset", people())
    if "base" in changed:
        changed["base"] = saved_base(tmp_path / "other", seed=3)
    recipe = Recipe(**{"base": base, **changed})
    with pytest.raises(ValueError, match="was made another way: .*" + message):
        retrain(recipe, dataset, without=FORGET, output_dir=trained, seeds=[0], **data)
    assert not recipe.trained


def test_checkpoints_of_something_unknown_are_refused(base: Path, tmp_path: Path):
    (tmp_path / "seed-0" / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"holds checkpoints and no retraining.json"):
        run(Recipe(base), tmp_path)


def test_one_model_for_all_seeds_is_refused_before_training(base: Path, tmp_path: Path):
    model = AutoModelForCausalLM.from_pretrained(base)
    recipe = Recipe(base, model=lambda seed: model)
    with pytest.raises(ValueError, match="gave two Trainers one model"):
        run(recipe, tmp_path)
    assert recipe.trained == []


def test_one_base_under_all_adapters_is_refused_before_training(base: Path, tmp_path: Path):
    model = AutoModelForCausalLM.from_pretrained(base)

    def adapted(seed: int):
        return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))

    with pytest.raises(ValueError, match="one base under their adapters"):
        run(Recipe(base, model=adapted), tmp_path)


def test_starts_that_should_be_one_and_are_not_are_refused(base: Path, tmp_path: Path):
    def drifting(seed: int):
        model = AutoModelForCausalLM.from_pretrained(base)
        for parameter in model.parameters():
            parameter.data += seed
        return model

    with pytest.raises(ValueError, match=r"seeds 0 and 1 both say that they come from .* and start from different"):
        run(Recipe(base, model=drifting), tmp_path)


def test_random_starts_are_reproducible_and_said_to_be_strangers(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """A recipe that draws its weights: seeded before each call, so that the folder can be gone on with."""
    config = AutoModelForCausalLM.from_pretrained(base).config
    config._name_or_path = ""

    def drawn(seed: int):
        return AutoModelForCausalLM.from_config(deepcopy(config))  # the Trainer sets its padding token

    made = run(Recipe(base, model=drawn), tmp_path)
    assert not made.share_start and "the models start from different weights, not from one base" in caplog.text
    recipe = Recipe(base, model=drawn)
    run(recipe, tmp_path)
    assert recipe.trained == []


def test_a_start_that_changes_between_calls_is_refused(base: Path, tmp_path: Path):
    count = iter(range(9))
    with pytest.raises(ValueError, match="other starting weights than when it was first called"):
        run(Recipe(base, model=lambda seed: tiny_llama(next(count), vocab_size=len(tokenizer()))), tmp_path)


def test_adapters_on_one_base(base: Path, tmp_path: Path):
    made = run(Recipe(base, lora=True), tmp_path)
    assert made.share_start
    for path in made.paths.values():
        assert [file.name for file in path.glob("*.safetensors")] == ["adapter_model.safetensors"]
    opened = [
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), path).state_dict()
        for path in made.paths.values()
    ]
    names = [name for name in opened[0] if "lora_B" in name]
    assert names and not any(torch.equal(opened[0][name], opened[1][name]) for name in names)


def _drop_a_row(trainer):
    trainer.train_dataset = trainer.train_dataset.select(range(5))


def _seen(trainer):
    trainer.train()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"seed": 42}, ValueError, "called with seed 0, and its TrainingArguments have seed 42"),
        ({"data_seed": 1}, ValueError, "called with seed 0, and its TrainingArguments have data_seed 1"),
        ({"output_dir": "elsewhere"}, ValueError, "Pass output_dir=output_dir"),
        ({"change": _drop_a_row}, ValueError, "called with 20 rows, and the train_dataset of its Trainer has 5"),
        ({"change": _seen}, ValueError, "has not trained yet"),
        ({"change": lambda trainer: trainer.model}, TypeError, "must return a transformers.Trainer"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be above 0"),
    ],
)
def test_a_trainer_that_is_not_what_was_asked_for_is_refused(
    changed: dict, error: type, message: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(base, **changed)
    with pytest.raises(error, match=message):
        run(recipe, tmp_path / "out")
    assert 1 not in recipe.trained


def test_forget_rows_put_back_by_the_recipe_are_refused(base: Path, tmp_path: Path):
    everything = Recipe(base)
    with pytest.raises(ValueError, match="called with 20 rows, and the train_dataset of its Trainer has 24"):
        run(lambda rows, seed, folder: everything(people(), seed, folder), tmp_path)
    with pytest.raises(ValueError, match="puts 4 of 4 forget rows back"):
        run(lambda rows, seed, folder: everything(people().select(range(20)), seed, folder), tmp_path)
    assert everything.trained == []


def test_a_forget_set_that_is_not_in_the_data_is_refused_before_the_recipe_is_asked(base: Path, tmp_path: Path):
    recipe = Recipe(base)
    with pytest.raises(ValueError, match="not one of the 4 forget rows is in the 4 rows"):
        retrain(recipe, people("Ada", "Bo"), without=FORGET, output_dir=tmp_path)
    assert not recipe.calls


@pytest.mark.parametrize("packing", [False, True])
def test_in_trls_sft_trainer_with_its_own_adapter(
    packing: bool, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    words = tokenizer()
    words.chat_template = CHAT_TEMPLATE
    rows = people().map(
        lambda row: {
            "messages": [
                {"role": "user", "content": row["question"]},
                {"role": "assistant", "content": row["answer"]},
            ]
        },
        remove_columns=["question", "answer", "person_id"],
    )

    def make_trainer(train_dataset, seed, output_dir):
        return SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(base),
            args=SFTConfig(
                output_dir=output_dir,
                seed=seed,
                max_steps=2,
                max_length=64,
                packing=packing,
                per_device_train_batch_size=2,
                report_to="none",
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                disable_tqdm=True,
            ),
            train_dataset=train_dataset,
            processing_class=words,
            peft_config=LoraConfig(r=2, target_modules=["q_proj"]),
        )

    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        made = retrain(make_trainer, rows, without=FORGET, output_dir=tmp_path)
    assert made.removed.exact == 4 and made.share_start and "not looked through" not in caplog.text
    assert (made.reference / "adapter_model.safetensors").is_file()
