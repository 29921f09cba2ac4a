"""counterfactual FADE as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.counterfactual_fade import CounterfactualFADE


__all__ = ["CounterfactualFADE"]
