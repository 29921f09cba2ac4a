"""Whether the answers are sentences that a model would write that was not unlearned."""

import math

from hf_unlearn.audit._contracts import Citation, MetricSpec, Undefined
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import JUDGED_GENERATIONS, judged
from hf_unlearn.functional import Bootstrap, Estimate, function_of


LARGEST = 700.0
"""Nats per token whose exponential is still a number."""


class GenerationPerplexity(BaseMetric):
    """exp(− mean log-probability) of all tokens of all greedy answers under the original, from 1 on; the end token counts."""

    spec = MetricSpec(
        name="generation_perplexity",
        title="perplexity of greedy answers under the original",
        short="perplexity",
        unit="exp(nats per generated token)",
        ideal="reference",
        bounds=(0.0, None),  # from 1 on; an interval may reach a little below
        family="utility",
        splits=("forget", "retain", "holdout"),
        needs=(JUDGED_GENERATIONS,),
        citation=Citation(
            "Perplexity of the subject's own greedy answers, after their questions, under the original model"
        ),
        standard=False,
        options=("max_new_tokens",),
        requires=("original",),
        without_knowledge="The reference's own: the original finds a fluent answer that it does not agree with less likely than its own, which sets "
        "the start.",
        does_not_show="Whether an answer is true, or fits. Loops are likely, so a model that repeats itself scores well: read it beside repetition.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """A ratio of sums over answers: nats and tokens."""
        nats, tokens = judged(rows)
        if not nats.sum() < LARGEST * tokens.sum():
            raise Undefined("the original gives an answer no probability at all")
        return function_of(
            [mean_of(nats, rows), mean_of(tokens, rows)],
            lambda own, length: math.exp(own / length),
            scale="log",
        )
