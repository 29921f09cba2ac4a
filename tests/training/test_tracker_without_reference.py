"""A training watched without a retrained model: counterfactual values live, marked as such, and an end where they reach their floor."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from runs import arguments
from toys import tiny_llama
from transformers import Trainer

from hf_unlearn.audit import SubjectKey
from hf_unlearn.data import AnswerCollator
from hf_unlearn.training import ForgettingTracker, KeepThenForget, at_floor


sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))
from counterfactual_audits import forget_rows
from counterfactual_toys import Strangeness


ROWS = Dataset.from_list(
    [{"input_ids": [1, 5 + n, 6 + n, 7 + n], "labels": [-100, -100, 6 + n, 7 + n]} for n in range(8)]
)


def watched(folder: Path, num_train_epochs: int = 2, **given: Any) -> tuple[Trainer, ForgettingTracker]:
    trainer = Trainer(
        tiny_llama(1),
        arguments(folder, num_train_epochs=num_train_epochs),
        train_dataset=ROWS,
        data_collator=AnswerCollator(0),
    )
    plain = {"original": tiny_llama(1), "continued": [tiny_llama(2), tiny_llama(3)], "every_n_steps": 1}
    tracker = ForgettingTracker(
        trainer, forget_dataset=ROWS, metrics=["probability", Strangeness()], **{**plain, **given}
    )
    trainer.add_callback(tracker)
    return trainer, tracker


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line)["values"] for line in (folder / "forgetting.jsonl").read_text().splitlines()]


def test_it_is_tracked_under_its_name_and_marked(tmp_path: Path, capsys: pytest.CaptureFixture):
    trainer, tracker = watched(tmp_path, table=True)
    trainer.train()
    found = lines(tmp_path)
    assert found[0]["strangeness_relative"] == pytest.approx(1.0) and "strangeness_low" in found[0]
    assert all("forget_probability" in values and "fade" not in values for values in found)
    result = tracker._metrics.results["strangeness"]
    assert (result.assumes, result.floor_of) == ("counterfactual", "continued") and result.start == found[0][
        "strangeness"
    ]
    assert {"continued", "continued 2"} <= set(result.others), "both are read, and so is the floor"
    page = (tmp_path / "forgetting.html").read_text()
    assert "Between unseen subjects and doing nothing (counterfactual, assumes that subjects are exchangeable)" in page
    assert "Distance to strangers (counterfactual)" in page and "floor (continued models)" in page
    assert "Between retraining and doing nothing" not in page
    assert "distance to strangers (counterfactual)" in capsys.readouterr().out


def test_it_ends_at_the_floor(tmp_path: Path):
    """On the way to a model that the same training has made, it ends where it is near enough, and not before."""
    goal, _ = watched(tmp_path / "goal", num_train_epochs=8)
    goal.train()
    for name, relative in (("half", 0.5), ("never", -1e9)):
        given = {"continued": goal.model, "num_train_epochs": 8}
        trainer, _ = watched(tmp_path / name, stop_when=at_floor("strangeness", relative=relative), **given)
        trainer.train()
        there = [entry["strangeness_relative"] <= relative for entry in lines(tmp_path / name)]
        ended = trainer.state.global_step < trainer.state.max_steps
        assert (ended, sum(there), there[-1]) == ((True, 1, True) if name == "half" else (False, 0, False))


def test_at_the_floor_it_goes_on_while_forget_answers_are_known_better_than_to_the_stand_in():
    stop, known = at_floor(), "counterfactual_fade_forget_probability_over_stand_in_low"
    there = {"counterfactual_fade_relative": -0.5}
    assert stop({**there, known: 0.0}) and stop({**there, known: -0.2}) and stop(there)
    assert not stop({**there, known: 0.01}) and not stop({**there, known: float("nan")})
    assert not stop({"counterfactual_fade_relative": 0.5, known: -0.2})
    assert at_floor("fade")({"fade_relative": 0.0, known: 0.3})


def test_a_floor_that_is_not_tracked_is_refused_before_training(tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"at_floor\('counterfactual_fade'\) needs that metric to be tracked.*: strangeness"
    ):
        watched(tmp_path, stop_when=at_floor())
    with pytest.raises(ValueError, match="relative must be below 1"):
        at_floor(relative=1.0)


def test_without_the_original_it_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="strangeness cannot be tracked: it needs original"):
        watched(tmp_path, original=None)


def test_the_rule_takes_it_where_there_is_no_reference():
    rule, values = KeepThenForget(), {"retain_probability": 0.9, "forget_probability": 0.5}
    assert rule.score({**values, "counterfactual_fade_relative": 0.25}, values) == 0.25
    assert rule.score({**values, "counterfactual_fade_relative": 0.25, "fade_relative": 0.75}, values) == 0.75
    assert rule.score(values, values) == 0.5


# Counterfactual FADE itself, on an adapter in training.


def asked(folder: Path, model: Any, original: Any, **given: Any) -> tuple[Trainer, ForgettingTracker]:
    rows = forget_rows(20)
    trainer = Trainer(
        model, arguments(folder, num_train_epochs=2), train_dataset=ROWS, data_collator=AnswerCollator(2)
    )
    tracker = ForgettingTracker(
        trainer, forget_dataset=rows, original=original, metrics=["probability", "counterfactual_fade"], every_n_steps=1,
        num_counterfactuals=2, max_new_tokens=4, table=False, strict=True, **given,
    )  # fmt: skip
    trainer.add_callback(tracker)
    return trainer, tracker


def test_the_stand_in_is_read_once_and_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hf_unlearn.audit.domains import _counterfactual_reading

    drawn = []
    real = _counterfactual_reading.drawn_completions

    def watched_drawing(whose: Any, *given: Any, **options: Any) -> Any:
        drawn.append(str(whose.key))
        return real(whose, *given, **options)

    monkeypatch.setattr(_counterfactual_reading, "drawn_completions", watched_drawing)
    base = tiny_llama(0, pad_token_id=2)
    trainer, tracker = asked(tmp_path, get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"])), base)
    before = tracker._metrics.evidence.tables["counterfactual_answers", SubjectKey("original"), "forget"]
    trainer.train()
    values = lines(tmp_path)
    assert values[-1]["counterfactual_fade"] != values[0]["counterfactual_fade"]
    assert drawn.count("stand-in") == 1 and drawn.count("original") <= 2 and drawn.count("candidate") == len(values)
    result = tracker._metrics.results["counterfactual_fade"]
    assert result.floor_of == "stand-in" and result.start == pytest.approx(values[0]["counterfactual_fade"], rel=1e-6)
    # What an audit's verdict looks at beside the distance is there at each step.
    better = [entry["counterfactual_fade_forget_probability_over_stand_in_low"] for entry in values]
    assert better[-1] < result.details["forget_probability"] - result.details["stand_in_forget_probability"]
    assert len(set(better)) > 1 and all(-1 < low < 1 for low in better)
    after = tracker._metrics.evidence.tables["counterfactual_answers", SubjectKey("original"), "forget"]
    assert after is before
    again = asked(tmp_path / "again", tiny_llama(0, pad_token_id=2), tiny_llama(0, pad_token_id=2))[1].measure()
    assert again["counterfactual_fade"] == pytest.approx(values[0]["counterfactual_fade"], rel=1e-4)


def test_an_original_that_is_trained_is_refused(tmp_path: Path):
    model = tiny_llama(0, pad_token_id=2)
    with pytest.raises(ValueError, match="the original has the weights that are being trained"):
        asked(tmp_path, model, model)
