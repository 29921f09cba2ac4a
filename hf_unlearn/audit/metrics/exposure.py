"""How much more likely the forget answers are than after retraining."""

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._answers import log_probs
from hf_unlearn.functional import Bootstrap, Estimate, generalized_exposure


class Exposure(BaseMetric):
    """log2 u(x) − log2 r(x) of the true answers, bits, mean over examples: 0 as after retraining, above 0 still exposed, below over-forgotten."""

    spec = MetricSpec(
        name="exposure",
        title="generalized exposure",
        short="exposure",
        tracked=("max",),
        unit="bits by which the answer is more likely than under the reference",
        ideal=0.0,
        bounds=(None, None),
        family="memorization",
        splits=("forget",),
        needs=(Reading("answers"),),
        citation=Citation("Generalized exposure", "2411.04388", "our reading"),
        compares=True,
        without_knowledge="about 0: another retrained model lies above the reference on some answers and below it on others",
        does_not_show="Whether the answer can be drawn from the model: small probabilities count like large ones. The mean hides the most exposed example, which is in `max`.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over examples."""
        return mean_of(generalized_exposure(log_probs(rows), log_probs(rows.of("reference"))), rows)

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The most exposed example decides; and bits over all tokens of all answers."""
        bits = generalized_exposure(log_probs(rows), log_probs(rows.of("reference")))
        tokens = rows.per_token("answers", "log_probs")[1].sum()
        return {"max": float(bits.max()), "per_token": float(bits.sum() / tokens)}
