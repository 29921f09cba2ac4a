"""The picture a person looks at first: where the candidate lies between retraining and having done nothing."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_unlearn.audit._results import AuditReport, MetricResult


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
