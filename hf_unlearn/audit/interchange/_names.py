"""What open-unlearning calls its metrics, and what this library calls the same: the one table that reading and writing go by.

Names and definitions as in locuslab/open-unlearning, `configs/eval` and `src/evals/metrics`, as of 2026.
"""

from dataclasses import dataclass


SETS = {"forget": "forget", "retain": "retain", "ra": "real_authors", "wf": "world_facts"}
"""How their names of TOFU's metrics begin, and the set that is meant."""
MEAN, OPTIONS, RATIO, QUALITY, UTILITY, ATTACK, LEAK = (
    *("mean", "options", "truth ratio", "forget quality", "model utility", "attack", "privleak"),
)
"""Ways in which a number follows from others."""
DROPPED = "from their values per example, which leave out each answer's last token"
FLOOR = f"{DROPPED} and are at least 1/length"
STEMMED = "from their values per example, of stemmed words of Latin letters"


@dataclass(frozen=True)
class EvalMetric:
    """A number of theirs.

    Attributes:
        name: In their files.
        keys: Of the same in a report of ours, the most likely first; none where there is no such thing.
        kind: How it follows from what is in a file.
        field: Of the values per example, where it is their mean.
        inputs: Their metrics that it follows from: the true answers, then the wrong ones; or the parts of a mean.
        aggregation: Of truth ratios, see `functional.AGGREGATIONS`.
        remark: What sets it apart from ours.
        unit: Where it is no share in [0, 1].
    """

    name: str
    keys: tuple[str, ...]
    kind: str = MEAN
    field: str = ""
    inputs: tuple[str, ...] = ()
    aggregation: str = ""
    remark: str = ""
    unit: str = ""


def _tofu_set(short: str, place: str) -> list[EvalMetric]:
    # TOFU's paraphrase, which of real authors and world facts is the answer itself; open-unlearning has none there.
    true = f"{short}_Q_A_PARA_Prob"
    wrong = f"{short}_Q_A_PERT_Prob"
    kind = "closer_to_1_better" if short == "forget" else "true_better"
    found = [
        EvalMetric(f"{short}_Q_A_Prob", (f"probability/{place}",), field="prob"),
        EvalMetric(true, (), field="prob"),  # of real authors and world facts in TOFU's logs alone
        EvalMetric(wrong, (), field="prob"),
        EvalMetric(f"{short}_Q_A_ROUGE", (f"rouge_l/{place}",), field="rougeL_recall", remark=STEMMED),
        EvalMetric(f"{short}_Truth_Ratio", (f"truth_ratio_{kind}/{place}",), RATIO, inputs=(true, wrong), aggregation=kind),
    ]  # fmt: skip
    if short == "forget":
        others = (f"{short}_Q_A_{part}_ROUGE" for part in ("PARA", "PERT"))
        return found + [EvalMetric(name, (), field="rougeL_recall", remark=STEMMED) for name in others]
    if short == "retain":
        return found
    keys, options = (f"normalized_probability/{place}",), (f"{short}_Q_A_Prob", wrong)
    return [*found, EvalMetric(f"{short}_Q_A_Prob_normalised", keys, OPTIONS, "prob", options)]


_ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus", "gradnorm", "reference")
_OURS = {"gradnorm": "gradient_norm"}
_UTILITY = tuple(
    f"{short}_{part}"
    for short, probability in (("retain", "Q_A_Prob"), ("ra", "Q_A_Prob_normalised"), ("wf", "Q_A_Prob_normalised"))
    for part in (probability, "Q_A_ROUGE", "Truth_Ratio")
)
_ALL = [
    *(metric for short, place in SETS.items() for metric in _tofu_set(short, place)),
    EvalMetric("forget_quality", ("forget_quality/forget",), QUALITY, inputs=("forget_Truth_Ratio",), unit="p-value"),
    EvalMetric("model_utility", ("model_utility/retain",), UTILITY, inputs=_UTILITY),
    EvalMetric("exact_memorization", ("exact_memorization/forget",), field="score", remark=DROPPED),
    EvalMetric("extraction_strength", ("extraction_strength/forget",), field="score", remark=FLOOR),
    *(
        EvalMetric(f"mia_{name}", (f"membership_{_OURS.get(name, name)}/forget",), ATTACK, unit="AUC")
        for name in _ATTACKS
    ),
    EvalMetric("privleak", ("privleak/forget",), LEAK, inputs=("mia_min_k",), unit="per cent"),
    *(
        EvalMetric(f"{name}_ROUGE", keys, field="rougeL_f1", remark=STEMMED)
        for name, keys in {
            "forget_verbmem": ("verbatim_memorization/forget_verbmem", "verbatim_memorization/forget"),
            "forget_knowmem": ("knowledge_memorization/forget_knowmem", "knowledge_memorization/forget"),
            "retain_knowmem": ("knowledge_memorization/retain",),
        }.items()
    ),
]
EVAL_METRICS: dict[str, EvalMetric] = {metric.name: metric for metric in _ALL}
"""By their name."""
OTHER_NAMES = {
    f"{short}_truth_ratio": f"{short}_Truth_Ratio"
    for short in SETS
}  # fmt: skip
"""Names under which they keep the same: that of a metric which another one waited for."""


def name_of(key: str) -> str | None:
    """Their name of a result of ours; None where they have no such number.

    Example:
        >>> name_of("probability/forget"), name_of("fade/forget")
        ('forget_Q_A_Prob', None)
    """
    return next((metric.name for metric in _ALL if key in metric.keys), None)
