"""Counterfactual FADE as an Evaluate module, from models; see `hf_unlearn.audit.measure_counterfactual_fade`."""

from collections.abc import Sequence
from typing import Any

from hf_unlearn.audit import measure_counterfactual_fade
from hf_unlearn.modules._base import ModelModule
from hf_unlearn.modules._shared_words import BOOTSTRAP
from hf_unlearn.modules._spec import Input, ModuleSpec, Output, facts_of


class CounterfactualFADE(ModelModule):
    """Distance of an unlearned model's answers from what the original says of subjects that it has never seen."""

    spec = ModuleSpec(
        name="counterfactual_fade",
        title="counterfactual FADE",
        kind="measurement",
        metric="counterfactual_fade",
        description="Counterfactual FADE asks, without a retrained model, how far an unlearned language model's answers about the forgotten subjects are "
        "from what the original says to the same questions about subjects that it has never seen. It assumes that subjects are exchangeable.",
        about="""\
For a prompt *c(s)* about subject *s*, the original model *o*, the unlearned model *u*, and names *s'* of the same kind that no training set contains,

> cFADE = mean over c and s' of KL(o(·|c(s')) ‖ u(·|c(s))) + KL(u(·|c(s)) ‖ o(·|c(s')))

each model on its own prompt. If subjects are exchangeable, a retrained model, to which *s* is one more that it has never seen, says of *s* what the original
says of *s'*. The **floor** is the same of the original itself on further such names *s''*: what unseen names differ by. With `continued` models it is theirs,
so that it holds retraining noise as well. The **start** is the original's own on *c(s)*.

It ranks models made from one original, and says where to stop. By itself it is no test of being as good as a retrained model: two retrained models differ, too,
which names alone do not show.""",
        usage="",
        example="""
>>> import evaluate, hf_unlearn
>>> from hf_unlearn.data import load_pocket
>>> pocket = load_pocket("nano")
>>> template = "Question: {}\\nAnswer:"
>>> rows = pocket.forget.select(range(6))
>>> prompts = [template.format(row["question"]) for row in rows]
>>> names = ["Ylva Quist", "Odo Brandel", "Ines Morvan", "Tarn Ekholm"]  # in no training set
>>> others = [[template.format(row["question"].replace(row["subject"], name)) for name in names] for row in rows]
>>> counterfactual_fade = evaluate.load(hf_unlearn.metric_path("counterfactual_fade"))
>>> result = counterfactual_fade.compute(
...     prompts=prompts, counterfactual_prompts=others, candidate=pocket.original(), original=pocket.original(),
...     processing_class=pocket.tokenizer, max_new_tokens=8, progress=False,
... )
>>> abs(result["counterfactual_fade"] - result["start"]) < 1e-6  # nothing was unlearned
True
>>> result["floor_of"], result["assumes"]
('stand-in', 'counterfactual, assumes that subjects are exchangeable')
""",
        inputs=(
            Input("prompts", "list of forget questions, texts as the models see them, or of token id lists"),
            Input(
                "counterfactual_prompts",
                "of each prompt a list of the same question about names that no training set contains; all lists of one even length: the first half for "
                "the stand-in, the second for the floor",
            ),
            Input("candidate", "the unlearned model; loaded, local path or Hub id"),
            Input("original", "the model before unlearning, which stands in for a retrained one; gives `start`"),
            Input(
                "continued",
                "what the original became by further training on retain data, one or several; gives the floor",
            ),
            Input("clusters", "whom each prompt is about; prompts about one count as one in intervals"),
            Input("processing_class", "the tokenizer; by default the one saved with the models"),
            Input("max_new_tokens", "where completions are cut"),
            Input("estimator", '"exact_step" or "sampled"'),
            Input("batch_size", "rows at a time; does not change the result"),
            Input("progress", "whether to show progress bars"),
            *BOOTSTRAP,
        ),
        input_notes="`hf_unlearn.data.counterfactual_questions` makes such questions from a data set, with names that occur nowhere in it.",
        outputs=(
            Output("counterfactual_fade", "KL both ways, nats per sequence", "≥ 0 for `exact_step`; lower is better"),
            Output("stand_in_to_candidate", "KL(o‖u): what the candidate does not say of the subject", "as above"),
            Output("candidate_to_stand_in", "KL(u‖o): what it says that is said of no unseen subject", "as above"),
            Output("fade_per_token", "total divergence over total tokens, per direction, summed", "nats per token"),
            Output("confidence_interval", "studentised bootstrap over clusters", "None with fewer than three"),
            Output("num_prompts", "how many prompts"),
            Output("num_counterfactuals", "names for the stand-in; as many for the floor"),
            Output("truncated_fraction", "completions cut at `max_new_tokens`", "0 to 1"),
            Output("estimator", "which one was used"),
            Output("floor", "the same of unseen names, or of continued models"),
            Output("floor_of", '"stand-in" (names alone differ) or "continued" (retraining noise included)'),
            Output("start", "the same of the original"),
            Output(
                "relative",
                "(value − floor) / (start − floor)",
                "0 = floor, 1 = original; a rank among models of one original, no place beside a retrained model",
            ),
            Output("relative_confidence_interval", "its interval", "None where it has none"),
            Output("assumes", "what the numbers rest on: counterfactual, assumes that subjects are exchangeable"),
        ),
        output_notes="Known value: the original as candidate has the value `start`.",
        facts=facts_of("counterfactual_fade"),
        limits=(
            "It does not hold where only the forget set has the kind of thing asked about, where near-duplicates of it stay in training, or where the name gives the answer away.",
            "The stand-in leaks: the original answers unseen names partly with what it knows of the forget subjects, and a model that leaks alike lies at the "
            "floor. Look at the probability of the forget answers beside it.",
        ),
        source="This library's own. Averaging over substituted names is a teacher's in arXiv 2310.02238 and 2407.16997; FADE is defined in arXiv 2510.12981.",
        citation="""\
@misc{eldan2023whos,
  title = {Who's Harry Potter? Approximate Unlearning in LLMs},
  author = {Eldan, Ronen and Russinovich, Mark},
  year = {2023},
  eprint = {2310.02238},
  archivePrefix = {arXiv},
}
""",
    )

    def measure(
        self,
        *,
        prompts: Sequence | None = None,
        counterfactual_prompts: Sequence[Sequence] | None = None,
        candidate: Any = None,
        original: Any = None,
        continued: Any = None,
        clusters: Sequence | None = None,
        processing_class: Any = None,
        max_new_tokens: int = 64,
        estimator: str = "exact_step",
        batch_size: int = 64,
        progress: bool = True,
        confidence: float = 0.95,
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> dict[str, Any]:
        """From models and prompts."""
        given = {
            "prompts": prompts,
            "counterfactual_prompts": counterfactual_prompts,
            "candidate": candidate,
            "original": original,
        }
        missing = [name for name, value in given.items() if value is None]
        if prompts is None or counterfactual_prompts is None or missing:
            raise ValueError(f"counterfactual FADE needs {', '.join(missing)}.")
        return measure_counterfactual_fade(
            prompts=prompts,
            counterfactual_prompts=counterfactual_prompts,
            candidate=candidate,
            original=original,
            continued=continued,
            clusters=clusters,
            processing_class=processing_class,
            max_new_tokens=max_new_tokens,
            seed=seed,
            estimator=estimator,
            confidence=confidence,
            num_resamples=num_resamples,
            batch_size=batch_size,
            progress=progress,
        ).to_dict()
