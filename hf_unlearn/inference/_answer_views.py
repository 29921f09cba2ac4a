"""What callers take from one teacher-forced pass: readings, rows, the lens. Views of `answer_tables`, without a pass of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from hf_unlearn.inference._answers import answer_tables
from hf_unlearn.inference._batching import Example, right_padded
from hf_unlearn.inference._lens import hidden_reader
from hf_unlearn.inference._models import undisturbed
from hf_unlearn.inference._rows import AnswerRows, answer_rows
from hf_unlearn.inference._views import Viewable, open_view, tell_apart


@dataclass(frozen=True, eq=False)
class AnswerReading:
    """One answer under one model.

    Attributes:
        log_probs: Of its tokens, nats, float64.
        correct: Whether each is the most likely token given the true ones before it.
    """

    log_probs: np.ndarray
    correct: np.ndarray

    @property
    def probability(self) -> float:
        """exp(mean token log-probability), in [0, 1]."""
        return float(np.exp(self.log_probs.mean()))


def read_answers(
    model: Viewable,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "reading",
) -> list[AnswerReading]:
    """Teacher-forced pass over given answers.

    Args:
        model: A causal language model.
        examples: `input_ids` and `labels`.
        batch_size: Sequences at a time; does not change the result.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        One reading per example, in order, on every process.

    Raises:
        ValueError: No examples, one without a labelled token, or one longer than the model's context.
    """
    table = _whole(model, examples, batch_size=batch_size, progress=progress, label=label)
    columns = (table[name].to_pylist() for name in ("log_probs", "correct"))
    return [AnswerReading(np.array(log_probs), np.array(correct)) for log_probs, correct in zip(*columns, strict=True)]


def score(
    models: Mapping[str, Viewable],
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
) -> AnswerRows:
    """Log-probabilities of given answers, teacher-forced.

    Args:
        models: By name.
        examples: `input_ids` and `labels` (for example from `hf_unlearn.data.tokenize_examples`).
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).

    Returns:
        One row per model and example, ordered by model, then as the examples, on every process.

    Raises:
        ValueError: No examples, one without a labelled token, or one longer than a model's context.
    """
    columns: dict[str, list] = {"model": [], "example_index": [], "num_tokens": [], "log_prob": []}
    for name, model in tell_apart(models).items():
        table = _whole(model, examples, batch_size=batch_size, progress=progress, label=f"scoring {name}")
        log_probs = table["log_probs"].to_pylist()
        columns["model"] += [name] * len(examples)
        columns["example_index"] += range(len(examples))
        columns["num_tokens"] += map(len, log_probs)
        columns["log_prob"] += map(sum, log_probs)
    return answer_rows(dict(columns))


def lens_log_probs(
    model: Viewable,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "logit lens",
) -> torch.Tensor | None:
    """What the model's own final norm, output layer, and soft caps or scales after it, read of the answer at each layer.

    Args:
        model: A causal language model.
        examples: `input_ids` and `labels`.
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Mean token log-probability, nats per token; float64, shape `(examples, layers)`, on every process; at the last layer it is the
        model's own. None, and the log says why, where that does not hold, because the way from the last block to the logits is not found.

    Raises:
        ValueError: No examples, or a model whose blocks are not found.
    """
    view = open_view(model)
    if len(examples):
        with undisturbed(view.model):
            hidden_reader(view, right_padded([examples[0]]))
    table = _whole(view, examples, lens=True, batch_size=batch_size, progress=progress, label=label)
    if table["lens"].null_count:
        return None
    return torch.tensor(table["lens"].to_pylist(), dtype=torch.float64)


def _whole(
    model: Viewable, examples: Sequence[Example], *, lens: bool = False, batch_size: int, progress: bool, label: str
) -> pa.Table:
    """All of a reading, in the order of the examples."""
    tables = answer_tables(model, examples, lens=lens, batch_size=batch_size, progress=progress, label=label)
    return pa.concat_tables(list(tables)).sort_by("item")
