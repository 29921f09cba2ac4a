"""Evaluations of others: TOFU's published figures from its logs, open-unlearning's files by its own arithmetic, and the way there and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_reports import result
from scipy.stats import hmean, ks_2samp
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from hf_unlearn.audit import METRICS, AuditReport, Provenance, audit
from hf_unlearn.audit._metric_result import MetricResults
from hf_unlearn.audit.interchange import EVAL_METRICS, export_eval, import_eval
from hf_unlearn.cli import app
from hf_unlearn.data import load_pocket


def write(place: Path, data: Any) -> Path:
    place.write_text(json.dumps(data))
    return place


def indexed(**columns: Any) -> dict[str, dict[str, Any]]:
    """Values per example, as open-unlearning has them."""
    length = len(next(iter(columns.values())))
    return {
        str(at): {name: np.asarray(values[at]).tolist() for name, values in columns.items()} for at in range(length)
    }


def their_eval(seed: int, destroyed: bool = False) -> dict[str, Any]:
    """What open-unlearning would write of a model with these losses: aggregates by its own arithmetic, 1e-10 included."""
    generator = np.random.default_rng(seed)
    found: dict[str, Any] = {}

    def losses(*shape: int) -> np.ndarray:
        return generator.uniform(20.0, 40.0, shape) if destroyed else generator.gamma(2.0, 0.7, shape)

    for short, count in {"forget": 40, "retain": 30, "ra": 12, "wf": 9}.items():
        true, wrong = losses(count), losses(count, 3)
        correct = losses(count) if short in ("forget", "retain") else true
        recall = generator.uniform(0.1, 1, count)
        found[f"{short}_Q_A_Prob"] = {
            "agg_value": np.exp(-true).mean(), "value_by_index": indexed(prob=np.exp(-true), avg_loss=true),
        }  # fmt: skip
        if short in ("forget", "retain"):
            para = indexed(prob=np.exp(-correct), avg_loss=correct)
            found[f"{short}_Q_A_PARA_Prob"] = {"agg_value": np.exp(-correct).mean(), "value_by_index": para}
        found[f"{short}_Q_A_PERT_Prob"] = {
            "agg_value": np.exp(-wrong).mean(), "value_by_index": indexed(prob=np.exp(-wrong), avg_loss=wrong),
        }  # fmt: skip
        texts = [{"rougeL_recall": r, "input": "secret", "ground_truth": "x", "generation": "y"} for r in recall]
        found[f"{short}_Q_A_ROUGE"] = {
            "agg_value": recall.mean(), "value_by_index": {str(at): row for at, row in enumerate(texts)},
        }  # fmt: skip
        ratios = np.exp(-wrong.mean(1)) / (np.exp(-correct) + 1e-10)
        closer = np.minimum(ratios, 1 / (ratios + 1e-10)).mean()
        value = closer if short == "forget" else np.maximum(0, 1 - ratios).mean()
        found[f"{short}_truth_ratio" if short == "forget" else f"{short}_Truth_Ratio"] = {
            "agg_value": value, "value_by_index": indexed(score=ratios),
        }  # fmt: skip
        if short in ("ra", "wf"):
            options = np.exp(-true) / (np.exp(-true) + np.exp(-wrong).sum(1) + 1e-10)
            found[f"{short}_Q_A_Prob_normalised"] = {
                "agg_value": options.mean(), "value_by_index": indexed(prob=options),
            }  # fmt: skip
    scores = {side: generator.normal(shift, 1, 50) for side, shift in (("forget", 0.0), ("holdout", 0.8))}
    area = roc_auc_score([0] * 50 + [1] * 50, np.concatenate(list(scores.values())))
    found["mia_min_k"] = {
        side: {"agg_value": own.mean(), "value_by_index": indexed(score=own)} for side, own in scores.items()
    }
    found["mia_min_k"] |= {"auc": area, "agg_value": area}
    strengths = generator.uniform(0, 1, 40)
    found["extraction_strength"] = {"agg_value": strengths.mean(), "value_by_index": indexed(score=strengths)}
    parts = [found[name]["agg_value"] for name in EVAL_METRICS["model_utility"].inputs]
    found["model_utility"] = {"agg_value": hmean(parts)}
    return found


def made_report() -> AuditReport:
    """Five results that open-unlearning has a name for, and two that it has none for."""
    named = {
        ("probability", "forget"): 0.123456789012345, ("truth_ratio_true_better", "world_facts"): 0.5, ("model_utility", "retain"): 0.6,
        ("forget_quality", "forget"): 1e-21, ("privleak", "forget"): -42.5, ("fade", "forget"): 5.0,
    }  # fmt: skip
    found = [result(name, value, split=split) for (name, split), value in named.items()]
    found.append(result("probability", 0.7, split="forget", condition="int8"))
    about = Provenance({"candidate": {"name": "m", "weights_sha256": "a"}}, {}, {}, {})
    return AuditReport(MetricResults({r.key: r for r in found}), about, (), "2026-11-21T00:00:00+00:00")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("full", {"forget_Truth_Ratio": 0.51599, "forget_Q_A_Prob": 0.99094, "forget_Q_A_ROUGE": 0.98545, "model_utility": 0.622677}),
        ("retain90", {"forget_Truth_Ratio": 0.67402, "forget_Q_A_Prob": 0.14756, "forget_Q_A_ROUGE": 0.40824, "model_utility": 0.613745}),
    ],
)  # fmt: skip
def test_gold_figures_follow_from_the_published_logs(
    shared_data: Path, model: str, expected: dict[str, float]
) -> None:
    logs = shared_data / "tofu_gold_logs"
    found = import_eval(logs / f"llama2-7b_{model}_wd0.01.json", retain_logs=logs / "llama2-7b_retain90_wd0.01.json")
    assert found.kind == "TOFU's log" and found.unknown == ()
    for name, value in expected.items():
        assert round(found[name].value, 6 if name == "model_utility" else 5) == value, name
        low, high = found[name].confidence_interval
        assert low < found[name].value < high
    quality = found["forget_quality"]
    assert f"{quality.value:.5e}" == ("1.83407e-21" if model == "full" else "1.00000e+00") and quality.n == 300


@pytest.mark.parametrize("destroyed", [False, True])
def test_every_number_of_a_file_follows_or_is_explained(tmp_path: Path, destroyed: bool) -> None:
    mine, retain = their_eval(0, destroyed), their_eval(1)
    ratios = [
        np.array([row["score"] for row in log["forget_truth_ratio"]["value_by_index"].values()])
        for log in (mine, retain)
    ]
    mine["forget_quality"] = {"agg_value": ks_2samp(*ratios).pvalue}
    areas = [1 - log["mia_min_k"]["agg_value"] for log in (mine, retain)]
    mine["privleak"] = {"agg_value": 100 * (areas[0] - areas[1]) / (areas[1] + 1e-10)}
    found = import_eval(write(tmp_path / "a.json", mine), retain_logs=write(tmp_path / "b.json", retain))
    assert {figure.name for figure in found.figures} >= {*mine} - {"forget_truth_ratio"} | {"forget_Truth_Ratio"}
    for name, entry in mine.items():
        figure = found["forget_Truth_Ratio" if name == "forget_truth_ratio" else name]
        assert figure.file_value == entry["agg_value"]
        if not destroyed:
            assert figure.value == pytest.approx(entry["agg_value"], rel=1e-6), name
            assert "not known why" not in figure.remark and "file states" not in figure.remark, name
    if destroyed:  # where 1e-10 is more than any answer's probability, their numbers are those of the 1e-10
        for name in ("forget_Truth_Ratio", "ra_Truth_Ratio", "ra_Q_A_Prob_normalised"):
            assert "the file's is with 1e-10 in" in found[name].remark, name
            assert found[name].value != pytest.approx(found[name].file_value, rel=0.1)


def test_intervals_hold_the_value_and_pair_the_parts_of_one_set(tmp_path: Path) -> None:
    found = import_eval(write(tmp_path / "a.json", their_eval(0)))
    utility = found["model_utility"]
    assert utility.n == 9 and utility.confidence_interval[0] < utility.value < utility.confidence_interval[1]
    area = found["mia_min_k"]
    assert area.n == 100 and 0 < area.confidence_interval[0] < area.value < area.confidence_interval[1] < 1
    assert any("independent" in note for note in found.notes)


def test_the_order_of_examples_changes_nothing_and_other_examples_are_not_paired(tmp_path: Path) -> None:
    data, retain = their_eval(0), write(tmp_path / "r.json", their_eval(1))
    before = import_eval(write(tmp_path / "a.json", data), retain_logs=retain)
    for entry in (data["retain_Q_A_ROUGE"], data["mia_min_k"]["holdout"]):
        entry["value_by_index"] = dict(reversed(entry["value_by_index"].items()))
    after = import_eval(write(tmp_path / "b.json", data), retain_logs=retain)
    for name in ("model_utility", "privleak"):
        assert after[name].confidence_interval == pytest.approx(before[name].confidence_interval, rel=1e-9)
    for entry in (data["retain_Q_A_ROUGE"], data["mia_min_k"]["holdout"]):
        entry["value_by_index"]["other"] = entry["value_by_index"].pop("0")
    found = import_eval(write(tmp_path / "c.json", data), retain_logs=retain)
    assert "not over the same examples" in found["model_utility"].remark
    assert "about other texts" in found["privleak"].remark


def test_without_the_retrained_models_log_it_is_said_what_is_lacking(tmp_path: Path) -> None:
    data = their_eval(0)
    found = import_eval(write(tmp_path / "a.json", data))
    for name in ("forget_quality", "privleak"):
        assert found[name].value is None and "needs the log of a retrained model" in found[name].remark
    area = data["mia_min_k"]["agg_value"]
    data["privleak"] = {"agg_value": 100 * (0.5 - area) / 0.5}
    found = import_eval(write(tmp_path / "b.json", data), retain_logs=write(tmp_path / "r.json", their_eval(1)))
    assert "0.5 for the retrained model's area" in found["privleak"].remark


def test_an_aggregate_that_does_not_follow_is_not_passed_over(tmp_path: Path) -> None:
    data = their_eval(0)
    data["forget_Q_A_Prob"]["agg_value"] += 0.01
    data["retain_Truth_Ratio"]["agg_value"] = float(
        np.mean([1 / (1 + row["score"]) for row in data["retain_Truth_Ratio"]["value_by_index"].values()])
    )
    found = import_eval(write(tmp_path / "a.json", data))
    assert "it is not known why" in found["forget_Q_A_Prob"].remark
    assert "the file's is with the aggregation prob_mean" in found["retain_Truth_Ratio"].remark


def test_metrics_that_nobody_knows_are_listed(tmp_path: Path) -> None:
    data = {
        "forget_Q_A_gibberish": {"agg_value": 0.5, "value_by_index": {"0": {"score": 0.25, "generation": "x"}, "1": {"score": 0.75}}},
        "several": {"agg_value": 1.0, "value_by_index": {"0": {"a": 1.0, "b": 2.0}}},
        "forget_Q_A_Prob": {"agg_value": 0.3},
    }  # fmt: skip
    found = import_eval(write(tmp_path / "a.json", data))
    assert [figure.name for figure in found.unknown] == ["forget_Q_A_gibberish", "several"]
    assert (
        found["forget_Q_A_gibberish"].value == 0.5
        and "does not know the metric" in found["forget_Q_A_gibberish"].remark
    )
    assert found["several"].value is None and "a, b" in found["several"].remark
    assert found["forget_Q_A_Prob"].value is None and found["forget_Q_A_Prob"].file_value == 0.3


def test_a_summary_has_values_alone(tmp_path: Path) -> None:
    found = import_eval(
        write(tmp_path / "s.json", {"forget_quality": 0.01, "model_utility": 0.6, "mine": 2, "gone": None})
    )
    assert (found["forget_quality"].file_value, found["model_utility"].file_value) == (0.01, 0.6)
    assert found["model_utility"].value is None and found["model_utility"].key == "model_utility/retain"
    assert [figure.name for figure in found.unknown] == ["mine", "gone"]


def test_there_and_back(tmp_path: Path) -> None:
    report = made_report()
    done = export_eval(report, tmp_path / "TOFU_EVAL.json")
    found = import_eval(done.path, compare=report)
    known = {figure.key: figure for figure in found.figures}
    exported = set(report.metrics) - set(done.left_out)
    assert len(exported) == 5 and set(known) == exported and found.unknown == ()
    for key in exported:
        assert known[key].file_value == known[key].report_value == report.metrics[key].value
    short = export_eval(report, tmp_path / "TOFU_SUMMARY.json", summary=True)
    assert json.loads(short.path.read_text()) == {figure.name: figure.file_value for figure in found.figures}
    text = done.path.read_text()
    assert export_eval(report, tmp_path / "again.json").path.read_text() == text and "value_by_index" not in text


def test_every_key_of_the_table_is_a_metric_of_ours() -> None:
    named = {key.split("/")[0] for metric in EVAL_METRICS.values() for key in metric.keys}
    assert named <= set(METRICS)


@pytest.mark.parametrize("metrics", [["probability"], ["probability", "truth_ratio"]])
def test_values_per_example_come_from_the_evidence_of_the_report_alone(metrics: list[str], tmp_path: Path) -> None:
    """Also where true and other answers were read together."""
    pocket = load_pocket("nano")
    given = {
        "processing_class": pocket.tokenizer,
        "forget": pocket.forget,
        "metrics": metrics,
        "progress": False,
    }
    report = audit(pocket.original(), reference=pocket.reference(), output_dir=tmp_path / "one", **given)
    evidence = tmp_path / "one" / "evidence"
    done = export_eval(tmp_path / "one", tmp_path / "EVAL.json", evidence_dir=evidence)
    found = import_eval(done.path)["forget_Q_A_Prob"]
    assert found.value == pytest.approx(report.metrics["probability"].value, rel=1e-9) and found.remark == ""
    assert found.n == report.metrics["probability"].n
    other = audit(pocket.twin(), reference=pocket.reference(), output_dir=tmp_path / "two", **given)
    with pytest.raises(ValueError, match="is of another audit"):
        export_eval(other, tmp_path / "x.json", evidence_dir=evidence)
    with pytest.raises(ValueError, match="of no audit"):
        export_eval(report, tmp_path / "x.json", evidence_dir=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="a summary has no values per example"):
        export_eval(report, tmp_path / "x.json", summary=True, evidence_dir=evidence)
    assert not (tmp_path / "x.json").exists()


def test_the_commands(tmp_path: Path) -> None:
    file, retain = write(tmp_path / "a.json", their_eval(0)), write(tmp_path / "r.json", their_eval(1))
    run = CliRunner().invoke
    shown = run(app, ["import-eval", str(file), "--retain-logs", str(retain)], terminal_width=40)
    names = [figure.name for figure in import_eval(file).figures]
    assert shown.exit_code == 0 and all(f"{name} " in shown.output for name in names) and "…\n" not in shown.output
    value = import_eval(file, retain_logs=retain)["privleak"].value
    assert f"{value:.4f}" in shown.output and "wf_Q_A_Prob_normalised " in shown.output
    plain = run(app, ["import-eval", str(file), "--json"])
    figures = {figure["name"]: figure for figure in json.loads(plain.output)["figures"]}
    assert figures["forget_Q_A_Prob"]["value"] == import_eval(file)["forget_Q_A_Prob"].value
    (tmp_path / "report.json").write_text(made_report().to_json())
    written = run(app, ["export-eval", str(tmp_path), "--output", str(tmp_path / "o.json")])
    assert written.exit_code == 0 and "without a name there: " in written.output, written.output
    beside = run(app, ["import-eval", str(tmp_path / "o.json"), "--compare", str(tmp_path)])
    assert beside.exit_code == 0 and "report" in beside.output
    broken = run(app, ["import-eval", str(write(tmp_path / "b.json", [1, 2]))])
    assert broken.exit_code == 1 and "Traceback" not in broken.output
