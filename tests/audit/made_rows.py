"""Rows for metrics of text, made by hand: no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hf_unlearn.audit._contracts import SubjectKey
from hf_unlearn.audit._rows import Evidence, Rows


@dataclass
class MadeSplit:
    """A set of true answers."""

    name: str
    answer_texts: Sequence[str]
    clusters: np.ndarray
    question_texts: Sequence[str] | None = None
    role: str = ""

    @property
    def groups(self) -> np.ndarray:
        return np.arange(len(self))

    def __len__(self) -> int:
        return len(self.answer_texts)


def generated(
    truths: Sequence[str],
    answers: Mapping[str, Sequence[str]] | Sequence[str],
    *,
    split: str = "forget",
    clusters: Sequence[int] | None = None,
    truncated: Sequence[bool] | None = None,
    tokens: Sequence[Sequence[int]] | None = None,
    questions: Sequence[str] | None = None,
    log_probs: Sequence[Sequence[float]] | None = None,
    **settings: Any,
) -> Rows:
    """The candidate's rows, where it (or each role) answers so."""
    by_role = answers if isinstance(answers, Mapping) else {"candidate": answers}
    numbers = np.arange(len(truths)) if clusters is None else np.asarray(clusters)
    evidence = Evidence({split: MadeSplit(split, truths, numbers, questions)}, settings)
    for role, texts in by_role.items():
        table = pa.table(
            {
                "item": range(len(truths)),
                "tokens": pa.array(tokens or [[1]] * len(truths), pa.list_(pa.int32())),
                "truncated": truncated or [False] * len(truths),
                "text": pa.array(texts, pa.string()),
                "truth": pa.array(truths, pa.string()),
            }
        )
        if log_probs is not None:
            table = table.append_column("original_log_probs", pa.array(log_probs, pa.list_(pa.float64())))
        evidence.tables["generations", SubjectKey(role), split] = table
    return Rows(evidence, SubjectKey("candidate"), split)
