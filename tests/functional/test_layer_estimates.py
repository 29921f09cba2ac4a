"""Metrics of a layer as estimates: same values, influences over clusters, honest intervals, and what is only rounding."""

import numpy as np
import pytest
import torch
import world

from hf_unlearn.functional import (
    LAYER_SCALES,
    RESAMPLED,
    Bootstrap,
    MatchedRows,
    PairedMoments,
    average,
    layer_estimates,
    layer_metrics,
    leave_one_out,
    resolution_of,
)


def rows(seed: int, count: int = 24, width: int = 6) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    original = generator.normal(size=(count, width)) + 4
    reference = original + generator.normal(size=(count, width))
    candidate = original + 0.5 * (reference - original) + 0.3 * generator.normal(size=(count, width))
    return {"candidate": candidate, "reference": reference, "original": original}


@pytest.mark.parametrize("space", ["feature", "gram"])
@pytest.mark.parametrize("width", [6, 200])
def test_values_are_those_of_the_layer(space: str, width: int):
    """Also where the width is far above the examples, and rows are turned into fewer coordinates."""
    given = rows(0, width=width)
    expected = layer_metrics(PairedMoments.from_rows(given), space=space, shared_basis=True).values
    found = layer_estimates(given, space=space, shared_basis=True)
    assert set(found.estimates) == set(LAYER_SCALES) and not found.reasons
    for name, estimate in found.estimates.items():
        assert estimate.value == pytest.approx(expected[name], abs=1e-9), name
        assert (estimate.influence is None) == (name not in RESAMPLED), name
    assert found.details == pytest.approx({name: expected[name] for name in found.details}) and len(found.details) == 2


def test_influences_are_the_jackknifes_over_clusters():
    given, clusters = rows(1), np.repeat(np.arange(8), 3)
    found = layer_estimates(given, clusters=clusters).estimates["cka"]
    without = leave_one_out(given)["cka"]
    by_row = 23 * (without.mean() - without)
    np.testing.assert_allclose(found.influence, by_row.reshape(8, 3).sum(1) / 3)
    assert found.num_clusters == 8


def test_shared_work_changes_nothing():
    given = {**rows(2), "twin": rows(3)["candidate"]}
    together = MatchedRows(given)
    for role in ("candidate", "twin", "original"):
        alone = layer_estimates(given, role).estimates
        for name, estimate in layer_estimates(together, role).estimates.items():
            assert estimate.value == alone[name].value, name
            assert np.array_equal(estimate.influence, alone[name].influence), name  # both None where there are none


def test_the_ends_of_the_scale_are_points():
    """The original is where it is, and the reference where the reference is, whichever examples are drawn."""
    given = rows(4)
    start = layer_estimates(given, "original").estimates
    assert Bootstrap().interval(start["residual_ratio"]) == pytest.approx((1, 1))
    assert Bootstrap().interval(start["anchored_erasure"]) == pytest.approx((0, 0), abs=1e-9)
    end = layer_estimates(given, "reference").estimates
    for name, at in {"progress": 1, "residual_ratio": 0, "cka": 1, "anchored_erasure": 1}.items():
        assert Bootstrap().interval(end[name]) == pytest.approx((at, at), abs=1e-6), name


def test_a_share_that_was_clipped_is_not_certain():
    """Further from the reference's geometry than the original: 0 by definition, but not with certainty."""
    given = rows(5)
    given["candidate"] = given["original"] + 0.7 * np.random.default_rng(6).normal(size=(24, 6))
    found = layer_estimates(given).estimates["anchored_erasure"]
    assert found.value == 0
    low, high = Bootstrap().interval(found)
    assert low == 0 < high <= 1


def test_bounded_metrics_have_bounded_intervals():
    bootstrap = Bootstrap(confidence=0.99)
    for seed in range(10):
        given = rows(seed, count=6)
        for name, estimate in layer_estimates(given, shared_basis=True).estimates.items():
            interval = bootstrap.interval(estimate)
            low, high = {
                "log": (0, np.inf),
                "logit": (0, 1),
                "clipped": (0, 1),
                "fisher": (-1, 1),
                "plain": (-np.inf, np.inf),
            }[estimate.scale]
            assert interval is None or low <= interval[0] <= interval[1] <= high, name


def test_what_is_only_rounding_is_not_measured():
    """Equal weights in bfloat16 and in float32: a residual ratio of the candidate's distance over rounding is no number."""
    given = rows(7, count=40, width=32)
    given["reference"] = torch.from_numpy(given["original"]).to(torch.bfloat16).float().numpy()
    measured = layer_estimates(given).estimates["residual_ratio"].value
    assert measured > 20
    for space in ("feature", "gram"):
        found = layer_estimates(MatchedRows(given, resolution=resolution_of(["bfloat16"])), space=space)
        assert "residual_ratio" not in found.estimates and "progress" not in found.estimates
        assert "reference and original agree" in found.reasons["residual_ratio"]
        assert "already" in found.reasons["anchored_erasure"]
    real = (
        layer_estimates(MatchedRows(rows(7), resolution=resolution_of(["bfloat16"]))).estimates["residual_ratio"].value
    )
    assert real == layer_estimates(rows(7)).estimates["residual_ratio"].value


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_model_in_half_precision_is_the_model(name: str):
    """Reference and original of equal weights, the latter in bfloat16; the candidate in float32 is another model."""
    ids = torch.randint(3, world.VOCABULARY, (24, 12), generator=torch.Generator().manual_seed(0))

    def states(model: torch.nn.Module) -> np.ndarray:
        with torch.no_grad():
            hidden = model(ids, output_hidden_states=True).hidden_states[-1]
        return hidden[:, 4:].float().mean(1).numpy()

    reference = world.build(name, seed=0)
    given = {
        "original": states(world.build(name, seed=0).to(torch.bfloat16)),
        "reference": states(reference),
        "candidate": states(world.build(name, seed=1)),
    }
    assert layer_estimates(given).estimates["residual_ratio"].value > 20
    found = layer_estimates(MatchedRows(given, resolution=resolution_of(["bfloat16", "float32"])))
    assert "reference and original agree" in found.reasons["residual_ratio"]
    assert (
        "residual_ratio"
        in layer_estimates(MatchedRows(given, resolution=resolution_of(["bfloat16"])), reference="candidate").estimates
    )


def test_few_examples_have_values_without_intervals():
    found = layer_estimates({name: matrix[:4] for name, matrix in rows(8).items()}).estimates
    assert found["cka"].influence is None and found["residual_ratio"].value > 0


def test_cka_holds_what_it_says():
    """Debiased CKA of 40 rows of two correlated Gaussians, 150 times, against the value of 20,000 rows: a true .93 misses this in 1 of 10⁴."""
    generator = np.random.default_rng(9)

    def draw(count: int) -> dict[str, np.ndarray]:
        x = generator.normal(size=(count, 8)) * np.linspace(0.5, 2, 8)
        return {"candidate": x + generator.normal(size=(count, 8)), "reference": x}

    truth = layer_metrics(PairedMoments.from_rows(draw(20_000)), original=None).values["cka"]
    held = 0
    for _ in range(150):
        low, high = Bootstrap(num_resamples=400).interval(layer_estimates(draw(40), original=None).estimates["cka"])
        held += low <= truth <= high
    assert held / 150 > 0.85


def test_mean_over_layers_keeps_the_pairing():
    """Two equal layers: their average is as uncertain as one of them."""
    found = layer_estimates(rows(10)).estimates["residual_ratio"]
    assert Bootstrap().interval(average([found, found])) == pytest.approx(Bootstrap().interval(found))
