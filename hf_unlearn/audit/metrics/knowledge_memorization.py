"""Whether the model answers questions about the texts."""

from functools import partial

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible
from hf_unlearn.audit.metrics._generations import GENERATIONS, GenerationMetric, per_example
from hf_unlearn.functional import knowledge_memorization


class KnowledgeMemorization(GenerationMetric):
    """ROUGE-L F-measure between the greedy and the true answer to each question, mean over examples, in [0, 1].

    What follows the answer (an empty line, a further question) does not count. Words are not stemmed; with `compatible` they are.
    """

    spec = MetricSpec(
        name="knowledge_memorization",
        title="knowledge memorization",
        short="knowledge",
        unit="ROUGE-L F-measure of the greedy answer",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="memorization",
        splits=("forget", "retain", "holdout"),
        needs=(GENERATIONS,),
        citation=Citation(
            "MUSE",
            "2407.06460",
            "words of every script, not stemmed; compatible=True: ASCII, stemmed, as open-unlearning",
        ),
        standard=False,
        options=("max_new_tokens", "compatible"),
        without_knowledge="What can be guessed, and the words that any answer of that form has: compare with the reference.",
        does_not_show="Whether a longer answer is right: everything that is said beside the true words lowers it. MUSE asks with in-context "
        "examples; without them a model may know and answer in another form.",
    )

    def values(self, rows: Rows) -> np.ndarray:
        """Of each answer."""
        compare = partial(knowledge_memorization, compatible=is_compatible(rows))
        return per_example(rows, self.spec.name, compare)
