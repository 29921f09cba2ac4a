"""Generalized Exposure as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.generalized_exposure import GeneralizedExposure


__all__ = ["GeneralizedExposure"]
