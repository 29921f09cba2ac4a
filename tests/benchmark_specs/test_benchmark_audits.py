"""Every benchmark from its files to a report, with small models: whatever it names is measured, or the report says why it is not."""

from pathlib import Path
from typing import Any

import benchmark_rows
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from sklearn.metrics import roc_auc_score

from hf_unlearn.audit import METRICS, AuditReport
from hf_unlearn.benchmarks import load_benchmark
from hf_unlearn.data import Pocket, load_pocket, tokenize_examples
from hf_unlearn.inference import read_answers


QUICK = {"num_samples": 1, "num_resamples": 20, "max_new_tokens": 6, "progress": False, "max_examples": 40}


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def models(pocket: Pocket) -> dict[str, Any]:
    return {"reference": pocket.reference(), "original": pocket.original(), "processing_class": pocket.tokenizer}


@pytest.mark.parametrize(
    "name", ["tofu:forget01", "muse:news", "wmdp:bio", "rwku:Ann", "rwku:all", "knowundo:privacy"]
)
def test_what_a_benchmark_names_is_measured_or_said(tmp_path: Path, pocket: Pocket, models: dict[str, Any], name: str):
    folder = getattr(benchmark_rows, name.split(":")[0])(tmp_path)
    loaded = load_benchmark(name, data=folder)
    report = loaded.audit(pocket.twin(), **models, **QUICK)
    explained = " ".join(note for note in report.notes if note.startswith("Not defined"))
    for place, described in loaded.configuration.sets.items():
        for metric in described.metrics:
            spec = METRICS[metric].from_settings({}).spec
            if described.role not in spec.splits or (spec.across and place != described.role):
                continue
            assert f"{metric}/{place}" in report.metrics or f"{metric}/{place}" in explained, (metric, place)
    lacking = set(loaded.configuration.headline) - set(loaded.headline(report))
    assert all(key in explained for key in lacking)
    assert report.provenance.settings["benchmark"].startswith(f"{name}@1")
    assert AuditReport.from_json(report.to_json()).provenance == report.provenance


def test_tofu_s_intervals_are_over_authors(tmp_path: Path, pocket: Pocket, models: dict[str, Any]):
    report = load_benchmark("tofu:forget01", data=benchmark_rows.tofu(tmp_path)).audit(
        pocket.twin(), metrics=["probability", "model_utility"], **models, **QUICK
    )
    forget = report.metrics["probability/forget"]
    assert (forget.n, forget.clusters, forget.confidence_interval) == (40, 2, None)
    facts = report.metrics["probability/world_facts"]
    assert facts.clusters == 6 and facts.confidence_interval is not None
    parts = report.metrics["model_utility/retain"].details
    assert {name for name in parts if name.endswith("world_facts")} >= {"normalized_probability_world_facts"}
    assert any(name == "probability_retain" for name in parts)


def test_muse_s_questions_follow_its_examples(tmp_path: Path, pocket: Pocket, models: dict[str, Any]):
    """As its code writes the prompt, character by character."""
    from hf_unlearn.audit.domains._text_splits import load_splits

    loaded = load_benchmark("muse:news", data=benchmark_rows.muse(tmp_path))
    split = load_splits(loaded.sets, pocket.tokenizer, 40, 0, False)["forget_knowmem"]
    shots, rows = benchmark_rows.asked("shot forget", 2), benchmark_rows.asked("knowmem forget")
    before = "".join(f"Question: {shot['question']}\nAnswer: {shot['answer']}\n\n" for shot in shots)
    for prompt, row in zip(split.prompts, rows, strict=True):
        text = pocket.tokenizer.decode(prompt, skip_special_tokens=True)
        assert text == before + f"Question: {row['question']}\nAnswer:"


def test_muse_s_texts_are_scored_whole(tmp_path: Path, pocket: Pocket, models: dict[str, Any]):
    """From the first token on; PrivLeak's AUC is that of the mean of the 40 % least likely tokens, forget against holdout."""
    folder = benchmark_rows.muse(tmp_path)
    report = load_benchmark("muse:news", data=folder).audit(pocket.twin(), **models, **QUICK)
    found = report.metrics["membership_min_k/forget"]
    # Texts of both sets, each for itself, though all have one prompt.
    assert found.n == 12 and found.confidence_interval is not None
    assert not [note for note in report.notes if note.startswith("The 6 forget examples have")]

    def scores(side: str) -> list[float]:
        texts = pq.read_table(folder / "privleak" / f"{side}-00000-of-00001.parquet").column("text").to_pylist()
        rows = Dataset.from_dict({"prompt": [""] * len(texts), "completion": texts})
        examples = tokenize_examples(rows, pocket.tokenizer).to_list()
        assert all(
            sum(label == -100 for label in example["labels"]) == 1 for example in examples
        )  # the start token alone
        read = [reading.log_probs for reading in read_answers(pocket.twin(), examples, progress=False)]
        return [float(np.sort(part)[: max(1, int(len(part) * 0.4))].mean()) for part in map(np.asarray, read)]

    members, others = scores("forget"), scores("holdout")
    labels = [1] * len(members) + [0] * len(others)
    auc = roc_auc_score(labels, members + others)
    assert report.metrics["privleak/forget"].details["auc"] == pytest.approx(auc, abs=1e-6)
