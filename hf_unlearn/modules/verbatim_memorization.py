"""MUSE's verbatim memorization as an Evaluate module: continuations and how the texts go on in, likeness out."""

from hf_unlearn.functional import verbatim_memorization
from hf_unlearn.modules._shared_words import MUSE
from hf_unlearn.modules._spec import ModuleSpec, Output, facts_of
from hf_unlearn.modules._texts import PAGE, TEXT_OUTPUTS, TEXTS, TextsModule


class VerbatimMemorization(TextsModule):
    """Does the model go on with the texts word by word?"""

    spec = ModuleSpec(
        name="verbatim_memorization",
        title="Verbatim Memorization",
        metric="verbatim_memorization",
        description="Verbatim memorization (MUSE) is how like a language model's continuation of a text's beginning is to how the text goes on: ROUGE-L as a "
        "balance of recall and precision.",
        about="""\
The model is given the beginning of a text and goes on with it. With recall and precision the length of the longest common subsequence of words over
the number of words of the true and of the generated continuation,

> f = 2 · recall · precision / (recall + precision),

averaged over texts. Words are not stemmed, as in MUSE's own code; open-unlearning's stems them (`compatible=True`).""",
        inputs=TEXTS,
        input_notes="Cut the true continuation at as many tokens as the model may generate: what it had no room for lowers recall.",
        outputs=(
            Output("verbatim_memorization", "mean over texts", "0 to 1; 1 = word by word"),
            *TEXT_OUTPUTS,
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("verbatim_memorization"))
>>> result = module.compute(predictions=["the cat lay down"], references=["the cat sat down"])
>>> result["verbatim_memorization"]
0.75
""",
        page=PAGE,
        facts=facts_of("verbatim_memorization"),
        source="Defined by MUSE (arXiv 2407.06460).",
        citation=MUSE,
    )

    def compared(self, truth: str, given: str, compatible: bool) -> float | None:
        """F-measure."""
        return verbatim_memorization(truth, given, compatible=compatible)
