"""FADE as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.fade import FADE


__all__ = ["FADE"]
