"""Representation forgetting from models and features, in the audit, and what may be said about it."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import world
from small_audits import by_prompt
from toys import markov_lm, tiny_llama

from hf_unlearn.audit import (
    AuditReport,
    EvidenceStore,
    audit,
    measure_representation,
    representation_from_features,
)
from hf_unlearn.data import load_pocket
from hf_unlearn.functional import REPRESENTATION_METRICS
from hf_unlearn.inference import FeatureSettings


@pytest.fixture(scope="module")
def pocket():
    return load_pocket("nano")


@pytest.fixture(scope="module")
def options(pocket) -> dict:
    return {
        "reference": pocket.reference(),
        "original": pocket.original(),
        "twin": pocket.twin(),
        "processing_class": pocket.tokenizer,
        **{name: by_prompt(getattr(pocket, name)) for name in ("forget", "retain", "holdout")},
        "num_samples": 1,
        "max_examples": 18,
        "progress": False,
    }


@pytest.fixture(scope="module")
def report(options: dict, tmp_path_factory: pytest.TempPathFactory) -> AuditReport:
    return audit(options["original"], **options, output_dir=tmp_path_factory.mktemp("audit"))


def halfway(options: dict) -> torch.nn.Module:
    """Weights half-way between original and reference, which started from the same ones."""
    model = type(options["original"])(options["original"].config)
    with torch.no_grad():
        for own, o, r in zip(
            model.parameters(), options["original"].parameters(), options["reference"].parameters(), strict=True
        ):
            own.copy_((o + r) / 2)
    return model.eval()


def test_the_original_is_at_the_start(report: AuditReport):
    found = report.metrics
    assert found["residual_ratio"].value == pytest.approx(1) and found["progress"].value == pytest.approx(0, abs=1e-9)
    assert found["residual_ratio"].start == pytest.approx(1)
    assert found["anchored_erasure"].value == 0 and found["unlearning_depth_score"].value == 0
    assert found["logit_lens_erasure"].value == 0 and found["representation_unlearning_score"].value == 0
    assert found["excess_over_twins"].value == pytest.approx(1)
    assert found["cka"].relative == pytest.approx(1)
    assert found["probe_auc"].value == found["probe_auc"].others["original"]
    said = "Not defined: directional_agreement/forget, directional_agreement/retain: "
    assert ["changed nothing" in note for note in report.notes if note.startswith(said)] == [True]
    assert report.provenance.settings["space"] == "feature"


def test_a_twin_that_shares_its_base_gives_every_metric_its_floor(options: dict, report: AuditReport):
    """The setting of every fine-tuned model: patching works from the twin as well, and what it gives is the floor."""
    for name in ("unlearning_depth_score", "logit_lens_erasure", "residual_ratio", "cka"):
        assert report.metrics[name].floor is not None, name
    depth = report.metrics["unlearning_depth_score"]
    assert 0.5 < depth.floor <= 1 and depth.relative == pytest.approx(1)


def test_a_stranger_for_a_twin_leaves_what_needs_no_common_basis(options: dict, pocket):
    found = audit(options["original"], **{**options, "twin": pocket.stranger()})
    assert any("Gram space, because twin did not start" in note for note in found.notes)
    depth = found.metrics["unlearning_depth_score"]
    assert depth.floor is None and depth.relative is None
    assert "twin does not share the original's starting weights" in depth.relative_reason
    assert found.metrics["logit_lens_erasure"].floor is not None


def test_every_layer_has_its_result_and_the_mean_is_their_mean(report: AuditReport):
    for name in ("residual_ratio", "residual_ratio/retain", "cka", "probe_auc"):
        result = report.metrics[name]
        assert set(result.by_layer) == {"1", "2"}
        assert result.value == pytest.approx(np.mean([part.value for part in result.by_layer.values()]))
    cka = report.metrics["cka"]
    assert cka.confidence_interval[0] < cka.value < cka.confidence_interval[1]
    assert cka.floor_confidence_interval[0] < cka.floor < cka.floor_confidence_interval[1]
    assert 0 < report.metrics["residual_concentration"].details["diffuse"] < 1


def test_halfway_lies_between(options: dict):
    """Weights half-way: progress around a half, residue below the original's, nearer geometry; without a twin in feature space."""
    given = {name: value for name, value in options.items() if name != "twin"}
    found = audit(halfway(options), **given)
    assert found.provenance.settings["space"] == "feature"
    assert 0.2 < found.metrics["progress"].value < 0.8
    assert 0.3 < found.metrics["residual_ratio"].value < 0.9
    assert found.metrics["directional_agreement"].value > 0.5
    assert (
        found.metrics["directional_agreement"].relative_reason
        == "start is not defined: the original has changed nothing"
    )
    assert found.metrics["residual_ratio"].floor is None
    assert 0 < found.metrics["anchored_erasure"].value < 1


def test_a_retrained_candidate_is_at_the_end(options: dict):
    """But for a hair: a model in two roles is refused."""
    candidate = copy.deepcopy(options["reference"])
    with torch.no_grad():
        candidate.model.embed_tokens.weight[-1, 0] += 1e-4
        candidate.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-5
    found = audit(candidate, **options).metrics
    assert found["residual_ratio"].value == pytest.approx(0, abs=1e-3)
    assert found["anchored_erasure"].value > 0.99 and found["unlearning_depth_score"].value > 0.99
    assert found["logit_lens_erasure"].value > 0.99
    assert found["probe_auc"].details["excess_over_reference"] == pytest.approx(0, abs=0.01)


def test_layers_and_space_are_chosen(options: dict, pocket, report: AuditReport):
    found = audit(options["original"], **{**options, "twin": pocket.stranger()}, layers=[2], space="feature")
    assert set(found.metrics["cka"].by_layer) == {"2"}
    assert found.metrics["cka"].value == pytest.approx(report.metrics["cka"].by_layer["2"].value)
    assert (
        found.metrics["residual_ratio"].floor > 1
    )  # a twin of other starting weights, measured in foreign coordinates
    with pytest.raises(ValueError, match="no layer 7; layers go from 0"):
        audit(options["original"], **options, layers=[7])
    with pytest.raises(ValueError, match="unknown space 'procrustes'"):
        audit(options["original"], **options, space="procrustes")
    with pytest.raises(ValueError, match="unknown pooling 'all_tokens'"):
        audit(options["original"], **options, pooling="all_tokens")


def test_models_whose_layers_cannot_be_compared_are_still_audited(options: dict, pocket):
    """FADE needs a vocabulary only; what is left out is said."""
    config = options["reference"].config
    deep = type(options["reference"])(type(config)(**{**config.to_dict(), "num_hidden_layers": 3})).eval()
    given = {name: options[name] for name in ("reference", "processing_class", "forget", "num_samples", "progress")}
    found = audit(deep, **given, max_examples=6)
    assert "fade" in found.metrics and "cka" not in found.metrics
    assert any("Hidden states were not compared: the models differ in depth" in note for note in found.notes)
    chains = markov_lm(1, vocab_size=len(pocket.tokenizer)), markov_lm(2, vocab_size=len(pocket.tokenizer))
    found = audit(chains[0], **{**given, "reference": chains[1]}, max_examples=3, max_new_tokens=3)
    assert any("MarkovLM gives no hidden_states" in note for note in found.notes)


def test_models_whose_states_are_not_of_tokens_are_still_audited(options: dict, pocket):
    size = {"vocab_size": len(pocket.tokenizer), "vocab_size_per_layer_input": len(pocket.tokenizer)}
    models = {
        role: world.build("gemma3n", seed=seed, **size)
        for seed, role in enumerate(("candidate", "reference", "original"))
    }
    chosen = {key: value for key, value in options.items() if key not in ("twin", "retain", "holdout")}
    report = audit(**{**chosen, **models, "max_new_tokens": 3})
    assert report.metrics["fade"].value > 1
    assert "progress" not in report.metrics and "unlearning_depth_score" not in report.metrics
    said = [note for note in report.notes if note.startswith("Hidden states were not compared: layer 0 of Gemma3n")]
    assert len(said) == 1 and not said[0].endswith("..")


def test_a_few_examples_are_too_few(options: dict):
    found = audit(options["original"], **{**options, "max_examples": 4})
    assert "cka" not in found.metrics and "probe_auc" not in found.metrics
    said = [note for note in found.notes if "4 forget examples are too few, 5 are needed" in note]
    assert len(said) == 1 and "cka/forget" in said[0]


def test_a_second_audit_computes_nothing(options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Hidden states, lens and patching among the rest."""
    first = audit(options["original"], **options, output_dir=tmp_path)
    assert (tmp_path / "representation.png").read_bytes().startswith(b"\x89PNG")
    real = EvidenceStore.table

    def never(items):
        raise AssertionError("read again")

    monkeypatch.setattr(
        EvidenceStore,
        "table",
        lambda store, label, key, count, compute, **settings: real(store, label, key, count, never, **settings),
    )
    assert audit(options["original"], **options, output_dir=tmp_path).metrics == first.metrics


def test_a_report_with_layers_survives_json(report: AuditReport):
    assert AuditReport.from_json(report.to_json()) == report


def test_from_models_as_from_their_features():
    """The road through hidden states gives what the road through rows gives."""
    models = {"candidate": tiny_llama(0), "reference": tiny_llama(1), "original": tiny_llama(2)}
    generator = np.random.default_rng(0)
    inputs = [{"input_ids": [1, *generator.integers(3, 90, 6).tolist()]} for _ in range(20)]
    split = ["forget"] * 12 + ["retain"] * 8
    found = measure_representation(texts=inputs, **models, split=split, progress=False).to_dict()
    assert found["space"] == "gram" and found["num_retain_examples"] == 8
    features = {}
    for name, model in models.items():
        rows = []
        for row in inputs:
            with torch.no_grad():
                rows.append(model(torch.tensor([row["input_ids"]]), output_hidden_states=True).hidden_states[1][0, 1:].mean(0).numpy())  # fmt: skip
        features[f"{name}_features"] = {1: np.stack(rows)}
    other = representation_from_features(**features, split=split, space="gram").to_dict()
    for name, value in other["layers"]["1"].items():
        expected = found["layers"]["1"][name]
        assert expected == (None if value is None else pytest.approx(value, abs=1e-5)), name
    assert set(REPRESENTATION_METRICS) <= set(found)


def test_space_of_features_is_found_by_looking():
    generator = np.random.default_rng(0)
    original = generator.normal(size=(30, 6))
    moved = original + 0.3 * generator.normal(size=(30, 6))
    turned = moved @ np.linalg.qr(generator.normal(size=(6, 6)))[0]
    assert representation_from_features(moved, moved, original).space == "feature"
    rotated = representation_from_features(turned, turned, original)
    assert rotated.space == "gram"
    assert rotated.to_dict()["progress"] == pytest.approx(1)
    wide = representation_from_features(np.hstack([moved, moved]), moved, np.hstack([original, original]))
    assert wide.space == "gram" and wide.to_dict()["residual_concentration"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidate_features": np.ones((7, 2))}, "matched between models"),
        ({"split": ["forget"] * 9}, "for each of the 10 examples, it has 9"),
        ({"split": ["forget"] * 9 + ["keep"]}, "unknown split 'keep'"),
        ({"split": ["forget"] * 8 + ["retain"] * 2}, "2 retain examples are too few: CKA needs at least 4"),
        ({"space": "rotated"}, "unknown space 'rotated'"),
        ({"original_features": {3: np.ones((10, 2))}}, "of the same layers"),
        ({"reference_features": np.full((10, 2), np.nan)}, "not all finite"),
        ({"reference_features": np.ones((10, 3)), "space": "feature"}, "feature space needs equal widths"),
    ],
)
def test_bad_features_are_refused(change: dict, message: str):
    generator = np.random.default_rng(0)
    names = ("candidate_features", "reference_features", "original_features")
    good = dict(zip(names, generator.normal(size=(3, 10, 2)), strict=True))
    with pytest.raises(ValueError, match=message):
        representation_from_features(**{**good, **change})


def test_layers_of_features_are_whole_numbers():
    rows = np.random.default_rng(0).normal(size=(10, 2))
    assert list(representation_from_features({"3": rows}, {3: rows}).layers["forget"]) == [3]
    with pytest.raises(TypeError, match=r"a layer must be a whole number, got 1.5"):
        representation_from_features({1.5: rows}, {1.5: rows})


def test_bad_texts_are_refused():
    model = tiny_llama()
    with pytest.raises(ValueError, match="texts must be a non-empty list"):
        measure_representation(texts=[], candidate=model, reference=model)
    with pytest.raises(ValueError, match="2 forget examples are too few"):
        measure_representation(texts=[{"input_ids": [1, 2]}] * 2, candidate=model, reference=model)
    with pytest.raises(ValueError, match="processing_class"):
        measure_representation(texts=["a", "b", "c", "d"], candidate=model, reference=model)
    with pytest.raises(ValueError, match="layers must name at least one"):
        FeatureSettings(layers=())


def test_features_without_width_are_refused():
    for given in (np.zeros((6, 0)), {3: np.zeros((6, 0))}):
        with pytest.raises(ValueError, match=r"features of layer [03] have no width: .*got \(6, 0\)"):
            representation_from_features(given, given)
