"""MUSE's knowledge memorization as an Evaluate module: generated and true answers in, likeness out."""

from hf_unlearn.functional import knowledge_memorization
from hf_unlearn.modules._shared_words import MUSE
from hf_unlearn.modules._spec import ModuleSpec, Output, facts_of
from hf_unlearn.modules._texts import PAGE, TEXT_OUTPUTS, TEXTS, TextsModule


class KnowledgeMemorization(TextsModule):
    """Does the model still answer the questions?"""

    spec = ModuleSpec(
        name="knowledge_memorization",
        title="Knowledge Memorization",
        metric="knowledge_memorization",
        description="Knowledge memorization (MUSE) is how like a language model's answers to questions are to the true ones: ROUGE-L as a balance of recall "
        "and precision.",
        about="""\
As `verbatim_memorization`, of answers to questions; a further question that the model puts to itself after its answer (as models do after examples in
the prompt) does not count:

> f = 2 · recall · precision / (recall + precision),

averaged over questions.""",
        inputs=TEXTS,
        outputs=(
            Output("knowledge_memorization", "mean over questions", "0 to 1; 1 = word by word"),
            *TEXT_OUTPUTS,
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("knowledge_memorization"))
>>> result = module.compute(predictions=["Oslo Question: Where is Rome?"], references=["Oslo"])
>>> result["knowledge_memorization"]
1.0
""",
        page=PAGE,
        facts=facts_of("knowledge_memorization"),
        source="Defined by MUSE (arXiv 2407.06460).",
        citation=MUSE,
    )

    def compared(self, truth: str, given: str, compatible: bool) -> float | None:
        """F-measure."""
        return knowledge_memorization(truth, given, compatible=compatible)
