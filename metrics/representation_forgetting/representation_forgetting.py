"""Representation forgetting as an Evaluate module: a wrapper without maths; see `hf_unlearn.audit.measure_representation`."""

import datasets
import evaluate

from hf_unlearn.audit import check_module_inputs, measure_representation, representation_from_features
from hf_unlearn.inference import FeatureSettings


_DESCRIPTION = """\
Representation forgetting asks whether the hidden states of an unlearned model went where retraining without the forget data would have taken
them: how far along the way (progress), in which direction (directional agreement), and what is left (residual ratio and where it lies),
layer by layer, next to geometry (debiased linear CKA, principal directions).
"""
_INPUTS = """
Args, with models:
    texts: list of texts as the models see them, of token id lists, or of model inputs (dicts with input_ids and labels, or pixel_values).
    candidate, reference: the unlearned model and one retrained without the forget data; loaded, local path or Hub id; any kind of model
        that has hidden states.
    original: optional; the model before unlearning. Without it there is only geometry.
    processing_class: the tokenizer; default: the one saved with the models.
    pooling: "answer_mean" (default), "last_token" or "all_tokens".
    layers: list of layer numbers, 0 = embeddings; default: all blocks.
    match_depth: compare models of different depth at the same relative depth (False).
    max_width: wider layers are projected to this width by a seeded random orthogonal map (512).
    seed: of that projection (0).
    batch_size: texts at a time (32); does not change the result.
    progress: whether to show progress bars (True).
Args, with features computed elsewhere:
    candidate_features, reference_features, original_features: rows (examples × width) of one layer, or a dict from layer to rows; rows
        matched between models. The original's are optional.
Args, with both:
    split: list that says "forget" or "retain" for each text or row; default: all forget.
    space: "auto" (default), "feature" (models that share their starting weights) or "gram" (any models).
    debiased: which estimator of CKA (True).
Returns:
    dict: progress, directional_agreement, off_direction, residual_ratio, residual_concentration, diffuse_concentration,
    subspace_dimension, cka, cka_to_original, anchored_erasure, pca_similarity, pca_shift, mean_pca_distance as means over layers; the same
    with retain_ in front, forget_retain_asymmetry, cka_asymmetry and representation_unlearning_score where there are retain examples;
    layers (the same for each layer), reasons (why a value is None), space, num_forget_examples and how features were taken.
Examples:
    >>> import evaluate, hf_unlearn
    >>> metric = evaluate.load(hf_unlearn.metric_path("representation_forgetting"))
    >>> original = [[0.0, 1.0], [2.0, 0.0], [1.0, 3.0], [4.0, 2.0], [0.0, 5.0]]
    >>> reference = [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [2.0, 5.0]]
    >>> candidate = [[0.5, 1.0], [2.0, 1.0], [2.0, 3.0], [4.0, 3.0], [1.0, 5.0]]
    >>> result = metric.compute(
    ...     candidate_features=candidate, reference_features=reference, original_features=original, space="feature"
    ... )
    >>> result["progress"], result["residual_ratio"]
    (0.5, 0.5)
"""
_CITATION = """\
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
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class RepresentationForgetting(evaluate.Measurement):
    """Whether hidden states went where retraining would have taken them."""

    def _info(self):
        return evaluate.MeasurementInfo(
            module_type="measurement",
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"texts": datasets.Value("string")}),
        )

    def compute(
        self,
        *,
        texts=None,
        candidate=None,
        reference=None,
        original=None,
        processing_class=None,
        pooling="answer_mean",
        layers=None,
        match_depth=False,
        max_width=512,
        seed=0,
        batch_size=32,
        progress=True,
        candidate_features=None,
        reference_features=None,
        original_features=None,
        split=None,
        space="auto",
        debiased=True,
        **others,
    ):
        """Compute from models and texts, or from features; see the inputs description."""
        check_module_inputs("representation forgetting", list(RepresentationForgetting.compute.__kwdefaults__), others)
        if candidate_features is not None or reference_features is not None:
            if candidate_features is None or reference_features is None:
                raise ValueError("features are needed of both models: candidate_features and reference_features.")
            return representation_from_features(
                candidate_features, reference_features, original_features, split=split, space=space, debiased=debiased
            ).to_dict()
        given = {"texts": texts, "candidate": candidate, "reference": reference}
        missing = [name for name, value in given.items() if value is None]
        if missing:
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

    def add_batch(self, **inputs):
        """Refused: models are compared in one call."""
        raise TypeError(
            "representation forgetting compares models in one call and collects no batches: pass texts= to compute()."
        )

    add = add_batch

    def _compute(self, **inputs):
        return self.compute(**inputs)
