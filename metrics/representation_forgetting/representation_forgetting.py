"""Representation Forgetting as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.representation_forgetting import RepresentationForgetting


__all__ = ["RepresentationForgetting"]
