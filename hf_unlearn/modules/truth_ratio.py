"""Truth ratio as an Evaluate module: mean token log-probabilities of answers in, ratios out."""

from typing import Any

import numpy as np

from hf_unlearn.functional import Bootstrap, mean_estimate, truth_ratio
from hf_unlearn.modules._base import RowsModule, with_interval
from hf_unlearn.modules._shared_words import INTERVAL, LOG_PROBS, TOFU, UNCERTAINTY, N
from hf_unlearn.modules._spec import Input, ModuleSpec, Output, facts_of


class TruthRatio(RowsModule):
    """Does the true answer stand out among wrong ones?"""

    spec = ModuleSpec(
        name="truth_ratio",
        title="Truth Ratio",
        metric="truth_ratio",
        description="The truth ratio asks whether a language model still prefers the true answer to wrong ones: the probability of wrong answers over that "
        "of the true one in other words, each per token.",
        about="""\
For a question with a paraphrased true answer *p* and wrong answers *w*<sub>1</sub>, …, *w*<sub>k</sub>, with ℓ the mean token log-probability of
an answer,

> R = exp(mean<sub>i</sub> ℓ(w<sub>i</sub>)) / exp(ℓ(p)),

averaged over questions. The paraphrase stands for the true answer, so that mere repetition of the training text does not count.""",
        inputs=(
            Input("paraphrased", f"{LOG_PROBS}, of the paraphrased true answer", "number", most=0.0),
            Input(
                "perturbed", "the same of each wrong answer, a list; lists may differ in length", "numbers", most=0.0
            ),
            *UNCERTAINTY,
        ),
        outputs=(
            Output(
                "truth_ratio",
                "mean of R over questions",
                "≥ 0; small = the true answer stands out, 1 = as likely as wrong ones",
            ),
            *INTERVAL,
            N,
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("truth_ratio"))
>>> result = module.compute(paraphrased=[-1.0, -0.5], perturbed=[[-1.0, -1.0], [-0.5, -0.5, -0.5]])
>>> result["truth_ratio"], result["n"]
(1.0, 2)
""",
        page={"paraphrased": [-0.5, -1.0, -0.25], "perturbed": [[-2.0, -3.0], [-1.5, -1.0, -2.0], [-4.0]]},
        facts=facts_of("truth_ratio"),
        limits=("It has no scale without a retrained model's value on the same questions.",),
        source="The ratio is that of TOFU (arXiv 2401.06121).",
        citation=TOFU,
    )

    def measure(self, rows: dict[str, list], *, clusters: list | None = None, bootstrap: Bootstrap) -> dict[str, Any]:
        """The mean over questions."""
        ratios = np.array(
            [truth_ratio(true, wrong) for true, wrong in zip(rows["paraphrased"], rows["perturbed"], strict=True)]
        )
        return with_interval(self.spec.name, mean_estimate(ratios, clusters, scale="log"), bootstrap, len(ratios))
