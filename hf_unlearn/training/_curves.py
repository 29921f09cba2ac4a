"""Curves of a tracked training: a figure, and a page that opens offline. Reads `forgetting.jsonl`; knows no Trainer."""

import dataclasses
import html
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_unlearn._files import write_atomically
from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.training._panels import Heat, Panel, heats, panels
from hf_unlearn.training._tracked_names import Place
from hf_unlearn.training._tracker_rule import WORST


COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of curves, distinguishable for the colour-blind (Okabe and Ito)."""


def draw_curves(path: Path, places: Sequence[Place], results: Mapping[str, MetricResult]) -> None:
    """Write `forgetting.png` and `forgetting.html` beside the file.

    Args:
        path: Of `forgetting.jsonl`.
        places: Each metric on each set.
        results: What was found last, by name of the value: what the curves are read against.

    Raises:
        OSError: The folder cannot be written to.
    """
    rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    if not rows:
        raise OSError(f"{path} has no line")
    steps = [row["step"] for row in rows]
    names = sorted({name for row in rows for name in row["values"]})
    series = {name: [_finite(row["values"].get(name)) for row in rows] for name in names}
    if "forgetting_score" in series:  # the mark of a checkpoint that kept too little would flatten all others
        series["forgetting_score"] = [
            None if score is None or score >= WORST else score for score in series["forgetting_score"]
        ]
    curves = Curves(steps, series, panels(places, results, names), heats(places, results, names))
    page = forgetting_page(curves)
    write_atomically(path.with_suffix(".html"), lambda target: target.write_text(page, encoding="utf-8"))
    write_atomically(path.with_suffix(".png"), lambda target: _figure(curves, target))


@dataclass(frozen=True)
class Curves:
    """Everything that is drawn.

    Attributes:
        steps: Shared by all series.
        series: By name; None where there is no value.
        panels: Which series share an axis.
        heats: Which are drawn by layer.
    """

    steps: list[int]
    series: Mapping[str, list[float | None]]
    panels: Sequence[Panel]
    heats: Sequence[Heat]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _figure(curves: Curves, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [panel for panel in curves.panels if panel.headline] or list(curves.panels[:1])
    count = len(shown) + len(curves.heats)
    figure = Figure(figsize=(5.2 * count, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count, squeeze=False)[0]
    for ax, panel in zip(axes, shown, strict=False):
        _draw_panel(ax, curves, panel)
    for ax, heat in zip(axes[len(shown) :], curves.heats, strict=True):
        _draw_heat(figure, ax, curves, heat)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _draw_panel(ax: Any, curves: Curves, panel: Panel) -> None:
    for number, name in enumerate(panel.names):
        colour = COLOURS[number % len(COLOURS)]
        ax.plot(curves.steps, _gaps(curves.series[name]), marker="o", ms=3, color=colour, label=name)
        if name in panel.bands and set(panel.bands[name]) <= set(curves.series):
            low, high = (_gaps(curves.series[end]) for end in panel.bands[name])
            ax.fill_between(curves.steps, low, high, color=colour, alpha=0.2, lw=0)
        for style, (line, value) in zip(("--", ":", "-."), panel.lines.get(name, {}).items(), strict=False):
            ax.axhline(value, color=colour, ls=style, lw=1, label=line if len(panel.lines) < 2 else f"{line} ({name})")
    ax.set(xlabel="step", ylabel="\n".join(textwrap.wrap(panel.unit, 45)))
    ax.set_title("\n".join(textwrap.wrap(panel.title, 45)), fontsize=10)
    ax.legend(fontsize=7)


def _draw_heat(figure: Any, ax: Any, curves: Curves, heat: Heat) -> None:
    import numpy as np

    values = np.array([_gaps(curves.series[name]) for name in heat.names.values()], dtype=float)
    image = ax.imshow(np.ma.masked_invalid(values), aspect="auto", vmin=heat.low, vmax=heat.high, cmap="cividis_r")
    ax.set_yticks(range(len(heat.names)), [str(layer) for layer in heat.names])
    ax.set_xticks(range(len(curves.steps)), [str(step) for step in curves.steps], rotation=90, fontsize=7)
    ax.set(xlabel="step", ylabel="layer")
    ax.set_title("\n".join(textwrap.wrap(heat.title, 45)), fontsize=10)
    figure.colorbar(image, ax=ax, extend="max")


def _gaps(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def forgetting_page(curves: Curves) -> str:
    """One self-contained HTML page: curves to hover over and to switch on and off, nothing loaded from elsewhere.

    Args:
        curves: What is drawn.

    Returns:
        HTML; names are escaped, and no text of the data is in it.
    """
    parts = dataclasses.asdict(curves)
    parts["heats"] = [{**heat, "names": list(heat["names"].items())} for heat in parts["heats"]]
    # Inside a script element "</" would end it, whatever the quotes.
    data = json.dumps(parts).replace("</", "<\\/")
    return _PAGE.replace("@TITLE@", html.escape("Forgetting, step by step")).replace("@DATA@", data)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@TITLE@</title>
<style>
 body { font: 15px system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; }
 figure { margin: 2rem 0; } figcaption { font-weight: 600; margin-bottom: .4rem; }
 svg { width: 100%; height: 20rem; border: 1px solid #ddd; } text { font-size: 11px; fill: #555; }
 button { margin: 0 .4rem .4rem 0; border: 1px solid #bbb; border-radius: 4px; background: #fff; cursor: pointer; }
 button[aria-pressed=false] { opacity: .35; } output { display: block; min-height: 1.4em; }
</style></head><body>
<h1>@TITLE@</h1>
<p>Hover over a chart to read the values of a step; press a name to hide or show its curve.</p>
<main></main>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const colours = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555", "#8A2BE2"];
const make = (name, attributes, parent) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  parent.append(node); return node;
};
function chart(title, names, lines) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.textContent = title; figure.append(caption); document.querySelector("main").append(figure);
  const shown = new Set(names), out = document.createElement("output"), keys = document.createElement("div");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 900 320"); svg.setAttribute("preserveAspectRatio", "none");
  figure.append(keys, svg, out);
  const steps = data.steps, left = 60, right = 880, top = 15, bottom = 290;
  const x = s => steps.length < 2 ? left : left + (right - left) * (s - steps[0]) / (steps[steps.length - 1] - steps[0]);
  names.forEach((name, i) => {
    const button = document.createElement("button");
    button.textContent = name; button.style.borderLeft = "1em solid " + colours[i % colours.length];
    button.setAttribute("aria-pressed", "true");
    button.onclick = () => {
      shown.has(name) ? shown.delete(name) : shown.add(name);
      button.setAttribute("aria-pressed", String(shown.has(name))); draw();
    };
    keys.append(button);
  });
  function draw() {
    svg.replaceChildren();
    const values = names.filter(n => shown.has(n)).flatMap(n => data.series[n]).filter(v => v !== null);
    const marks = names.filter(n => shown.has(n)).flatMap(n => Object.values(lines[n] || {}));
    const all = values.concat(marks); if (!all.length) return;
    const low = Math.min(0, ...all), high = Math.max(...all, low + 1e-9);
    const y = v => bottom - (bottom - top) * (v - low) / (high - low);
    for (const part of [0, .25, .5, .75, 1]) {
      const v = low + part * (high - low);
      make("line", {x1: left, x2: right, y1: y(v), y2: y(v), stroke: "#eee"}, svg);
      make("text", {x: 5, y: y(v) + 4}, svg).textContent = Number(v.toPrecision(3));
    }
    steps.forEach((s, i) => { if (i % Math.ceil(steps.length / 12) === 0) make("text", {x: x(s) - 6, y: 310}, svg).textContent = s; });
    names.forEach((name, i) => {
      if (!shown.has(name)) return;
      for (const [line, v] of Object.entries(lines[name] || {})) {
        make("line", {x1: left, x2: right, y1: y(v), y2: y(v), stroke: colours[i % colours.length], "stroke-dasharray": "6 4"}, svg);
        make("text", {x: right - 50, y: y(v) - 4}, svg).textContent = line;
      }
    });
    names.forEach((name, i) => {
      if (!shown.has(name)) return;
      const points = steps.map((s, k) => [s, data.series[name][k]]).filter(([, v]) => v !== null);
      const colour = colours[i % colours.length];
      make("polyline", {points: points.map(([s, v]) => x(s) + "," + y(v)).join(" "), fill: "none", stroke: colour, "stroke-width": 2,
        "data-name": name}, svg);
      for (const [s, v] of points) make("circle", {cx: x(s), cy: y(v), r: 3, fill: colour}, svg);
    });
  }
  svg.onmousemove = event => {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * 900;
    let k = 0; steps.forEach((s, i) => { if (Math.abs(x(s) - at) < Math.abs(x(steps[k]) - at)) k = i; });
    const read = names.filter(n => shown.has(n) && data.series[n][k] !== null).map(n => n + " " + Number(data.series[n][k].toPrecision(4)));
    out.textContent = "step " + steps[k] + ": " + read.join(", ");
  };
  draw();
}
const blend = (a, b, t) => "rgb(" + a.map((x, i) => Math.round(x + (b[i] - x) * Math.max(0, t))).join(",") + ")";
function heat({title, names, low, high}) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.textContent = title; figure.append(caption); document.querySelector("main").append(figure);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), out = document.createElement("output");
  svg.setAttribute("viewBox", "0 0 900 320"); svg.setAttribute("preserveAspectRatio", "none"); figure.append(svg, out);
  const width = 820 / data.steps.length, height = 275 / names.length;
  names.forEach(([layer, name], row) => {
    make("text", {x: 5, y: 15 + (row + .5) * height + 4}, svg).textContent = "layer " + layer;
    data.steps.forEach((step, k) => {
      const v = data.series[name][k]; if (v === null) return;
      const t = Math.min(2 * (v - low) / (high - low), 2);
      const cell_colour = t <= 1 ? blend([0, 114, 178], [245, 245, 245], t) : blend([245, 245, 245], [213, 94, 0], t - 1);
      const cell = make("rect", {x: 60 + k * width, y: 15 + row * height, width: width - 1, height: height - 1, fill: cell_colour,
        "data-layer": layer, "data-step": step}, svg);
      cell.onmousemove = () => { out.textContent = "step " + step + ", layer " + layer + ": " + Number(v.toPrecision(4)); };
    });
  });
  data.steps.forEach((step, k) => {
    if (k % Math.ceil(data.steps.length / 12) === 0) make("text", {x: 60 + (k + .5) * width - 6, y: 310}, svg).textContent = step;
  });
}
for (const {title, unit, names, bands, lines} of data.panels) {
  const all = names.concat(...Object.values(bands)).filter(n => n in data.series);
  chart(unit ? title + " (" + unit + ")" : title, all, lines);
}
data.heats.forEach(h => heat({...h, title: h.title + " (blue " + Number(h.low.toPrecision(3)) + " to orange " + Number(h.high.toPrecision(3)) + ")"}));
</script></body></html>
"""
