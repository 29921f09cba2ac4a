import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import PairedMoments, linear_cka


def rows(seed: int, count: int = 30, width: int = 4, mean: float = 0.0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(count, width))
    return {
        "candidate": base + mean,
        "reference": base @ generator.normal(size=(width, width)) + mean,
        "original": generator.normal(size=(count, width + 1)) - mean,
    }


def whole(moments: PairedMoments) -> list[np.ndarray]:
    """Everything that is kept, at one common shift."""
    zero = {name: np.zeros_like(moments.shifts[name]) for name in moments.names}
    plain = moments.shifted(zero)
    parts = [*plain.sums.values(), *plain.products.values(), *plain.weighted.values()]
    return [*parts, np.array(list(plain.squares.values()))]


def test_moments_are_the_sums_they_say():
    data = rows(0)
    plain = PairedMoments.from_rows(data).shifted({name: np.zeros(matrix.shape[1]) for name, matrix in data.items()})
    x, y = data["candidate"], data["original"]
    np.testing.assert_allclose(plain.sums["original"], y.sum(0), atol=1e-10)
    np.testing.assert_allclose(plain.product("candidate", "original"), x.T @ y, atol=1e-10)
    np.testing.assert_allclose(plain.product("original", "candidate"), y.T @ x, atol=1e-10)
    np.testing.assert_allclose(plain.weighted["candidate", "original"], (y**2).sum(1) @ x, atol=1e-10)
    assert plain.square("candidate", "original") == pytest.approx(((x**2).sum(1) * (y**2).sum(1)).sum())


@given(st.integers(0, 1000), st.lists(st.integers(1, 29), max_size=4), st.permutations(range(30)))
def test_any_split_and_order_gives_the_whole(seed: int, cuts: list[int], order: list[int]):
    data = rows(seed, mean=3.0)
    parts = np.split(np.array(order), sorted(set(cuts)))
    merged = None
    for part in parts:
        moments = PairedMoments.from_rows({name: matrix[part] for name, matrix in data.items()})
        merged = moments if merged is None else merged + moments
    assert merged.count == 30
    for mine, expected in zip(whole(merged), whole(PairedMoments.from_rows(data)), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-7)


def test_differences_are_sound_far_from_zero():
    """At a mean of one million the difference of two representations is still right to 1e-6."""
    generator = np.random.default_rng(0)
    near, far = generator.normal(size=(2, 500, 3))
    data = {"a": near + 1e6, "b": far + 1e6}
    moments = PairedMoments.from_rows({k: v[:50] for k, v in data.items()})
    for start in range(50, 500, 50):
        moments = moments + PairedMoments.from_rows({k: v[start : start + 50] for k, v in data.items()})
    expected = (near - far).T @ (near - far)
    np.testing.assert_allclose(moments.difference_product("a", "b", "a", "b"), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": np.ones((2, 3)), "b": np.ones((3, 3))}, "same number of rows"),
        ({"a": np.ones(3)}, "expected matrices"),
        ({"a": np.ones((0, 3))}, "at least one"),
        ({"a": np.array([[np.nan]])}, "'a' are not all finite"),
    ],
)
def test_bad_rows_are_refused(data: dict, message: str):
    with pytest.raises(ValueError, match=message):
        PairedMoments.from_rows(data)


def test_only_the_same_can_be_added():
    one = PairedMoments.from_rows({"a": np.ones((2, 3))})
    with pytest.raises(ValueError, match="cannot add"):
        one + PairedMoments.from_rows({"b": np.ones((2, 3))})
    with pytest.raises(ValueError, match="3 wide here and 2 there"):
        one + PairedMoments.from_rows({"a": np.ones((2, 2))})


# CKA


def hsic_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased HSIC as Song et al. write it, with n × n kernels."""
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    n, one = len(k), np.ones(len(k))
    return (
        np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


@given(st.integers(0, 1000), st.integers(4, 30), st.floats(-3, 3))
def test_debiased_cka_is_the_ratio_of_hsics(seed: int, count: int, mean: float):
    data = rows(seed, count=count, mean=mean)
    x, y = data["candidate"], data["original"]
    own = hsic_by_hand(x, x) * hsic_by_hand(y, y)
    value = linear_cka(PairedMoments.from_rows(data), "candidate", "original")
    if hsic_by_hand(x, x) > 1e-3 and hsic_by_hand(y, y) > 1e-3:
        assert value == pytest.approx(hsic_by_hand(x, y) / np.sqrt(own), rel=1e-5, abs=1e-7)


def test_cka_known_answers():
    """numpy seed 1337, X = randn(100, 10), Y = randn(100, 10) + X: biased .55761, debiased .51346."""
    generator = np.random.RandomState(1337)
    x = generator.randn(100, 10)
    moments = PairedMoments.from_rows({"x": x, "y": generator.randn(100, 10) + x})
    assert linear_cka(moments, "x", "y", debiased=False) == pytest.approx(0.55761, abs=5e-6)
    assert linear_cka(moments, "x", "y") == pytest.approx(0.51346, abs=5e-6)


def test_only_the_biased_form_finds_kinship_between_strangers():
    """Independent Gaussians, 128 rows of width 256: biased about 256/(127 + 256) = .67, debiased about 0."""
    generator = np.random.default_rng(0)
    moments = PairedMoments.from_rows({"x": generator.normal(size=(128, 256)), "y": generator.normal(size=(128, 256))})
    assert linear_cka(moments, "x", "y", debiased=False) == pytest.approx(256 / 383, abs=0.02)
    assert abs(linear_cka(moments, "x", "y")) < 0.05


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-50, 50))
def test_rotation_shift_and_scale_do_not_matter(seed: int, scale: float, shift: float):
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(2, 25, 4))
    rotation, _ = np.linalg.qr(generator.normal(size=(4, 4)))
    plain = linear_cka(PairedMoments.from_rows({"x": x, "y": y}), "x", "y")
    moved = linear_cka(PairedMoments.from_rows({"x": scale * x @ rotation + shift, "y": y}), "x", "y")
    assert moved == pytest.approx(plain, abs=1e-8)


def test_constant_features_have_no_geometry():
    moments = PairedMoments.from_rows({"x": np.full((9, 3), 1e3), "y": np.random.default_rng(0).normal(size=(9, 3))})
    assert linear_cka(moments, "x", "y") is None
    assert linear_cka(moments, "x", "y", debiased=False) is None


def test_too_few_rows_are_refused():
    moments = PairedMoments.from_rows({"x": np.eye(3), "y": np.eye(3)})
    with pytest.raises(ValueError, match="at least 4 rows, got 3"):
        linear_cka(moments, "x", "y")
