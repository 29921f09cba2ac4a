"""Verbatim Memorization as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.verbatim_memorization import VerbatimMemorization


__all__ = ["VerbatimMemorization"]
