"""ROUGE-L recall as an Evaluate module: generated and true answers in, the share that is said again out."""

from hf_unlearn.functional import rouge_l
from hf_unlearn.modules._shared_words import TOFU
from hf_unlearn.modules._spec import ModuleSpec, Output, facts_of
from hf_unlearn.modules._texts import PAGE, TEXT_OUTPUTS, TEXTS, TextsModule


class RougeLRecall(TextsModule):
    """How much of the true answers is said again?"""

    spec = ModuleSpec(
        name="rouge_l_recall",
        title="ROUGE-L Recall",
        metric="rouge_l",
        description="ROUGE-L recall is the share of a true answer's words that a generated answer says again in the same order, in every script.",
        about="""\
With LCS the length of the longest common subsequence of words (lower case, stemmed where English), and *n* the number of words of the true answer,

> recall = LCS / n,

averaged over answers. By default words of every script count, and in scripts without spaces each character is a word; `rouge_score`, which the field
uses (`compatible=True`), knows ASCII letters and digits alone, so that an answer in Cyrillic or Chinese scores 0 however right it is. On ASCII text both
are the same.""",
        inputs=TEXTS,
        outputs=(
            Output("rouge_l_recall", "mean recall over answers", "0 to 1; 1 = every word in order"),
            *TEXT_OUTPUTS,
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("rouge_l_recall"))
>>> result = module.compute(predictions=["the dog, too, sat down"], references=["The cat sat down."])
>>> result["rouge_l_recall"]
0.75
""",
        page=PAGE,
        facts=facts_of("rouge_l"),
        limits=(
            "Recall does not punish an answer for saying everything: see `knowledge_memorization` for the balance with precision.",
        ),
        source="ROUGE is Lin's (2004); recall of answers to questions is TOFU's (arXiv 2401.06121).",
        citation=TOFU,
    )

    def compared(self, truth: str, given: str, compatible: bool) -> float | None:
        """Recall."""
        found = rouge_l(truth, given, compatible=compatible)
        return None if found is None else found.recall
