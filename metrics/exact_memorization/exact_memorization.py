"""Exact Memorization as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.exact_memorization import ExactMemorization


__all__ = ["ExactMemorization"]
