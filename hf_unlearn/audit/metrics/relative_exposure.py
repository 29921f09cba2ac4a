"""How much more likely the true answers are than wrong ones, in bits."""

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import MeanOverExamples
from hf_unlearn.audit.metrics._variants import VARIANTS, options
from hf_unlearn.functional import Bootstrap, relative_exposure


class RelativeExposure(MeanOverExamples):
    """log2 u(x) − log2 of the mean u(x') over the wrong answers x' to the same question, bits, mean over examples; needs no reference."""

    spec = MetricSpec(
        name="relative_exposure",
        title="relative exposure",
        short="rel. exp.",
        unit="bits by which the answer is more likely than the mean wrong one",
        ideal="reference",
        bounds=(None, None),
        family="memorization",
        splits=("forget", "retain"),
        needs=VARIANTS,
        standard=False,
        citation=Citation("Generalized exposure", "2411.04388", "our reading"),
        without_knowledge="what the wording alone makes of it, which may be far from 0 on either side: see the reference",
        does_not_show="Whether the answer itself was seen: the most likely wrong answer alone makes the mean, and short answers are likelier than long ones.",
    )

    def per_example(self, rows: Rows) -> np.ndarray:
        """Of each example with wrong answers."""
        found = options(rows, whole=True)
        return np.array(
            [
                relative_exposure(own, wrong) if len(wrong) else np.nan
                for own, wrong in zip(found.answers, found.wrong, strict=True)
            ]
        )

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The most exposed example decides."""
        return {"max": float(np.nanmax(self.values(rows)))}
