"""Reports made by hand, so that views are tested without running models: metrics that no view can know."""

from typing import Any

from hf_unlearn.audit import AuditReport, MetricResult, Provenance
from hf_unlearn.audit._findings import Finding
from hf_unlearn.audit._metric_result import MetricResults
from hf_unlearn.audit._report import ShownSpec


def spec(title: str, **given: Any) -> ShownSpec:
    """Of a headline metric of outputs whose ideal is 0."""
    plain = {
        "unit": "nats",
        "ideal": 0.0,
        "bounds": (0.0, None),
        "family": "outputs",
        "headline": True,
        "by_layer": False,
    }
    return ShownSpec(title=title, **{**plain, "citation": "Somebody 2024", "arxiv": "2401.00001", **given})


def result(name: str, value: float, **given: Any) -> MetricResult:
    """Between floor and start, of 24 examples in 12 clusters."""
    plain = {
        "confidence_interval": (value - 0.5, value + 0.5), "n": 24, "unit": "nats", "direction": "lower", "clusters": 12, "ideal": 0.0,
        "floor": 1.0, "start": 10.0, "floor_confidence_interval": (0.8, 1.2), "start_confidence_interval": (9.0, 11.0),
        "relative": (value - 1) / 9, "relative_confidence_interval": ((value - 1) / 9 - 0.1, (value - 1) / 9 + 0.1),
        "over_floor_interval": (value - 1.6, value - 0.4), "start_over_floor_interval": (8.0, 10.0),
    }  # fmt: skip
    return MetricResult(value=value, name=name, **{**plain, **given})


def results() -> list[MetricResult]:
    """A distance under a condition, a metric of one model, one by layer, one that is not shown first."""
    of_one = {
        "unit": "share", "direction": "reference", "ideal": 0.2, "others": {"reference": 0.2, "original": 0.9, "twin": 0.25}, "floor": 0.25,
        "start": 0.9, "floor_confidence_interval": (0.2, 0.3), "start_confidence_interval": (0.85, 0.95), "over_floor_interval": (0.1, 0.3),
        "start_over_floor_interval": (0.5, 0.7), "relative": 0.3, "relative_confidence_interval": (0.2, 0.4), "confidence_interval": (0.3, 0.5),
    }  # fmt: skip
    layers = {
        str(layer): result("twist", value, family="hidden states") for layer, value in ((1, 4.0), (2, 5.0), (3, 1.1))
    }
    return [
        result("gap", 4.0),
        result("gap", 1.1, split="retain"),
        result("gap", 8.0, condition="int8"),
        result("recall", 0.4, **of_one),
        result("twist", 3.4, by_layer=layers, family="hidden states", undefined={"4": "nothing changed there"}),
        result("spread", 2.0, family="hidden states", floor=None, start=None, relative=None),
    ]


def made(
    *others: MetricResult,
    findings: tuple[Finding, ...] = (),
    notes: tuple[str, ...] = ("a limit",),
    **specs: ShownSpec,
) -> AuditReport:
    """All of `results()`, or others."""
    known = {
        "gap": spec("gap between answers"),
        "recall": spec("recall of the answer", unit="share", ideal="reference", bounds=(0.0, 1.0)),
        "twist": spec("twist of states", family="hidden states", by_layer=True),
        "spread": spec("spread of states", family="hidden states", headline=False),
    }
    described = {
        role: {"name": f"{role}-folder", "weights_sha256": str(number) * 64, "dtype": "float32", "source": "local"}
        for number, role in enumerate(("candidate", "reference", "original"))
    }
    data: dict[str, dict[str, str | int]] = {"forget": {"sha256": "f" * 64, "rows": 24, "of": 24}}
    provenance = Provenance(described, data, {"seed": 0, "confidence": 0.95}, {"hf-unlearn": "0.1.0.dev0"})
    metrics = MetricResults({found.key: found for found in (others or results())})
    return AuditReport(
        metrics, provenance, notes, "2026-11-21T00:00:00+00:00", specs={**known, **specs}, findings=findings
    )
