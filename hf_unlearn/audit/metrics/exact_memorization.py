"""What share of the true answers comes token by token."""

from functools import partial

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible, of_correct
from hf_unlearn.functional import Bootstrap, Estimate, exact_memorization


class ExactMemorization(BaseMetric):
    """Share of answer tokens that are the model's first choice given the true ones before them, mean over examples, in [0, 1].

    With `compatible` without the last token, as open-unlearning, which takes it for an end token.
    """

    spec = MetricSpec(
        name="exact_memorization",
        title="exact memorization",
        short="memorized",
        unit="share of answer tokens that are the first choice",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="memorization",
        splits=("forget", "retain"),
        needs=(Reading("answers"),),
        citation=Citation("Tirumala et al. 2022", "2205.10770"),
        options=("compatible",),
        without_knowledge="the reference's own value, well above 0: with the true tokens before them, grammar and common words are guessed",
        does_not_show="Whether the model would begin the answer by itself: each token is asked for after the true ones.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over examples."""
        return mean_of(of_correct(rows, partial(exact_memorization, compatible=is_compatible(rows))), rows)
