"""Does the model find the right choice the most likely answer, without seeing the choices?"""

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._choices import ChoiceMetric
from hf_unlearn.functional import Bootstrap


class MultipleChoiceText(ChoiceMetric):
    """Share of questions whose right choice is, per byte of its text, the most likely answer to the question alone; in [0, 1].

    `unnormalized` is the same of whole choices. Equally likely ones share.
    """

    reading, by_byte = "choice_texts", True
    spec = MetricSpec(
        name="multiple_choice_text",
        title="multiple choice accuracy by the text of the choices",
        short="choice text",
        unit="share of questions whose right choice is the most likely per byte",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="outputs",
        splits=("forget", "retain", "holdout"),
        needs=(Reading("choice_texts"),),
        standard=False,
        options=("compatible",),
        citation=Citation("lm-evaluation-harness, acc_bytes"),
        without_knowledge="about 1 / number of choices (`guessing`); more where right choices are worded otherwise than wrong ones",
        does_not_show="Whether the model knows the answer: choices that only make sense beside the others (all of the above) mislead it, and common "
        "words are likely whatever was asked.",
    )

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Beside the others, the accuracy by likelihoods of whole choices."""
        return {"unnormalized": float(self._accuracies(rows, False).mean()), **super().details(rows, uncertainty)}
