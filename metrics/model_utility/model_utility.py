"""Model Utility as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.model_utility import ModelUtility


__all__ = ["ModelUtility"]
