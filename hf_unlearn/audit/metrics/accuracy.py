"""How often the whole true answer is the first choice."""

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import of_correct
from hf_unlearn.functional import Bootstrap, Estimate


class Accuracy(BaseMetric):
    """Share of examples all of whose answer tokens are the model's first choice given the true ones before them, in [0, 1].

    A classifier's answer is its class. Of a language model it is the strictest form of exact memorization.
    """

    spec = MetricSpec(
        name="accuracy",
        title="accuracy",
        short="acc",
        unit="share of examples whose true answer is the first choice",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="outputs",
        splits=("forget", "retain", "holdout"),
        needs=(Reading("answers"),),
        standard=False,
        citation=Citation("Share of right answers"),
        without_knowledge="the reference's own value: near 0 for long answers, near chance for a few classes",
        does_not_show="How near a wrong answer was, and any knowledge that does not make every token of the true answer the first choice.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over examples."""
        return mean_of(of_correct(rows, lambda correct: float(correct.all())), rows)
