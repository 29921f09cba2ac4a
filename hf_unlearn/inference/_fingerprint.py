"""What a model is: the hash that says whether two are the same, and whether two grew from the same weights."""

import hashlib

import numpy as np
import torch
from peft import PeftModel

from hf_unlearn.inference._loading import LoadedModel


def model_fingerprint(model: LoadedModel) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all weights and buffers that are saved, adapters included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}\n".encode())
        flat = tensor.detach().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).cpu().numpy() if flat.numel() else b"")
    return digest.hexdigest()


def share_starting_weights(a: LoadedModel, b: LoadedModel) -> bool:
    """Whether two models were trained from the same weights, so that coordinates of their hidden states mean the same.

    Fine-tuning moves weights little: the cosine of all weight matrices stays near 1 (0.86 between pocket's original and reference, which
    were trained from scratch from one seed), while that of independent starts is about 0 (−0.02 there). The line is drawn at 0.5.
    """
    products = np.zeros(3)
    first, second = _plain_matrices(a), _plain_matrices(b)
    for name in first.keys() & second.keys():
        x, y = first[name].detach().float(), second[name].detach().float().to(first[name].device)
        if x.shape == y.shape:
            products += [float((x * y).sum()), float((x * x).sum()), float((y * y).sum())]
    scale = float(np.sqrt(products[1] * products[2]))
    return scale > 0 and bool(products[0] / scale > 0.5)


def _plain_matrices(model: LoadedModel) -> dict[str, torch.Tensor]:
    """Weight matrices under the names that they have without adapters."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return {
        name.replace(".base_layer", ""): tensor
        for name, tensor in inner.named_parameters()
        if tensor.dim() > 1 and tensor.is_floating_point() and "lora_" not in name
    }
