"""The tracker: what it measures, where the values arrive, and that training does not notice."""

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from launch import torchrun
from runs import examples, trainer_with_callback, weights
from toys import tiny_llama
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from hf_unlearn.data import load_pocket, tokenize_examples
from hf_unlearn.functional import PairedMoments, extraction_strength, layer_metrics
from hf_unlearn.inference import feature_rows, read_answers, score
from hf_unlearn.training import ForgettingTracker, KeepThenForget
from hf_unlearn.training._curves import Curves, forgetting_page
from hf_unlearn.training._panels import Heat, Panel


TWO = Path(__file__).with_name("two_processes_tracking.py")


def tracked(
    folder: Path, *, tracking=None, model=None, callbacks=(), **overrides
) -> tuple[Trainer, ForgettingTracker]:
    """A small unlearning run with evaluation, watched."""
    model = tiny_llama(attention_dropout=0.2) if model is None else model
    options = {"forget_batch_size": 8}
    trainer, _ = trainer_with_callback(
        folder, model=model, callbacks=callbacks, options=options, evaluated=examples(8, seed=5), **overrides
    )
    tracker = ForgettingTracker(
        trainer, forget_dataset=examples(11, seed=2), retain_dataset=examples(9, seed=6), max_new_tokens=4, **(tracking or {})
    )  # fmt: skip
    trainer.add_callback(tracker)
    return trainer, tracker


def file_lines(folder: Path) -> list[dict]:
    return [json.loads(text) for text in (folder / "forgetting.jsonl").read_text().splitlines()]


EVERY = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "num_train_epochs": 2}


def test_values_arrive_where_users_look(tmp_path: Path):
    references = {"reference": tiny_llama(1), "original": tiny_llama(2), "twin": tiny_llama(3)}
    trainer, _ = tracked(tmp_path, tracking=references, **EVERY)
    seen = []

    class Watch(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            seen.append(set(metrics))

    trainer.add_callback(Watch())
    trainer.train()
    steps = [line["step"] for line in file_lines(tmp_path)]
    assert steps == sorted(set(steps)) and steps[0] == 0 and steps[-1] == trainer.state.global_step
    values = file_lines(tmp_path)[0]["values"]
    for name in ("probability", "exact_memorization", "extraction_strength"):
        assert 0 <= values[f"forget_{name}"] <= 1 and 0 <= values[f"retain_{name}"] <= 1
    assert {"fade", "fade_low", "fade_high", "exposure_mean", "exposure_max", "residual_ratio", "cka", "layer_2_cka"} <= set(values)  # fmt: skip
    assert values["exposure_max"] >= values["exposure_mean"] and values["tracking_seconds"] > 0
    assert all({"eval_forget_probability", "eval_fade", "eval_forgetting_score", "eval_loss"} <= keys for keys in seen)
    logged = [log["step"] for log in trainer.state.log_history if "eval_forget_probability" in log]
    assert logged == steps
    assert (
        sum("loss" in log for log in trainer.state.log_history) == trainer.state.global_step
    )  # no training log is lost
    assert (tmp_path / "forgetting.png").read_bytes().startswith(b"\x89PNG")
    assert "https://" not in (tmp_path / "forgetting.html").read_text().replace("http://www.w3.org/2000/svg", "")


def test_a_tracked_run_equals_an_untracked_one_bit_for_bit(tmp_path: Path):
    """With dropout, evaluation, sampling and a reference."""
    plain, _ = trainer_with_callback(
        tmp_path / "plain", model=tiny_llama(attention_dropout=0.2), options={"forget_batch_size": 8}, evaluated=examples(8, seed=5), **EVERY
    )  # fmt: skip
    plain.train()
    settings = {"reference": tiny_llama(1), "original": tiny_llama(2), "every_n_steps": 1}
    watched, _ = tracked(tmp_path / "watched", tracking=settings, **EVERY)
    watched.train()
    before, after = weights(plain.model), weights(watched.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    losses = [[log["loss"] for log in trainer.state.log_history if "loss" in log] for trainer in (plain, watched)]
    assert losses[0] == losses[1]
    evaluations = [[log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log] for trainer in (plain, watched)]  # fmt: skip
    assert evaluations[0] == evaluations[1]


def test_values_are_those_of_the_model(tmp_path: Path):
    """By hand: probability from the scorer, first choices from the model's own logits."""
    trainer, tracker = tracked(tmp_path, model=tiny_llama(4))
    rows = examples(11, seed=2).to_list()
    values = tracker.measure()
    expected = score({"m": trainer.model}, rows, progress=False).probability("m").mean()
    assert values["forget_probability"] == pytest.approx(expected, rel=1e-6)
    strengths = []
    for row, reading in zip(rows, read_answers(trainer.model, rows, batch_size=3, progress=False), strict=True):
        with torch.no_grad():
            first = trainer.model.eval()(torch.tensor([row["input_ids"]])).logits[0].argmax(-1)
        start = next(at for at, label in enumerate(row["labels"]) if label != -100)
        correct = [int(first[at - 1]) == row["input_ids"][at] for at in range(start, len(row["input_ids"]))]
        assert reading.correct.tolist() == correct
        strengths.append(extraction_strength(correct))
    assert values["forget_extraction_strength"] == pytest.approx(np.mean(strengths))


def test_pocket_has_truth_ratios_and_knows_its_original(tmp_path: Path):
    pocket = load_pocket("nano")
    forget, retain = (tokenize_examples(rows, pocket.tokenizer) for rows in (pocket.forget, pocket.retain))

    def measured(model: torch.nn.Module) -> dict[str, float]:
        trainer, _ = trainer_with_callback(tmp_path, model=model, retain=retain, forget=forget)
        tracker = ForgettingTracker(
            trainer, forget_dataset=pocket.forget, retain_dataset=pocket.retain, processing_class=pocket.tokenizer,
            reference=pocket.reference(), original=pocket.original(), twin=pocket.twin(), max_examples=12,
        )  # fmt: skip
        return tracker.measure()

    values, retrained = measured(pocket.original()), measured(pocket.twin())
    assert values["fade_relative"] == 1 and values["residual_ratio"] == pytest.approx(1)
    assert retrained["fade_relative"] == 0
    # Wrong answers are less of a match for what was learned than for what was not.
    assert 0 < values["forget_truth_ratio"] < retrained["forget_truth_ratio"]
    assert values["forget_probability"] > 0.8 > retrained["forget_probability"]
    assert values["exposure_mean"] > 1
    assert values["forget_exact_memorization"] > 0.9 and values["forget_extraction_strength"] > 0.5


def test_the_best_checkpoint_is_the_rules(tmp_path: Path):
    trainer, _ = tracked(
        tmp_path, load_best_model_at_end=True, metric_for_best_model="eval_forgetting_score", greater_is_better=False, save_total_limit=2,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=20)], **EVERY,
    )  # fmt: skip
    trainer.train()
    scores = {line["step"]: line["values"]["forgetting_score"] for line in file_lines(tmp_path) if line["step"]}
    assert trainer.state.best_metric == min(scores.values())


def test_the_rule_in_one_sentence():
    rule, start = KeepThenForget(), {"retain_probability": 0.8}
    kept = rule.score({"fade_relative": 0.4, "retain_probability": 0.77}, start)
    lost = [rule.score({"fade_relative": 0.1, "retain_probability": value}, start) for value in (0.75, 0.5)]
    assert kept == 0.4 and kept < lost[0] < lost[1]
    assert rule.score({"forget_probability": 0.2, "retain_probability": 0.8}, start) == 0.2
    with pytest.raises(KeyError, match="none of"):
        rule.score({"loss": 1.0}, start)
    broken = rule.score({"fade": float("nan"), "retain_probability": float("nan")}, start)
    assert lost[1] < broken < float("inf")
    assert (
        rule.score({"fade": 1e9, "retain_probability": 0.8}, start) <= lost[0]
    )  # kept: never behind one that did not


def test_layers_are_those_of_the_whole_features(tmp_path: Path):
    """The tracker computes them in the span of a few rows: here 11 x 3 rows would span more than width 16, so 5 x 3."""
    reference, original, candidate = tiny_llama(1), tiny_llama(2), tiny_llama(4)
    _, tracker = tracked(tmp_path, tracking={"reference": reference, "original": original, "max_examples": 5}, model=candidate)  # fmt: skip
    assert candidate.config.hidden_size > 15
    values = tracker.measure()
    models = {"candidate": candidate, "reference": reference, "original": original}
    rows = {
        name: feature_rows(model, tracker._metrics.evidence.splits["forget"].examples, progress=False)
        for name, model in models.items()
    }
    moments = PairedMoments.from_rows({name: layers[2] for name, layers in rows.items()})
    expected = layer_metrics(moments, space=tracker._metrics.evidence.facts["space"]).values
    for name in ("residual_ratio", "progress", "cka"):
        assert values[f"layer_2_{name}"] == pytest.approx(expected[name], rel=1e-9)


def test_a_terminal_shows_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trainer, _ = tracked(tmp_path, tracking={"every_n_steps": 1, "table": True}, max_steps=2)
    trainer.train()
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip() and "{" not in line]
    lines = file_lines(tmp_path)
    head = next(row for row in rows if row[0] == "step")
    assert head[:5] == ["step", "forget", "p", "retain", "p"]
    for line in lines:
        found = next(row for row in rows if row[0] == str(line["step"]))
        assert float(found[1]) == pytest.approx(line["values"]["forget_probability"], rel=5e-3)
    trainer, _ = tracked(tmp_path, max_steps=1)  # not a terminal: silent
    trainer.train()
    assert "retain p" not in capsys.readouterr().out


def test_values_reach_tensorboard(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer, _ = tracked(tmp_path, report_to="tensorboard", **EVERY)
    trainer.train()
    folder = next(tmp_path.rglob("events.out.tfevents.*")).parent
    events = EventAccumulator(str(folder))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("eval/forget_probability")}
    expected = {line["step"]: line["values"]["forget_probability"] for line in file_lines(tmp_path)}
    assert found == pytest.approx(expected, rel=1e-6)


def test_measuring_keeps_nothing(tmp_path: Path):
    """No tensor outlives a measurement, and with the tracker its models go."""
    reference = tiny_llama(1)
    trainer, tracker = tracked(tmp_path, tracking={"reference": reference, "original": tiny_llama(2)})
    tracker.measure()

    def tensors() -> int:
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    before = tensors()
    for _ in range(3):
        tracker.measure()
    assert tensors() == before
    gone = weakref.ref(reference)
    trainer.callback_handler.callbacks.remove(tracker)
    del tracker, reference
    gc.collect()
    assert gone() is None


def test_an_evaluation_by_hand_measures_the_model_as_it_is(tmp_path: Path):
    """Before training; and after it, when the best checkpoint was loaded."""
    trainer, tracker = tracked(
        tmp_path, load_best_model_at_end=True, metric_for_best_model="eval_forgetting_score", greater_is_better=False, **EVERY
    )  # fmt: skip
    before = trainer.evaluate()
    assert before["eval_forget_probability"] == tracker.measure()["forget_probability"]
    trainer.train()
    lines = {line["step"]: line["values"] for line in file_lines(tmp_path)}
    best = int(trainer.state.best_model_checkpoint.split("-")[-1])
    assert trainer.evaluate()["eval_forget_probability"] == lines[best]["forget_probability"]
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.5)
    changed = trainer.evaluate()
    assert (
        changed["eval_forget_probability"]
        == tracker.measure()["forget_probability"]
        != lines[best]["forget_probability"]
    )
    assert len(file_lines(tmp_path)) == len(lines)  # the file is the training's


def test_the_best_checkpoint_is_not_taken_for_the_last_step(tmp_path: Path):
    """Without an evaluation at the last step nothing may be written for it from the weights of another."""
    settings = {**EVERY, "eval_steps": 4, "save_steps": 4, "max_steps": 6}
    trainer, _ = tracked(tmp_path, load_best_model_at_end=True, metric_for_best_model="eval_forgetting_score", greater_is_better=False, **settings)  # fmt: skip
    trainer.train()
    evaluated = [log["step"] for log in trainer.state.log_history if "eval_loss" in log]
    assert [line["step"] for line in file_lines(tmp_path)] == [0, *evaluated]
    settings["eval_strategy"] = settings["save_strategy"] = "epoch"  # and with no evaluation at all near the end
    trainer, tracker = tracked(tmp_path / "epoch", load_best_model_at_end=True, metric_for_best_model="eval_forgetting_score", greater_is_better=False, **settings)  # fmt: skip
    trainer.callback_handler.callbacks.remove(tracker)
    trainer.state.best_model_checkpoint, trainer.state.global_step = "somewhere", 3
    tracker.on_train_begin(trainer.args, trainer.state, trainer.control)
    before = file_lines(tmp_path / "epoch")
    trainer.state.global_step = 5
    tracker.on_train_end(trainer.args, trainer.state, trainer.control)
    assert file_lines(tmp_path / "epoch") == before


def test_lower_is_better_must_be_said(tmp_path: Path):
    with pytest.raises(ValueError, match="greater_is_better=False"):
        tracked(tmp_path, load_best_model_at_end=True, metric_for_best_model="forgetting_score", **EVERY)


def test_what_breaks_beside_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """A condition that raises, a name that is taken, one of two nameless probes, values that are not finite, a full disk."""

    def loss(model):
        return {"loss": 99.0}

    def odd(model):
        return {"not_a_number": float("nan"), "endless": torch.tensor(float("inf"))}

    probes = [loss, lambda model: {"gone": 1 / 0}, lambda model: {"here": 1.0}, odd]
    written, real = [], os.fsync

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("hf_unlearn.training._tracker_file.os.fsync", full)
    settings = {"every_n_steps": 1, "probes": probes, "stop_when": lambda values: values["nothing"] > 0}
    trainer, _ = tracked(tmp_path, tracking=settings, **EVERY)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "eval_forget_probability" in log]
    assert len(logs) == trainer.state.global_step + 1 and all(log["eval_here"] == 1 for log in logs)
    assert all("eval_gone" not in log and "eval_loss" not in log for log in logs)
    assert all(log["eval_loss"] < 50 for log in trainer.state.log_history if "eval_loss" in log)
    for says in ("'loss': that name is taken", "ZeroDivisionError", "stop_when failed", "No space left"):
        assert says in caplog.text
    for text in (tmp_path / "forgetting.jsonl").read_text().splitlines():
        values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["values"]
        assert values["not_a_number"] is None and values["endless"] is None


def test_a_damaged_file_is_gone_on_with(tmp_path: Path):
    trainer, _ = tracked(tmp_path, tracking={"every_n_steps": 1}, **EVERY)
    trainer.train()
    whole = file_lines(tmp_path)
    path = tmp_path / "forgetting.jsonl"
    path.write_text('null\n[]\n{"step": 3}\n' + path.read_text())
    trainer, _ = tracked(tmp_path, tracking={"every_n_steps": 1}, **EVERY)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert [line["step"] for line in file_lines(tmp_path)] == [line["step"] for line in whole]


def test_rows_without_wrong_answers_have_no_truth_ratio(tmp_path: Path):
    pocket = load_pocket("nano")
    rows = pocket.forget.to_list()
    mixed = [{**rows[0], "perturbed_answer": []}, {**rows[1], "paraphrased_answer": None}, *rows[2:6]]
    trainer, _ = trainer_with_callback(tmp_path, model=pocket.original(), retain=tokenize_examples(pocket.retain, pocket.tokenizer), forget=tokenize_examples(pocket.forget, pocket.tokenizer))  # fmt: skip

    def ratio(chosen: list[dict]) -> dict[str, float]:
        return ForgettingTracker(
            trainer, forget_dataset=Dataset.from_list(chosen), processing_class=pocket.tokenizer
        ).measure()

    assert ratio(mixed)["forget_truth_ratio"] == pytest.approx(ratio(rows[2:6])["forget_truth_ratio"], rel=1e-6)
    assert "forget_truth_ratio" not in ratio(mixed[:1])


def test_a_reference_that_is_being_trained_is_refused(tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    base = tiny_llama()
    for model in (base, get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"]))):
        with pytest.raises(ValueError, match="load the reference anew"):
            tracked(tmp_path, model=model, tracking={"reference": base})


def test_training_stops_when_asked(tmp_path: Path):
    trainer, _ = tracked(tmp_path, tracking={"stop_when": lambda values: True, "every_n_steps": 1}, num_train_epochs=2)
    trainer.train()
    assert trainer.state.global_step == 1


def test_a_probe_that_raises_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def broken(model):
        raise RuntimeError("no such luck")

    def good(model):
        return {"weight": next(model.parameters()).abs().mean()}

    with caplog.at_level(logging.ERROR, logger="hf_unlearn"):
        trainer, _ = tracked(tmp_path, tracking={"probes": [broken, good], "every_n_steps": 1})
        trainer.train()
    assert sum("(broken) failed" in record.message for record in caplog.records) == 1
    assert "no such luck" in caplog.text
    assert all(line["values"]["weight"] > 0 for line in file_lines(tmp_path))
    trainer, _ = tracked(tmp_path / "strict", tracking={"probes": [broken], "strict": True})
    with pytest.raises(RuntimeError, match="no such luck"):
        trainer.train()


def test_a_killed_run_resumes_without_gaps_or_doubles(tmp_path: Path):
    """SIGKILL in the middle of a step; the file after resuming is that of a run that was never killed."""
    script = (
        "import sys, os, signal; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\nfrom test_tracker import tracked, EVERY\nfrom transformers import TrainerCallback\n"
        "class Kill(TrainerCallback):\n"
        "    def on_step_begin(self, args, state, control, **kwargs):\n"
        "        if state.global_step == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "trainer, _ = tracked(Path(sys.argv[1]), callbacks=[Kill()], tracking={'every_n_steps': 1}, **EVERY)\n"
        "trainer.train()\n"
    )
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "killed"), *folders], capture_output=True, check=False)  # fmt: skip
    assert done.returncode == -9, done.stderr
    with (tmp_path / "killed" / "forgetting.jsonl").open("a") as file:
        file.write('{"step": 4, "val')  # and the last line was cut
    trainer, _ = tracked(tmp_path / "killed", tracking={"every_n_steps": 1}, **EVERY)
    trainer.train(resume_from_checkpoint=True)
    whole, _ = tracked(tmp_path / "whole", tracking={"every_n_steps": 1}, **EVERY)
    whole.train()
    found, expected = file_lines(tmp_path / "killed"), file_lines(tmp_path / "whole")
    assert [line["step"] for line in found] == [line["step"] for line in expected] == list(range(len(expected)))
    for mine, theirs in zip(found, expected, strict=True):
        for name in set(theirs["values"]) - {"tracking_seconds"}:
            assert mine["values"][name] == theirs["values"][name], (mine["step"], name)


@pytest.mark.distributed
def test_two_processes_track_the_numbers_of_one(tmp_path: Path):
    """And where one of two fails, both leave that measurement out, go the same way, or end with the one's message."""
    torchrun(TWO, str(tmp_path), timeout=180)
    settings = {"reference": tiny_llama(1), "original": tiny_llama(2)}
    _, tracker = tracked(tmp_path / "one", tracking=settings, model=tiny_llama(4))
    expected = tracker.measure()
    both = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for told in both:
        found = told["measured"]
        assert set(found) == set(expected)
        for name in set(expected) - {"tracking_seconds"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-9), name
    failing = both[0]["failing"]
    assert failing == both[1]["failing"] and failing["steps"] == 1 and failing["lines"] == 2
    assert failing["failed"] == ["probe 1 (broken)", "reading completions of forget"]
    assert [values["rank"] for values in failing["values"].values()] == [0, 0]  # the main process's
    assert [("fade" in values, "broken" in values) for values in failing["values"].values()] == [
        (True, False),
        (False, False),
    ]
    own = "ZeroDivisionError: division by zero"
    assert [told["strict"] for told in both] == [f"OtherProcessError: process 1: {own}", own]


def test_in_trl_trainers(tmp_path: Path):
    from trl import SFTConfig, SFTTrainer

    settings = {"max_steps": 2, "report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    trainer = SFTTrainer(
        model=tiny_llama(),
        args=SFTConfig(str(tmp_path), per_device_train_batch_size=4, **settings),
        train_dataset=examples(12, seed=1),
        processing_class=load_pocket("nano").tokenizer,
    )
    trainer.add_callback(ForgettingTracker(trainer, forget_dataset=examples(6, seed=2)))
    trainer.train()
    assert [line["step"] for line in file_lines(tmp_path)] == [0, 2]


def test_bad_settings_are_refused_before_training(tmp_path: Path):
    trainer, _ = trainer_with_callback(tmp_path)
    with pytest.raises(ValueError, match="max_examples must be at least 1"):
        ForgettingTracker(trainer, forget_dataset=examples(4, seed=1), max_examples=0)
    with pytest.raises(ValueError, match="do not share a vocabulary"):
        ForgettingTracker(trainer, forget_dataset=examples(4, seed=1), reference=tiny_llama(vocab_size=50))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        ForgettingTracker(trainer, forget_dataset=examples(4, seed=1), batch_size=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="cannot write to"):
        ForgettingTracker(trainer, forget_dataset=examples(4, seed=1), output_dir=tmp_path / "file")
    with pytest.raises(ValueError):
        ForgettingTracker(trainer, forget_dataset=Dataset.from_dict({"input_ids": [], "labels": []}))


def test_in_a_dpo_trainer_with_lora_and_accumulation(tmp_path: Path):
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    tokenizer = load_pocket("nano").tokenizer
    rows = {"prompt": ["Who?"] * 8, "chosen": [" A b."] * 8, "rejected": [" C d."] * 8}
    settings = {
        "max_steps": 2,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "learning_rate": 0.1,
    }
    trainer = DPOTrainer(
        model=tiny_llama(vocab_size=len(tokenizer)),
        args=DPOConfig(str(tmp_path), per_device_train_batch_size=2, gradient_accumulation_steps=2, **settings),
        train_dataset=Dataset.from_dict(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    reference = tiny_llama(1, vocab_size=len(tokenizer))
    tracker = ForgettingTracker(
        trainer, forget_dataset=examples(6, seed=2), reference=reference, every_n_steps=1, max_new_tokens=4
    )
    trainer.add_callback(tracker)
    trainer.train()
    lines = file_lines(tmp_path)
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert lines[0]["values"]["forget_probability"] != lines[2]["values"]["forget_probability"]


@pytest.fixture
def browser() -> str:
    found = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found


def test_the_page_works_in_a_real_browser(browser: str, tmp_path: Path):
    """Opened from disk without a network: curves are drawn, a press hides one, hovering reads a step, and markup in names is text."""
    series = {"forget_probability": [0.9, 0.5, 0.1], "retain_probability": [0.9, None, 0.8], "<b id=evil>x</b></script>": [1.0, 2.0, 3.0], "layer_1_residual_ratio": [1.0, None, 0.5], "layer_2_residual_ratio": [1.0, 2.0, 3.0]}  # fmt: skip
    answers = Panel(
        "Answers", "share", ("forget_probability", "retain_probability"), {"retain_probability": {"floor": 1.0}}
    )
    other = Panel("Other", "", ("<b id=evil>x</b></script>",))
    heat = Heat("Residual ratio", {1: "layer_1_residual_ratio", 2: "layer_2_residual_ratio"}, 0.0, 2.0)
    page = forgetting_page(Curves([0, 10, 20], series, [answers, other], [heat]))
    press = """<script>
      document.querySelector("button").click();
      document.querySelector("rect[data-layer='2'][data-step='20']").dispatchEvent(new MouseEvent("mousemove"));
      const svg = document.querySelector("svg"), box = svg.getBoundingClientRect();
      svg.dispatchEvent(new MouseEvent("mousemove", {clientX: box.left + box.width * .5, clientY: box.top + 5}));
    </script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", press))
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    dom = done.stdout
    assert 'data-name="retain_probability"' in dom and 'data-name="forget_probability"' not in dom, done.stderr[-500:]
    assert 'aria-pressed="false"' in dom
    assert "step 10: " in dom and "retain_probability" not in dom.split("step 10: ")[1].split("</output>")[0]
    assert "step 20, layer 2: 3" in dom and dom.count("<rect") == 5  # one of the six was not defined
    assert 'id="evil"' not in dom and "&lt;b id=evil&gt;" in dom
