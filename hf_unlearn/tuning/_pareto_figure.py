"""The picture of a search: what each trial forgot against what it kept, and which ones no other is better than."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from hf_unlearn._files import write_atomically
from hf_unlearn.tuning._tune_result import Row, best_of, complete, pareto_front


# Distinguishable with any colour vision; shapes tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("o", "s", "^", "D", "v", "P", "X")


def draw_pareto(trials: Sequence[Row], path: Path, *, metric: str) -> None:
    """Write the picture.

    Args:
        trials: With at least one that is complete.
        path: Of the PNG; complete or not there.
        metric: What the distance on the forget set is called.
    """
    figure = Figure(figsize=(8.2, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    whole = complete(trials)
    _points(axes, whole)
    front, best = pareto_front(trials), best_of(trials)
    axes.step(
        [row["forget"] for row in front], [row["retain"] for row in front], where="post", color="#555555", lw=1, zorder=1,
        label="not beaten on both",
    )  # fmt: skip
    axes.scatter(
        best["forget"], best["retain"], s=420, marker="*", color="#F0E442", ec="black", zorder=2, label="best score", clip_on=False,
    )  # fmt: skip
    _lines(axes, best)
    # What a model is destroyed by lies a hundred times farther out than what matters.
    axes.set_xscale("symlog", linthresh=best["forget_start"])
    axes.set_yscale("symlog", linthresh=max(best["retain_floor"], 0.1 * best["forget_start"]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel(f"{metric} on the forget set, nats per sequence (left: as retrained)")
    axes.set_ylabel("FADE on the retain set, nats per sequence (down: kept)")
    axes.set_title(f"{len(whole)} complete of {len(trials)} trials; the half that was searched on")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, 1.3 * max(row["forget"] for row in [*whole, {"forget": best["forget_start"]}]))
    axes.set_ylim(0, 1.3 * max(row["retain"] for row in [*whole, {"retain": best["retain_floor"]}]) or 1.0)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    write_atomically(path, partial(_save, figure))


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})


def _points(axes: Axes, whole: Sequence[Row]) -> None:
    """A mark per trial; those of the defaults have a dark edge."""
    names = list(dict.fromkeys(row["objective"] for row in whole))
    for place, name in enumerate(names):
        look: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "marker": SHAPES[place % len(SHAPES)]}
        for is_default, size, edge in ((False, 45, "none"), (True, 75, "black")):
            rows = [row for row in whole if row["objective"] == name and row["is_default"] is is_default]
            if rows:
                label = f"{name}, defaults" if is_default else name
                x, y = ([row[part] for row in rows] for part in ("forget", "retain"))
                axes.scatter(x, y, s=size, ec=edge, lw=1.5, alpha=0.85, label=label, zorder=3, **look)


def _lines(axes: Axes, row: Row) -> None:
    """Where another retraining lies, and where the original does."""
    if row["forget_floor"]:
        axes.axvline(row["forget_floor"], color="#0072B2", lw=1, ls=":", label="another retraining")
    axes.axhline(row["retain_floor"], color="#0072B2", lw=1, ls=":")
    axes.axvline(row["forget_start"], color="#555555", lw=1, ls="--", label="original")
