"""What counterfactual metrics share: the examples that have counterfactual questions, their clusters, what the stand-in says, and their words."""

from dataclasses import dataclass

import numpy as np

from hf_unlearn.audit._contracts import Citation, Reading, Undefined
from hf_unlearn.audit._rows import Rows
from hf_unlearn.functional import Estimate, mean_estimate


COMPLETIONS = Reading("counterfactual_completions")
ANSWERS = Reading("counterfactual_answers", optional=True)
"""Of the original and of whose values are the floor, not of the measured model."""
FLOOR_ROLES = ("continued", "stand-in")
OPTIONS = ("num_counterfactuals", "subject_column")
OURS = Citation(
    "Counterfactual reference",
    None,
    "this library's own; averaging over substituted names is a teacher's in arXiv 2310.02238 and 2407.16997",
)
ASSUMPTION = (
    "Counterfactual numbers assume that subjects are exchangeable: that a model which never saw a subject says of it what the original says of subjects "
    "of its kind that it has never seen. They do not hold for a kind that only the forget set has, which is refused where rows name their kind, nor where "
    "near-duplicates of the forget data stay in training or a question gives its answer away without the name."
)


@dataclass(frozen=True)
class SaidAnswers:
    """True answers after counterfactual questions.

    Attributes:
        examples: That have any, ascending; shape `(examples,)`.
        log_probs: Of the answer after each question, nats; one array per example.
        num_tokens: Of the answer each time.
    """

    examples: np.ndarray
    log_probs: list[np.ndarray]
    num_tokens: list[np.ndarray]

    @property
    def probabilities(self) -> np.ndarray:
        """exp(mean token log-probability), mean over the questions of an example; shape `(examples,)`."""
        return np.array(
            [np.exp(log_p / count).mean() for log_p, count in zip(self.log_probs, self.num_tokens, strict=True)]
        )


def is_floor(rows: Rows) -> bool:
    """Whether the subject was asked about names that it has never seen, in place of the question itself."""
    return rows.subject.role.startswith(FLOOR_ROLES)


def said_answers(rows: Rows) -> SaidAnswers:
    """What the subject says: the original as the stand-in, others where their values are the floor.

    Raises:
        Undefined: There are no counterfactual questions (says why), the subject was not asked them, or it gives NaN.
    """
    require_questions(rows)

    def compute() -> SaidAnswers:
        (values, counts), (tokens, _) = (rows.per_token(ANSWERS.name, name) for name in ("log_probs", "num_tokens"))
        if np.isnan(values).any():
            raise Undefined(f"the {rows.subject} gives NaN in place of log-probabilities of counterfactual answers")
        cuts = np.cumsum(counts)[:-1]
        return SaidAnswers(rows.column(ANSWERS.name, "example"), np.split(values, cuts), np.split(tokens, cuts))

    return rows.memo("counterfactual answers", compute)


def require_questions(rows: Rows) -> None:
    """There is nothing to measure without counterfactual questions.

    Raises:
        Undefined: Says why there are none.
    """
    facts = _facts(rows)
    if facts and not facts["asked"]:
        raise Undefined(
            " ".join(["no question of the set could be asked about another subject.", *facts["notes"]]).rstrip(".")
        )


def clusters_of(rows: Rows) -> np.ndarray:
    """Number of each example's cluster: by the set's column; where it has none by the subjects that the questions name, if these are known."""
    known = _facts(rows).get("clusters")
    return rows.clusters if known is None else known


def mean_over(values: np.ndarray, examples: np.ndarray, rows: Rows) -> Estimate:
    """The mean over some examples, over clusters.

    Args:
        values: Shape `(some,)`.
        examples: Their numbers, shape `(some,)`.
        rows: Of the subject.

    Raises:
        Undefined: A value is infinite.
    """
    if not np.isfinite(values).all():
        raise Undefined(f"{int((~np.isfinite(values)).sum())} examples have an infinite value: no mean holds them")
    clusters = clusters_of(rows)
    return mean_estimate(values, clusters[examples], num_clusters=int(clusters.max()) + 1)


def notes_on(rows: Rows) -> list[str]:
    """The assumption, and what was left out."""
    return [ASSUMPTION, *_facts(rows).get("notes", ())]


def _facts(rows: Rows) -> dict:
    return rows.facts.get("counterfactual", {}).get(rows.split, {})
