"""Membership Inference as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.membership_inference import MembershipInference


__all__ = ["MembershipInference"]
