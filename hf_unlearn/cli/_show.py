"""An audit's report as tables in the terminal."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hf_unlearn.cli._app import console


if TYPE_CHECKING:
    from hf_unlearn.audit import AuditReport, MetricResult

LAYER_METRICS = {
    "progress": "1",
    "directional_agreement": "1",
    "residual_ratio": "0",
    "cka": "1",
    "anchored_erasure": "1",
    "unlearning_depth_score": "1",
    "logit_lens_erasure": "1",
    "probe_auc": "",
}
"""What the table of hidden states shows, and the value of a retrained model; the probe's is measured."""


def print_report(report: "AuditReport", title: str) -> None:
    """Distances, probabilities, hidden states, and what they say."""
    console.rule(escape(title), align="left")
    distances = {name: result for name, result in report.metrics.items() if result.unit == "nats per sequence"}
    table = Table(title="FADE, distance to the reference in nats per sequence (0 = equal)", title_justify="left")
    for column in ("prompts", "floor\n(twin)", "candidate", "interval", "start\n(original)", "relative"):
        table.add_column(column, justify="left" if column == "prompts" else "right", no_wrap=True)
    for name, result in distances.items():
        prompts = "forget" if name == "fade" else name.removesuffix("_fade")
        table.add_row(
            prompts,
            *map(number, (result.floor, result.value)),
            _interval(result),
            *map(number, (result.start, result.relative)),
        )
    console.print(table)
    table = Table(title="Probability of the true answer", title_justify="left")
    for column in ("answers", "candidate", "interval", "reference", "original"):
        table.add_column(column, justify="left" if column == "answers" else "right", no_wrap=True)
    for name, result in report.metrics.items():
        if name.endswith("_probability"):
            others = (number(result.others.get(role)) for role in ("reference", "original"))
            table.add_row(name.removesuffix("_probability"), number(result.value), _interval(result), *others)
    console.print(table)
    _print_layers(report)
    for sentence in report.reading():
        console.print(escape(sentence), highlight=False)
    for note in report.notes:
        console.print(f"[dim]note: {escape(note)}[/dim]", highlight=False)


def _print_layers(report: "AuditReport") -> None:
    """Hidden states: means over layers; by layer they are in the figure."""
    shown = [name for name in LAYER_METRICS if name in report.metrics]
    if not shown:
        return
    table = Table(title="Hidden states of the forget examples, mean over layers", title_justify="left")
    for column in ("metric", "ideal", "floor", "candidate", "interval", "start"):
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for name in shown:
        result = report.metrics[name]
        reference = result.others.get("reference")
        table.add_row(
            name.removesuffix("_score").replace("_", " "),
            LAYER_METRICS[name] if reference is None else f"{reference:.2f}",
            *map(number, (result.floor, result.value)),
            _interval(result),
            number(result.others.get("original") if result.start is None else result.start),
        )
    console.print(table)


def number(value: float | None) -> str:
    """Two decimals, or a dash; what rounds to 0 has no sign."""
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"


def _interval(result: "MetricResult") -> str:
    return bounds(result.confidence_interval)


def bounds(interval: tuple[float, float] | None) -> str:
    """Of an interval, or a dash."""
    return "–" if interval is None else " … ".join(map(number, interval))
