"""Curves of a tracked training: a figure, and a page that opens offline. Reads `forgetting.jsonl`; knows no Trainer."""

import html
import json
import math
from collections.abc import Mapping
from pathlib import Path

from hf_unlearn._files import write_atomically
from hf_unlearn.training._tracker_rule import WORST


def draw_curves(path: Path, lines: Mapping[str, float]) -> None:
    """Write `forgetting.png` and `forgetting.html` beside the file.

    Args:
        path: Of `forgetting.jsonl`.
        lines: `floor` and `start` of FADE, where they are known.

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
    page = forgetting_page(steps, series, lines)
    write_atomically(path.with_suffix(".html"), lambda target: target.write_text(page, encoding="utf-8"))
    write_atomically(path.with_suffix(".png"), lambda target: _figure(steps, series, lines, target))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _figure(
    steps: list[int], series: Mapping[str, list[float | None]], lines: Mapping[str, float], path: Path
) -> None:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers = [name for name in series if name.startswith("layer_") and name.endswith("_residual_ratio")]
    layers.sort(key=lambda name: int(name.split("_")[1]))
    panels = 1 + ("fade" in series) + bool(layers)
    figure = Figure(figsize=(5.2 * panels, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for name, colour in (("forget_probability", "#D55E00"), ("retain_probability", "#0072B2")):
        if name in series:
            axes[0].plot(steps, _gaps(series[name]), marker="o", ms=3, color=colour, label=name.split("_")[0])
    axes[0].set(xlabel="step", ylabel="probability of the true answers", ylim=(0, 1.02), title="Answers")
    if axes[0].lines:
        axes[0].legend()
    if "fade" in series:
        axes[1].plot(steps, _gaps(series["fade"]), marker="o", ms=3, color="#D55E00", label="FADE")
        if "fade_low" in series:
            low, high = _gaps(series["fade_low"]), _gaps(series["fade_high"])
            axes[1].fill_between(steps, low, high, color="#D55E00", alpha=0.2, lw=0)
        for name, colour in (("floor", "#0072B2"), ("start", "#555555")):
            if name in lines:
                axes[1].axhline(lines[name], color=colour, ls="--", lw=1, label=name)
        axes[1].set(xlabel="step", ylabel="nats per sequence (lower is better)", title="Distance to retraining (FADE)")
        axes[1].legend()
    if layers:
        heat = np.array([_gaps(series[name]) for name in layers], dtype=float)
        image = axes[-1].imshow(np.ma.masked_invalid(heat), aspect="auto", vmin=0, vmax=2, cmap="cividis_r")
        axes[-1].set_yticks(range(len(layers)), [name.split("_")[1] for name in layers])
        axes[-1].set_xticks(range(len(steps)), [str(step) for step in steps], rotation=90, fontsize=7)
        axes[-1].set(xlabel="step", ylabel="layer", title="Residual ratio (0 retrained, 1 original)")
        figure.colorbar(image, ax=axes[-1], extend="max")
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _gaps(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def forgetting_page(steps: list[int], series: Mapping[str, list[float | None]], lines: Mapping[str, float]) -> str:
    """One self-contained HTML page: curves to hover over and to switch on and off, nothing loaded from elsewhere.

    Args:
        steps: Shared by all series.
        series: By name; None where there is no value.
        lines: `floor` and `start` of FADE.

    Returns:
        HTML; names are escaped, and no text of the data is in it.
    """
    # Inside a script element "</" would end it, whatever the quotes.
    data = json.dumps({"steps": steps, "series": dict(series), "lines": dict(lines)}).replace("</", "<\\/")
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
const groups = [
  ["Answers", n => /^(forget|retain)_/.test(n)],
  ["Distance to retraining (FADE, nats per sequence)", n => /^fade(_low|_high)?$/.test(n)],
  ["Relative (0 = retrained, 1 = original)", n => n === "fade_relative"],
  ["Score of the rule, lower is better (a gap: too little was kept)", n => n === "forgetting_score"],
  ["Exposure (bits)", n => /^exposure/.test(n)],
  ["Hidden states, mean over layers", n => ["residual_ratio", "progress", "cka"].includes(n)],
];
const named = new Set(groups.flatMap(([, of]) => Object.keys(data.series).filter(of)));
groups.push(["Other", n => !named.has(n) && !/^layer_/.test(n)]);
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
    const all = values.concat(Object.values(lines)); if (!all.length) return;
    const low = Math.min(0, ...all), high = Math.max(...all, low + 1e-9);
    const y = v => bottom - (bottom - top) * (v - low) / (high - low);
    for (const part of [0, .25, .5, .75, 1]) {
      const v = low + part * (high - low);
      make("line", {x1: left, x2: right, y1: y(v), y2: y(v), stroke: "#eee"}, svg);
      make("text", {x: 5, y: y(v) + 4}, svg).textContent = Number(v.toPrecision(3));
    }
    steps.forEach((s, i) => { if (i % Math.ceil(steps.length / 12) === 0) make("text", {x: x(s) - 6, y: 310}, svg).textContent = s; });
    for (const name in lines) {
      make("line", {x1: left, x2: right, y1: y(lines[name]), y2: y(lines[name]), stroke: "#555", "stroke-dasharray": "6 4"}, svg);
      make("text", {x: right - 40, y: y(lines[name]) - 4}, svg).textContent = name;
    }
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
function heat(title, suffix) {
  const number = n => Number(n.split("_")[1]);
  const names = Object.keys(data.series).filter(n => /^layer_/.test(n) && n.endsWith(suffix)).sort((a, b) => number(a) - number(b));
  if (!names.length) return;
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.textContent = title; figure.append(caption); document.querySelector("main").append(figure);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), out = document.createElement("output");
  svg.setAttribute("viewBox", "0 0 900 320"); svg.setAttribute("preserveAspectRatio", "none"); figure.append(svg, out);
  const width = 820 / data.steps.length, height = 275 / names.length;
  names.forEach((name, row) => {
    make("text", {x: 5, y: 15 + (row + .5) * height + 4}, svg).textContent = "layer " + number(name);
    data.steps.forEach((step, k) => {
      const v = data.series[name][k]; if (v === null) return;
      const cell_colour = v <= 1 ? blend([0, 114, 178], [245, 245, 245], v) : blend([245, 245, 245], [213, 94, 0], Math.min(v, 2) - 1);
      const cell = make("rect", {x: 60 + k * width, y: 15 + row * height, width: width - 1, height: height - 1, fill: cell_colour,
        "data-layer": number(name), "data-step": step}, svg);
      cell.onmousemove = () => { out.textContent = "step " + step + ", layer " + number(name) + ": " + Number(v.toPrecision(4)); };
    });
  });
  data.steps.forEach((step, k) => {
    if (k % Math.ceil(data.steps.length / 12) === 0) make("text", {x: 60 + (k + .5) * width - 6, y: 310}, svg).textContent = step;
  });
}
for (const [title, of] of groups) {
  const names = Object.keys(data.series).filter(of);
  if (names.length) chart(title, names, title.startsWith("Distance") ? data.lines : {});
}
heat("Residual ratio, layer by step (blue 0: retrained; grey 1: original; orange 2 and more)", "_residual_ratio");
</script></body></html>
"""
