"""Truth Ratio as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.truth_ratio import TruthRatio


__all__ = ["TruthRatio"]
