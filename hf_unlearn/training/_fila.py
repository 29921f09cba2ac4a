"""FILA: start LoRA where the forget set matters and the retain set does not (LoKU, Cha et al. 2025, arXiv 2408.06621).

The initialisation changes the base weights, so that the model as a whole is unchanged; an adapter saved from it would be wrong on the
original base. `restore_base` turns it into an ordinary adapter on the original base.
"""

from collections.abc import Mapping, Sequence

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear

from hf_unlearn.data import AnswerCollator
from hf_unlearn.inference import undisturbed


EPSILON = 1e-5
Example = Mapping[str, Sequence[int]]


def fila_factors(
    weight: torch.Tensor, forget_fisher: torch.Tensor, retain_fisher: torch.Tensor, rank: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B whose product is the best weighted approximation of W of that rank.

    With row importance √Σ_col(F_forget / (F_retain + 1e-5)) and U S Vᵀ the SVD of diag(row)·W: A = (V√S)ᵀ, B = diag(1/row)·U√S.

    Args:
        weight: W, shape `(out, in)`.
        forget_fisher: Mean squared gradients on the forget set, same shape.
        retain_fisher: The same on the retain set.
        rank: At most min(out, in).

    Returns:
        A, shape `(rank, in)`, and B, shape `(out, rank)`, float32.

    Example:
        At full rank the product is W itself:

        >>> w = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
        >>> a, b = fila_factors(w, torch.ones(2, 2), torch.ones(2, 2), rank=2)
        >>> torch.allclose(b @ a, w, atol=1e-6)
        True
    """
    importance = (forget_fisher / (retain_fisher + EPSILON)).sum(1).sqrt().float()
    importance = importance.clamp_min(importance.max() * 1e-6 + torch.finfo(torch.float32).tiny)
    left, sizes, right = torch.linalg.svd(importance[:, None] * weight.float(), full_matrices=False)
    roots = sizes[:rank].sqrt()
    return roots[:, None] * right[:rank], (left[:, :rank] * roots) / importance[:, None]


def init_fila(
    model: PeftModel, forget: Sequence[Example], retain: Sequence[Example], *, pad_token_id: int = 0
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Set a fresh LoRA adapter's matrices by FILA, and take their product out of the base weights: the model's outputs stay.

    Fisher diagonals are means of squared gradients of each example's mean answer NLL: one backward pass per example.

    Args:
        model: With a fresh LoRA adapter on linear layers.
        forget: `input_ids` and `labels` of each example.
        retain: The same.
        pad_token_id: Of the collation.

    Returns:
        The initial A and B by module, for `restore_base`.

    Raises:
        ValueError: No LoRA linear layers, or no examples.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Linear)}
    if not layers:
        raise ValueError("FILA needs a LoRA adapter on linear layers.")
    if not len(forget) or not len(retain):
        raise ValueError("FILA needs forget and retain examples.")
    weights = {name: module.get_base_layer().weight for name, module in layers.items()}
    fishers = [_fisher(model, weights, examples, pad_token_id) for examples in (forget, retain)]
    initial = {}
    with torch.no_grad():
        for name, module in layers.items():
            adapter = module.active_adapters[0]
            a, b = fila_factors(weights[name], fishers[0][name], fishers[1][name], module.r[adapter])
            module.lora_A[adapter].weight.copy_(a)
            module.lora_B[adapter].weight.copy_(b)
            weights[name].sub_(module.scaling[adapter] * (b @ a).to(weights[name].dtype))
            initial[name] = (a.clone(), b.clone())
    return initial


def restore_base(model: PeftModel, initial: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> PeftModel:
    """The same model as an ordinary adapter of twice the rank on the original base weights.

    BA − B₀A₀ = [B, B₀] [A; −A₀].

    Args:
        model: Initialised by `init_fila`, trained or not.
        initial: What that gave.

    Returns:
        A new PEFT model on the same base object, in eval mode.
    """
    trained: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    adapter = model.active_adapters[0]
    config = model.peft_config[adapter]
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, Linear):
                a, b = initial[name]
                a, b = a.to(module.lora_A[adapter].weight), b.to(module.lora_B[adapter].weight)
                weight = module.get_base_layer().weight
                weight.add_((module.scaling[adapter] * (b @ a)).to(weight.dtype))
                trained[name] = (
                    torch.cat([module.lora_A[adapter].weight, -a]).clone(),
                    torch.cat([module.lora_B[adapter].weight, b], 1).clone(),
                )
    plain = {
        name: value for name, value in config.to_dict().items() if name in ("target_modules", "task_type", "bias")
    }
    doubled = LoraConfig(r=2 * config.r, lora_alpha=2 * config.lora_alpha, lora_dropout=config.lora_dropout, **plain)
    restored = get_peft_model(model.unload(), doubled)
    with torch.no_grad():
        for name, module in restored.named_modules():
            if isinstance(module, Linear):
                module.lora_A["default"].weight.copy_(trained[name][0])
                module.lora_B["default"].weight.copy_(trained[name][1])
    return restored.eval()


def _fisher(
    model: PeftModel, weights: Mapping[str, torch.Tensor], examples: Sequence[Example], pad_token_id: int
) -> dict[str, torch.Tensor]:
    sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    collator = AnswerCollator(pad_token_id)
    with undisturbed(model), torch.enable_grad():
        for weight in weights.values():
            weight.requires_grad_(True)
        try:
            for example in examples:
                batch = {name: value.to(model.device) for name, value in collator([dict(example)]).items()}
                gradients = torch.autograd.grad(model(**batch).loss, list(weights.values()))
                for name, gradient in zip(weights, gradients, strict=True):
                    sums[name] += gradient.float().pow(2)
        finally:
            for weight in weights.values():
                weight.requires_grad_(False)
    return {name: value / len(examples) for name, value in sums.items()}
