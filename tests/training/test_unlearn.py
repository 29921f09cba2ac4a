"""The one-call form on the pocket benchmark, and the effect this project exists to show."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from runs import arguments, largest_difference, weights
from safetensors import SafetensorError
from transformers import Trainer

from hf_unlearn import NPO, GradientAscent, UnlearningCallback, audit, unlearn
from hf_unlearn.audit import verdict
from hf_unlearn.config import UnlearnConfig, options_of
from hf_unlearn.data import AnswerCollator, Pocket, load_pocket, tokenize_examples
from hf_unlearn.inference import load_model, score
from hf_unlearn.training import ResultNotSavedError
from hf_unlearn.training._training_arguments import default_learning_rate


def probabilities(pocket: Pocket, model) -> dict[str, float]:
    result = {}
    for name in ("forget", "retain"):
        examples = tokenize_examples(getattr(pocket, name), pocket.tokenizer).to_list()
        result[name] = float(score({"m": model}, examples, progress=False).probability("m").mean())
    return result


@pytest.fixture
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture
def options(pocket: Pocket, tmp_path: Path) -> dict:
    return {
        "forget": pocket.forget,
        "retain": pocket.retain,
        "processing_class": pocket.tokenizer,
        "output_dir": tmp_path / "out",
        "objective": NPO(beta=1.0),
        "num_train_epochs": 3,
        "learning_rate": 1e-3,
    }


def test_forgetting_with_little_loss_elsewhere(pocket: Pocket, options: dict):
    """Ordering with margin: forget probability at most half of what it was, retain at least 90 %."""
    before = probabilities(pocket, pocket.original())
    result = unlearn(pocket.original(), **options)
    after = probabilities(pocket, result.model)
    assert after["forget"] < before["forget"] / 2
    assert after["retain"] > 0.9 * before["retain"]
    assert any("forget_loss" in log and "retain_loss" in log for log in result.log_history)


def test_what_is_saved_is_what_was_trained(pocket: Pocket, options: dict):
    result = unlearn(pocket.original(), **{**options, "num_train_epochs": 1})
    files = {path.name for path in result.output_dir.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "unlearning.json"} <= files
    assert not list(result.output_dir.glob("*.bin"))
    assert probabilities(pocket, load_model(result.output_dir)) == probabilities(pocket, result.model)
    settings = json.loads((result.output_dir / "unlearning.json").read_text())
    assert settings["objective"] == {"beta": 1.0, "name": "npo"}
    assert settings["data"]["forget"]["rows"] == len(pocket.forget)
    text = (result.output_dir / "unlearning.json").read_text()
    assert not any(row["answer"] in text or row["question"] in text for row in pocket.forget)


def test_a_length_in_steps_takes_the_place_of_passes(pocket: Pocket, options: dict):
    result = unlearn(pocket.original(), **{**options, "max_steps": 3})
    assert result.settings["optimizer_steps"] == result.settings["max_steps"] == 3
    assert result.settings["num_train_epochs"] is None
    passes = unlearn(pocket.original(), **{**options, "num_train_epochs": 1})
    assert passes.settings["max_steps"] is None and passes.settings["num_train_epochs"] == 1


def test_with_lora_only_the_adapter_is_saved_and_it_forgets(pocket: Pocket, options: dict, tmp_path: Path):
    pocket.original().save_pretrained(tmp_path / "model")
    before = probabilities(pocket, pocket.original())
    result = unlearn(
        str(tmp_path / "model"),
        **{
            **options,
            "peft_config": LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"),
            "learning_rate": 5e-3,
            "num_train_epochs": 4,
        },
    )
    assert isinstance(result.model, PeftModel)
    assert (result.output_dir / "adapter_model.safetensors").is_file()
    assert not (result.output_dir / "model.safetensors").exists()
    after = probabilities(pocket, load_model(result.output_dir))
    assert after["forget"] < before["forget"] / 2
    assert after["retain"] > 0.8 * before["retain"]


def test_a_stopped_run_is_taken_up_again(pocket: Pocket, options: dict):
    from transformers import TrainingArguments

    args = TrainingArguments(
        output_dir=str(options["output_dir"] / "checkpoints"),
        max_steps=8,
        learning_rate=1e-3,
        save_steps=4,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    whole = unlearn(pocket.original(), **{**options, "args": args})
    resumed = unlearn(
        pocket.original(),
        **{
            **options,
            "args": args,
            "resume_from_checkpoint": str(options["output_dir"] / "checkpoints" / "checkpoint-4"),
        },
    )
    for (name, one), (_, two) in zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True):
        assert torch.equal(one, two), name


def test_a_result_that_cannot_be_saved_is_not_lost(
    pocket: Pocket, options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The disk is full when the tokenizer's turn comes: no half of the result stays, and the whole can be saved elsewhere."""

    def full(self, folder, *args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(pocket.tokenizer), "save_pretrained", full)
        args = arguments(tmp_path / "checkpoints", max_steps=1, save_strategy="no")
        trainer_saves = {**options, "args": args}
        with pytest.raises(ResultNotSavedError, match="No space left on device") as caught:
            unlearn(pocket.original(), **trainer_saves)
    assert list(options["output_dir"].iterdir()) == []
    caught.value.result.save(tmp_path / "elsewhere")
    assert probabilities(pocket, load_model(tmp_path / "elsewhere")) == probabilities(
        pocket, caught.value.result.model
    )


@pytest.mark.parametrize("error", [SafetensorError, RuntimeError])
def test_no_error_of_saving_loses_the_model(
    error: type, pocket: Pocket, options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """On a full disk safetensors raises an error of its own, which is no OSError; shared tensors give yet another one."""
    model = pocket.original()

    def full(*args, **kwargs):
        raise error("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "save_pretrained", full)
        args = arguments(tmp_path / "checkpoints", max_steps=1)
        with pytest.raises(ResultNotSavedError, match="No space left on device") as caught:
            unlearn(model, **{**options, "args": args})
    caught.value.result.save(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "model.safetensors").is_file()


def test_it_says_what_it_did(pocket: Pocket, options: dict, caplog: pytest.LogCaptureFixture):
    """Before and after are those of the models as anybody may measure them; nothing to warn about where it forgot."""
    expected = probabilities(pocket, pocket.original())
    with caplog.at_level(logging.INFO, logger="hf_unlearn"):
        result = unlearn(pocket.original(), **options)
    after = probabilities(pocket, result.model)
    assert result.before["forget_probability"] == pytest.approx(expected["forget"], abs=1e-6)
    assert result.after["forget_probability"] == pytest.approx(after["forget"], abs=1e-6)
    assert result.after["retain_probability"] == pytest.approx(after["retain"], abs=0.05)
    saved = json.loads((result.output_dir / "unlearning.json").read_text())
    assert (saved["before"], saved["after"]) == (result.before, result.after)
    assert saved["optimizer_steps"] > 0
    assert f"forget probability: {result.before['forget_probability']:.3g} before" in caplog.text
    assert "visibly forget" not in caplog.text


def test_a_run_that_does_not_forget_says_so(pocket: Pocket, options: dict, caplog: pytest.LogCaptureFixture):
    unlearn(pocket.original(), **{**options, "learning_rate": 1e-9, "num_train_epochs": 1})
    assert "the model did not visibly forget" in caplog.text
    assert "it was 1e-09" in caplog.text


def test_the_defaults_make_a_small_model_forget(pocket: Pocket, options: dict):
    """Forget probability at most half; with the rate meant for billions of weights it stayed above .9."""
    for setting in ("learning_rate", "num_train_epochs", "objective"):
        options.pop(setting)
    result = unlearn(pocket.original(), **options)
    assert result.after["forget_probability"] < result.before["forget_probability"] / 2
    assert result.settings["learning_rate"] == default_learning_rate(pocket.original(), adapter=False) > 1e-4


def test_no_checkpoint_is_kept_unless_asked_for(pocket: Pocket, options: dict):
    short = {**options, "num_train_epochs": 1}
    result = unlearn(pocket.original(), **short)
    assert not (result.output_dir / "checkpoints").exists()
    assert not [path for path in result.output_dir.rglob("*") if path.name.startswith("optimizer")]
    with pytest.raises(ValueError, match=r"there is no checkpoint in .* go on from; runs keep them with save_steps="):
        unlearn("no-model-is-opened", **{**short, "resume_from_checkpoint": True})
    kept = unlearn(pocket.original(), **{**short, "save_steps": 3})
    checkpoints = kept.output_dir / "checkpoints"
    assert (checkpoints / "checkpoint-6" / "optimizer.pt").is_file()
    shutil.rmtree(checkpoints / "checkpoint-7")
    resumed = unlearn(pocket.original(), **{**short, "save_steps": 3, "resume_from_checkpoint": True})
    assert weights(resumed.model).keys() == weights(kept.model).keys()
    assert largest_difference(weights(resumed.model), weights(kept.model)) == 0


def test_the_seed_decides_the_adapter_too(pocket: Pocket, options: dict):
    """Two calls give one model, whatever was drawn before; another seed gives another."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    short = {**options, "peft_config": config, "num_train_epochs": 0.3}
    found = []
    for seed, drawn in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(drawn)
        found.append(weights(unlearn(pocket.original(), **short, seed=seed).model))
    assert largest_difference(found[0], found[1]) == 0
    assert largest_difference(found[0], found[2]) > 1e-3


def test_what_else_can_be_set(pocket: Pocket, options: dict):
    chosen = {"objective": "npo", "objective_options": {"beta": 0.5}, "max_length": 60, "bf16": True}
    result = unlearn(
        pocket.original(),
        **{
            **options,
            **chosen,
            "num_train_epochs": 1,
            "gradient_accumulation_steps": 2,
            "per_device_train_batch_size": 4,
        },
    )
    assert result.settings["objective"] == {"beta": 0.5, "name": "npo"}
    assert result.settings["optimizer_steps"] == -(-len(pocket.retain) // 8)
    assert result.settings["forget_examples_per_step"] == 8
    assert (result.settings["max_length"], result.settings["bf16"]) == (60, True)
    with pytest.raises(ValueError, match=r"Row \d+ has \d+ tokens .* more than max_length=5"):
        unlearn(pocket.original(), **{**options, "max_length": 5})


@pytest.mark.parametrize("seed", [0, 1])
def test_what_looks_forgotten_may_be_further_from_retraining_than_before(seed: int, tmp_path: Path):
    """Floor well below start; gradient ascent drives the forget probability to nearly nothing and the model further away than
    the original was. With margins, on two seeds."""
    pocket = load_pocket("nano", seed=seed)
    trainer = Trainer(
        model=pocket.original(),
        args=arguments(
            tmp_path, learning_rate=1e-3, optim="adamw_torch", max_grad_norm=1.0, num_train_epochs=4, seed=seed
        ),
        train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer),
        data_collator=AnswerCollator(0),
        processing_class=pocket.tokenizer,
    )
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=pocket.forget, objective=GradientAscent()))
    trainer.train()
    report = audit(
        trainer.model.eval(),
        reference=pocket.reference(),
        original=pocket.original(),
        twin=pocket.twin(),
        processing_class=pocket.tokenizer,
        forget=pocket.forget.remove_columns(
            ["person_id", "cluster_id", "subject"]
        ),  # three people would be too few to say it
        num_samples=4,
        seed=seed,
        progress=False,
    )
    fade = report.metrics["fade"]
    assert fade.floor < 0.5 * fade.start
    assert report.metrics["probability/forget"].value < 0.05
    assert report.metrics["probability/forget"].others["original"] > 0.9
    assert fade.value > 1.5 * fade.start
    assert fade.over_start_interval[0] > 0
    assert verdict(fade).kind == "beyond"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"objective": "npoo"}, ValueError, "Did you mean 'npo'"),
        ({"retain_term": "k"}, ValueError, "no retain term"),
        ({"forget": "no/such/file.jsonl"}, FileNotFoundError, "no/such/file.jsonl"),
        ({"forget": Dataset.from_dict({"question": [], "answer": []})}, ValueError, "no rows|empty"),
        ({"num_train_epochs": 0}, ValueError, "num_train_epochs must be above 0, got 0.* not a single step"),
        ({"num_train_epochs": -1}, ValueError, "num_train_epochs must be above 0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be above 0"),
        ({"learning_rate": "1e-5"}, TypeError, "learning_rate must be a number"),
        ({"per_device_train_batch_size": 0}, ValueError, "per_device_train_batch_size must be at least 1"),
        ({"gradient_accumulation_steps": 1.5}, TypeError, "gradient_accumulation_steps must be a whole number"),
        ({"save_steps": 0}, ValueError, "save_steps must be at least 1"),
        ({"seed": 1.5}, TypeError, "seed must be a whole number"),
        ({"max_length": 0}, ValueError, "max_length must be at least 2"),
        ({"forget_weight": 0}, ValueError, "forget_weight must be above 0"),
        ({"retain_weight": -1}, ValueError, "retain_weight must be at least 0"),
        ({"allow_overlap": "no"}, TypeError, "allow_overlap must be True or False"),
        ({"bf16": "yes"}, TypeError, "bf16 must be True or False"),
        ({"forget": None}, TypeError, "forget must be given: what must go"),
        ({"retain": None}, TypeError, "retain must be given: what must stay"),
        ({"output_dir": ""}, ValueError, "output_dir must be the path of a folder, got an empty text"),
        ({"fila": True}, ValueError, "fila=True initialises a LoRA adapter: pass peft_config"),
        ({"objective_options": {"beta": 1}}, ValueError, r"give them to NPO\(…\) itself"),
        ({"objective": "npo", "objective_options": {"bta": 1}}, ValueError, "no option 'bta'; it has beta"),
        (
            {"objective": "npo", "objective_options": {"beta": "0.5"}},
            TypeError,
            r"option 'beta' of objective 'npo' must be a number, got '0.5'",
        ),
        ({"peft_config": "lora"}, TypeError, r"peft_config must be a PEFT configuration, .*LoraConfig.*; got 'lora'"),
        ({"forget_batch_size": 0}, ValueError, "forget_batch_size must be at least 1"),
        ({"prompt_template": "Question:"}, ValueError, r"must have \{question\}"),
        ({"resume_from_checkpoint": True}, ValueError, "there is no checkpoint"),
    ],
)
def test_bad_input_is_refused_before_the_model_is_opened(change: dict, error: type, message: str, options: dict):
    with pytest.raises(error, match=message):
        unlearn("no-model-is-opened", **{**options, **change})


def test_saliency_trains_its_share_and_every_option_is_recorded(pocket: Pocket, options: dict):
    result = unlearn(pocket.original(), **{**options, "num_train_epochs": 0.3}, saliency=0.25)
    before, after = weights(pocket.original()), weights(result.model)
    moved = sum(int((after[name] != value).sum()) for name, value in before.items())  # weight decay would move all
    assert 0 < moved <= 0.26 * sum(value.numel() for value in before.values())
    recorded = {each.name for each in options_of(UnlearnConfig) if each.recorded}
    assert recorded <= set(json.loads((result.output_dir / "unlearning.json").read_text()))
    assert result.settings["saliency"] == 0.25 and result.settings["per_device_train_batch_size"] == 8


def test_what_training_arguments_replaced_is_recorded(pocket: Pocket, options: dict):
    args = arguments(options["output_dir"], max_steps=1, per_device_train_batch_size=3, learning_rate=1e-4, seed=5)
    settings = unlearn(pocket.original(), **options, args=args).settings
    assert (settings["per_device_train_batch_size"], settings["learning_rate"], settings["seed"]) == (3, 1e-4, 5)


def test_a_small_forget_set_comes_in_smaller_batches(pocket: Pocket, options: dict):
    few = {**options, "forget": pocket.forget.select(range(3)), "num_train_epochs": 0.2}
    with pytest.raises(ValueError, match="Pass forget_batch_size=3 or less"):
        unlearn(pocket.original(), **few)
    assert unlearn(pocket.original(), **few, forget_batch_size=3).settings["forget_examples_per_step"] == 3


def test_overlap_is_refused_before_the_model_is_opened(options: dict, pocket: Pocket):
    with pytest.raises(ValueError, match=r"are also in retain .*allow_overlap=True"):
        unlearn("no-model-is-opened", **{**options, "forget": pocket.retain})


def test_a_folder_that_cannot_be_written_is_refused_first(options: dict, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to"):
        unlearn("no-model-is-opened", **{**options, "output_dir": tmp_path / "file"})


@pytest.mark.parametrize("bad", ["forget", "retain"])
def test_a_tokenizer_with_more_tokens_than_the_model(bad: str, options: dict, pocket: Pocket):
    """Added tokens that no row uses do no harm, not even as padding; ids without an embedding are refused by set and row."""
    pocket.tokenizer.add_special_tokens({"pad_token": "<added pad>"})
    pocket.tokenizer.add_tokens(["<odd>"])
    unlearn(pocket.original(), **{**options, "num_train_epochs": 0.3})
    rows = [*getattr(pocket, bad)]
    rows[1] = {**rows[1], "answer": "<odd>"}
    with pytest.raises(ValueError, match=f"{bad}: row 1 has the token id 1001, but the model knows only 1000 tokens"):
        unlearn(pocket.original(), **{**options, bad: Dataset.from_list(rows)})


def test_an_adapter_on_an_adapter_is_refused(options: dict, pocket: Pocket):
    from peft import get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj"])
    with pytest.raises(ValueError, match="has an adapter already"):
        unlearn(get_peft_model(pocket.original(), config), **{**options, "peft_config": config})
