"""Whether answers show that something is known, by the entities in them and, where there is a model of inference, by contradiction."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import (
    GENERATIONS,
    GenerationMetric,
    generated_texts,
    is_compatible,
    or_nan,
)
from hf_unlearn.functional import (
    Bootstrap,
    CapitalisedEntities,
    EntityCoverage,
    EntityModel,
    entity_coverage,
)


PAPER = "ReLearn"
ARXIV = "2502.11190"


class ContradictionModel(Protocol):
    """A model of natural language inference."""

    def contradicts(self, premises: Sequence[str], hypotheses: Sequence[str]) -> Sequence[bool]:
        """Of each pair, whether the premise contradicts the hypothesis."""
        ...


class KnowledgeRate(GenerationMetric):
    """The share of answers of which something is true; subclasses say what.

    Args:
        entities: Finds entities; default: capitalised words and numbers.
        contradictions: Finds contradictions; None = answers are judged by entities alone, and the title says so.
    """

    lacking = "an entity in the true answer that is not in the question"

    def __init__(self, entities: EntityModel | None = None, contradictions: ContradictionModel | None = None):
        self.entities, self.contradictions = entities or CapitalisedEntities(), contradictions

    def spec_of(self, name: str, split: str, unit: str, without_knowledge: str) -> MetricSpec:
        """What both have in common."""
        judged_by = "entities" if self.contradictions is None else "entities and contradiction"
        models = [_name(self.entities), "none" if self.contradictions is None else _name(self.contradictions)]
        return MetricSpec(
            name=name,
            title=f"{name.replace('_', ' ')} by {judged_by}",
            short=name.split("_")[1],
            unit=unit,
            ideal="reference",
            bounds=(0.0, 1.0),
            family="utility" if split == "retain" else "memorization",
            splits=(split,),
            needs=(GENERATIONS,),
            citation=Citation(
                PAPER, ARXIV, f"our reading of its code; entities: {models[0]}; contradictions: {models[1]}"
            ),
            standard=False,
            options=("max_new_tokens", "compatible"),
            without_knowledge=without_knowledge,
            does_not_show="Whether the entities are said of the right thing. By entities alone a false sentence with the right names counts as known, "
            "and true answers without names, numbers or dates say nothing.",
        )

    @abstractmethod
    def judge(self, coverage: EntityCoverage, *, contradicts: bool, compatible: bool) -> bool | None:
        """Of one answer; None where its truth has no entity."""

    @abstractmethod
    def pairs(self, rows: Rows) -> tuple[Sequence[str], Sequence[str]]:
        """Premises and hypotheses."""

    def values(self, rows: Rows) -> np.ndarray:
        """1 or 0 of each answer; NaN where its truth has no entity."""
        return rows.memo(("knowledge rate", self.spec.name, id(self)), lambda: self._judged(rows))

    def _judged(self, rows: Rows) -> np.ndarray:
        compatible, contradicted = is_compatible(rows), self._contradicted(rows)
        return np.array(
            [
                or_nan(self.judge(coverage, contradicts=contradicts, compatible=compatible))
                for coverage, contradicts in zip(self.coverages(rows), contradicted, strict=True)
            ],
            np.float64,
        )

    def _contradicted(self, rows: Rows) -> list[bool]:
        if self.contradictions is None:
            return [False] * rows.count
        found = [bool(each) for each in self.contradictions.contradicts(*self.pairs(rows))]
        if len(found) != rows.count:
            raise TypeError(
                f"contradicts(premises, hypotheses) must give one truth value per pair: {rows.count} pairs, {len(found)} values from "
                f"{_name(self.contradictions)}."
            )
        return found

    def coverages(self, rows: Rows) -> list[EntityCoverage]:
        """Of each true answer's entities."""
        compatible = is_compatible(rows)

        def compute() -> list[EntityCoverage]:
            return [
                entity_coverage(truth, given, question, self.entities, compatible=compatible)
                for truth, given, question in zip(rows.texts, generated_texts(rows), rows.questions, strict=True)
            ]

        return rows.memo(("entity coverage", id(self.entities)), compute)

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """The mean share of entities that answers have, beside what was cut or is empty."""
        shares = [coverage.share for coverage in self.coverages(rows) if coverage.share is not None]
        found = {"entity_coverage": float(np.mean(shares))} if shares else {}
        return {**found, **super().details(rows, uncertainty)}


def _name(model: object) -> str:
    return str(getattr(model, "name", type(model).__name__))
