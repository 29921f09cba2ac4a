"""Reports made by hand, so that publishing is tested without running models."""

import dataclasses

import numpy as np

from hf_unlearn.audit import AuditReport, MetricResult, MetricResults, Provenance
from hf_unlearn.audit._metric_result import parse_key
from hf_unlearn.audit._narrative import known_spec
from hf_unlearn.audit._report import ShownSpec, shown


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
    """FADE on both sets, a probability, one metric by layer; of other results the keys say what they are, and all are shown first."""
    bounds = {"floor_confidence_interval": (1.0, 2.0), "start_confidence_interval": (20.0, 30.0)}
    differences = {"over_floor_interval": (9.0, 12.5), "start_over_floor_interval": (20.0, 28.0)}
    default = {
        "fade/forget": metric(
            12.4,
            floor=1.5,
            start=25.0,
            relative=0.46,
            relative_confidence_interval=(0.4, 0.5),
            **bounds,
            **differences,
        ),
        "fade/retain": metric(np.float64(1.6), floor=1.5, start=1.6),
        "probability/forget": metric(
            0.4, unit="probability", direction="reference", others={"reference": 0.3, "original": 0.9}, ideal=0.3
        ),
        "residual_ratio/forget": metric(0.8, by_layer={"1": metric(0.7), "2": metric(0.9)}),
    }
    results, specs = MetricResults(), {}
    for key, result in (default if metrics is None else metrics).items():
        name, split, condition = parse_key(key)
        found = dataclasses.replace(result, name=name, split=split, condition=condition)
        results[found.key] = found
        known = known_spec(name)
        specs[name] = (
            ShownSpec(name, result.unit, 0.0, (0.0, None), "outputs", True, False) if known is None else shown(known)
        )
    described = {
        role: {"name": f"{role}-folder", "weights_sha256": str(number) * 64, "dtype": "float32", "source": "local"}
        for number, role in enumerate(("candidate", "reference", "original"))
    }
    data = {"forget": {"sha256": "f" * 64, "rows": 12, "of": 12}}
    provenance = Provenance(
        {**described, **models}, data, {"seed": 0, "confidence": 0.95}, {"hf-unlearn": "0.1.0.dev0"}
    )
    return AuditReport(results, provenance, ("a limit",), "2026-11-21T00:00:00+00:00", specs=specs)
