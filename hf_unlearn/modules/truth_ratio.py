"""Truth ratio as an Evaluate module: mean token log-probabilities of answers in, ratios out."""

from typing import Any

import numpy as np

from hf_unlearn._arguments import one_of, switch
from hf_unlearn.functional import (
    AGGREGATIONS,
    Bootstrap,
    mean_estimate,
    normalized_probability,
    truth_ratio,
    truth_ratio_scores,
)
from hf_unlearn.modules._base import RowsModule, with_interval
from hf_unlearn.modules._shared_words import COMPATIBLE, INTERVAL, LOG_PROBS, TOFU, UNCERTAINTY, N
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

> R = exp(mean<sub>i</sub> ℓ(w<sub>i</sub>)) / exp(ℓ(p)).

The paraphrase stands for the true answer, so that mere repetition of the training text does not count. What is averaged over questions:

- `mean`: R itself.
- `closer_to_1_better`: min(R, 1/R), as TOFU does on the forget set; 1 = true and wrong answers are equally likely.
- `true_better`: max(0, 1 − R), as TOFU does on all other sets; 1 = only the true answer has any probability.
- `prob_mean`: 1/(1 + R), as open-unlearning does; the true answer's share, 0.5 = equally likely.""",
        inputs=(
            Input("paraphrased", f"{LOG_PROBS}, of the paraphrased true answer", "number", most=0.0),
            Input(
                "perturbed", "the same of each wrong answer, a list; lists may differ in length", "numbers", most=0.0
            ),
            Input("aggregation", "what is averaged: `mean`, `closer_to_1_better`, `true_better` or `prob_mean`"),
            Input("compatible", COMPATIBLE),
            *UNCERTAINTY,
        ),
        outputs=(
            Output(
                "truth_ratio",
                "what was chosen, averaged over questions",
                "`mean`: ≥ 0, small = the true answer stands out, 1 = as likely as wrong ones; all others: 0 to 1",
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
        limits=(
            "It has no scale without a retrained model's value on the same questions.",
            "Unit, direction and range above are those of `mean`.",
        ),
        source="The ratio and its aggregations are those of TOFU (arXiv 2401.06121), `prob_mean` that of open-unlearning (arXiv 2506.12618).",
        citation=TOFU,
    )

    def measure(
        self,
        rows: dict[str, list],
        *,
        aggregation: str = "mean",
        compatible: bool = False,
        clusters: list | None = None,
        bootstrap: Bootstrap,
    ) -> dict[str, Any]:
        """The mean over questions.

        Raises:
            ValueError: A question has no ratio, or none that can be averaged.
        """
        one_of("aggregation", aggregation, choices=AGGREGATIONS)
        switch("compatible", compatible)
        pairs = list(zip(rows["paraphrased"], rows["perturbed"], strict=True))
        if aggregation == "prob_mean":
            values = np.array(
                [normalized_probability(true, [np.mean(wrong)], compatible=compatible) for true, wrong in pairs]
            )
        else:
            ratios = [truth_ratio(true, wrong, compatible=compatible) for true, wrong in pairs]
            values = truth_ratio_scores(ratios, aggregation, compatible=compatible)
        for at in np.flatnonzero(~np.isfinite(values)):
            raise ValueError(
                f"the true answer of row {at} has no probability at all"
                + ("." if np.isnan(values[at]) else ", so that its ratio is infinite: choose another aggregation.")
            )
        scale = "log" if aggregation == "mean" else "logit"
        return with_interval(self.spec.name, mean_estimate(values, clusters, scale=scale), bootstrap, len(values))
