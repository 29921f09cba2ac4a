"""MUSE's PrivLeak as an Evaluate module: scores of candidate and retrained model in, per cent out."""

from typing import Any

from hf_unlearn._arguments import real_number
from hf_unlearn.functional import Bootstrap, privleak
from hf_unlearn.modules._base import RowsModule
from hf_unlearn.modules._columns import checked_columns
from hf_unlearn.modules._members import SCORES, note, sides, sorted_clusters
from hf_unlearn.modules._shared_words import INTERVAL, MUSE, UNCERTAINTY
from hf_unlearn.modules._spec import Input, ModuleSpec, Output, facts_of


_REFERENCE = Input(
    "reference_scores", "score of each text under the retrained model, in the order of the rows", "number"
)


class Privleak(RowsModule):
    """Does a membership attack fail as it does after retraining?"""

    spec = ModuleSpec(
        name="privleak",
        title="PrivLeak",
        metric="privleak",
        description="PrivLeak (MUSE) is by how many per cent the failure rate of a membership attack on an unlearned model differs from that on a model "
        "retrained without the forget set.",
        about="""\
With AUC the area under the curve of an attack that tells forget from holdout texts (forget texts are the members),

> PrivLeak = 100 · ((1 − AUC) − (1 − AUC<sub>retrain</sub>)) / (1 − AUC<sub>retrain</sub>).

The paper prints it with AUC in place of 1 − AUC; its code takes the *holdout* texts as members, so that this is the sign of the published
numbers. MUSE scores texts by Min-K% with k = 40 % (`hf_unlearn.functional.min_k_score(log_probs, k=0.4)`).""",
        inputs=(
            *SCORES,
            Input(_REFERENCE.name, f"{_REFERENCE.meaning}; this or `reference_auc`"),
            Input(
                "reference_auc",
                "instead: the retrained model's AUC, forget texts as members (MUSE's own constants are 1 − it); taken as exact",
            ),
            *UNCERTAINTY,
        ),
        outputs=(
            Output(
                "privleak",
                "change of the attack's failure rate, per cent",
                "≥ −100; 0 = as after retraining; below 0 = forget texts are still told apart; above 0 = they look less like training data than after retraining",
            ),
            *INTERVAL,
            Output("auc", "of the attack on the candidate", "0 to 1"),
            Output("reference_auc", "of the attack on the retrained model", "0 to 1"),
            Output("n", "rows"),
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("privleak"))
>>> result = module.compute(scores=[3.0, 4.0, 1.0, 2.0], is_member=[True, True, False, False], reference_auc=0.5)
>>> result["privleak"]
-100.0
""",
        page={
            "scores": [3.0, 2.0, 4.0, 1.0, 2.0, 2.5],
            "is_member": [True, True, True, False, False, False],
            "reference_scores": [2.0, 1.0, 3.0, 1.5, 2.5, 2.0],
        },
        facts=facts_of("privleak"),
        limits=(
            "The unit above names Min-40%, which the audit takes; here it is whatever attack the scores are of.",
            "It needs a retrained model, or its AUC on the very same texts with the same attack.",
        ),
        source="Defined by MUSE (arXiv 2407.06460).",
        citation=MUSE,
    )

    def measure(
        self,
        rows: dict[str, list],
        *,
        reference_scores: Any = None,
        reference_auc: float | None = None,
        clusters: list | None = None,
        bootstrap: Bootstrap,
    ) -> dict[str, Any]:
        """Candidate against retrained model."""
        if (reference_scores is None) == (reference_auc is None):
            raise ValueError("PrivLeak needs either reference_scores, one for each of scores, or reference_auc.")
        members, others = sides(rows)
        of_reference: tuple[Any, Any] = (None, None)
        if reference_scores is not None:
            both = {"is_member": SCORES[1], _REFERENCE.name: _REFERENCE}
            checked = checked_columns(both, {"is_member": rows["is_member"], _REFERENCE.name: reference_scores})
            of_reference = sides(rows, checked[_REFERENCE.name])
        found = privleak(
            members,
            others,
            reference_members=of_reference[0],
            reference_non_members=of_reference[1],
            reference_auc=None if reference_auc is None else real_number("reference_auc", reference_auc),
            clusters=sorted_clusters(rows, clusters),
            bootstrap=bootstrap,
        )
        return {
            **{name: found[name] for name in ("privleak", "confidence_interval")},
            "confidence_interval_note": note(rows, clusters),
            **{name: found[name] for name in ("auc", "reference_auc")},
            "n": len(members) + len(others),
        }
