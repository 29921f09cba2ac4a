"""ROUGE-L Recall as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.rouge_l_recall import RougeLRecall


__all__ = ["RougeLRecall"]
