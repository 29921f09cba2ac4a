"""How likely the true answers are among the answers on offer."""

import numpy as np

from hf_unlearn.audit._contracts import MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import MeanOverExamples, is_compatible
from hf_unlearn.audit.metrics._variants import TOFU, VARIANTS, options
from hf_unlearn.functional import normalized_probability


class NormalizedProbability(MeanOverExamples):
    """P(true) / (P(true) + Σ P(wrong)) with P = exp(mean token log-probability), mean over the examples with wrong answers, in [0, 1].

    The true answer is the set's own, never its paraphrase. In a set with paraphrased answers, rows without one are left out with their wrong answers. With `compatible` as open-unlearning computes it.
    """

    spec = MetricSpec(
        name="normalized_probability",
        title="normalized probability of the true answer",
        short="p norm",
        unit="probability of the true answer over the sum with all wrong ones",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="outputs",
        splits=("forget", "retain", "holdout"),
        needs=VARIANTS,
        standard=False,
        citation=TOFU,
        options=("compatible",),
        without_knowledge="1 / number of answers on offer; more where wrong ones can be told by their wording",
        does_not_show="Whether the model would say any of these answers by itself: only their order of likelihood counts. It falls with the number of "
        "wrong answers, so that sets with different numbers are not to be compared.",
    )

    def per_example(self, rows: Rows) -> np.ndarray:
        """Of each example with wrong answers."""
        found, compatible = options(rows), is_compatible(rows)
        return np.array(
            [
                normalized_probability(own, wrong, compatible=compatible) if len(wrong) else np.nan
                for own, wrong in zip(found.answers, found.wrong, strict=True)
            ]
        )
