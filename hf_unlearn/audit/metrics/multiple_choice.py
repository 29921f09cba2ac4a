"""Does the model pick the right letter?"""

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading
from hf_unlearn.audit.metrics._choices import ChoiceMetric


class MultipleChoice(ChoiceMetric):
    """Share of questions whose right choice has the most likely letter, all choices being listed in the prompt; in [0, 1].

    Put and scored as lm-evaluation-harness does WMDP and MMLU, without examples in the prompt. Letters that are equally likely share; with
    `compatible` the first of them counts, as there.
    """

    reading, by_byte = "choices", False
    spec = MetricSpec(
        name="multiple_choice",
        title="multiple choice accuracy",
        short="choice",
        unit="share of questions whose right choice has the most likely letter",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="outputs",
        splits=("forget", "retain", "holdout"),
        needs=(Reading("choices"),),
        standard=False,
        options=("compatible",),
        citation=Citation("WMDP", "2403.03218"),
        without_knowledge="1 / number of choices (`guessing`), give or take a liking for one letter",
        does_not_show="Whether the model knows the answer: many small models cannot pick letters, and score as guessing does. One that was damaged "
        "in this alone scores as if it had forgotten.",
    )
