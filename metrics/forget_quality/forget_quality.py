"""Forget Quality as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.forget_quality import ForgetQuality


__all__ = ["ForgetQuality"]
