"""What a tracked training shows: a log one can read, a table that nothing tears apart, a score with four digits, a bar where one waits."""

import logging
from pathlib import Path

import pytest
from test_tracker import EVERY, file_lines, tracked
from toys import tiny_llama

from hf_unlearn.audit import METRICS
from hf_unlearn.training import KeepThenForget
from hf_unlearn.training._table import TerminalTable
from hf_unlearn.training._tracked_names import columns
from hf_unlearn.training._tracker_rule import WORST


@pytest.mark.parametrize("disable_tqdm", [True, False])
def test_the_printed_log_has_no_single_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str], disable_tqdm: bool):
    references = {"reference": tiny_llama(1), "original": tiny_llama(2)}
    trainer, _ = tracked(tmp_path, tracking=references, disable_tqdm=disable_tqdm, **EVERY)
    trainer.train()
    printed = capsys.readouterr().out
    assert printed.count("eval_residual_ratio") == len(file_lines(tmp_path)) and "'loss'" in printed
    assert "layer_" not in printed
    trainer.evaluate()  # by hand, too; then the bar's printer is silent
    printed = capsys.readouterr().out
    assert ("eval_residual_ratio" in printed) is disable_tqdm and "layer_" not in printed
    assert all("eval_layer_2_cka" in log for log in trainer.state.log_history if "eval_cka" in log)
    assert all("layer_2_cka" in line["values"] for line in file_lines(tmp_path))


def test_printers_are_free_again_with_the_tracker_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trainer, tracker = tracked(tmp_path, max_steps=1)
    trainer.train()
    trainer.callback_handler.callbacks.remove(tracker)
    del tracker
    trainer.log({"eval_layer_1_mine": 1.0})
    assert "eval_layer_1_mine" in capsys.readouterr().out


@pytest.mark.parametrize("disable_tqdm", [True, False])
def test_nothing_comes_between_the_rows_of_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], disable_tqdm: bool
):
    """The Trainer's own numbers are columns; only its summary, after the last row, is as it prints it."""
    trainer, _ = tracked(tmp_path, tracking={"table": True}, disable_tqdm=disable_tqdm, **EVERY)
    trainer.train()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert sum("{" in line for line in lines) == 1
    rows = [line.split() for line in lines if "{" not in line]
    heads = [row for row in rows if row[0] == "step"]
    assert len(heads) < 4 and all(len(row[0]) < 4 for row in rows if row not in heads)
    steps = [int(row[0]) for row in rows if row not in heads]
    assert steps == list(range(trainer.state.global_step + 1))  # one row each, whatever was logged in it
    titles = " ".join(heads[-1])
    assert "eval loss" in titles and " loss" in titles and "score" in titles
    by_step = {int(row[0]): row for row in rows if row not in heads}
    for log in trainer.state.log_history:
        for name in ("loss", "eval_loss"):
            if name in log:
                assert f"{log[name]:.3g}" in by_step[log["step"]], (name, log)


def test_a_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    names = ("forget_probability", "retain_probability", "fade", "fade_relative", "exposure_mean", "residual_ratio", "loss", "tracking_seconds", "forget_extraction_strength")  # fmt: skip
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    specs = [
        METRICS[name].from_settings({}).spec
        for name in ("probability", "extraction_strength", "fade", "exposure", "residual_ratio")
    ]
    table = TerminalTable(columns([(spec, split) for spec in specs for split in spec.splits if split != "holdout"]))
    table.add(1, {**dict.fromkeys(names, 0.25), "forgetting_score": 1234.4})
    table.flush()
    printed = capsys.readouterr().out
    head = printed.splitlines()[0]
    assert "FADE" in head and "score" in head and "seconds" not in head and "1234 " in printed
    assert all(len(line) <= 70 for line in printed.splitlines() if "\x1b" not in line)


def test_the_score_can_be_read_and_says_when_no_checkpoint_kept_enough(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    settings = {**EVERY, "learning_rate": 30.0, "num_train_epochs": 1}
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        trainer, _ = tracked(tmp_path, **settings)
        trainer.train()
    scores = [line["values"]["forgetting_score"] for line in file_lines(tmp_path)]
    assert scores[0] < 1 and all(WORST <= score <= 2 * WORST < 1e4 for score in scores[1:])
    (said,) = [record.message for record in caplog.records if "no checkpoint kept 95%" in record.message]
    assert f"at step {file_lines(tmp_path)[1 + scores[1:].index(min(scores[1:]))]['step']}" in said
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="hf_unlearn"):
        trainer, _ = tracked(tmp_path / "kept", **{**settings, "learning_rate": 1e-6})
        trainer.train()
    assert not [record for record in caplog.records if "no checkpoint" in record.message]


def test_one_checkpoint_that_kept_enough_is_enough():
    rule, start = KeepThenForget(), {"retain_probability": 0.8}
    lost, kept = ({"forgetting_score": rule.score({"fade": 2.0, "retain_probability": p}, start)} for p in (0.5, 0.8))
    assert rule.unsatisfied({3: {**lost, "retain_probability": 0.5}, 6: kept}, start) is None
    said = rule.unsatisfied({3: {**lost, "retain_probability": 0.5}}, start)
    assert said is not None and "0.5, at step 3" in said and rule.unsatisfied({}, start) is None


def test_the_constructor_shows_bars_and_a_measurement_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """What depends on the references alone is computed there, and takes as long as an evaluation or more."""
    references = {"reference": tiny_llama(1), "original": tiny_llama(2), "twin": tiny_llama(3)}
    _, tracker = tracked(tmp_path, tracking=references, disable_tqdm=False)
    assert "sampling" in capsys.readouterr().err
    tracker.measure()
    assert capsys.readouterr().err == ""
    tracked(tmp_path / "quiet", tracking=references, disable_tqdm=True)
    assert capsys.readouterr().err == ""
