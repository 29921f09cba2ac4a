"""Knowledge Memorization as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.knowledge_memorization import KnowledgeMemorization


__all__ = ["KnowledgeMemorization"]
