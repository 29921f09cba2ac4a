import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import (
    PairedMoments,
    anchored_erasure,
    excess_over_twins,
    pca_distance,
    pca_shift,
    pca_similarity,
    representation_forgetting,
    representation_unlearning_score,
    unlearning_depth_score,
)


def three(u: np.ndarray, r: np.ndarray, o: np.ndarray) -> PairedMoments:
    return PairedMoments.from_rows({"candidate": u, "reference": r, "original": o})


def pair(seed: int, count: int = 40, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, width)) + 3, generator.normal(size=(count, width)) - 2


@given(st.integers(0, 1000), st.floats(-2, 3))
def test_on_the_way_from_original_to_reference(seed: int, alpha: float):
    """u = o + α(r − o): progress α, residual ratio |1 − α|, nothing off the way; agreement is the sign of α."""
    o, r = pair(seed)
    result = representation_forgetting(three(o + alpha * (r - o), r, o))
    assert result.progress == pytest.approx(alpha, abs=1e-9)
    assert result.residual_ratio == pytest.approx(abs(1 - alpha), abs=1e-6)
    assert result.off_direction == pytest.approx(0, abs=1e-6)
    if abs(alpha) > 1e-3:
        assert result.directional_agreement == pytest.approx(np.sign(alpha))


def test_beyond_the_reference():
    """u = 2r − o goes twice as far."""
    o, r = pair(0)
    assert representation_forgetting(three(2 * r - o, r, o)).progress == pytest.approx(2)


def test_known_answer_with_a_part_off_the_way():
    """u = o + .6Δr + .3w, w ⟂ Δr, ‖w‖ = ‖Δr‖, Δr of rank 1: progress .6, agreement .6/√.45 = .894427, off .3,
    residual ratio √(.16 + .09) = .5, concentration₁ .16/.25 = .64 beside k/d = 1/4."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=30)
    shift = np.outer(scores, [1.0, 0, 0, 0])
    other = np.outer(scores, [0, 0, 1.0, 0])  # row by row orthogonal to the shift, equally long
    o = generator.normal(size=(30, 4))
    result = representation_forgetting(three(o + 0.6 * shift + 0.3 * other, o + shift, o))
    assert result.progress == pytest.approx(0.6)
    assert result.directional_agreement == pytest.approx(0.894427, abs=1e-6)
    assert result.off_direction == pytest.approx(0.3)
    assert result.residual_ratio == pytest.approx(0.5)
    assert result.residual_concentration == pytest.approx(0.64)
    assert (result.subspace_dimension, result.diffuse_concentration) == (1, 0.25)


@given(st.integers(0, 1000))
def test_residual_ratio_is_made_of_the_other_two(seed: int):
    generator = np.random.default_rng(seed)
    u, r, o = generator.normal(size=(3, 20, 4))
    result = representation_forgetting(three(u, r, o))
    expected = np.linalg.norm(u - r) / np.linalg.norm(r - o)
    assert result.residual_ratio == pytest.approx(expected)
    assert result.residual_ratio**2 == pytest.approx((1 - result.progress) ** 2 + result.off_direction**2)
    shift, left = r - o, u - r
    basis = np.linalg.svd(shift)[2][: result.subspace_dimension].T
    assert result.residual_concentration == pytest.approx(((left @ basis) ** 2).sum() / (left**2).sum())
    held = np.cumsum(np.linalg.svd(shift)[1] ** 2) / (shift**2).sum()
    assert held[result.subspace_dimension - 1] >= 0.9 - 1e-9
    assert result.subspace_dimension == 1 or held[result.subspace_dimension - 2] < 0.9


@given(st.integers(0, 1000), st.floats(0.01, 0.99))
def test_gram_space_known_answer(seed: int, alpha: float):
    """H_u = [√(1−α) H_o, √α H_r] has the Gram matrix (1−α)K_o + αK_r: progress α, agreement 1, residual ratio 1 − α."""
    o, r = pair(seed, count=12)
    u = np.hstack([np.sqrt(1 - alpha) * o, np.sqrt(alpha) * r])
    result = representation_forgetting(three(u, r, o), space="gram")
    assert result.progress == pytest.approx(alpha, abs=1e-8)
    assert result.directional_agreement == pytest.approx(1, abs=1e-6)
    assert result.residual_ratio == pytest.approx(1 - alpha, abs=1e-4)
    assert result.residual_concentration is None and "feature space" in result.reasons["residual_concentration"]


@given(st.integers(0, 1000))
def test_a_rotation_of_one_model_matters_in_feature_space_only(seed: int):
    generator = np.random.default_rng(seed)
    o, r = pair(seed)
    u = o + 0.5 * (r - o)
    rotation, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    plain, turned = three(u, r, o), three(u, r @ rotation + 7, o)
    gram = [representation_forgetting(moments, space="gram") for moments in (plain, turned)]
    assert gram[0].progress == pytest.approx(gram[1].progress, rel=1e-6)
    assert gram[0].residual_ratio == pytest.approx(gram[1].residual_ratio, rel=1e-6)
    feature = [representation_forgetting(moments).directional_agreement for moments in (plain, turned)]
    assert feature[0] == pytest.approx(1) and feature[1] < 0.99


def test_degenerate_cases_have_reasons_and_no_numbers():
    o, r = pair(0)
    untouched = representation_forgetting(three(o, r, o))
    assert untouched.progress == pytest.approx(0, abs=1e-12) and untouched.residual_ratio == pytest.approx(1)
    assert untouched.directional_agreement is None
    assert "unlearning changed nothing" in untouched.reasons["directional_agreement"]
    for space in ("feature", "gram"):
        nothing = representation_forgetting(three(r, o, o), space=space)
        assert nothing.progress is None and nothing.residual_ratio is None
        assert "retraining changes nothing" in nothing.reasons["progress"]
    retrained = representation_forgetting(three(r, r, o))
    assert retrained.residual_ratio == pytest.approx(0, abs=1e-6)
    assert (
        retrained.residual_concentration is None and "nothing is left" in retrained.reasons["residual_concentration"]
    )


def test_bad_input_is_refused():
    o, r = pair(0)
    with pytest.raises(ValueError, match=r"equal widths.*space='gram'"):
        representation_forgetting(three(o[:, :3], r, o))
    with pytest.raises(ValueError, match="'feature' or 'gram'"):
        representation_forgetting(three(o, r, o), space="procrustes")
    with pytest.raises(ValueError, match="from 1 to 5, got 6"):
        representation_forgetting(three(o, r, o), subspace_dimension=6)


def test_anchored_erasure_and_unlearning_score():
    assert anchored_erasure(1.0, 0.4) == 1.0
    assert anchored_erasure(0.4, 0.4) == 0.0
    assert anchored_erasure(0.1, 0.4) == 0.0  # clipped
    assert anchored_erasure(0.9, 1.0) is None
    assert representation_unlearning_score(0.2, 0.9) == pytest.approx(0.847059, abs=1e-6)
    assert representation_unlearning_score(1.2, 0.9) is None


@pytest.mark.parametrize("angle", [0.0, np.pi / 6, np.pi / 2])
def test_pca_similarity_is_the_cosine_of_a_rotation(angle: float):
    """A rotation by π/6 gives √3/2."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 2)) * [5.0, 1.0]
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moments = PairedMoments.from_rows({"a": x, "b": x @ rotation})
    assert pca_similarity(moments, "a", "b") == pytest.approx(np.cos(angle), abs=1e-9)


def test_pca_shift_and_distance_see_the_plane_of_the_reference():
    """Moved by (3, 4, 12) in the axes of decreasing variance: 3 along the first, 5 in the plane of the first two."""
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=float)
    reference = signs * [9.0, 5.0, 2.0]
    moments = PairedMoments.from_rows({"candidate": reference + np.array([3, 4, 12]), "reference": reference})
    assert pca_shift(moments, "candidate", "reference") == pytest.approx(3)
    assert pca_distance(moments, "candidate", "reference") == pytest.approx(5)


def test_no_principal_direction_is_none():
    signs = np.array([[a, b] for a in (-1, 1) for b in (-1, 1)], dtype=float)
    moments = PairedMoments.from_rows({"round": signs, "flat": np.ones((4, 2))})
    assert pca_similarity(moments, "round", "round") is None  # equal variance in all directions
    assert pca_similarity(moments, "flat", "round") is None
    assert pca_shift(moments, "round", "flat") is None


def test_excess_over_twins():
    """Retrained models scattered around a point: the original is 1, one more retrained model about 0 (here within .2)."""
    generator = np.random.default_rng(0)
    centre, start = generator.normal(size=(2, 200, 6))
    retrained = {f"r{i}": centre + 0.5 * generator.normal(size=(200, 6)) for i in range(3)}
    another = centre + 0.5 * generator.normal(size=(200, 6))
    moments = PairedMoments.from_rows({"o": start, "u": another, **retrained})
    assert excess_over_twins(moments, "o", list(retrained), "o") == 1
    assert abs(excess_over_twins(moments, "u", list(retrained), "o")) < 0.2
    assert excess_over_twins(moments, "o", ["o", "u"], "u") is None
    with pytest.raises(ValueError, match="at least two"):
        excess_over_twins(moments, "u", ["r0"], "o")


def test_unlearning_depth_score():
    assert unlearning_depth_score(np.array([1, 2, 0.04]), np.array([0.5, 2, 9])) == pytest.approx(5 / 6)
    assert unlearning_depth_score(np.array([1.0]), np.array([-3.0])) == 0
    assert unlearning_depth_score(np.array([0.01]), np.array([3.0])) is None
    with pytest.raises(ValueError, match="one effect a layer"):
        unlearning_depth_score(np.ones(2), np.ones(3))
