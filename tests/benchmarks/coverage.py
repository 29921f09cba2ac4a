"""What nominal 95 % intervals hold, per kind of metric and number of prompts.

    python tests/benchmarks/coverage.py [--populations 1000] [--clusters 10 30 100] [--probe 200]

Prints a Markdown table: the share of samples whose interval holds the true value, how often the truth lay above and below it, and the median width
in units of the true value. With `--probe`, the share of candidates no different from the reference in which a leak is reported.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
from scipy.stats import norm

from hf_unlearn.functional import (
    Bootstrap,
    Estimate,
    PairedMoments,
    auc_estimate,
    compare,
    independent,
    layer_estimates,
    layer_metrics,
    linear_probe,
    mean_estimate,
    privleak_estimate,
)


Interval = tuple[float, float] | None
Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A population: its true value, and the interval of one sample of so many prompts."""

    truth: float
    interval: Callable[[np.random.Generator, int, Bootstrap], Interval]
    expensive: bool = False


def mean(truth: float, scale: str, draw: Callable[[np.random.Generator, int], np.ndarray]) -> Case:
    """A mean over prompts."""
    return Case(
        truth, lambda generator, n, bootstrap: bootstrap.interval(mean_estimate(draw(generator, n), scale=scale))
    )


def outliers(generator: np.random.Generator, n: int) -> np.ndarray:
    """One prompt in ten is six times as far."""
    return np.where(generator.random(n) < 0.1, generator.normal(30, 3, n), generator.normal(5, 1, n))


def area(shift: float) -> Case:
    """As many positive as negative scores, both normal."""

    def interval(generator: np.random.Generator, n: int, bootstrap: Bootstrap) -> Interval:
        return bootstrap.interval(auc_estimate(generator.normal(shift, 1, n), generator.normal(0, 1, n)))

    return Case(float(norm.cdf(shift / sqrt(2))), interval)


def leak(shift: float) -> Case:
    """PrivLeak of n forget and n holdout texts, whose difficulty candidate and retrained model share."""

    def interval(generator: np.random.Generator, n: int, bootstrap: Bootstrap) -> Interval:
        hard = generator.normal(0, 1, 2 * n)
        own, other = (hard + generator.normal(0, 0.5, 2 * n) for _ in range(2))
        own[:n] += shift
        areas = [auc_estimate(scores[:n], scores[n:]) for scores in (own, other)]
        return bootstrap.interval(privleak_estimate(*areas, bootstrap))

    return Case(100 * (1 - 2 * float(norm.cdf(shift / sqrt(2.5)))), interval)


def asymmetry() -> Case:
    """The mean of n forget prompts less that of 3n others, log-normal."""

    def interval(generator: np.random.Generator, n: int, bootstrap: Bootstrap) -> Interval:
        forget, retain = (mean_estimate(generator.lognormal(level, 1, size)) for level, size in ((1, n), (0, 3 * n)))
        one, other = independent(forget, retain)
        return bootstrap.interval(one.minus(other))

    return Case(exp(1.5) - exp(0.5), interval)


def states(generator: np.random.Generator, n: int) -> Rows:
    """Hidden states of width 16, some directions with more variance; the candidate has gone 70 % of the way, and elsewhere."""
    spread = np.linspace(0.3, 2, 16)
    original = generator.normal(size=(n, 16)) * spread + 3
    reference = original + generator.lognormal(0, 0.5, (n, 1)) * generator.normal(0.3, 1, (n, 16)) * spread[::-1]
    candidate = original + 0.7 * (reference - original) + 0.5 * generator.normal(size=(n, 16))
    return {"candidate": candidate, "reference": reference, "original": original}


def layer(name: str, population: Rows) -> Case:
    """A metric of hidden states; the truth is that of 40,000 rows."""
    truth = layer_metrics(PairedMoments.from_rows(population)).values[name]
    assert truth is not None

    def interval(generator: np.random.Generator, n: int, bootstrap: Bootstrap) -> Interval:
        return bootstrap.interval(layer_estimates(states(generator, n)).estimates[name])

    return Case(truth, interval, expensive=True)


def relative(left: float, *, uncertain_ideal: bool) -> Case:
    """Candidates between twin (level 1) and original (level 3); what is hard about a prompt is shared, each model's noise is not."""

    def interval(generator: np.random.Generator, n: int, bootstrap: Bootstrap) -> Interval:
        prompts = generator.lognormal(0, 0.5, n)

        def role(level: float) -> Estimate:
            rows = prompts * level * generator.lognormal(-0.045, 0.3, n)
            return mean_estimate(rows + 0.5, scale="plain" if uncertain_ideal else "log")

        roles = {"candidate": role(1 + 2 * left), "twin": role(1.0), "original": role(3.0)}
        ideal = (
            mean_estimate(np.full(n, 0.5)).minus(mean_estimate(generator.normal(0, 0.1, n)))
            if uncertain_ideal
            else 0.0
        )
        return compare(roles, ideal=ideal, bootstrap=bootstrap).relative_interval

    return Case(left, interval, expensive=True)


def cases() -> dict[str, Case]:
    """Everything that is measured."""
    population = states(np.random.default_rng(0), 40_000)
    return {
        "distance, normal": mean(5.0, "log", lambda generator, n: generator.normal(5, 1, n)),
        "distance, exponential": mean(1.0, "log", lambda generator, n: generator.exponential(1, n)),
        "distance, log-normal": mean(exp(0.5), "log", lambda generator, n: generator.lognormal(0, 1, n)),
        "distance, 10 % outliers": mean(0.1 * 30 + 0.9 * 5, "log", outliers),
        "share, U-shaped": mean(0.5, "logit", lambda generator, n: generator.beta(0.5, 0.5, n)),
        "share, near 1": mean(8 / 9, "logit", lambda generator, n: generator.beta(8, 1, n)),
        "share of hits, 0.9": mean(0.9, "logit", lambda generator, n: (generator.random(n) < 0.9).astype(float)),
        "cosine, near 1": mean(7 / 9, "fisher", lambda generator, n: 2 * generator.beta(8, 1, n) - 1),
        "signed, normal": mean(1.0, "plain", lambda generator, n: generator.normal(1, 1, n)),
        "difference of two sets": asymmetry(),
        "AUC .76": area(1.0),
        "AUC .96": area(2.5),
        "PrivLeak 0": leak(0.0),
        "PrivLeak −75": leak(1.8),
        "PrivLeak +47": leak(-1.0),
        **{name: layer(name, population) for name in ("cka", "residual_ratio", "progress", "directional_agreement")},
        "relative .3": relative(0.3, uncertain_ideal=False),
        "relative 0": relative(0.0, uncertain_ideal=False),
        "relative .3, uncertain ideal": relative(0.3, uncertain_ideal=True),
    }


def coverage(case: Case, count: int, populations: int) -> str:
    """A row of the table."""
    generator, bootstrap = np.random.default_rng(count), Bootstrap()
    intervals = [case.interval(generator, count, bootstrap) for _ in range(populations)]
    bounded = np.array([interval for interval in intervals if interval is not None])
    above, below = (bounded[:, 1] < case.truth).mean(), (bounded[:, 0] > case.truth).mean()
    width = np.median(bounded[:, 1] - bounded[:, 0]) / (abs(case.truth) or 1)
    unbounded = 1 - len(bounded) / populations
    return f"{1 - above - below:.3f} | {above:.3f} | {below:.3f} | {width:.2f} | {unbounded:.2f}"


def false_alarms(pairs: int, count: int, width: int) -> str:
    """Of candidates that are as the reference is, features half shared; and how many leaks of an AUC of .8 are seen."""
    generator, seen = np.random.default_rng(count), np.zeros(2)
    forgotten = np.repeat([1.0, 0.0], count)[:, None]
    for _ in range(pairs):
        shared = generator.normal(size=(2 * count, width))
        sides = [shared + generator.normal(size=(2 * count, width)) for _ in range(2)]
        leak = sides[0] + 2.5 * forgotten * (np.arange(width) == 0)
        found = [linear_probe(x[:count], x[count:], num_resamples=2).estimate for x in (*sides, leak)]
        for at, candidate in enumerate((found[0], found[2])):
            interval = Bootstrap().interval(candidate.minus(found[1]))
            assert interval is not None
            seen[at] += interval[0] > 0
    return f"{seen[0] / pairs:.3f} | {seen[1] / pairs:.2f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--populations", type=int, default=1000)
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--probe", type=int, default=0)
    arguments = parser.parse_args()
    print(
        "| metric | prompts | holds | truth above | truth below | width | without interval |\n|---|---|---|---|---|---|---|"
    )
    for name, case in cases().items():
        for count in arguments.clusters:
            populations = arguments.populations // 3 if case.expensive else arguments.populations
            print(f"| {name} | {count} | {coverage(case, count, populations)} |", flush=True)
    if arguments.probe:
        print("\n| probe: examples a set | width | false alarms | leaks seen |\n|---|---|---|---|")
        for count, width in ((20, 12), (30, 64)):
            print(f"| {count} | {width} | {false_alarms(arguments.probe, count, width)} |", flush=True)


if __name__ == "__main__":
    main()
