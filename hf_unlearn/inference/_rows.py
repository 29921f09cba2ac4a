"""Tidy rows: what a pass over the data leaves behind. Metrics are functions of rows; rows are evidence and can be kept."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hf_unlearn.functional import ESTIMATORS, DirectedDivergence


ROUNDING = 1e-6
"""By how much a quantity that has a sign may miss it."""
_COMPLETION_SCHEMA = pa.schema(
    [
        ("sampled_from", pa.string()),
        ("scored_by", pa.string()),
        ("prompt_index", pa.int64()),
        ("sample_index", pa.int64()),
        ("num_tokens", pa.int64()),
        ("truncated", pa.bool_()),
        ("log_prob_own", pa.float64()),
        ("log_prob_other", pa.float64()),
        ("step_divergence", pa.float64()),
    ]
)
_ANSWER_SCHEMA = pa.schema(
    [("model", pa.string()), ("example_index", pa.int64()), ("num_tokens", pa.int64()), ("log_prob", pa.float64())]
)


@dataclass(frozen=True, eq=False)
class _Rows:
    table: pa.Table

    _schema = pa.schema([])

    def __post_init__(self) -> None:
        if self.table.schema.remove_metadata() != self._schema:
            raise ValueError(f"expected the columns\n{self._schema}\ngot\n{self.table.schema}")

    def __len__(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> np.ndarray:
        """One column as a numpy array."""
        return self.table.column(name).to_numpy()


class ScoredRows(_Rows):
    """One row per completion and per model that scored it, other than the one that produced it.

    Attributes:
        table: `sampled_from` and `scored_by` name models; `prompt_index`, `sample_index` and `num_tokens` (end token included)
            identify the completion; `truncated` says that it was cut; `log_prob_own` and `log_prob_other` are nats per
            sequence under the model that produced it and under the other one; `step_divergence` is the sum over its steps of
            the exact KL(own‖other), in nats.

    Raises:
        ValueError: Other columns, positive log-probabilities, or negative divergences.
    """

    _schema = _COMPLETION_SCHEMA

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("log_prob_own", "log_prob_other"):
            self._check_sign(
                name, -self.column(name), "a log-probability is at most 0 (logarithms, not probabilities or losses)"
            )
        self._check_sign("step_divergence", self.column("step_divergence"), "a divergence is at least 0")

    def _check_sign(self, name: str, should_be_positive: np.ndarray, rule: str) -> None:
        wrong = np.flatnonzero(should_be_positive < -ROUNDING)
        if len(wrong):
            source, value = self.column("sampled_from")[wrong[0]], self.column(name)[wrong[0]]
            raise ValueError(f"{name} of completion {wrong[0]} from the {source} is {value:g}, but {rule}.")

    def directed(
        self,
        *,
        sampled_from: str,
        scored_by: str,
        estimator: str = "exact_step",
        clusters: np.ndarray | None = None,
    ) -> DirectedDivergence:
        """Estimates of KL(sampled_from‖scored_by).

        Args:
            sampled_from: The model whose completions count.
            scored_by: The other model.
            estimator: "exact_step" or "sampled".
            clusters: What each prompt index stands for (`functional.clusters_by_content` of the prompts): a prompt that was given
                several times is one prompt with more samples. Default: every index is another prompt.

        Raises:
            ValueError: An unknown estimator, or no such rows.
        """
        check_estimator(estimator)
        mine = (self.column("sampled_from") == sampled_from) & (self.column("scored_by") == scored_by)
        if not mine.any():
            raise ValueError(f"no completions of {sampled_from!r} were scored by {scored_by!r}.")
        values = self.column("step_divergence")
        if estimator == "sampled":
            values = self.column("log_prob_own") - self.column("log_prob_other")
        prompts, tokens, truncated = (self.column(name)[mine] for name in ("prompt_index", "num_tokens", "truncated"))
        return DirectedDivergence(values[mine], prompts if clusters is None else clusters[prompts], tokens, truncated)


class AnswerRows(_Rows):
    """One row per example and model: a teacher-forced pass over given answers.

    Attributes:
        table: `model`, `example_index`, `num_tokens` (labelled tokens), `log_prob` (nats per answer).
    """

    _schema = _ANSWER_SCHEMA

    def probability(self, model: str) -> np.ndarray:
        """exp(mean token log-probability) of each answer under one model, in [0, 1]; shape `(examples,)`."""
        return np.exp(self.mean_log_probs(model))

    def mean_log_probs(self, model: str) -> np.ndarray:
        """Mean token log-probability of each answer under one model, nats per token; shape `(examples,)`."""
        mine = self.column("model") == model
        if not mine.any():
            raise ValueError(f"no answers were scored by {model!r}.")
        return self.column("log_prob")[mine] / self.column("num_tokens")[mine]


def check_estimator(estimator: str) -> None:
    """Refuse an estimator that does not exist.

    Raises:
        ValueError: Lists those that do.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; choose one of {', '.join(ESTIMATORS)}.")


def completion_rows(columns: dict[str, object]) -> ScoredRows:
    """Rows from columns by name."""
    return ScoredRows(pa.table(columns, schema=_COMPLETION_SCHEMA))


def answer_rows(columns: dict[str, object]) -> AnswerRows:
    """Rows from columns by name."""
    return AnswerRows(pa.table(columns, schema=_ANSWER_SCHEMA))


def concatenate(*tables: ScoredRows) -> ScoredRows:
    """All rows, in order."""
    return ScoredRows(pa.concat_tables([rows.table for rows in tables]))
