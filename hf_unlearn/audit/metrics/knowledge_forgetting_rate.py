"""What share of the answers shows that the knowledge is gone."""

from collections.abc import Sequence

from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import generated_texts
from hf_unlearn.audit.metrics._relearn import ContradictionModel, KnowledgeRate
from hf_unlearn.functional import EntityCoverage, EntityModel, knowledge_forgotten


class KnowledgeForgettingRate(KnowledgeRate):
    """Share of greedy answers that have at most 0.3 of the true answer's entities (half, of up to three), or contradict it; in [0, 1].

    Args:
        entities: Finds entities; default: capitalised words and numbers.
        contradictions: Finds contradictions (answer as premise, truth as hypothesis); default: none, and the title says so.
    """

    def __init__(self, entities: EntityModel | None = None, contradictions: ContradictionModel | None = None):
        super().__init__(entities, contradictions)
        self.spec = self.spec_of(
            "knowledge_forgetting_rate",
            "forget",
            "share of answers that show no knowledge",
            "Nearly 1: below it by what can be guessed from the question.",
        )

    def judge(self, coverage: EntityCoverage, *, contradicts: bool, compatible: bool) -> bool | None:
        """See `functional.knowledge_forgotten`."""
        return knowledge_forgotten(coverage, contradicts=contradicts, compatible=compatible)

    def pairs(self, rows: Rows) -> tuple[Sequence[str], Sequence[str]]:
        """The answer is the premise."""
        return generated_texts(rows), rows.texts
