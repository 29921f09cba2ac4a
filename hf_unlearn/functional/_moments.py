"""What has to be kept of paired representations so that everything about their geometry can be computed later.

One pass, float64, mergeable, and sound where means are large: all sums are of rows shifted by a first estimate of the mean. Memory
is a few `width × width` matrices, whatever the number of rows. Knows matrices; no models and no layers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np


Pair = tuple[str, str]
RESOLUTION = 1e-7
"""Relative error of a float32 number, in which hidden states come; its own is 6 · 10⁻⁸."""


def resolution_of(dtypes: Iterable[str]) -> float:
    """Relative error of hidden states of models that compute in these types, whatever type the states are kept in.

    Rounding adds up through layers: states of equal weights in bfloat16 and in float32 were .003 to .011 apart in 1 to 12 layers.

    Example:
        >>> resolution_of(["bfloat16", "float32"]), resolution_of(["float32"])
        (0.015625, 1e-07)
    """
    units = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
    return max([RESOLUTION, *(2 * units[dtype] for dtype in dtypes if dtype in units)])


@dataclass(frozen=True, eq=False)
class PairedMoments:
    """Sums over rows that are matched between matrices: row i of each belongs to the same example.

    With x = row − shift of one matrix and y of another (sums over rows):

    Attributes:
        names: Of the matrices, for example `("candidate", "reference", "original")`.
        count: Rows so far.
        shifts: Per matrix what was subtracted; shape `(width,)`.
        sums: Per matrix Σ x; shape `(width,)`.
        products: Per pair (in the order of `names`) Σ x yᵀ; shape `(width of x, width of y)`.
        weighted: Per ordered pair Σ x ‖y‖²; shape `(width of x,)`.
        squares: Per pair Σ ‖x‖² ‖y‖².
        resolution: Relative error of the rows' numbers: below it, what is left of a difference is rounding; see `resolution_of`.
    """

    names: tuple[str, ...]
    count: int
    shifts: dict[str, np.ndarray]
    sums: dict[str, np.ndarray]
    products: dict[Pair, np.ndarray]
    weighted: dict[Pair, np.ndarray]
    squares: dict[Pair, float]
    resolution: float = RESOLUTION
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def from_rows(
        cls,
        rows: Mapping[str, np.ndarray],
        *,
        shifts: Mapping[str, np.ndarray] | None = None,
        resolution: float = RESOLUTION,
    ) -> "PairedMoments":
        """Moments of one batch.

        Args:
            rows: Per matrix, shape `(rows, width)`; the same number of rows in each, finite.
            shifts: What to subtract; default: each batch's own mean. Any shift is exact; a near one is accurate.
            resolution: See the attribute.

        Raises:
            ValueError: Not matrices, no rows, unequal numbers of rows, or values that are not finite.
        """
        matrices = {name: np.asarray(values, dtype=np.float64) for name, values in rows.items()}
        counts = {name: matrix.shape[0] if matrix.ndim == 2 else -1 for name, matrix in matrices.items()}
        if len(set(counts.values())) != 1 or min(counts.values()) < 1:
            raise ValueError(
                f"expected matrices (rows, width) with the same number of rows, at least one; got rows {counts}."
            )
        for name, matrix in matrices.items():
            if not np.isfinite(matrix).all():
                raise ValueError(f"the features of {name!r} are not all finite.")
        used = {name: np.asarray(shifts[name], np.float64) if shifts else m.mean(0) for name, m in matrices.items()}
        x = {name: matrix - used[name] for name, matrix in matrices.items()}
        norms = {name: (matrix**2).sum(1) for name, matrix in x.items()}
        names = tuple(matrices)
        return cls(
            names,
            next(iter(counts.values())),
            used,
            {name: matrix.sum(0) for name, matrix in x.items()},
            {(a, b): x[a].T @ x[b] for a, b in combinations_with_replacement(names, 2)},
            {(a, b): norms[b] @ x[a] for a in names for b in names},
            {(a, b): float(norms[a] @ norms[b]) for a, b in combinations_with_replacement(names, 2)},
            resolution,
        )

    def __add__(self, other: "PairedMoments") -> "PairedMoments":
        """Moments of the rows of both; exact whatever the two were shifted by.

        Raises:
            ValueError: Other names or widths.
        """
        if self.names != other.names:
            raise ValueError(f"cannot add moments of {other.names} to moments of {self.names}.")
        for name in self.names:
            if self.shifts[name].shape != other.shifts[name].shape:
                raise ValueError(
                    f"{name!r} is {self.shifts[name].size} wide here and {other.shifts[name].size} there."
                )
        same = all(np.array_equal(self.shifts[name], other.shifts[name]) for name in self.names)
        moved = other if same else other.shifted(self.shifts)
        return PairedMoments(
            self.names,
            self.count + moved.count,
            self.shifts,
            {name: self.sums[name] + moved.sums[name] for name in self.names},
            {pair: value + moved.products[pair] for pair, value in self.products.items()},
            {pair: value + moved.weighted[pair] for pair, value in self.weighted.items()},
            {pair: value + moved.squares[pair] for pair, value in self.squares.items()},
            max(self.resolution, other.resolution),
        )

    def absorb(self, rows: Mapping[str, np.ndarray]) -> "PairedMoments":
        """These moments and those of more rows; `self` is used up, because its matrices are added to in place.

        A long stream must not leave a trail of matrices in memory. Arguments and errors are those of `from_rows`.
        """
        more = PairedMoments.from_rows(rows, shifts=self.shifts)
        for name, value in more.sums.items():
            self.sums[name] += value
        for own, new in ((self.products, more.products), (self.weighted, more.weighted)):
            for pair, matrix in new.items():
                own[pair] += matrix
        squares = {pair: value + more.squares[pair] for pair, value in self.squares.items()}
        return replace(self, count=self.count + more.count, squares=squares)

    def shifted(self, shifts: Mapping[str, np.ndarray]) -> "PairedMoments":
        """The same rows, shifted by something else.

        With x' = x + d, d = old shift − new shift, every sum expands into sums that are kept.
        """
        d = {name: self.shifts[name] - shifts[name] for name in self.names}
        n, s = self.count, self.sums
        norm = {name: float(d[name] @ d[name]) for name in self.names}  # ‖d‖²
        square = {name: float(np.trace(self.products[name, name])) for name in self.names}  # Σ ‖x‖²
        products, weighted, squares = {}, {}, {}
        for a, b in self.products:
            outer = np.outer(s[a], d[b]) + np.outer(d[a], s[b]) + n * np.outer(d[a], d[b])
            products[a, b] = self.products[a, b] + outer
            squares[a, b] = (
                self.squares[a, b]
                + 2 * self.weighted[b, a] @ d[b]
                + 2 * self.weighted[a, b] @ d[a]
                + 4 * d[a] @ self.products[a, b] @ d[b]
                + norm[b] * (square[a] + 2 * s[a] @ d[a])
                + norm[a] * (square[b] + 2 * s[b] @ d[b])
                + n * norm[a] * norm[b]
            )
        for a, b in self.weighted:
            total = square[b] + 2 * s[b] @ d[b] + n * norm[b]  # Σ ‖y'‖²
            weighted[a, b] = self.weighted[a, b] + 2 * self.product(a, b) @ d[b] + norm[b] * s[a] + d[a] * total
        sums = {name: s[name] + n * d[name] for name in self.names}
        plain = {k: float(v) for k, v in squares.items()}
        return PairedMoments(self.names, n, dict(shifts), sums, products, weighted, plain, self.resolution)

    def centred(self) -> "PairedMoments":
        """The same rows, shifted by their means."""
        spread = {name: np.sqrt(self.count * np.trace(self.products[name, name])) for name in self.names}
        if all(np.abs(self.sums[name]).max(initial=0) <= 1e-12 * spread[name] for name in self.names):
            return self
        return self.shifted({name: self.mean(name) for name in self.names})

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, worked out at the first call with this key: decompositions are shared by everything said about a layer."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def product(self, a: str, b: str) -> np.ndarray:
        """Σ x yᵀ for an ordered pair, shape `(width of a, width of b)`."""
        return self.products[a, b] if (a, b) in self.products else self.products[b, a].T

    def square(self, a: str, b: str) -> float:
        """Σ ‖x‖² ‖y‖² for an ordered pair."""
        return self.squares[a, b] if (a, b) in self.squares else self.squares[b, a]

    def mean(self, name: str) -> np.ndarray:
        """Mean row, shape `(width,)`."""
        return self.shifts[name] + self.sums[name] / self.count

    def rounding(self, name: str) -> float:
        """A sum of squared deviations that may be nothing but rounding of the rows: a constant representation is not exactly constant."""
        mean = self.mean(name)
        return self.resolution**2 * self.count * float(mean @ mean)

    def energy(self, name: str) -> float:
        """Σ ‖row‖², of the rows as they are."""
        mean, sums = self.mean(name), self.sums[name]
        deviations = float(np.trace(self.product(name, name))) - float(sums @ sums) / self.count
        return deviations + self.count * float(mean @ mean)

    def covariance(self, a: str, b: str) -> np.ndarray:
        """Σ (x − mean)(y − mean)ᵀ, not divided by the count; shape `(width of a, width of b)`."""
        return self.product(a, b) - np.outer(self.sums[a], self.sums[b]) / self.count

    def difference_product(self, a: str, b: str, c: str, d: str) -> np.ndarray:
        """Σ (a − b)(c − d)ᵀ of the rows as they are (not centred); the four must be equally wide.

        Large common means cancel in the shifts before anything is squared.
        """
        left, right = self.shifts[a] - self.shifts[b], self.shifts[c] - self.shifts[d]
        inner = self.product(a, c) - self.product(a, d) - self.product(b, c) + self.product(b, d)
        sums = np.outer(self.sums[a] - self.sums[b], right) + np.outer(left, self.sums[c] - self.sums[d])
        return inner + sums + self.count * np.outer(left, right)


def in_their_span(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same geometry in fewer coordinates: matched rows in an orthonormal basis of what all of them span.

    Every inner product stays, so everything that `PairedMoments` are used for stays; for a few examples of wide features the moments
    are then small.

    Args:
        rows: Per matrix, shape `(rows, width)`.

    Returns:
        Shape `(rows, min(width, all rows))` each; unchanged where that is no gain or the widths differ.

    Example:
        >>> wide = np.random.default_rng(0).normal(size=(2, 3, 100))
        >>> small = in_their_span({"a": wide[0], "b": wide[1]})
        >>> small["a"].shape, np.allclose(small["a"] @ small["b"].T, wide[0] @ wide[1].T)
        ((3, 6), True)
    """
    matrices = {name: np.asarray(values, dtype=np.float64) for name, values in rows.items()}
    widths = {matrix.shape[1] for matrix in matrices.values()}
    if len(widths) > 1 or widths.pop() <= sum(len(matrix) for matrix in matrices.values()):
        return matrices
    basis, _ = np.linalg.qr(np.concatenate(list(matrices.values())).T)
    return {name: matrix @ basis for name, matrix in matrices.items()}
