"""PrivLeak as an Evaluate module: loaded from here, made in `hf_unlearn.modules`."""

from hf_unlearn.modules.privleak import Privleak


__all__ = ["Privleak"]
