"""Whether the model goes on with the texts word by word."""

from functools import partial

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible
from hf_unlearn.audit.metrics._generations import GENERATIONS, GenerationMetric, per_example
from hf_unlearn.functional import verbatim_memorization


class VerbatimMemorization(GenerationMetric):
    """ROUGE-L F-measure between what the model says greedily after a text's beginning and how the text goes on, mean over examples, in [0, 1].

    The text is cut at as many tokens as the model may say. Words are not stemmed; with `compatible` they are, as open-unlearning does.
    """

    spec = MetricSpec(
        name="verbatim_memorization",
        title="verbatim memorization",
        short="verbatim",
        unit="ROUGE-L F-measure of the greedy continuation",
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
        without_knowledge="Not 0: words that any continuation has are common to both: compare with the reference.",
        does_not_show="Whether the content is known: the same facts in other words score low. Only the likeliest continuation is looked at, "
        "and only up to max_new_tokens.",
    )

    def values(self, rows: Rows) -> np.ndarray:
        """Of each continuation."""
        compare = partial(verbatim_memorization, compatible=is_compatible(rows))
        return per_example(rows, self.spec.name, compare, truths=list(rows.column("generations", "truth")))
