"""TOFU's forget quality as an Evaluate module: truth ratios of candidate and retrained model in, a p-value out."""

import math
from typing import Any

from hf_unlearn.functional import forget_quality
from hf_unlearn.modules._base import RowsModule
from hf_unlearn.modules._columns import checked_columns
from hf_unlearn.modules._shared_words import TOFU, N
from hf_unlearn.modules._spec import Input, ModuleSpec, Output, facts_of


_REFERENCE = Input(
    "reference_truth_ratios", "those of the retrained model, a list; as many as there are", "number", least=0.0
)


class ForgetQuality(RowsModule):
    """Are the truth ratios distributed as a retrained model's?"""

    spec = ModuleSpec(
        name="forget_quality",
        title="Forget Quality",
        metric="forget_quality",
        description="Forget quality (TOFU) asks whether the truth ratios of an unlearned language model on the forget set are distributed as those of a "
        "model retrained without it: the p-value of a two-sample Kolmogorov-Smirnov test.",
        about="""\
The test looks at the largest distance between the two cumulative shares of truth ratios (see the module `truth_ratio`; of one question:
`hf_unlearn.functional.truth_ratio`). It looks at ranks alone, so that R and 1/R give the same. A small p-value says that the two models are told
apart. A large one says that these questions do not tell them apart, which few questions never do; 0.9 is no better than 0.3.""",
        inputs=(
            Input("truth_ratios", "truth ratio of each question under the candidate", "number", least=0.0),
            Input(_REFERENCE.name, _REFERENCE.meaning),
        ),
        outputs=(
            Output(
                "forget_quality", "the p-value", "0 to 1; small = told apart; uniform where there is nothing to tell"
            ),
            Output("confidence_interval", "always None: a p-value has no interval"),
            Output("confidence_interval_note", "says so"),
            N,
            Output("n_reference", "truth ratios of the retrained model"),
            Output("ks_statistic", "the largest distance between the cumulative shares", "0 to 1"),
            Output("log10_p_value", "as leaderboards plot it; None where the p-value is 0", "at most 0"),
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("forget_quality"))
>>> result = module.compute(truth_ratios=[1.0, 2.0, 3.0, 4.0], reference_truth_ratios=[3.5, 4.5])
>>> round(result["forget_quality"], 6), result["ks_statistic"]
(0.4, 0.75)
""",
        page={"truth_ratios": [0.1, 0.2, 0.15, 0.4, 0.3], "reference_truth_ratios": [0.9, 0.7, 1.1, 0.8]},
        facts=facts_of("forget_quality"),
        limits=("It needs a retrained model's truth ratios on the same questions.",),
        source="Defined by TOFU (arXiv 2401.06121).",
        citation=TOFU,
    )

    def measure(self, rows: dict[str, list], *, reference_truth_ratios: Any) -> dict[str, Any]:
        """Candidate against retrained model."""
        checked = checked_columns({_REFERENCE.name: _REFERENCE}, {_REFERENCE.name: reference_truth_ratios})
        found = forget_quality(rows["truth_ratios"], checked[_REFERENCE.name])
        return {
            self.spec.name: found.p_value,
            "confidence_interval": None,
            "confidence_interval_note": "a p-value has no interval",
            "n": found.n,
            "n_reference": found.n_reference,
            "ks_statistic": found.statistic,
            "log10_p_value": math.log10(found.p_value) if found.p_value > 0 else None,
        }
