"""FADE as an Evaluate module: a wrapper without maths; see `hf_unlearn.audit.measure_fade`."""

import datasets
import evaluate

from hf_unlearn.audit import check_module_inputs, fade_from_log_probs, measure_fade


_DESCRIPTION = """\
FADE (Functional Alignment for Distributional Equivalence) asks whether an unlearned language model is the one that retraining without
the forget data would have given: the divergence between the distributions over answers of the two models, in both directions,
estimated on completions sampled from the models themselves. 0 means equal on the tested prompts; lower is better.
"""
_INPUTS = """
Args, with models:
    prompts: list of texts as the models see them, or of token id lists.
    candidate, reference: the unlearned model and one retrained without the forget data; loaded, local path or Hub id.
    original, twin: optional; the model before unlearning (gives `start`) and a second retrained one (gives `floor`).
    processing_class: the tokenizer; default: the one saved with the models.
    num_samples: completions per prompt and model (8).
    max_new_tokens: where completions are cut (64).
    seed: of samples and bootstrap (0).
    estimator: "exact_step" (default) or "sampled".
    batch_size: rows at a time (64); does not change the result.
    progress: whether to show progress bars (True).
Args, with log-probabilities computed elsewhere:
    from_reference, from_candidate: dicts of equally long lists, one entry per completion sampled from that model: `log_prob_own`,
        `log_prob_other` (nats), `num_tokens`; optionally `prompt_index`, `truncated`, `step_divergence`.
Args, with both:
    confidence: of the interval (0.95).
    num_resamples: of the bootstrap over prompts (1000).
Returns:
    dict: fade, reference_to_candidate, candidate_to_reference (nats per sequence), fade_per_token, confidence_interval, num_prompts,
    num_samples, truncated_fraction, estimator; with twin floor, with original start, with both relative and its interval.
Examples:
    >>> import evaluate, hf_unlearn
    >>> fade = evaluate.load(hf_unlearn.metric_path("fade"))
    >>> side = {"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -2.5], "num_tokens": [3, 5]}
    >>> fade.compute(from_reference=side, from_candidate=side)["fade"]
    1.0
"""
_CITATION = """\
@misc{cho2025reference,
  title = {Reference-Specific Unlearning Metrics Can Hide the Truth: A Reality Check},
  author = {Cho, Sungjun and Hwang, Dasol and Sala, Frederic and Hwang, Sangheum and Cho, Kyunghyun and Cha, Sungmin},
  year = {2025},
  eprint = {2510.12981},
  archivePrefix = {arXiv},
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class FADE(evaluate.Measurement):
    """Distance of an unlearned model's answers from a retrained model's."""

    def _info(self):
        return evaluate.MeasurementInfo(
            module_type="measurement",
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"prompts": datasets.Value("string")}),
        )

    def compute(
        self,
        *,
        prompts=None,
        candidate=None,
        reference=None,
        original=None,
        twin=None,
        processing_class=None,
        num_samples=8,
        max_new_tokens=64,
        seed=0,
        estimator="exact_step",
        batch_size=64,
        progress=True,
        from_reference=None,
        from_candidate=None,
        confidence=0.95,
        num_resamples=1000,
        **others,
    ):
        """Compute FADE from models and prompts, or from log-probabilities; see the inputs description."""
        check_module_inputs("FADE", list(FADE.compute.__kwdefaults__), others)
        uncertainty = {"confidence": confidence, "num_resamples": num_resamples, "seed": seed}
        if from_reference is not None or from_candidate is not None:
            if from_reference is None or from_candidate is None:
                raise ValueError("log-probabilities are needed of both sides: from_reference and from_candidate.")
            return fade_from_log_probs(from_reference, from_candidate, **uncertainty).to_dict()
        missing = [
            name
            for name, value in (("prompts", prompts), ("candidate", candidate), ("reference", reference))
            if value is None
        ]
        if missing:
            raise ValueError(f"FADE needs {', '.join(missing)}; or from_reference= and from_candidate= instead.")
        return measure_fade(
            prompts=prompts,
            candidate=candidate,
            reference=reference,
            original=original,
            twin=twin,
            processing_class=processing_class,
            num_samples=num_samples,
            max_new_tokens=max_new_tokens,
            estimator=estimator,
            batch_size=batch_size,
            progress=progress,
            **uncertainty,
        ).to_dict()

    def add_batch(self, **inputs):
        """Refused: models are compared in one call."""
        raise TypeError("FADE compares models in one call and collects no batches: pass prompts= to compute().")

    add = add_batch

    def _compute(self, **inputs):
        return self.compute(**inputs)
