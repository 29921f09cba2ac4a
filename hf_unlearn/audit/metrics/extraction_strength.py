"""How much of the true answers comes out by itself once it has begun."""

from functools import partial

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import is_compatible, of_correct
from hf_unlearn.functional import Bootstrap, Estimate, extraction_strength


class ExtractionStrength(BaseMetric):
    """1 − (tokens that must be given) / length of the answer, mean over examples, in [0, 1].

    With `compatible` as open-unlearning: without the last token, and never below 1 / length.
    """

    spec = MetricSpec(
        name="extraction_strength",
        title="extraction strength",
        short="extraction",
        unit="share of the answer that comes by itself after its beginning",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="memorization",
        splits=("forget", "retain"),
        needs=(Reading("answers"),),
        citation=Citation("Carlini et al. 2021", "2012.07805", "a model that is never right scores 0, not 1/length"),
        options=("compatible",),
        without_knowledge="the reference's own value, near 0: only the end of an answer (its full stop) is guessed by chance",
        does_not_show="What sampling or another beginning would bring out; one wrong token near the end hides everything before it.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over examples."""
        return mean_of(of_correct(rows, partial(extraction_strength, compatible=is_compatible(rows))), rows)
