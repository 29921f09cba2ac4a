"""Whether the model says the same again and again within an answer."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import GENERATIONS, GenerationMetric, generated_tokens, or_nan
from hf_unlearn.functional import repetition


N = 4


class Repetition(GenerationMetric):
    """Share of a greedy answer's runs of four tokens that were in it before, mean over answers of at least four tokens, in [0, 1)."""

    lacking = "four generated tokens"
    spec = MetricSpec(
        name="repetition",
        title="repetition within greedy answers",
        short="repetition",
        unit="share of runs of four tokens that were there before",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("forget", "retain", "holdout"),
        needs=(GENERATIONS,),
        citation=Citation(
            "Welleck et al. 2019 (seq-rep-4)", "1908.04319", "on the model's own tokens, the end token left out"
        ),
        standard=False,
        options=("max_new_tokens",),
        without_knowledge="Near 0 for a model that writes well; greedy decoding of small models loops by itself.",
        does_not_show="Whether what is said once makes sense. Short answers cannot repeat themselves: a model that says nothing looks fine.",
    )

    def values(self, rows: Rows) -> np.ndarray:
        """Of each answer; NaN where it is too short."""
        return np.array([or_nan(repetition(tokens, N)) for tokens in generated_tokens(rows)])
