"""What nominal 95 % intervals hold: studentised against percentile, for means of distances and of shares.

    python tests/benchmarks/coverage.py [--populations 2000]

Prints a Markdown table: the share of samples whose interval holds the true mean, and the median width in units of the mean.
"""

import argparse
from collections.abc import Callable

import numpy as np

from hf_unlearn.functional import Bootstrap, bootstrap_means, mean_estimate, percentile_interval


def outliers(generator: np.random.Generator, n: int) -> np.ndarray:
    """One prompt in ten is six times as far."""
    return np.where(generator.random(n) < 0.1, generator.normal(30, 3, n), generator.normal(5, 1, n))


POPULATIONS: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float, str]] = {
    "normal": (lambda generator, n: generator.normal(5, 1, n), 5.0, "log"),
    "exponential": (lambda generator, n: generator.exponential(1, n), 1.0, "log"),
    "log-normal": (lambda generator, n: generator.lognormal(0, 1, n), float(np.exp(0.5)), "log"),
    "10 % outliers": (outliers, 0.1 * 30 + 0.9 * 5, "log"),
    "shares, U-shaped": (lambda generator, n: generator.beta(0.5, 0.5, n), 0.5, "logit"),
    "shares, near 1": (lambda generator, n: generator.beta(8, 1, n), 8 / 9, "logit"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--populations", type=int, default=2000)
    parser.add_argument("--clusters", type=int, nargs="+", default=[3, 5, 10, 30, 100])
    arguments = parser.parse_args()
    bootstrap = Bootstrap()
    print("| population | clusters | studentised | percentile | width, studentised | width, percentile |")
    print("|---|---|---|---|---|---|")
    for name, (draw, mean, scale) in POPULATIONS.items():
        for count in arguments.clusters:
            generator = np.random.default_rng(count)
            held, widths = np.zeros(2), []
            for _ in range(arguments.populations):
                values = draw(generator, count)
                intervals = [
                    bootstrap.interval(mean_estimate(values, scale=scale)),
                    percentile_interval(bootstrap_means(values)),
                ]
                held += [low <= mean <= high for low, high in intervals]
                widths.append([(high - low) / mean for low, high in intervals])
            shares, width = held / arguments.populations, np.median(widths, axis=0)
            print(
                f"| {name} | {count} | {shares[0]:.3f} | {shares[1]:.3f} | {width[0]:.2f} | {width[1]:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
