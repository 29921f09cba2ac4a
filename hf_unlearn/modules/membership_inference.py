"""Membership inference as an Evaluate module: scores of an attack in, how well it tells members from non-members out."""

from typing import Any

from hf_unlearn.functional import Bootstrap, membership_auc
from hf_unlearn.modules._base import RowsModule
from hf_unlearn.modules._members import SCORES, note, sides, sorted_clusters
from hf_unlearn.modules._shared_words import INTERVAL, UNCERTAINTY
from hf_unlearn.modules._spec import Facts, ModuleSpec, Output


class MembershipInference(RowsModule):
    """How well does an attack tell what was trained on?"""

    spec = ModuleSpec(
        name="membership_inference",
        title="Membership Inference",
        description="How well the scores of a membership attack tell texts that a model should have forgotten from texts it never saw: the area under the "
        "curve with DeLong's uncertainty, and hits at 1 % false alarms.",
        about="""\
An attack gives each text a score, higher where the text looks more like training data. The AUC is the probability that a member (a forget text)
scores above a non-member (a text that was never trained on), ties counting half. An average hides the few texts that are found for sure, so that
the share of members found at 1 % false alarms stands beside it (Carlini et al. 2022).

Which attack it is, is up to the scores: minus the loss, zlib, Min-K%, Min-K%++, a reference model; `hf_unlearn.functional` has them
(`loss_score`, `zlib_score`, `min_k_score`, `min_k_plus_plus_score`, `reference_score`).""",
        inputs=(*SCORES, *UNCERTAINTY),
        outputs=(
            Output(
                "membership_inference",
                "the AUC: probability that a member scores above a non-member",
                "0 to 1; 0.5 = not told apart; below = members look less like training data than texts never seen",
            ),
            *INTERVAL,
            Output(
                "tpr_at_1_percent_fpr",
                "share of members found with at most 1 % false alarms",
                "0 to 1; None below 100 non-members",
            ),
            Output("tpr_at_1_percent_fpr_interval", "distribution-free, a pair; None where rows are clustered"),
            Output("n", "rows"),
            Output("num_members", "rows that are members"),
            Output("num_non_members", "the others"),
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("membership_inference"))
>>> result = module.compute(scores=[3.0, 2.0, 1.0, 2.0, 2.5], is_member=[True, True, False, False, False])
>>> result["membership_inference"], result["num_members"]
(0.75, 2)
""",
        page={"scores": [3.0, 2.0, 4.0, 1.0, 2.0, 2.5], "is_member": [True, True, True, False, False, False]},
        facts=Facts(
            unit="probability that a member scores above a non-member",
            direction="ideal: the retrained model's own value, about 0.5 where members and non-members are alike",
            range="[0, 1]",
            without_knowledge="0.5 where members and non-members are drawn alike; else what their difference in kind gives, which a retrained model shows",
            does_not_show="That nothing can be extracted, or that no single text is exposed: it is an average over texts, of one attack. Where the sets "
            "differ in date or style, it measures that.",
        ),
        limits=(
            "An AUC below 0.5 is no success: texts that look less like training data than unseen ones are given away as well.",
        ),
        source="The area's standard error is DeLong's (1988); hits at few false alarms after Carlini et al. 2022 (arXiv 2112.03570).",
        citation="""\
@misc{carlini2022membership,
  title = {Membership Inference Attacks From First Principles},
  author = {Carlini, Nicholas and Chien, Steve and Nasr, Milad and Song, Shuang and Terzis, Andreas and Tramer, Florian},
  year = {2022},
  eprint = {2112.03570},
  archivePrefix = {arXiv},
}
""",
    )

    def measure(self, rows: dict[str, list], *, clusters: list | None = None, bootstrap: Bootstrap) -> dict[str, Any]:
        """Members against non-members."""
        members, others = sides(rows)
        found = membership_auc(members, others, clusters=sorted_clusters(rows, clusters), bootstrap=bootstrap)
        return {
            self.spec.name: found["auc"],
            "confidence_interval": found["confidence_interval"],
            "confidence_interval_note": note(rows, clusters),
            **{name: found[name] for name in ("tpr_at_1_percent_fpr", "tpr_at_1_percent_fpr_interval")},
            "n": len(members) + len(others),
            **{name: found[name] for name in ("num_members", "num_non_members")},
        }
