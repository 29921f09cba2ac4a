"""Extraction Strength as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.extraction_strength import ExtractionStrength


__all__ = ["ExtractionStrength"]
