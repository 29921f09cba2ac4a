"""Is it the right trunk? A metric, an attack and a kind of model, defined in this file only, are found everywhere else with no other change."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments
from typer.testing import CliRunner

from hf_unlearn.audit import (
    METRICS,
    AuditReport,
    BaseMetric,
    Citation,
    EvidenceStore,
    MetricSpec,
    Reading,
    Rows,
    SubjectKey,
    Task,
    audit,
    mean_of,
)
from hf_unlearn.data import AnswerCollator, Pocket, load_pocket
from hf_unlearn.functional import Bootstrap, Estimate
from hf_unlearn.training import ForgettingTracker


class Loudness(BaseMetric):
    """Share of the answer's tokens whose entropy is above a nat: nothing that anybody needs."""

    spec = MetricSpec(
        name="loudness",
        title="Loudness of the answers",
        unit="share of noisy tokens",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("forget", "retain"),
        needs=(Reading("answers"),),
        headline=True,
        citation=Citation("Nobody 2026", "2601.00001"),
        standard=False,
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        values, lengths = rows.per_token("answers", "entropy")
        return mean_of(np.array([part.mean() for part in np.split(values > 1, np.cumsum(lengths)[:-1])]), rows)


@dataclass
class Rounded:
    """Weights rounded to few steps: an attack."""

    steps: int = 8
    name: str = "rounded"
    roles: tuple[str, ...] = ("candidate", "original", "twin")
    metrics: tuple[str, ...] | None = ("loudness", "probability")

    def apply(self, subject: Any) -> Any:
        model = copy.deepcopy(subject.model)
        with torch.no_grad():
            for weights in model.parameters():
                unit = weights.abs().max() / self.steps
                weights.copy_((weights / unit).round() * unit)
        return model


@pytest.fixture(scope="module", autouse=True)
def loudness() -> Iterator[type[Loudness]]:
    """One registry line."""
    METRICS["loudness"] = Loudness
    yield Loudness
    del METRICS["loudness"]


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


@pytest.fixture(scope="module")
def arguments(pocket: Pocket) -> dict[str, Any]:
    return {
        "reference": pocket.reference(),
        "original": pocket.original(),
        "twin": pocket.twin(),
        "processing_class": pocket.tokenizer,
        "forget": pocket.forget_request.remove_columns("person_id"),
        "retain": pocket.retain.remove_columns("person_id"),
        "max_examples": 16,
        "progress": False,
    }


@pytest.fixture(scope="module")
def report(loudness: type[Loudness], pocket: Pocket, arguments: dict[str, Any]) -> AuditReport:
    return audit(pocket.original(), metrics=["probability", "loudness"], conditions=[Rounded()], **arguments)


def test_a_metric_is_one_file_and_a_line(report: AuditReport) -> None:
    result = report.metrics["loudness/forget"]
    assert result.ideal == result.others["reference"] and result.family == "utility"
    assert result.confidence_interval is not None and result.floor is not None and result.start is not None
    assert result.value == result.start, "the candidate is the original"
    assert {"loudness/retain", "loudness/forget@rounded", "probability/retain@rounded"} <= set(report.metrics)
    assert report.spec("loudness").title == "Loudness of the answers"
    again = AuditReport.from_json(report.to_json())
    assert again.metrics == report.metrics and again.specs == report.specs


def test_an_attack_is_one_object(report: AuditReport, pocket: Pocket, arguments: dict[str, Any]) -> None:
    plain, attacked = report.metrics["probability/forget"], report.metrics["probability/forget@rounded"]
    assert attacked.condition == "rounded" and attacked.value != plain.value
    assert attacked.start == attacked.value, "the original was attacked in the same way"
    assert attacked.ideal == plain.ideal, "the reference was not"
    hand = Rounded().apply(type("Subject", (), {"model": pocket.original()}))
    alone = audit(hand, metrics=["probability"], **arguments)
    assert attacked.value == pytest.approx(alone.metrics["probability/forget"].value, abs=1e-9)


def test_views_show_what_they_have_never_heard_of(report: AuditReport, tmp_path: Path) -> None:
    from hf_unlearn.cli._show import console, print_report
    from hf_unlearn.publishing import Statement
    from hf_unlearn.publishing._card import card_section, model_index_results

    with console.capture() as captured:
        print_report(report, "trunk")
    assert "Loudness" in captured.get() and "rounded" in captured.get()
    assert any("Loudness of the answers" in sentence for sentence in report.reading())
    assert any("rounded" in sentence for sentence in report.reading())
    section = card_section(report, Statement(), "me/model")
    assert "Loudness of the answers" in section and "rounded" in section and "2601.00001" in section
    assert "loudness" in str(model_index_results(report, "me/model"))
    report.save(tmp_path)
    assert (tmp_path / "loudness.png").stat().st_size > 5_000


def test_a_reader_need_not_have_the_metric(report: AuditReport, monkeypatch: pytest.MonkeyPatch) -> None:
    text = report.to_json()
    monkeypatch.delitem(METRICS, "loudness")
    again = AuditReport.from_json(text)
    assert again.spec("loudness").title == "Loudness of the answers"
    assert any("Loudness of the answers" in sentence for sentence in again.reading())


def test_the_command_line_knows_it(loudness: type[Loudness], pocket: Pocket, tmp_path: Path) -> None:
    from hf_unlearn.cli import app

    run = CliRunner()
    listed = run.invoke(app, ["metrics", "--json"])
    assert any(entry["name"] == "loudness" for entry in json.loads(listed.stdout))
    for role in ("reference", "original"):
        getattr(pocket, role)().save_pretrained(tmp_path / role)
        pocket.tokenizer.save_pretrained(tmp_path / role)
    pocket.forget_request.to_json(tmp_path / "forget.jsonl")
    options = {"candidate": "original", "reference": "reference", "forget": "forget.jsonl", "output-dir": "out"}
    arguments = [part for name, place in options.items() for part in (f"--{name}", str(tmp_path / place))]
    result = run.invoke(app, ["audit", *arguments, "--metrics", "loudness", "--max-examples", "12"])
    assert result.exit_code == 0, result.output
    assert list(AuditReport.load(tmp_path / "out").metrics) == ["loudness/forget"]
    unknown = run.invoke(app, ["audit", *arguments, "--metrics", "lodness"])
    assert unknown.exit_code == 1 and "loudness" in unknown.output


def test_the_tracker_watches_it(loudness: type[Loudness], tmp_path: Path) -> None:
    from toys import tiny_llama

    model, args = tiny_llama(1), TrainingArguments(str(tmp_path), num_train_epochs=1, report_to="none", use_cpu=True)
    rows = Dataset.from_list(
        [{"input_ids": [1, 5 + n, 6 + n, 7 + n], "labels": [-100, -100, 6 + n, 7 + n]} for n in range(8)]
    )
    trainer = Trainer(model=model, args=args, train_dataset=rows, data_collator=AnswerCollator(0))
    reference = tiny_llama(2)
    trainer.add_callback(
        ForgettingTracker(trainer, forget_dataset=rows, reference=reference, metrics=["loudness", "probability"])
    )
    trainer.train()
    lines = [json.loads(line)["values"] for line in (tmp_path / "forgetting.jsonl").read_text().splitlines()]
    assert all(0 <= line["forget_loudness"] <= 1 and "forget_probability" in line for line in lines) and len(lines) > 1
    assert "fade" not in lines[0]
    assert "loudness" in (tmp_path / "forgetting.html").read_text().lower()


def test_it_is_published_and_verified(
    report: AuditReport, pocket: Pocket, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants
    from loopback_hub import loopback_hub

    from hf_unlearn.publishing import publish, verify

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with loopback_hub(tmp_path / "served") as hub:
        hub.tokens = {"hf_token"}
        there = {"endpoint": hub.endpoint, "token": "hf_token"}
        publish(report, "me/model", weights=pocket.original(), processing_class=pocket.tokenizer, **there)
        given = {name: arguments[name] for name in ("reference", "original", "twin", "forget", "retain")}
        checks = verify("me/model", **given, conditions=[Rounded()], progress=False, **there)
    found = {check.name: check for check in checks}
    for key in ("loudness/forget", "loudness/retain@rounded", "probability/forget@rounded", "card", "reading"):
        assert found[key].outcome == "reproduced", found[key]


class Coin:
    """A toy model: the probability that it gives to heads, for each kind of coin."""

    def __init__(self, **heads: float):
        self.heads = heads


@dataclass(frozen=True)
class OpenCoin:
    key: SubjectKey
    model: Coin

    @property
    def fingerprint(self) -> str:
        return str(sorted(self.model.heads.items()))


@dataclass(frozen=True)
class Throws:
    name: str
    throws: Sequence[tuple[str, bool]]

    @property
    def groups(self) -> np.ndarray:
        return np.arange(len(self.throws))

    @property
    def clusters(self) -> np.ndarray:
        return self.groups

    def __len__(self) -> int:
        return len(self.throws)


class Coins:
    """A kind of model that has no tokens."""

    name = "coins"
    versions: Mapping[str, int] = {"throws": 1}
    read: ClassVar[list[str]] = []

    def __init__(self, models: Any, data: Any, processing_class: Any, config: Any, store: EvidenceStore):
        self.models = {role: model for role, model in models.items() if model is not None}
        self.sets = {name: Throws(name, rows) for name, rows in data.items() if rows is not None}

    def given(self, role: str) -> Coin | None:
        return self.models.get(role)

    def open(self, key: SubjectKey, model: Coin) -> OpenCoin:
        return OpenCoin(key, model)

    def splits(self) -> Mapping[str, Throws]:
        return self.sets

    def task(self, reading: Reading, subject: OpenCoin, split: Throws, others: Mapping[str, OpenCoin]) -> Task | None:
        def compute(items: Sequence[int]) -> Iterator[pa.Table]:
            Coins.read.append(f"{subject.key} {split.name}")
            found = [subject.model.heads[split.throws[item][0]] for item in items]
            right = [p if split.throws[item][1] else 1 - p for item, p in zip(items, found, strict=True)]
            yield pa.table({"item": pa.array(items, pa.int64()), "probability": right})

        return Task((subject.fingerprint, split.throws), len(split), compute)

    def settings(self) -> dict[str, Any]:
        return {}

    def describe(self) -> dict[str, dict[str, str]]:
        return {role: {"name": "coin", "weights_sha256": "0" * 64} for role in self.models}

    def describe_data(self) -> dict[str, dict[str, str | int]]:
        return {name: {"rows": len(rows)} for name, rows in self.sets.items()}

    def facts(self) -> dict[str, Any]:
        return {}

    def looks_odd(self, subject: OpenCoin, split: Throws) -> list[str]:
        return []

    def notes(self) -> list[str]:
        return ["Coins were thrown."]


class Luck(BaseMetric):
    """The probability of what came up."""

    spec = MetricSpec(
        name="luck",
        title="Luck",
        unit="probability of what came up",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="outputs",
        splits=("forget",),
        needs=(Reading("throws"),),
        headline=True,
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        return mean_of(rows.column("throws", "probability"), rows)


class Worn:
    """An attack on coins."""

    name, roles, metrics = "worn", ("candidate",), None

    def apply(self, subject: OpenCoin) -> Coin:
        return Coin(**{kind: (p + 0.5) / 2 for kind, p in subject.model.heads.items()})


@pytest.fixture
def coins() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    throws = [("penny" if fair else "bent", bool(generator.random() < 0.9)) for fair in generator.random(40) < 0.5]
    return {
        "reference": Coin(penny=0.5, bent=0.5),
        "twin": Coin(penny=0.5, bent=0.52),
        "original": Coin(penny=0.9, bent=0.95),
        "forget": throws,
        "domain": Coins,
        "metrics": [Luck()],
        "conditions": [Worn()],
    }


def test_a_kind_of_model_is_one_class(coins: dict[str, Any], tmp_path: Path) -> None:
    candidate = Coin(penny=0.6, bent=0.7)
    Coins.read.clear()
    report = audit(candidate, **coins, output_dir=tmp_path)  # type: ignore[arg-type]
    result = report.metrics["luck"]
    kinds = [(kind, came) for kind, came in coins["forget"]]
    by_hand = np.mean([candidate.heads[kind] if came else 1 - candidate.heads[kind] for kind, came in kinds])
    assert result.value == pytest.approx(by_hand, abs=1e-12) and result.n == 40
    assert result.relative is not None and 0 < result.relative < 1
    assert "luck/forget@worn" in report.metrics and "Coins were thrown." in report.notes
    assert any("Luck" in sentence for sentence in report.reading())
    assert len(Coins.read) == 5
    audit(candidate, **coins, output_dir=tmp_path)  # type: ignore[arg-type]
    assert len(Coins.read) == 5, "everything was kept"


def test_evidence_may_lie_elsewhere(coins: dict[str, Any]) -> None:
    candidate = Coin(penny=0.6, bent=0.7)
    Coins.read.clear()
    first = audit(candidate, **coins, evidence_dir="memory://trunk")  # type: ignore[arg-type]
    assert len(Coins.read) == 5
    again = audit(candidate, **coins, evidence_dir="memory://trunk")  # type: ignore[arg-type]
    assert len(Coins.read) == 5 and again.metrics == first.metrics
    assert "evidence_dir" not in first.provenance.settings


def test_another_version_of_a_reading_is_read_again(
    coins: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = Coin(penny=0.6, bent=0.7)
    audit(candidate, **coins, output_dir=tmp_path)  # type: ignore[arg-type]
    Coins.read.clear()
    monkeypatch.setattr(Coins, "versions", {"throws": 2})
    audit(candidate, **coins, output_dir=tmp_path)  # type: ignore[arg-type]
    assert len(Coins.read) == 5
