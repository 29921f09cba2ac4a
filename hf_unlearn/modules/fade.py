"""FADE as an Evaluate module, from models or from log-probabilities; see `hf_unlearn.audit.measure_fade`."""

from collections.abc import Mapping, Sequence
from typing import Any

from hf_unlearn.audit import fade_from_log_probs, measure_fade
from hf_unlearn.modules._base import ModelModule
from hf_unlearn.modules._shared_words import BOOTSTRAP
from hf_unlearn.modules._spec import Input, ModuleSpec, Output, facts_of


_SIDE = "lists `log_prob_own`, `log_prob_other` (nats), `num_tokens`, and optionally `prompt_index`, `truncated`, `step_divergence`"
_EXAMPLE = {"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -2.5], "num_tokens": [3, 5]}


class FADE(ModelModule):
    """Distance of an unlearned model's answers from a retrained model's."""

    spec = ModuleSpec(
        name="fade",
        title="FADE",
        kind="measurement",
        metric="fade",
        description="FADE (Functional Alignment for Distributional Equivalence) asks whether an unlearned language model is the one that retraining "
        "without the forget data would have given: the divergence between the two models' distributions over answers, in both directions.",
        about="""\
For a prompt *c*, a reference *r* (a model trained the same way without the forget data) and a candidate *u* (the unlearned model),

> FADE(c) = E<sub>x~r(·|c)</sub> [log r(x|c) − log u(x|c)] + E<sub>x~u(·|c)</sub> [log u(x|c) − log r(x|c)]
> = KL(r‖u) + KL(u‖r),

averaged over prompts. Completions are sampled from the models themselves at temperature 1 over the whole vocabulary, whatever their
`generation_config` says; their token ids are scored under both models, end token included. Tempered or truncated sampling would not estimate
this quantity, so a model whose distribution cannot be left alone is refused.

Unlike accuracy, ROUGE or a p-value on reference answers, it looks at everything a model may say. A model that was pushed away from the
forget answers without end looks forgotten by those, and is far from any retrained model by this.""",
        usage="""\
With models (loaded, local path, or Hub id):

```python
import evaluate
import hf_unlearn

fade = evaluate.load(hf_unlearn.metric_path("fade"))
result = fade.compute(
    prompts=questions,  # texts exactly as the models saw them in training, or token ids
    candidate="me/model-unlearned",
    reference="me/model-retrained",
    original="me/model",  # optional: gives `start`
    twin="me/model-retrained-again",  # optional: gives `floor`; with both, `relative`
    num_samples=8,
    max_new_tokens=64,
    seed=0,
)
```

With log-probabilities computed elsewhere (any framework):""",
        example=f"""
>>> import evaluate, hf_unlearn
>>> fade = evaluate.load(hf_unlearn.metric_path("fade"))
>>> side = {str(_EXAMPLE).replace("'", '"')}
>>> fade.compute(from_reference=side, from_candidate=side)["fade"]
1.0
""",
        inputs=(
            Input("prompts", "list of texts as the models see them, or of token id lists"),
            Input("candidate", "the unlearned model; loaded, local path or Hub id"),
            Input(
                "reference",
                "one retrained without the forget data; a loaded base beside a `PeftModel` made on it answers without the adapter",
            ),
            Input("original", "the model before unlearning; gives `start`"),
            Input("twin", "a second retrained model with another seed; gives `floor`"),
            Input("processing_class", "the tokenizer; by default the one saved with the models"),
            Input("num_samples", "completions per prompt and model"),
            Input("max_new_tokens", "where completions are cut"),
            Input("estimator", '"exact_step" or "sampled"'),
            Input("batch_size", "rows at a time; does not change the result"),
            Input("progress", "whether to show progress bars"),
            Input("from_reference", f"instead of models, of completions sampled from the reference: {_SIDE}"),
            Input("from_candidate", "the same of completions sampled from the candidate"),
            *BOOTSTRAP,
        ),
        input_notes="""\
The two estimators have the same expectation. `sampled` is the mean log-ratio of the completions, as in the paper. `exact_step` takes, at every
prefix that a completion visits, the exact divergence over the vocabulary: never negative, and of smaller variance.""",
        outputs=(
            Output(
                "fade",
                "KL(r‖u) + KL(u‖r), nats per sequence",
                "≥ 0 for `exact_step`; 0 = equal on these prompts; lower is better; no upper bound; grows with answer length",
            ),
            Output("reference_to_candidate", "KL(r‖u): what the candidate no longer says", "as above"),
            Output("candidate_to_reference", "KL(u‖r): what the candidate says that retraining would not", "as above"),
            Output("fade_per_token", "total divergence over total tokens, per direction, summed", "nats per token"),
            Output("confidence_interval", "studentised bootstrap over prompts", "None with fewer than three prompts"),
            Output("num_prompts", "how many prompts"),
            Output("num_samples", "completions per prompt and model"),
            Output(
                "truncated_fraction",
                "completions cut at `max_new_tokens`",
                "0 to 1; what would follow the cut is not counted",
            ),
            Output("estimator", "which one was used"),
            Output(
                "floor", "the same for twin against reference: what two honest retrainings differ by", "with `twin`"
            ),
            Output("start", "the same for original against reference", "with `original`"),
            Output(
                "relative",
                "(fade − floor) / (start − floor)",
                "with both; 0 = as good as retraining, 1 = as if nothing was unlearned, above 1 = worse than doing nothing",
            ),
            Output("relative_confidence_interval", "its interval", "with both"),
            Output("relative_reason", "why it has no value or interval", "where it has none"),
        ),
        output_notes="Known values: a model against itself has FADE 0; swapping the models swaps the two directions.",
        facts=facts_of("fade"),
        limits=(
            "It needs a reference. Where retraining is out of reach, a small-scale or partial retrain is a substitute only for itself.",
            "Without a twin the number has no scale: two retrained models are not equal either.",
            "Values of models with different tokenizers cannot be compared, and are refused.",
        ),
        page={"from_reference": _EXAMPLE, "from_candidate": _EXAMPLE},
        source="FADE is defined in arXiv 2510.12981. This implementation, its estimators, intervals and floor are part of `hf_unlearn`.",
        citation="""\
@misc{cho2025reference,
  title = {Reference-Specific Unlearning Metrics Can Hide the Truth: A Reality Check},
  author = {Cho, Sungjun and Hwang, Dasol and Sala, Frederic and Hwang, Sangheum and Cho, Kyunghyun and Cha, Sungmin},
  year = {2025},
  eprint = {2510.12981},
  archivePrefix = {arXiv},
}
""",
    )

    def measure(
        self,
        *,
        prompts: Sequence | None = None,
        candidate: Any = None,
        reference: Any = None,
        original: Any = None,
        twin: Any = None,
        processing_class: Any = None,
        num_samples: int = 8,
        max_new_tokens: int = 64,
        estimator: str = "exact_step",
        batch_size: int = 64,
        progress: bool = True,
        from_reference: Mapping[str, Sequence] | None = None,
        from_candidate: Mapping[str, Sequence] | None = None,
        confidence: float = 0.95,
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """From models and prompts, or from log-probabilities."""
        if from_reference is not None and from_candidate is not None:
            return fade_from_log_probs(
                from_reference, from_candidate, confidence=confidence, num_resamples=num_resamples, seed=seed
            ).to_dict()
        if from_reference is not None or from_candidate is not None:
            raise ValueError("log-probabilities are needed of both sides: from_reference and from_candidate.")
        given = {"prompts": prompts, "candidate": candidate, "reference": reference}
        missing = [name for name, value in given.items() if value is None]
        if prompts is None or missing:
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
            seed=seed,
            estimator=estimator,
            confidence=confidence,
            num_resamples=num_resamples,
            batch_size=batch_size,
            progress=progress,
        ).to_dict()
