"""What results allow to say, in plain sentences; generated from the numbers, never beyond them."""

from collections.abc import Mapping

from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._roles import void_sentences
from hf_unlearn.audit._vacuity import vacuity_sentence


NO_YARDSTICK = (
    "nothing can be said: the twin is at least as far from the reference (floor) as the original is (start), so that it does not show what "
    "another retraining would be."
)


def read_metrics(
    metrics: Mapping[str, MetricResult], models: Mapping[str, Mapping[str, str]] | None = None
) -> list[str]:
    """Sentences about outputs, then about hidden states; others alone where there was nothing to forget or the models are not what they
    should be.

    Args:
        metrics: The results.
        models: Per role, as in `Provenance.models`.
    """
    void = void_sentences(metrics, models or {})
    nothing = vacuity_sentence(metrics)
    if nothing is not None or void:
        said = [f"Nothing can be said about unlearning: {sentence}" for sentence in void]
        return said if nothing is None else [nothing, *said]
    # A twin that is none on the forget prompts is none anywhere. (On the retain prompts floor may well be above start.)
    misled = "fade" in metrics and _floor_reaches(metrics["fade"])
    places = {"fade": "On the forget prompts", "retain_fade": "On the retain prompts"}
    sentences = [
        f"{place} {NO_YARDSTICK if misled else _fade_reading(metrics[name])}"
        for name, place in places.items()
        if name in metrics
    ]
    for name, place in {"residual_ratio": "forget", "retain_residual_ratio": "retain"}.items():
        if name in metrics:
            parts = [NO_YARDSTICK] if misled else _layers(metrics[name], doubt_twin=place == "forget")
            sentences += [f"In the hidden states on the {place} examples {part}" for part in parts]
    if "probe_auc" in metrics:
        sentences.append(_probe_reading(metrics["probe_auc"]))
    return sentences


def _floor_reaches(result: MetricResult, start: float | None = None) -> bool:
    """Whether the twin is as far from the reference as the original is, or further."""
    start = result.start if start is None else start
    return result.floor is not None and start is not None and result.floor >= start


def _fade_reading(result: MetricResult) -> str:
    interval, floor = result.confidence_interval, result.floor_confidence_interval
    if interval is None or floor is None:
        return "there is no noise floor or no interval, so the distance cannot be judged."
    if interval[0] <= floor[1]:
        return "the candidate cannot be told from another retraining: the intervals of value and floor overlap."
    bounds = result.relative_confidence_interval
    if result.relative is None or bounds is None:
        return "the candidate is further from the reference than another retraining is."
    shown = f"relative {result.relative:.2f}, interval {bounds[0]:.2f} to {bounds[1]:.2f}"
    if bounds[0] > 1:
        return f"the candidate is further from the reference than the original was before unlearning ({shown})."
    if bounds[1] < 1:
        return f"the candidate lies between retraining and the original ({shown})."
    return f"it cannot be said that unlearning brought the candidate closer to the reference ({shown})."


def _layers(result: MetricResult, *, doubt_twin: bool) -> list[str]:
    """Which layers lie where between retrained (0) and original (1), by the residual ratio."""
    groups: dict[str, list[str]] = {
        name: [] for name in ("far", "near", "between", "beyond", "unknown", "no_yardstick")
    }
    for layer, part in result.by_layer.items():
        groups["no_yardstick" if doubt_twin and _floor_reaches(part, 1.0) else _place(part)].append(layer)
    sentences = {
        "near": "{layers} cannot be told from another retraining: the intervals of residual ratio and floor overlap.",
        "between": "{layers} lie part of the way from the retrained model (0) to the original (1): residual ratio {value}.",
        "far": "{layers} cannot be shown to be closer to the retrained model than the original was (residual ratio {value}).",
        "beyond": "{layers} ended further from the retrained model than the original was (residual ratio {value}).",
        "unknown": "{layers}: residual ratio {value}; without an interval that cannot be judged.",
        "no_yardstick": "{layers}: " + NO_YARDSTICK,
    }
    return [
        sentences[name].format(layers=_ranges(layers), value=_mean([result.by_layer[layer] for layer in layers]))
        for name, layers in groups.items()
        if layers
    ]


def _mean(results: list[MetricResult]) -> str:
    floors = [result.floor for result in results if result.floor is not None]
    value = f"{sum(result.value for result in results) / len(results):.2f}"
    return value if len(floors) < len(results) else f"{value}, another retraining {sum(floors) / len(floors):.2f}"


def _place(result: MetricResult) -> str:
    interval, floor = result.confidence_interval, result.floor_confidence_interval
    if interval is None:
        return "unknown"
    if floor is not None and interval[0] <= floor[1]:
        return "near"
    if interval[0] > 1:
        return "beyond"
    return "between" if interval[1] < 1 else "far"


def _ranges(layers: list[str]) -> str:
    """ "layer 3", "layers 1, 3–5"."""
    numbers = sorted(int(layer) for layer in layers)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
    return f"{'layers' if len(numbers) > 1 else 'layer'} {text}"


def _probe_reading(result: MetricResult) -> str:
    low, high = result.details.get("excess_low"), result.details.get("excess_high")
    if low is None or high is None or "reference" not in result.others:
        return "Whether a linear probe reads more of the forget set than in the retrained model was not measured."
    shown = f"AUC {result.value:.2f}, reference {result.others['reference']:.2f}, difference {low:.2f} to {high:.2f}"
    if low > 0:
        return f"A linear probe tells forget from holdout examples better than in the retrained model ({shown})."
    return f"It cannot be said that a linear probe reads more of the forget set than in the retrained model ({shown})."
