"""What a model is: the hashes that say whether two are the same, and whether two grew from the same weights."""

import hashlib
import sys
import uuid
from importlib.metadata import version

import numpy as np
import torch
from peft import PeftModel

from hf_unlearn.inference._behaviour import describe_behaviour, is_altered, raw_bytes
from hf_unlearn.inference._loading import LoadedModel
from hf_unlearn.inference._placement import stored, stored_tensors
from hf_unlearn.inference._probe import probe


FINGERPRINT_VERSION = 3
"""Counted up whenever what is described, or how this library runs a model, changes: what was kept before is then not used."""


def weights_fingerprint(model: LoadedModel) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all weights and buffers that are saved, adapters included.

    Says which weights were audited, on any machine and with any version of any library. It does not say how they are used:
    `model_fingerprint` does.
    """
    digest = hashlib.sha256()
    for name, tensor in stored_tensors(model):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}\n".encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def model_fingerprint(model: LoadedModel, *, weights_sha256: str | None = None) -> str:
    """SHA-256 over everything that decides what the model computes: the key of whatever is kept of a model's outputs.

    Weights and all buffers, configuration, the adapters that are active with their scaling, attributes of every module (epsilons, head
    counts, activation functions), forward code, hooks, the versions of the libraries, and what the model answers on a fixed input, so that
    no change of its logits goes unseen, wherever it was made. A model with a part that cannot be described, or one with hooks that does
    not run on the fixed input, gets another fingerprint each time, so that nothing is ever taken for its own.

    Runs the model once; where its weights lie in pieces, every process must call it.

    Args:
        model: Loaded.
        weights_sha256: Its `weights_fingerprint`, if that is known already.
    """
    digest = hashlib.sha256(f"{FINGERPRINT_VERSION} {weights_sha256 or weights_fingerprint(model)}\n".encode())
    libraries = [f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "hf-unlearn")]
    described = list(describe_behaviour(model))
    answer = probe(model) or (uuid.uuid4().hex if is_altered(model) else "not run")
    for line in (*libraries, f"python {sys.version_info[:2]}", *described, f"answer {answer}"):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def share_starting_weights(a: LoadedModel, b: LoadedModel) -> bool:
    """Whether two models were trained from the same weights, so that coordinates of their hidden states mean the same.

    Fine-tuning moves weights little: the cosine of all weight matrices stays near 1 (0.88 between pocket's original and reference, which
    were tuned long from one small base), while that of independent starts is about 0 (0.01 there). The line is drawn at 0.5.
    """
    products = np.zeros(3)
    first, second = _plain_matrices(a), _plain_matrices(b)
    for name in first.keys() & second.keys():
        if first[name][2].shape == second[name][2].shape:
            x, y = (stored(*of[name]).detach().float() for of in (first, second))
            y = y.to(x.device)
            products += [float((x * y).sum()), float((x * x).sum()), float((y * y).sum())]
    scale = float(np.sqrt(products[1] * products[2]))
    return scale > 0 and bool(products[0] / scale > 0.5)


def _plain_matrices(model: LoadedModel) -> dict[str, tuple[torch.nn.Module, str, torch.Tensor]]:
    """Weight matrices under the names that they have without adapters; as `stored` takes them."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return {
        name.replace(".base_layer", ""): (inner, name, tensor)
        for name, tensor in inner.named_parameters()
        if tensor.dim() > 1 and tensor.is_floating_point() and "lora_" not in name
    }
