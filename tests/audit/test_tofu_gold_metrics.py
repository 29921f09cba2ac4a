"""TOFU's published logs as if they were readings: every figure of two models through the metrics of an audit, ROUGE-L from the texts included."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hf_unlearn.audit import METRICS, MetricResult, SubjectKey
from hf_unlearn.audit._measure import measure
from hf_unlearn.audit._rows import Evidence
from hf_unlearn.functional import Bootstrap


FILES = {
    "forget": "eval_log_forget.json",
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
MODELS = {"candidate": "full", "reference": "retain90"}


@dataclass(frozen=True)
class _Split:
    name: str
    role: str
    answer_texts: tuple[str, ...]

    @property
    def groups(self) -> np.ndarray:
        return np.arange(len(self.answer_texts))

    clusters = groups

    def __len__(self) -> int:
        return len(self.answer_texts)


def _tokens(mean_losses: list[float]) -> pa.Array:
    """As if each answer were one token."""
    return pa.ListArray.from_arrays(np.arange(len(mean_losses) + 1, dtype=np.int32), -np.array(mean_losses))


def _tables(log: dict[str, dict[str, list]], paraphrased: bool) -> dict[str, pa.Table]:
    order = list(log["avg_gt_loss"])
    answers = [log["avg_gt_loss"][at] for at in order]
    found = []
    for number, at in enumerate(order):
        found += [(number, False, log["avg_paraphrased_loss"][at])] if paraphrased else []
        found += [(number, True, loss) for loss in log["average_perturb_loss"][at]]
    texts = [log["generated_text"][at][1] for at in order]
    return {
        "answers": pa.table({"item": range(len(order)), "log_probs": _tokens(answers)}),
        "variants": pa.table(
            {
                "item": range(len(found)),
                "log_probs": _tokens([loss for _, _, loss in found]),
                "example": [number for number, _, _ in found],
                "is_wrong": [wrong for _, wrong, _ in found],
            }
        ),
        "generations": pa.table({"item": range(len(order)), "text": texts, "truncated": [False] * len(order)}),
    }


@pytest.fixture(scope="module", params=[False, True], ids=["ours", "compatible"])
def evidence(request: pytest.FixtureRequest, shared_data: Path) -> Evidence:
    logs = {
        role: json.loads((shared_data / "tofu_gold_logs" / f"llama2-7b_{model}_wd0.01.json").read_text())
        for role, model in MODELS.items()
    }
    splits = {}
    for name, file in FILES.items():
        log = logs["candidate"][file]
        truths = tuple(log["generated_text"][at][2] for at in log["avg_gt_loss"])
        splits[name] = _Split(name, "forget" if name == "forget" else "retain", truths)
    found = Evidence(splits, {"compatible": request.param})
    for role, log in logs.items():
        for name, file in FILES.items():
            for reading, table in _tables(log[file], name in ("forget", "retain")).items():
                found.tables[reading, SubjectKey(role), name] = table
    return found


def _measured(evidence: Evidence, name: str, split: str) -> MetricResult:
    found = measure(METRICS[name].from_settings({}), evidence, split, "", Bootstrap(num_resamples=200))
    assert isinstance(found, MetricResult), found
    return found


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "full", "retrained"),
    [
        ("probability", 0.99094, 0.14756),
        ("truth_ratio_closer_to_1_better", 0.51599, 0.67402),
        ("rouge_l", 0.98545, 0.40824),
    ],
)
def test_gold_of_the_forget_set(evidence: Evidence, name: str, full: float, retrained: float) -> None:
    found = _measured(evidence, name, "forget")
    assert (round(found.value, 5), round(found.others["reference"], 5)) == (full, retrained)
    low, high = found.confidence_interval or (np.nan, np.nan)
    assert low < found.value < high


@pytest.mark.shared_data
def test_gold_of_forget_quality(evidence: Evidence) -> None:
    found = _measured(evidence, "forget_quality", "forget")
    assert f"{found.value:.5e}" == "1.83407e-21" and round(found.details["ks_statistic"], 6) == 0.396667
    assert found.n == found.details["n_reference"] == 300


@pytest.mark.shared_data
def test_gold_of_model_utility(evidence: Evidence) -> None:
    """To 2e-4: TOFU read the answers about real authors and facts twice, in bf16, and its two readings differ by rounding (up to 0.12 nats per token); we
    read them once. ROUGE-L in every script moves it by less than 1e-4. `tests/functional/test_tofu.py` has all digits."""
    found = _measured(evidence, "model_utility", "retain")
    assert found.details["components"] == 9 and found.n == 300 + 100 + 117
    assert found.value == pytest.approx(0.622677, abs=2e-4)
    assert found.others["reference"] == pytest.approx(0.613745, abs=2e-4)
    low, high = found.confidence_interval or (np.nan, np.nan)
    assert low < found.value < high and high - low < 0.1
