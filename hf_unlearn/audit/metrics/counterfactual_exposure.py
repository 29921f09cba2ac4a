"""How much more likely the forget answers are than the original finds them of subjects that it has never seen."""

import numpy as np

from hf_unlearn.audit._contracts import MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import log_probs
from hf_unlearn.audit.metrics._counterfactual import (
    ANSWERS,
    FLOOR_ROLES,
    OPTIONS,
    OURS,
    SaidAnswers,
    is_floor,
    mean_over,
    notes_on,
    said_answers,
)
from hf_unlearn.functional import Bootstrap, Estimate, relative_exposure


class CounterfactualExposure(BaseMetric):
    """log2 u(x|c(s)) − log2 of the mean over names of o(x|c(s')), bits, mean over examples: 0 as of a subject never seen, above 0 still exposed."""

    spec = MetricSpec(
        name="counterfactual_exposure",
        title="counterfactual exposure",
        short="cf. exposure",
        unit="bits by which the answer is more likely than of an unseen subject",
        ideal=0.0,
        bounds=(None, None),
        family="memorization",
        splits=("forget",),
        needs=(Reading("answers"), ANSWERS),
        standard=False,
        citation=OURS,
        requires=("original",),
        options=OPTIONS,
        floor_roles=FLOOR_ROLES,
        assumes="counterfactual",
        without_knowledge="below 0: of a single unseen name an answer is less likely than the mean over names, which the likely ones rule",
        does_not_show="What the stand-in leaks: where it finds the forget answers likely of anybody, a candidate may too. The mean hides the most exposed example, which is in `max`.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over the examples that can be asked about others."""
        return mean_over(_bits(rows), _stand_in(rows).examples, rows)

    def count(self, rows: Rows) -> int:
        """Examples that can be asked about others."""
        return len(_stand_in(rows).examples)

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The most exposed example decides; bits over all tokens of all answers; and bits above a single name, the mean over names, which is 0 in
        expectation for the floor."""
        bits, stand_in = _bits(rows), _stand_in(rows)
        own = log_probs(rows)[stand_in.examples]
        single = np.mean([(log_p - others).mean() for log_p, others in zip(own, stand_in.log_probs, strict=True)])
        tokens = rows.per_token("answers", "log_probs")[1][stand_in.examples]
        return {
            "max": float(bits.max()),
            "per_token": float(bits.sum() / tokens.sum()),
            "above_single_name": float(single / np.log(2)),
        }

    def notes(self, rows: Rows) -> list[str]:
        """The assumption, and what was left out."""
        return notes_on(rows)


def _stand_in(rows: Rows) -> SaidAnswers:
    return said_answers(rows.of("original"))


def _bits(rows: Rows) -> np.ndarray:
    """Of each example that has counterfactual questions; of the floor the mean over names, each of which is one draw. Shape `(some,)`."""
    stand_in = _stand_in(rows)
    if is_floor(rows):
        own = said_answers(rows).log_probs
    else:
        own = [np.array([value]) for value in log_probs(rows)[stand_in.examples]]
    return np.array(
        [
            np.mean([relative_exposure(value, others) for value in values])
            for values, others in zip(own, stand_in.log_probs, strict=True)
        ]
    )
