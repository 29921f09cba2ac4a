"""What share of the answers shows that the knowledge is there."""

from collections.abc import Sequence

from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import generated_texts
from hf_unlearn.audit.metrics._relearn import ContradictionModel, KnowledgeRate
from hf_unlearn.functional import EntityCoverage, EntityModel, knowledge_retained


class KnowledgeRetentionRate(KnowledgeRate):
    """Share of greedy answers that have at least 0.3 of the true answer's entities and do not contradict it; in [0, 1].

    Args:
        entities: Finds entities; default: capitalised words and numbers.
        contradictions: Finds contradictions (truth as premise, answer as hypothesis); default: none, and the title says so.
    """

    def __init__(self, entities: EntityModel | None = None, contradictions: ContradictionModel | None = None):
        super().__init__(entities, contradictions)
        self.spec = self.spec_of(
            "knowledge_retention_rate",
            "retain",
            "share of answers that show knowledge",
            "What can be guessed from the question: a few percent where true answers are names and numbers.",
        )

    def judge(self, coverage: EntityCoverage, *, contradicts: bool, compatible: bool) -> bool | None:
        """See `functional.knowledge_retained`."""
        return knowledge_retained(coverage, contradicts=contradicts, compatible=compatible)

    def pairs(self, rows: Rows) -> tuple[Sequence[str], Sequence[str]]:
        """The truth is the premise."""
        return rows.texts, generated_texts(rows)
