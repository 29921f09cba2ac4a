"""How much of the true answers the model still says by itself."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import (
    GENERATIONS,
    GenerationMetric,
    rouge_1_recall_per_example,
    rouge_l_recall_per_example,
)
from hf_unlearn.functional import Bootstrap


class RougeL(GenerationMetric):
    """Longest common subsequence of the greedy and the true answer, in stemmed words, over the true answer's length; mean over examples, in [0, 1].

    Words are found in every script; with `compatible` as rouge-score finds them (ASCII only).
    """

    spec = MetricSpec(
        name="rouge_l",
        title="ROUGE-L recall of the greedy answer",
        short="ROUGE-L",
        unit="share of the true answer's words that are said in order",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="outputs",
        splits=("forget", "retain", "holdout"),
        needs=(GENERATIONS,),
        citation=Citation(
            "TOFU; Lin 2004", "2401.06121", "words of every script count; compatible=True: ASCII letters only"
        ),
        standard=False,
        options=("max_new_tokens", "compatible"),
        without_knowledge="Not 0: words of the question and the form of an answer come by themselves. The retrained model published with TOFU "
        "scores 0.41.",
        does_not_show="Whether the facts are right: a wrong name costs one word, a right answer in other words costs most of them. Nor what sampling, "
        "or another question, would bring up.",
    )

    def values(self, rows: Rows) -> np.ndarray:
        """Recall of each answer."""
        return rouge_l_recall_per_example(rows)

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The same without regard to order, and what share of the answers was cut or is empty."""
        return {"rouge_1": float(np.nanmean(rouge_1_recall_per_example(rows))), **super().details(rows, uncertainty)}
