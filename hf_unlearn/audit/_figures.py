"""The picture a person looks at first: where the candidate lies between retraining and having done nothing."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._results import AuditReport


# Distinguishable with any colour vision, and in grey.
COLOURS = {"floor": "#0072B2", "candidate": "#D55E00", "start": "#555555"}
LABELS = {
    "floor": "twin\n(another retraining)",
    "candidate": "candidate\n(unlearned)",
    "start": "original\n(before unlearning)",
}
TITLES = {"fade": "forget prompts", "retain_fade": "retain prompts"}


def draw_fade(report: AuditReport, path: Path) -> None:
    """Draw FADE of twin, candidate and original against the reference, with intervals; one panel per set of prompts.

    Args:
        report: Holds `fade`, `retain_fade` or both.
        path: Where the PNG goes.
    """
    present = [name for name in TITLES if name in report.metrics]
    # Figure and canvas directly: pyplot would register the figure globally and pick a window system.
    figure = Figure(figsize=(4.6 * len(present), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for index, name in enumerate(present):
        _panel(figure.add_subplot(1, len(present), index + 1), TITLES[name], report.metrics[name])
    figure.suptitle("Distance to a model that never saw the forget data (FADE)")
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _panel(axes: Axes, title: str, result: MetricResult) -> None:
    bars = {
        "floor": (result.floor, result.floor_confidence_interval),
        "candidate": (result.value, result.confidence_interval),
        "start": (result.start, result.start_confidence_interval),
    }
    shown = {name: (value, interval) for name, (value, interval) in bars.items() if value is not None}
    for place, (name, (value, interval)) in enumerate(shown.items()):
        low, high = interval or (value, value)
        error = [[max(0.0, value - low)], [max(0.0, high - value)]]
        axes.bar(place, value, width=0.62, color=COLOURS[name], yerr=error, capsize=6, ecolor="black", zorder=2)
        axes.annotate(f"{value:.3g}", (place, high), xytext=(0, 4), textcoords="offset points", ha="center")
    axes.set_xticks(range(len(shown)), [LABELS[name] for name in shown], fontsize=9)
    if result.floor_confidence_interval is not None:
        axes.axhspan(*result.floor_confidence_interval, color=COLOURS["floor"], alpha=0.15, lw=0, zorder=1)
    axes.set_title(title + ("" if result.relative is None else f": relative {result.relative:.2f}"))
    axes.set_ylabel("FADE, nats per sequence (lower is better)")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
    axes.spines[["top", "right"]].set_visible(False)


HEAT_ROWS = {
    "residual_ratio": ("residual ratio", 0.0),
    "progress": ("progress", 1.0),
    "directional_agreement": ("directional agreement", 1.0),
    "off_direction": ("off direction", 0.0),
    "residual_concentration": ("residual concentration", None),
    "cka": ("CKA with retrained", 1.0),
    "anchored_erasure": ("anchored erasure", 1.0),
    "pca_similarity": ("PCA similarity", 1.0),
    "probe_auc": ("probe AUC", None),
}
"""Metrics of the heat map, what they are called there, and their ideal; None has no colour, or its own."""


def draw_representation(report: AuditReport, path: Path) -> None:
    """Draw layers × metrics, one panel for forget and one for retain; colour says how far from the retrained model a value is.

    0 = as the retrained model, 1 = as the original (for metrics whose original is undefined: one unit from the ideal).

    Args:
        report: Holds results by layer.
        path: Where the PNG goes.
    """
    panels = {
        prefix: [
            name for name in HEAT_ROWS if report.metrics.get(prefix + name) and report.metrics[prefix + name].by_layer
        ]
        for prefix in ("", "retain_")
    }
    panels = {prefix: names for prefix, names in panels.items() if names}
    layers = sorted({int(layer) for result in report.metrics.values() for layer in result.by_layer})
    height = 1.2 + 0.42 * sum(len(names) + 2 for names in panels.values())
    figure = Figure(figsize=(max(6.5, 3.2 + 0.75 * len(layers)), height), layout="constrained")
    FigureCanvasAgg(figure)
    grids = figure.subplots(
        len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": [len(names) + 1 for names in panels.values()]}
    )
    image: AxesImage
    for (prefix, names), axes in zip(panels.items(), grids[:, 0], strict=True):
        image = _heat(axes, report, prefix, names, layers)
        axes.set_title("retain examples" if prefix else "forget examples")
    grids[-1, 0].set_xlabel("layer")
    bar = figure.colorbar(image, ax=grids[:, 0].tolist(), fraction=0.04, extend="max")
    bar.set_ticks([0, 1, 2], labels=["0 retrained", "1 original", "2"])
    figure.suptitle("Hidden states: how far from the retrained model")
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _heat(axes: Axes, report: AuditReport, prefix: str, names: list[str], layers: list[int]) -> AxesImage:
    colours = np.full((len(names), len(layers)), np.nan)
    texts: dict[tuple[int, int], str] = {}
    for row, name in enumerate(names):
        for column, layer in enumerate(layers):
            result = report.metrics[prefix + name].by_layer.get(str(layer))
            if result is not None:
                texts[row, column] = f"{result.value:.2f}"
                colours[row, column] = _distance(result, HEAT_ROWS[name][1])
    image = axes.imshow(np.ma.masked_invalid(colours), vmin=0, vmax=2, cmap="cividis_r", aspect="auto")
    for (row, column), text in texts.items():
        dark = np.isfinite(colours[row, column]) and colours[row, column] > 1.1
        if len(layers) <= 24:
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_yticks(range(len(names)), [HEAT_ROWS[name][0] for name in names])
    step = max(1, len(layers) // 24)
    axes.set_xticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
    return image


def _distance(result: MetricResult, ideal: float | None) -> float:
    """How far from the ideal, in units of the original's distance from it; NaN where there is no ideal."""
    ideal = result.others.get("reference") if ideal is None else ideal
    start = result.others.get("original") if result.start is None else result.start
    if ideal is None:
        return float("nan")
    unit = 1.0 if start is None or abs(start - ideal) < 1e-9 else abs(start - ideal)
    return min(2.0, abs(result.value - ideal) / unit)
