"""The tracker is the audit's engine on few rows: the same names, the same numbers, and whatever metric it is given."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import world
from datasets import Dataset
from runs import arguments, trainer_with_callback
from test_objectives_in_training import classifier
from test_tracker import file_lines, tracked
from test_tracker_sets import sets, watched
from toys import tiny_llama
from transformers import Trainer, TrainerCallback

from hf_unlearn.audit import FunctionMetric, MetricSpec, Reading, Rows, audit
from hf_unlearn.config import TrackerConfig, options_of
from hf_unlearn.data import AnswerCollator, load_pocket, tokenize_examples
from hf_unlearn.training import ForgettingTracker
from hf_unlearn.training._panels import heats, panels
from hf_unlearn.training._tracked_names import columns
from hf_unlearn.training._tracker_rule import WORST


def first_log_prob(rows: Rows) -> np.ndarray:
    values, lengths = rows.per_token("answers", "log_probs")
    return values[np.cumsum(lengths) - lengths]


FIRST = FunctionMetric(
    MetricSpec(
        name="first_token", title="first token", unit="nats", ideal="reference", bounds=(None, 0.0), family="utility", splits=("forget", "retain"),
        needs=(Reading("answers"),), headline=True,
    ),
    first_log_prob,
)  # fmt: skip


def test_the_numbers_are_the_audits(tmp_path: Path):
    """On the same rows with the same settings, for every kind of reading."""
    pocket = load_pocket("nano")
    forget, retain = pocket.forget.select(range(8)), pocket.retain.select(range(8))
    models = {"reference": pocket.reference(), "original": pocket.original(), "twin": pocket.twin()}
    candidate = pocket.reference()
    with torch.no_grad():
        for parameter in candidate.parameters():
            parameter.mul_(1.02)
    metrics = [
        "probability",
        "truth_ratio",
        "truth_ratio_true_better",
        "normalized_probability",
        "forget_quality",
        "model_utility",
        "relative_exposure",
        "rouge_l",
        "generation_perplexity",
        "fade",
        "exposure",
        "residual_ratio",
        "cka",
        "pca_shift",
        "unlearning_depth_score",
    ]
    shared = {"num_samples": 2, "max_new_tokens": 8, "batch_size": 32, "metrics": metrics}
    report = audit(
        candidate, forget=forget, retain=retain, processing_class=pocket.tokenizer, progress=False, **models, **shared
    )
    trainer, _ = trainer_with_callback(
        tmp_path, model=candidate, retain=tokenize_examples(pocket.retain, pocket.tokenizer)
    )
    tracker = ForgettingTracker(
        trainer, forget_dataset=forget, retain_dataset=retain, processing_class=pocket.tokenizer, **models, **shared
    )
    values = tracker.measure()
    named = {
        "forget_probability": "probability/forget", "retain_probability": "probability/retain", "forget_truth_ratio": "truth_ratio/forget",
        "fade": "fade/forget", "retain_fade": "fade/retain", "exposure_mean": "exposure/forget", "residual_ratio": "residual_ratio/forget",
        "retain_normalized_probability": "normalized_probability/retain", "forget_quality": "forget_quality/forget",
        "retain_model_utility": "model_utility/retain", "retain_relative_exposure": "relative_exposure/retain",
        "retain_cka": "cka/retain", "pca_shift": "pca_shift/forget", "unlearning_depth_score": "unlearning_depth_score/forget",
    }  # fmt: skip
    for name, key in named.items():
        assert values[name] == pytest.approx(report.metrics[key].value, rel=1e-5, abs=1e-7), name
    assert values["fade_relative"] == pytest.approx(report.metrics["fade/forget"].relative, rel=1e-5)
    assert values["layer_1_retain_cka"] == pytest.approx(report.metrics["cka/retain"].by_layer["1"].value, rel=1e-5)
    assert values["exposure_max"] == pytest.approx(report.metrics["exposure/forget"].details["max"], rel=1e-5)
    assert "forget_extraction_strength" not in values


def test_a_metric_of_ones_own_is_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trainer, tracker = tracked(tmp_path, tracking={"metrics": ["probability", FIRST], "table": True}, max_steps=2)
    trainer.train()
    lines = file_lines(tmp_path)
    found = {name for name in lines[0]["values"] if name not in ("tracking_seconds", "forgetting_score")}
    assert found == {f"{split}_{name}" for split in ("forget", "retain") for name in ("probability", "first_token")}
    assert all(line["values"]["forget_first_token"] < 0 for line in lines)
    assert "forget first token" in capsys.readouterr().out
    page = (tmp_path / "forgetting.html").read_text()
    assert "First token" in page and "forget_first_token" in page
    assert trainer.state.log_history[-1].keys() >= {"eval_forget_first_token"}
    assert tracker.measure()["forget_first_token"] == lines[-1]["values"]["forget_first_token"]


def test_what_has_no_value_here_is_refused_before_training(tmp_path: Path):
    with pytest.raises(ValueError, match="Did you mean 'probability'"):
        tracked(tmp_path, tracking={"metrics": ["probabilty"]})
    with pytest.raises(ValueError, match="fade cannot be tracked: it needs reference"):
        tracked(tmp_path, tracking={"metrics": ["fade"]})
    with pytest.raises(ValueError, match="probe_auc cannot be tracked: it needs a holdout set"):
        tracked(tmp_path, tracking={"metrics": "probe_auc"})
    with pytest.raises(TypeError, match="metrics"):
        tracked(tmp_path, tracking={"metrics": [3]})
    _, tracker = tracked(tmp_path, tracking={"metrics": "standard"})  # of which what needs a reference is left out
    assert {"forget_probability", "retain_extraction_strength"} <= set(tracker.measure())


def test_classifiers_have_what_their_readings_allow(tmp_path: Path):
    """With a reference: exposure, and what probabilities are read against."""
    model, retain, forget = sets("bert")
    reference = classifier()
    with torch.no_grad():
        reference.classifier.weight.mul_(3)
    settings = {"metrics": ["probability", "accuracy", "exposure"], "reference": reference}
    trainer = watched(tmp_path, model, retain, forget, tracking=settings)
    tracker = next(
        callback for callback in trainer.callback_handler.callbacks if isinstance(callback, ForgettingTracker)
    )
    values = tracker.measure()

    def log_probs(model) -> torch.Tensor:
        batch = trainer.data_collator([dict(forget[index]) for index in range(len(forget))])
        labels = batch.pop("labels")
        with torch.no_grad():
            return model.eval()(**batch).logits.double().log_softmax(-1).gather(1, labels[:, None])[:, 0]

    mine, theirs = log_probs(model), log_probs(reference)
    assert values["exposure_mean"] == pytest.approx(float((mine - theirs).mean() / math.log(2)), rel=1e-5)
    assert tracker._metrics.results["forget_probability"].ideal == pytest.approx(float(theirs.exp().mean()), rel=1e-5)
    with pytest.raises(ValueError, match="fade cannot be tracked: there is no reading 'completions'"):
        watched(tmp_path, model, retain, forget, tracking={"metrics": ["fade"], "reference": reference})


def test_fade_counts_prompts_not_copies(tmp_path: Path):
    prompts = [[1, first, second] for first in (5, 6, 7) for second in (8, 9)]
    rows = [{"input_ids": [*prompt, 4, 2], "labels": [-100] * len(prompt) + [4, 2]} for prompt in prompts]
    width = {}
    for times in (1, 20):
        trainer = Trainer(
            world.build("llama"),
            arguments(tmp_path),
            train_dataset=Dataset.from_list(rows),
            data_collator=AnswerCollator(0),
        )
        values = ForgettingTracker(
            trainer, forget_dataset=Dataset.from_list(rows * times), reference=world.build("llama", seed=1), num_samples=1, max_new_tokens=4,
            max_examples=200, metrics=["fade"],
        ).measure()  # fmt: skip
        width[times] = values["fade_high"] - values["fade_low"]
    assert width[20] > 0.4 * width[1]


def test_a_broken_model_is_the_worst_and_what_comes_after_it_is_measured(tmp_path: Path):
    """Weights that are no numbers give values that are none; they neither end the training nor the measuring."""
    trainer, tracker = tracked(tmp_path, tracking={"metrics": ["probability", "extraction_strength", FIRST]})
    trainer.evaluate()
    weight = next(trainer.model.parameters())
    whole = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
    broken = trainer.evaluate()
    assert math.isnan(broken["eval_forget_probability"]) and math.isnan(broken["eval_retain_first_token"])
    assert broken["eval_forgetting_score"] == 2 * WORST
    with torch.no_grad():
        weight.copy_(whole)
    assert trainer.evaluate()["eval_forget_probability"] > 0 and not tracker._failed


class Breaks(TrainerCallback):
    """Ends a training within or after a step."""

    def __init__(self, event: str):
        setattr(self, event, self._break)

    def _break(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise RuntimeError("out of luck")


@pytest.mark.parametrize("event", ["on_step_begin", "on_step_end"])
def test_after_a_training_that_broke_off_the_model_is_measured_as_it_is(event: str, tmp_path: Path):
    """The Trainer goes on saying that it trains."""
    trainer, tracker = tracked(tmp_path, tracking={"every_n_steps": 1})
    trainer.add_callback(Breaks(event))
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.train()
    before = len(file_lines(tmp_path))
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.5)
    changed = trainer.evaluate()["eval_forget_probability"]
    assert (
        changed == tracker.measure()["forget_probability"] != file_lines(tmp_path)[-1]["values"]["forget_probability"]
    )
    assert len(file_lines(tmp_path)) == before


def test_columns_and_panels_come_from_specs(tmp_path: Path):
    """Headline metrics first; curves of one family and unit share a panel; a heat map for each headline metric by layer."""
    references = {"reference": tiny_llama(1), "original": tiny_llama(2), "twin": tiny_llama(3)}
    _, tracker = tracked(tmp_path, tracking=references)
    values = tracker.measure()
    places, results = tracker._metrics.places, tracker._metrics.results
    titles = list(columns(places))
    assert titles[:5] == ["forget p", "retain p", "FADE", "residual", "score"] and titles[-1] == "seconds"
    ends = {"fade_low", "fade_high", "exposure_max"}
    assert set(columns(places).values()) >= {name for name in values if not name.startswith("layer_")} - ends
    found = panels(places, results, [*values, "weight_norm"])
    shown = [name for panel in found for name in panel.names]
    assert len(shown) == len(set(shown))
    ends = {end for panel in found for pair in panel.bands.values() for end in pair}
    assert {*shown, *ends} >= {name for name in [*values, "weight_norm"] if not name.startswith("layer_")}
    both = next(panel for panel in found if "forget_probability" in panel.names)
    assert both.names == ("forget_probability", "retain_probability") and both.headline
    assert both.lines["forget_probability"]["reference"] == results["forget_probability"].ideal
    fade = next(panel for panel in found if "fade" in panel.names)
    assert fade.lines["fade"] == {"floor": results["fade"].floor, "start": results["fade"].start}
    (heat,) = heats(places, results, values)
    assert heat.names == {1: "layer_1_residual_ratio", 2: "layer_2_residual_ratio"} and (heat.low, heat.high) == (0, 2)


def test_options_are_declared_once():
    """Signature, config and documentation name the same options with the same defaults."""
    own = {
        "trainer",
        "forget_dataset",
        "retain_dataset",
        "reference",
        "original",
        "twin",
        "continued",
        "output_dir",
        "processing_class",
    }
    parameters = dict(inspect.signature(ForgettingTracker).parameters)
    options = {each.name: each for each in options_of(TrackerConfig)}
    assert set(parameters) - own == set(options)
    assert all(parameters[name].default == each.default for name, each in options.items())
    assert ForgettingTracker.__doc__ is not None
    assert all(f"        {name}: " in ForgettingTracker.__doc__ for name in {*options, *own})


def test_what_was_named_and_has_no_value_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Hidden states of a handful of examples have no place; the rest goes on."""
    references = {"reference": tiny_llama(1), "original": tiny_llama(2)}
    wanted = {"metrics": ["probability", "truth_ratio"], **references}
    trainer, _ = tracked(tmp_path, tracking=wanted, num_train_epochs=1)
    trainer.train()
    said = [record.message for record in caplog.records if "is not tracked" in record.message]
    assert not said, "truth ratio is among those measured by default, where its columns are"
    wanted["metrics"] = ["probability", "pca_shift"]
    trainer, _ = tracked(tmp_path / "few", tracking={**wanted, "max_examples": 3}, num_train_epochs=1)
    trainer.train()
    said = [record.message for record in caplog.records if "is not tracked" in record.message]
    assert len(said) == 2 and all("pca_shift" in text and "5 are needed" in text for text in said)
    assert "forget_probability" in file_lines(tmp_path / "few")[-1]["values"]
