"""FILA: start LoRA where the forget set matters and the retain set does not (LoKU, Cha et al. 2025, arXiv 2408.06621).

The initialisation changes the base weights, so that the model as a whole is unchanged; an adapter saved from it would be wrong on the
original base. `restore_base` turns it into an ordinary adapter on the original base.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear, LoraLayer

from hf_unlearn.data import AnswerCollator
from hf_unlearn.inference import undisturbed


EPSILON = 1e-5
TOLERANCES = {torch.float64: 1e-3, torch.float32: 1e-3}
HALF_TOLERANCE = 0.15
"""Of the largest logit: what rounding may change, where weights have 24 bits or 8."""
HONOURED = (
    "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules", "bias",
    "fan_in_fan_out", "layers_to_transform", "layers_pattern", "init_lora_weights", "task_type", "peft_type", "auto_mapping",
    "peft_version", "base_model_name_or_path", "revision", "inference_mode",
)  # fmt: skip
"""Settings of a LoRA adapter that FILA keeps; others must be as they are by default."""
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


@dataclass(frozen=True)
class FilaStart:
    """What `init_fila` has changed in one layer.

    Attributes:
        a: Initial A, float32, shape `(rank, in)`.
        b: Initial B, float32, shape `(out, rank)`.
        weight: The base weight as it was, on the CPU.
    """

    a: torch.Tensor
    b: torch.Tensor
    weight: torch.Tensor


def init_fila(
    model: PeftModel, forget: Sequence[Example], retain: Sequence[Example], *, pad_token_id: int = 0
) -> dict[str, FilaStart]:
    """Set a fresh LoRA adapter's matrices by FILA, and take their product out of the base weights: the model's outputs stay.

    Fisher diagonals are means of squared gradients of each example's mean answer NLL: one backward pass per example. Ranks, alphas and
    their scaling are the adapter's own, layer by layer.

    Args:
        model: With a fresh LoRA adapter on linear layers.
        forget: `input_ids` and `labels` of each example.
        retain: The same.
        pad_token_id: Of the collation.

    Returns:
        What was changed, by module, for `restore_base`.

    Raises:
        ValueError: An adapter that FILA cannot honour, no examples, or outputs that would not stay (a weight that another layer shares, an
            adapter that is not fresh); the model is then as it was.
    """
    layers = _linear_layers(model)
    if not len(forget) or not len(retain):
        raise ValueError("FILA needs forget and retain examples.")
    weights = {name: module.get_base_layer().weight for name, module in layers.items()}
    fishers = [_fisher(model, weights, examples, pad_token_id) for examples in (forget, retain)]
    probe = {name: value.to(model.device) for name, value in AnswerCollator(pad_token_id)([dict(forget[0])]).items()}
    before = _logits(model, probe)
    adapter = model.active_adapters[0]
    fresh = {name: module.lora_B[adapter].weight.detach().clone() for name, module in layers.items()}
    initial = {}
    with torch.no_grad():
        for name, module in layers.items():
            initial[name] = _start(module, adapter, *(fisher[name] for fisher in fishers))
    after = _logits(model, probe)
    if not _same(before, after, model.dtype):
        with torch.no_grad():
            for name, module in layers.items():
                weights[name].copy_(initial[name].weight)
                module.lora_B[adapter].weight.copy_(fresh[name])
        raise ValueError(
            f"FILA would change the model (logits by {float((before - after).abs().max()):.2g}): a weight that the adapter takes is shared "
            "with another layer (tied embeddings), or the adapter is not fresh. Choose other target_modules, or leave FILA out."
        )
    return initial


def _start(module: Linear, adapter: str, forget: torch.Tensor, retain: torch.Tensor) -> FilaStart:
    weight = module.get_base_layer().weight
    plain, forget, retain = (_out_in(module, tensor) for tensor in (weight, forget, retain))
    if module.r[adapter] > min(plain.shape):
        raise ValueError(f"FILA cannot give a matrix of shape {tuple(plain.shape)} the rank {module.r[adapter]}.")
    a, b = fila_factors(plain, forget, retain, module.r[adapter])
    start = FilaStart(a, b, weight.detach().cpu().clone())
    module.lora_A[adapter].weight.copy_(a)
    module.lora_B[adapter].weight.copy_(b)
    weight.sub_(_out_in(module, module.scaling[adapter] * (b @ a)).to(weight.dtype))
    return start


def restore_base(model: PeftModel, initial: Mapping[str, FilaStart]) -> PeftModel:
    """The same model as an ordinary adapter of twice the rank on the original base weights.

    BA − B₀A₀ = [B, B₀] [A; −A₀]; where the scaling depends on the rank in another way than α/r, B takes up the difference.

    Args:
        model: Initialised by `init_fila`, trained or not.
        initial: What that gave.

    Returns:
        A new PEFT model on the same base object, in eval mode; everything else in the adapter's configuration is kept.

    Raises:
        RuntimeError: The new model would not be the trained one.
    """
    trained: dict[str, tuple[torch.Tensor, torch.Tensor, float]] = {}
    adapter = model.active_adapters[0]
    probe = {"input_ids": torch.arange(1, 9, device=model.device)[None]}
    before = _logits(model, probe)
    with torch.no_grad():
        for name, module in _linear_layers(model).items():
            start = initial[name]
            a, b = start.a.to(module.lora_A[adapter].weight), start.b.to(module.lora_B[adapter].weight)
            module.get_base_layer().weight.copy_(start.weight)
            trained[name] = (
                torch.cat([module.lora_A[adapter].weight, -a]),
                torch.cat([module.lora_B[adapter].weight, b], 1),
                module.scaling[adapter],
            )
    restored = get_peft_model(model.unload(), _of_twice_the_rank(model.peft_config[adapter]), adapter_name=adapter)
    with torch.no_grad():
        for name, module in _linear_layers(restored).items():
            a, b, scaling = trained[name]
            module.lora_A[adapter].weight.copy_(a)
            module.lora_B[adapter].weight.copy_(b * (scaling / module.scaling[adapter]))
    if not _same(before, _logits(restored, probe), model.dtype):
        raise RuntimeError("the FILA adapter could not be turned into an ordinary one: the outputs are not the same.")
    return restored.eval()


def _linear_layers(model: PeftModel) -> dict[str, Linear]:
    """The layers of the model's one LoRA adapter, if FILA can take all of it."""
    adapters = list(model.peft_config)
    if len(adapters) != 1 or model.active_adapters != adapters:
        raise ValueError(f"FILA needs a model with one active adapter, not {adapters}.")
    config = model.peft_config[adapters[0]]
    if not isinstance(config, LoraConfig):
        raise ValueError(f"FILA needs a LoRA adapter on linear layers, not {config.peft_type}.")
    plain = LoraConfig().to_dict()
    odd = [name for name, value in config.to_dict().items() if name not in HONOURED and value != plain.get(name)]
    if odd:
        raise ValueError(
            f"FILA cannot honour {', '.join(odd)} in the adapter's configuration; leave it out, or leave FILA out."
        )
    found = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    others = [name for name, module in found.items() if not isinstance(module, Linear)]
    if others or not found:
        raise ValueError(f"FILA needs a LoRA adapter on linear layers{', but not on ' + others[0] if others else ''}.")
    return found


def _of_twice_the_rank(config: LoraConfig) -> LoraConfig:
    doubled = copy.deepcopy(config)
    doubled.r, doubled.lora_alpha = 2 * config.r, 2 * config.lora_alpha
    doubled.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    doubled.alpha_pattern = {name: 2 * alpha for name, alpha in config.alpha_pattern.items()}
    doubled.init_lora_weights = True  # any other might change the base
    return doubled


def _out_in(module: Linear, weight: torch.Tensor) -> torch.Tensor:
    """GPT-2 keeps its matrices the other way round."""
    return weight.T if module.fan_in_fan_out else weight


@torch.no_grad()
def _logits(model: PeftModel, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    with undisturbed(model):
        return model(**inputs).logits.float()


def _same(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> bool:
    return bool((one - other).abs().max() <= TOLERANCES.get(dtype, HALF_TOLERANCE) * one.abs().max())


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
