"""Reports made by hand, so that publishing is tested without running models."""

import numpy as np

from hf_unlearn.audit import AuditReport, MetricResult, Provenance


TOKEN = "hf_CANARYtoken"


def metric(value: float, **given) -> MetricResult:
    options = {
        "confidence_interval": (value - 1, value + 1),
        "n": 12,
        "unit": "nats per sequence",
        "direction": "lower",
    }
    return MetricResult(value, **{**options, **given})


def report(metrics: dict[str, MetricResult] | None = None, **models: dict[str, str]) -> AuditReport:
    """FADE on both sides, a probability, one metric by layer."""
    bounds = {"floor_confidence_interval": (1.0, 2.0), "start_confidence_interval": (20.0, 30.0)}
    default = {
        "fade": metric(12.4, floor=1.5, start=25.0, relative=0.46, relative_confidence_interval=(0.4, 0.5), **bounds),
        "retain_fade": metric(np.float64(1.6), floor=1.5, start=1.6),
        "forget_probability": metric(
            0.4, unit="probability", direction="reference", others={"reference": 0.3, "original": 0.9}
        ),
        "residual_ratio": metric(0.8, by_layer={"1": metric(0.7), "2": metric(0.9)}),
    }
    described = {
        role: {"name": f"{role}-folder", "weights_sha256": str(number) * 64, "dtype": "float32", "source": "local"}
        for number, role in enumerate(("candidate", "reference", "original"))
    }
    data = {"forget": {"sha256": "f" * 64, "rows": 12, "of": 12}}
    provenance = Provenance(
        {**described, **models}, data, {"seed": 0, "confidence": 0.95}, {"hf-unlearn": "0.1.0.dev0"}
    )
    return AuditReport(default if metrics is None else metrics, provenance, ("a limit",), "2026-11-21T00:00:00+00:00")
