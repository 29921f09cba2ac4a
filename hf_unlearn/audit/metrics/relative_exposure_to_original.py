"""How much less likely the true answers are than before unlearning, in bits."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import MeanOverExamples, log_probs
from hf_unlearn.functional import Bootstrap, generalized_exposure


class RelativeExposureToOriginal(MeanOverExamples):
    """log2 u(x) − log2 o(x) of the true answers, bits, mean over examples: 0 = as before unlearning, below 0 = less likely than then."""

    spec = MetricSpec(
        name="relative_exposure_to_original",
        title="relative exposure, to the original",
        short="exp. to orig.",
        unit="bits by which the answer is more likely than under the original",
        ideal="reference",
        bounds=(None, None),
        family="memorization",
        splits=("forget", "retain"),
        needs=(Reading("answers"),),
        standard=False,
        requires=("original",),
        citation=Citation("Generalized exposure", "2411.04388", "our reading, with the original in the second term"),
        without_knowledge="the reference's own value: below 0 by as much as the original knew the answers better",
        does_not_show="How far to go: lower is not better than the reference, and a destroyed model is far below it.",
    )

    def per_example(self, rows: Rows) -> np.ndarray:
        """Of each example."""
        with np.errstate(invalid="ignore"):
            return generalized_exposure(log_probs(rows), log_probs(rows.of("original")))

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The most exposed example decides."""
        return {"max": float(np.nanmax(self.values(rows)))}
