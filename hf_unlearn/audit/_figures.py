"""The pictures a person looks at first: where the candidate lies between retraining and having done nothing. Drawn from specs and results."""

import re
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from hf_unlearn._files import write_atomically
from hf_unlearn.audit._assumed import EXCHANGEABLE, titled
from hf_unlearn.audit._metric_result import Interval, MetricResult
from hf_unlearn.audit._relative import shown_relative
from hf_unlearn.audit._report import AuditReport, ShownSpec


# Distinguishable with any colour vision, and in grey.
COLOURS = {"floor": "#0072B2", "candidate": "#D55E00", "start": "#555555"}
LABELS = {
    "floor": "twin\n(another retraining)",
    "candidate": "candidate\n(unlearned)",
    "start": "original\n(before unlearning)",
}
FLOOR_LABELS = {"stand-in": "unseen names\n(stand-in)", "continued": "continued\n(unseen names)"}
"""Of floors that are no twin's."""
_DASHED = "dashed: the ideal on that set"
_BACKGROUND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5}
"""Of a number, so that no line strikes it through."""
_PALE = 0.35
"""Opacity of what has no interval: however large, it may be noise."""
_SHADES = "pale: without an interval\nhatched: no scale (no ideal, or no original away from it)"
_HATCHED: dict[str, Any] = {"facecolor": "#dddddd", "edgecolor": "#999999", "hatch": "///", "linewidth": 0}
LAYERS = "representation"
"""Name of the figure of all metrics by layer; of those that rest on an assumption, `_<assumption>` follows."""
_FIGURES, _PANELS, _BARS, _ROWS, _INCHES = 12, 4, 12, 60, 40.0
"""A report may be somebody else's: more than this is not drawn."""


def draw_figures(report: AuditReport, folder: Path) -> list[Path]:
    """Draw bars for each headline metric (`<name>.png`) and one heat map of all metrics by layer (`representation.png`; counterfactual ones by themselves).

    Args:
        report: Any; what it does not have is not drawn.
        folder: Where the PNGs go; each is complete or not there.

    Returns:
        The paths.
    """
    bars: dict[str, list[MetricResult]] = {}
    for result in report.metrics.values():
        if not result.by_layer and report.spec(result.name).headline:
            bars.setdefault(result.name, []).append(result)
    figures: dict[str, Callable[[], Figure]] = {
        _file_name(name): partial(_bars, report.spec(name), results) for name, results in list(bars.items())[:_FIGURES]
    }
    for assumes in dict.fromkeys(result.assumes for result in report.metrics.values() if result.by_layer):
        figures[f"{LAYERS}_{assumes}" if assumes else LAYERS] = partial(_heat_map, report, assumes)
    for name, draw in figures.items():
        figure = draw()
        FigureCanvasAgg(figure)
        write_atomically(folder / f"{name}.png", partial(_save, figure))
    return [folder / f"{name}.png" for name in figures]


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})


def _file_name(name: str) -> str:
    """Of a metric's figure: no path, nothing hidden, and not the heat map's."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80]
    return f"{plain}_" if plain.startswith(LAYERS) else plain


def _plain(text: str, width: int) -> str:
    """Text from outside, in lines of so many characters; a dollar sign begins no formula."""
    return "\n".join(textwrap.wrap(text, width)[:3]).replace("$", r"\$")


def _bars(spec: ShownSpec, results: list[MetricResult]) -> Figure:
    """One panel per set; a condition is a further bar in the panel of its set."""
    panels: dict[str, list[MetricResult]] = {}
    for result in results:
        panels.setdefault(result.split, []).append(result)
    shown = list(panels.items())[:_PANELS]
    widths = [3.2 + 0.5 * min(len(found), _BARS) for _, found in shown]
    figure = Figure(figsize=(sum(widths) + 1.2, 4.1), layout="constrained")
    grid = figure.subplots(1, len(shown), squeeze=False, gridspec_kw={"width_ratios": widths})
    for axes, (split, found) in zip(grid[0], shown, strict=True):
        _panel(axes, split, found[:_BARS], spec)
    grid[0, 0].set_ylabel(_plain(spec.unit, 50))
    title = titled(spec)
    figure.suptitle(_plain(title[:1].upper() + title[1:] + _ideal(spec), 30 * len(shown) + 20))
    dashed = [line for axes in grid[0] for line in axes.lines if line.get_label() == _DASHED]
    if dashed:
        figure.legend(handles=dashed[:1], loc="outside lower center", frameon=False)
    return figure


def _ideal(spec: ShownSpec) -> str:
    """In a title: what a retrained model has."""
    if spec.assumes:
        return f"; {EXCHANGEABLE.removeprefix(f'{spec.assumes}, ')}"
    if isinstance(spec.ideal, str):
        return {"reference": "; ideal: the retrained model's", "holdout": "; ideal: as on the holdout set"}[spec.ideal]
    return "" if spec.ideal is None else f" (a retrained model has {spec.ideal:g})"


def _panel(axes: Axes, split: str, results: list[MetricResult], spec: ShownSpec) -> None:
    plain = next((result for result in results if not result.condition), results[0])
    bars: list[tuple[str, str, float | None, Interval | None]] = [
        ("floor", FLOOR_LABELS.get(plain.floor_of, LABELS["floor"]), plain.floor, plain.floor_confidence_interval),
        *(
            ("candidate", _bar_label(result), result.value, result.confidence_interval)
            for result in sorted(results, key=lambda result: bool(result.condition))
        ),
        ("start", LABELS["start"], plain.start, plain.start_confidence_interval),
    ]
    shown = [(kind, label, _drawable(value), interval) for kind, label, value, interval in bars if value is not None]
    # An interval may have no end worth drawing: bars stay visible beside it.
    room = 3 * max(abs(value) for _, _, value, _ in shown) or 1.0
    bottom, top = 0.0, 0.0
    for place, (kind, _, value, interval) in enumerate(shown):
        low, high = (max(-room, min(room, end)) for end in interval or (value, value))
        error = [[max(0.0, value - low)], [max(0.0, high - value)]]
        axes.bar(place, value, width=0.62, color=COLOURS[kind], yerr=error, capsize=6, ecolor="black", zorder=2)
        above = (place, max(value, high))
        beyond = [f"{end:.3g}" for end in interval or () if abs(end) > room]
        # What is cut must not look as if it ended there.
        number = f"{value:.3g}" + (f"\n(interval to {' and '.join(beyond)})" if beyond else "")
        axes.annotate(
            number, above, xytext=(0, 4), textcoords="offset points", ha="center", zorder=5, bbox=_BACKGROUND
        )
        bottom, top = min(bottom, value, low), max(top, value, high)
    axes.set_xticks(range(len(shown)), [label for _, label, _, _ in shown], fontsize=9)
    if plain.floor_confidence_interval is not None:
        axes.axhspan(
            *map(_drawable, plain.floor_confidence_interval), color=COLOURS["floor"], alpha=0.15, lw=0, zorder=1
        )
    if isinstance(spec.ideal, str) and plain.ideal is not None:
        axes.axhline(_drawable(plain.ideal), color="black", lw=1, ls="--", zorder=3, label=_DASHED)
    relative = shown_relative(plain)
    where = f"{split} set" + ("" if relative is None else f": relative {relative:.2f}")
    axes.set_title(_plain(where, 40))
    margin = 0.16 * (top - bottom) or 1.0
    axes.set_ylim(bottom - (margin if bottom < 0 else 0), top + margin)
    axes.spines[["top", "right"]].set_visible(False)


def _drawable(value: float) -> float:
    """Axes overflow long before floats do."""
    return max(-1e100, min(1e100, value))


def _bar_label(result: MetricResult) -> str:
    return LABELS["candidate"] if not result.condition else f"candidate\nafter {_plain(result.condition, 16)}"


def _heat_map(report: AuditReport, assumes: str) -> Figure:
    """Layers × metrics, one panel per set: 0 = as the retrained model (or what stands in for it), 1 = as the original; pale where there is no
    interval."""
    panels: dict[str, list[MetricResult]] = {}
    for result in report.metrics.values():
        if result.by_layer and result.assumes == assumes:
            panels.setdefault(result.split, []).append(result)
    shown = {split: found[:_ROWS] for split, found in list(panels.items())[:_PANELS]}
    layers = sorted({int(layer) for found in shown.values() for result in found for layer in result.by_layer})
    height = min(_INCHES, 1.2 + 0.42 * sum(len(found) + 2 for found in shown.values()))
    figure = Figure(figsize=(min(_INCHES, max(6.5, 3.2 + 0.75 * len(layers))), height), layout="constrained")
    ratios = [len(found) + 1 for found in shown.values()]
    grid = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": ratios})
    image: AxesImage
    for axes, (split, found) in zip(grid[:, 0], shown.items(), strict=True):
        image = _heat(axes, report, found, layers)
        axes.set_title(_plain(f"{split} set", 40))
    grid[-1, 0].set_xlabel("layer")
    figure.supxlabel(_SHADES, fontsize=9)
    bar = figure.colorbar(image, ax=grid[:, 0].tolist(), fraction=0.04, extend="max")
    bar.set_ticks([0, 1, 2], labels=["0 stand-in" if assumes else "0 retrained", "1 original", "2"])
    whom = f"what the original says of unseen names\n({EXCHANGEABLE})" if assumes else "the retrained model"
    figure.suptitle(f"Hidden states: how far from {whom}")
    return figure


def _heat(axes: Axes, report: AuditReport, results: list[MetricResult], layers: list[int]) -> AxesImage:
    colours = np.full((len(results), len(layers)), np.nan)  # rows: metrics
    opacity = np.ones_like(colours)
    texts: dict[tuple[int, int], str] = {}
    for row, result in enumerate(results):
        for column, layer in enumerate(layers):
            found = result.by_layer.get(str(layer))
            if found is not None:
                texts[row, column] = f"{found.value:.2f}" if abs(found.value) < 1e4 else f"{found.value:.0e}"
                colours[row, column] = _distance(found)
                opacity[row, column] = _PALE if found.confidence_interval is None else 1.0
    image = axes.imshow(np.ma.masked_invalid(colours), vmin=0, vmax=2, cmap="cividis_r", aspect="auto", alpha=opacity)
    # One path for all: thousands of hatched patches would take a minute.
    corners = [
        [(column - 0.5, row - 0.5), (column + 0.5, row - 0.5), (column + 0.5, row + 0.5), (column - 0.5, row + 0.5)]
        for row, column in texts
        if np.isnan(colours[row, column])
    ]
    if corners:
        axes.add_patch(PathPatch(Outline.make_compound_path_from_polys(np.array(corners)), **_HATCHED))
    for (row, column), text in texts.items():
        dark = colours[row, column] > 1.1 and opacity[row, column] == 1
        if len(layers) <= 24:
            shade: dict[str, Any] = {"color": "white" if dark else "black"}
            if np.isnan(colours[row, column]):
                shade["bbox"] = _BACKGROUND
            axes.text(column, row, text, ha="center", va="center", fontsize=8, **shade)
    names = [
        titled(report.spec(result.name)) + (f" after {result.condition}" if result.condition else "")
        for result in results
    ]
    axes.set_yticks(range(len(results)), [_plain(name, 34) for name in names])
    step = max(1, len(layers) // 24)
    axes.set_xticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
    return image


def _distance(result: MetricResult) -> float:
    """How far from the ideal, in units of the original's distance from it; NaN where there is no ideal or no such unit."""
    start = result.others.get("original") if result.start is None else result.start
    if result.ideal is None or start is None or abs(start - result.ideal) < 1e-9:
        return float("nan")
    return min(2.0, abs(result.value - result.ideal) / abs(start - result.ideal))
