"""Representation forgetting as an Evaluate module, from models or from features; see `hf_unlearn.audit.measure_representation`."""

from collections.abc import Sequence
from typing import Any

from hf_unlearn.audit import measure_representation, representation_from_features
from hf_unlearn.inference import FeatureSettings
from hf_unlearn.modules._base import ModelModule
from hf_unlearn.modules._spec import Facts, Input, ModuleSpec, Output


_ORIGINAL = [[0.0, 1.0], [2.0, 0.0], [1.0, 3.0], [4.0, 2.0], [0.0, 5.0]]
_REFERENCE = [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [2.0, 5.0]]
_CANDIDATE = [[0.5, 1.0], [2.0, 1.0], [2.0, 3.0], [4.0, 3.0], [1.0, 5.0]]


class RepresentationForgetting(ModelModule):
    """Whether hidden states went where retraining would have taken them."""

    spec = ModuleSpec(
        name="representation_forgetting",
        title="Representation Forgetting",
        kind="measurement",
        description="Did the hidden states of an unlearned model go where retraining without the forget data would have taken them? Progress, "
        "direction and residue per layer, next to debiased CKA and principal directions.",
        about="""\
Hidden states of candidate *u* (unlearned), reference *r* (trained the same way without the forget data) and original *o* (before unlearning) on
the same examples, pooled to one row per example and layer: H<sub>u</sub>, H<sub>r</sub>, H<sub>o</sub>. With Δr = H<sub>r</sub> − H<sub>o</sub>
(what retraining changes), Δu = H<sub>u</sub> − H<sub>o</sub> (what unlearning changed) and e = H<sub>u</sub> − H<sub>r</sub> (what is left), it
says how far the candidate went along retraining's way, how far beside it, and what remains. A model can look forgotten in its outputs while its
hidden states keep what retraining would have removed.

The question is that of arXiv 2606.25001, whose formulas could not be read; principal directions follow 2505.16831. **The definitions here are
this library's reading**, not those papers' own.""",
        usage="""\
With models (loaded, local path, or Hub id; causal language models, encoders, vision models):

```python
import evaluate
import hf_unlearn

metric = evaluate.load(hf_unlearn.metric_path("representation_forgetting"))
result = metric.compute(
    texts=texts,  # exactly as the models saw them in training, answers included; or dicts of model inputs with labels
    split=["forget"] * 100 + ["retain"] * 100,
    candidate="me/model-unlearned",
    reference="me/model-retrained",
    original="me/model",
)
result["residual_ratio"], result["layers"]["3"]["progress"], result["forget_retain_asymmetry"]
```

With features from anywhere (any framework, images, …):""",
        example=f"""
>>> import evaluate, hf_unlearn
>>> metric = evaluate.load(hf_unlearn.metric_path("representation_forgetting"))
>>> original = {_ORIGINAL}
>>> reference = {_REFERENCE}
>>> candidate = {_CANDIDATE}
>>> result = metric.compute(
...     candidate_features=candidate, reference_features=reference, original_features=original, space="feature"
... )
>>> round(result["progress"], 6), round(result["residual_ratio"], 6)
(0.5, 0.5)
""",
        inputs=(
            Input("texts", "texts, token id lists, or model inputs (`input_ids` and `labels`; `pixel_values`)"),
            Input(
                "candidate",
                "the unlearned model; loaded, local path or Hub id; any kind of model that has hidden states",
            ),
            Input("reference", "one retrained without the forget data"),
            Input("original", "the model before unlearning; without it only geometry"),
            Input(
                "candidate_features",
                "instead of models: rows (examples × width) of one layer, or a dict from layer to rows",
            ),
            Input("reference_features", "the same of the reference, rows matched"),
            Input("original_features", "the same of the original"),
            Input("split", '"forget" or "retain" for each example; by default all are forget'),
            Input("processing_class", "the tokenizer; by default the one saved with the models"),
            Input(
                "pooling",
                "`answer_mean`: mean over labelled tokens (without labels: all but the first); `last_token`; `all_tokens`: every such token is a row",
            ),
            Input(
                "layers",
                "list of layer numbers; 0 = what the first block receives, ℓ = output of block ℓ (before any final norm); by default all blocks",
            ),
            Input("match_depth", "compare models of different depth at the same relative depth"),
            Input(
                "space",
                "`feature`: coordinates mean the same, because the models share their starting weights; `gram`: the same quantities on centred Gram "
                "matrices, for any models; `auto`: looks at the weights, or at the features",
            ),
            Input("max_width", "wider layers are projected to this width by a seeded random orthogonal map"),
            Input("seed", "of that projection"),
            Input("batch_size", "texts at a time; does not change the result"),
            Input("debiased", "which estimator of CKA"),
            Input("progress", "whether to show progress bars"),
        ),
        outputs=(
            Output("progress", "⟨Δu, Δr⟩ / ‖Δr‖²", "1 ideal; 0 = original; above 1 = too far; unbounded"),
            Output("directional_agreement", "cosine of Δu and Δr", "−1 to 1; 1 ideal"),
            Output("off_direction", "‖Δu − progress·Δr‖ / ‖Δr‖", "≥ 0; 0 ideal"),
            Output(
                "residual_ratio",
                "‖e‖ / ‖Δr‖; its square is (1 − progress)² + off_direction²",
                "≥ 0; 0 = retrained, 1 = original untouched, above 1 = worse",
            ),
            Output(
                "residual_concentration",
                "share of ‖e‖² in the principal subspace of Δr: the fewest directions that hold 90 % of ‖Δr‖²",
                "0 to 1; to be read beside `diffuse_concentration`; feature space only",
            ),
            Output("diffuse_concentration", "what a residue without direction would have (dimension / width)"),
            Output("subspace_dimension", "that dimension"),
            Output(
                "cka", "linear CKA with the reference, debiased", "at most 1; 1 = same geometry; about 0 = unrelated"
            ),
            Output("cka_to_original", "the same with the original"),
            Output(
                "anchored_erasure",
                "(CKA(u, r) − CKA(o, r)) / (1 − CKA(o, r)), clipped",
                "0 to 1; 1 = like the retrained model",
            ),
            Output("pca_similarity", "absolute cosine of the first principal directions", "0 to 1; 1 ideal"),
            Output("pca_shift", "distance of means along the reference's first principal direction", "≥ 0; 0 ideal"),
            Output("mean_pca_distance", "distance of means in the reference's first principal plane", "≥ 0; 0 ideal"),
            Output(
                "forget_retain_asymmetry", "residual ratio on retain minus on forget", "0 = even; with retain examples"
            ),
            Output("cka_asymmetry", "1 − CKA on retain minus on forget", "0 = even; with retain examples"),
            Output(
                "representation_unlearning_score",
                "harmonic mean of 1 − CKA to the original on forget and CKA with the reference on retain",
                "0 to 1; higher is better; with retain examples",
            ),
            Output("layers", "the same for each layer"),
            Output("reasons", "why a value is None"),
            Output("space", "in which space it was compared; further keys say how features were taken"),
        ),
        output_notes="""\
Values are means over layers. With retain examples every key exists once more with `retain_` in front.

Known values: *u* = *o* + α(*r* − *o*) has progress α and residual ratio |1 − α|; *u* = *r* has anchored erasure 1, *u* = *o* has 0. CKA does not
change with rotation, shift or scale of either side.""",
        facts=Facts(
            unit="of each value, in the table of outputs",
            direction="of each value, in the table of outputs; for most: 1 = as retraining, or 0 = as retraining",
            range="of each value, in the table of outputs",
            without_knowledge="not the ideal: another retrained model keeps a distance from the reference, too",
            does_not_show="Knowledge: a model can keep its geometry and lose what it knew, or the other way round; and what is left may be noise of "
            "training.",
        ),
        limits=(
            "It needs a reference, and one retrained model is only a sample. `hf_unlearn.audit` adds that floor, the original's value and "
            "intervals; this module gives bare values.",
            "In feature space rotated coordinates would be taken for change. Use `gram` wherever the models do not come from the same starting weights.",
            "Layers wider than `max_width` are projected; norms and angles are kept on average, not exactly.",
            "Fewer than four examples per split are refused (debiased CKA has no value there).",
        ),
        page={
            "candidate_features": _CANDIDATE,
            "reference_features": _REFERENCE,
            "original_features": _ORIGINAL,
            "space": "auto",
        },
        source="Inspired by arXiv 2606.25001 and 2505.16831; CKA after Kornblith et al. 2019 (arXiv 1905.00414), debiased with the estimator of Song "
        "et al. 2012.",
        citation="""\
@misc{retraining_consistent_forgetting_2026,
  title = {arXiv 2606.25001; the formulas here are this library's reading},
  year = {2026},
  eprint = {2606.25001},
  archivePrefix = {arXiv},
}
@misc{unlearning_reversibility_2025,
  title = {arXiv 2505.16831; principal directions of unlearned representations},
  year = {2025},
  eprint = {2505.16831},
  archivePrefix = {arXiv},
}
""",
    )

    def measure(
        self,
        *,
        texts: Sequence | None = None,
        candidate: Any = None,
        reference: Any = None,
        original: Any = None,
        candidate_features: Any = None,
        reference_features: Any = None,
        original_features: Any = None,
        split: Sequence[str] | None = None,
        processing_class: Any = None,
        pooling: str = "answer_mean",
        layers: Any = None,
        match_depth: bool = False,
        space: str = "auto",
        max_width: int = 512,
        seed: int = 0,
        batch_size: int = 32,
        debiased: bool = True,
        progress: bool = True,
    ) -> dict[str, Any]:
        """From models and texts, or from features."""
        if candidate_features is not None or reference_features is not None:
            if candidate_features is None or reference_features is None:
                raise ValueError("features are needed of both models: candidate_features and reference_features.")
            return representation_from_features(
                candidate_features, reference_features, original_features, split=split, space=space, debiased=debiased
            ).to_dict()
        given = {"texts": texts, "candidate": candidate, "reference": reference}
        missing = [name for name, value in given.items() if value is None]
        if texts is None or missing:
            raise ValueError(
                f"representation forgetting needs {', '.join(missing)}; or candidate_features= and reference_features= instead."
            )
        return measure_representation(
            texts=texts,
            candidate=candidate,
            reference=reference,
            original=original,
            split=split,
            processing_class=processing_class,
            space=space,
            settings=FeatureSettings(
                pooling=pooling,
                layers=tuple(layers) if isinstance(layers, list) else layers,
                match_depth=match_depth,
                max_width=max_width,
                seed=seed,
                batch_size=batch_size,
            ),
            debiased=debiased,
            progress=progress,
        ).to_dict()
