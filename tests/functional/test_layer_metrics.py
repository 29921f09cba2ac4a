"""Metrics of a layer, what they would be without an example, and what unlearning has reached in depth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import (
    REPRESENTATION_METRICS,
    RESAMPLED,
    Bootstrap,
    PairedMoments,
    layer_estimates,
    layer_metrics,
    leave_one_out,
    logit_lens_erasure,
    shares_of_effects,
    unlearning_depth_score,
)


def rows(seed: int, count: int = 24, width: int = 6) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    original = generator.normal(size=(count, width)) + 4
    reference = original + generator.normal(size=(count, width))
    candidate = original + 0.5 * (reference - original) + 0.3 * generator.normal(size=(count, width))
    return {"candidate": candidate, "reference": reference, "original": original}


@given(st.integers(0, 1000), st.sampled_from(["feature", "gram"]))
def test_leaving_one_out_in_closed_form_is_leaving_one_out(seed: int, space: str):
    """Each example is really removed, the moments taken again, and the metrics computed from them."""
    given_rows = rows(seed)
    without = leave_one_out(given_rows, space=space)
    for index in (0, 7, 23):
        fewer = {name: np.delete(matrix, index, 0) for name, matrix in given_rows.items()}
        direct = layer_metrics(PairedMoments.from_rows(fewer), space=space).values
        for name in set(without) - {"residual_concentration"}:  # its subspace stays that of all examples
            assert without[name][index] == pytest.approx(direct[name], abs=1e-9), name


def test_concentration_without_an_example_keeps_the_subspace():
    given_rows = rows(0)
    shift = given_rows["reference"] - given_rows["original"]
    dimension = int(layer_metrics(PairedMoments.from_rows(given_rows)).values["subspace_dimension"])
    basis = np.linalg.svd(shift)[2][:dimension].T
    left = np.delete(given_rows["candidate"] - given_rows["reference"], 3, 0)
    expected = ((left @ basis) ** 2).sum() / (left**2).sum()
    assert leave_one_out(given_rows)["residual_concentration"][3] == pytest.approx(expected)


def test_all_names_are_there():
    values = layer_metrics(PairedMoments.from_rows(rows(1))).values
    assert set(REPRESENTATION_METRICS) <= set(values)
    assert set(leave_one_out(rows(1))) == set(RESAMPLED)
    geometry = layer_metrics(PairedMoments.from_rows(rows(1)), original=None).values
    assert set(geometry) == {"cka", "pca_similarity", "pca_shift", "mean_pca_distance"}
    assert set(leave_one_out(rows(1), original=None)) == {"cka"}


@pytest.mark.parametrize("space", ["feature", "gram"])
def test_the_reference_and_the_original_are_the_ends(space: str):
    moments = PairedMoments.from_rows(rows(2))
    start = layer_metrics(moments, "original", space=space).values
    assert (start["progress"], start["residual_ratio"], start["anchored_erasure"]) == (0, 1, 0)
    given_rows = rows(2)
    end = layer_metrics(PairedMoments.from_rows({**given_rows, "candidate": given_rows["reference"]}), space=space)
    assert end.values["progress"] == pytest.approx(1)
    assert end.values["residual_ratio"] == pytest.approx(0, abs=1e-6)
    assert end.values["anchored_erasure"] == 1
    assert end.values["pca_similarity"] == pytest.approx(1)
    assert end.values["mean_pca_distance"] == pytest.approx(0)


def test_gram_space_has_concentration_only_where_coordinates_are_shared():
    moments = PairedMoments.from_rows(rows(3))
    assert layer_metrics(moments, space="gram").values["residual_concentration"] is None
    shared = layer_metrics(moments, space="gram", shared_basis=True).values["residual_concentration"]
    assert shared == layer_metrics(moments).values["residual_concentration"]


def test_constant_features_give_none_with_reasons_and_no_nan():
    """Models that map every example to one point each: what retraining changes is there, geometry is not."""
    flat = {
        name: np.full((6, 3), value) for name, value in (("candidate", 2.0), ("reference", 3.0), ("original", 1.0))
    }
    found = layer_metrics(PairedMoments.from_rows(flat))
    assert found.values["progress"] == pytest.approx(0.5)
    for name in ("cka", "cka_to_original", "anchored_erasure", "pca_similarity"):
        assert found.values[name] is None and found.reasons[name]
    same = layer_metrics(PairedMoments.from_rows({name: np.ones((6, 3)) for name in flat}))
    assert all(value is None or np.isfinite(value) for value in same.values.values())
    assert "retraining changes nothing" in same.reasons["progress"]
    assert set(same.reasons) >= {name for name in REPRESENTATION_METRICS if same.values[name] is None}


def test_too_few_rows():
    few = {name: matrix[:3] for name, matrix in rows(0).items()}
    with pytest.raises(ValueError, match="at least 4 rows"):
        layer_metrics(PairedMoments.from_rows(few))
    with pytest.raises(ValueError, match="at least 5 examples, got 3"):
        leave_one_out(few)


def test_repeated_rows_bias_cka_and_leaving_out_does_not():
    """A bootstrap that repeats rows puts CKA of unrelated features well above 0; leaving out stays around the estimate."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 40, 20))
    given_rows = {"candidate": x, "reference": y}
    value = layer_metrics(PairedMoments.from_rows(given_rows), original=None).values["cka"]
    low, high = Bootstrap().interval(layer_estimates(given_rows, original=None).estimates["cka"])
    assert low < value < high < value + 0.2
    repeated = []
    for _ in range(50):
        at = generator.integers(0, 40, 40)
        moments = PairedMoments.from_rows({name: matrix[at] for name, matrix in given_rows.items()})
        repeated.append(layer_metrics(moments, original=None).values["cka"])
    assert np.mean(repeated) > value + 0.1


def test_absorbing_rows_is_adding_their_moments():
    whole = rows(4)
    first, second = ({name: matrix[part] for name, matrix in whole.items()} for part in (slice(9), slice(9, None)))
    taken = PairedMoments.from_rows(first).absorb(second)
    expected = PairedMoments.from_rows(whole)
    assert taken.count == 24
    for name, value in layer_metrics(expected).values.items():
        assert layer_metrics(taken).values[name] == pytest.approx(value)


def test_the_lens_of_a_candidate_like_the_reference():
    original, reference = np.array([-1.0, -1.0]), np.array([-4.0, -1.02])
    assert logit_lens_erasure(reference, reference, original) == 1
    assert logit_lens_erasure(original, reference, original) == 0
    assert logit_lens_erasure(original, original, original) is None


def test_half_of_the_examples_intact_is_half():
    """Two examples untouched, two destroyed beyond need: their mean effect would say that all is done."""
    wanted, done = np.ones((4, 3)), np.array([[0.0], [0.0], [2.0], [5.0]]) * np.ones(3)
    assert unlearning_depth_score(wanted, done) == 0.5
    original = np.full((4, 3), -1.0)
    assert logit_lens_erasure(original - done, original - wanted, original) == 0.5
    assert unlearning_depth_score(wanted.mean(0), done.mean(0)) == 1.0


def test_examples_that_say_nothing_are_left_out():
    wanted = np.array([[1.0, 0.01], [0.02, 0.03]])
    assert unlearning_depth_score(wanted, wanted / 4) == 0.25
    assert np.isnan(shares_of_effects(wanted, wanted)).tolist() == [False, True]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_large_mean_or_a_small_scale_changes_no_geometry(scale: float):
    """Means a million times the spread: centred, the rows are what they were up to float64's rounding (2e-10 of the spread)."""
    given_rows = {"candidate": rows(3)["candidate"], "reference": rows(3)["reference"]}
    expected = layer_metrics(PairedMoments.from_rows(given_rows), original=None).values
    moved = {name: scale * (matrix + 1e6) for name, matrix in given_rows.items()}
    found = layer_metrics(PairedMoments.from_rows(moved), original=None).values
    for name in ("cka", "pca_similarity"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6), name


def test_a_constant_representation_is_refused_also_with_float32s_rounding():
    generator = np.random.default_rng(0)
    noise = 1 + generator.choice([-6e-8, 0, 6e-8], size=(30, 8))
    constant = generator.normal(size=8) * 100 * noise
    given_rows = {"candidate": constant, "reference": generator.normal(size=(30, 8))}
    found = layer_metrics(PairedMoments.from_rows(given_rows), original=None)
    assert found.values["cka"] is None and "constant" in found.reasons["cka"]
