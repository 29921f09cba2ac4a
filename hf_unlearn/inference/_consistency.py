"""What is sampled must be what is scored: the checks that a model gives one distribution, however it is asked.

Knows log-probabilities of drawn tokens, and how exact a precision allows them to be.
"""

from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from hf_unlearn.inference._completions import Completions
from hf_unlearn.inference._placement import input_device


FULL_PRECISION_ROUNDINGS = 256
HALF_PRECISION_ROUNDINGS = 32
"""How many roundings of a logit apart two honest ways through one model may lie.

In float32 the sums inside the operations decide, which are as long as the layers are wide: two layers of any architecture differ by up
to 7 roundings, 24 layers by up to 23. In half precision every operation rounds, and each layer passes on what the ones before it left: 1
to 3 after two layers, 4 after 24 layers of Llama, 27 after 8 of Mamba, whose cache is kept in half precision."""
LARGEST_EXCESS = 0.1
"""Nats per token by which samples may lie from what is scored. The mean of log p(drawn) − log p(scored) is the divergence of the one from the
other, so this, and not the scatter, is what every measurement would be wrong by: 0.005 for 24 layers of Llama in bfloat16."""


def resolution(model: PreTrainedModel | PeftModel) -> float:
    """Relative size of a rounding in the precision that the model computes in now."""
    device = input_device(model).type
    dtype = model.dtype if model.dtype.is_floating_point else torch.bfloat16
    epsilon = torch.finfo(dtype).eps
    if torch.is_autocast_enabled(device):
        epsilon = max(epsilon, torch.finfo(torch.get_autocast_dtype(device)).eps)
    if device == "cuda" and torch.get_float32_matmul_precision() != "highest":
        epsilon = max(epsilon, 2.0**-10)  # TF32
    if getattr(model, "is_quantized", False):
        epsilon = max(epsilon, torch.finfo(torch.bfloat16).eps)
    return epsilon


def tolerance(model: PreTrainedModel | PeftModel) -> float:
    """How far two log-probabilities of one token may lie apart, in units of the logit's (or its normaliser's) size."""
    epsilon = resolution(model)
    return epsilon * (FULL_PRECISION_ROUNDINGS if epsilon < 1e-4 else HALF_PRECISION_ROUNDINGS)


def check_causal(model: PreTrainedModel | PeftModel, input_ids: torch.Tensor) -> None:
    """Refuse a model whose predictions depend on what they are to predict.

    Args:
        model: To be asked.
        input_ids: One sequence of at least two tokens, shape `(1, length)`.

    Raises:
        ValueError: It looks ahead, as encoders do.
    """
    half = (input_ids.shape[1] + 1) // 2
    changed = input_ids.clone()
    changed[:, half:] = torch.where(changed[:, half:] > 0, changed[:, half:] - 1, changed[:, half:] + 1)
    first, second = (
        model(input_ids=ids, use_cache=False).logits[0, -ids.shape[1] :][:half].float() for ids in (input_ids, changed)
    )
    difference = float((first - second).abs().max())
    # Rounding may differ where other tokens choose other experts; a model that is built to look ahead needs no more than a trace.
    allowed = tolerance(model) / 4 * max(1.0, float(first.abs().max()))
    if difference > (0 if getattr(model.config.get_text_config(), "is_decoder", None) is False else allowed):
        raise ValueError(
            f"{type(model).__name__} is not causal: other tokens later change its predictions for earlier ones (logits by "
            f"{difference:.2g}), so it gives no probabilities of texts. An encoder such as BERT needs is_decoder=True in its "
            "configuration, and training as such."
        )


def check_drawn(
    completions: Completions,
    items: Sequence[int],
    scored: torch.Tensor,
    differences: torch.Tensor,
    *,
    name: str,
    model: PreTrainedModel | PeftModel,
) -> None:
    """Refuse scores that are not of the distribution that was sampled.

    Args:
        completions: Of the model; without `log_probs` nothing can be said.
        items: Which of them were scored, by row.
        scored: Log-probability of each of these, nats, shape `(items,)`.
        differences: Of each one's token that lies farthest from its drawing, in units of its logit's size; same shape.
        name: The model's role.
        model: That drew and scored them.

    Raises:
        RuntimeError: Names the model and what differs.
    """
    if completions.log_probs is None:
        return
    allowed, drawn = tolerance(model), completions.log_probs[list(items)].double().sum(1)
    wrong = int((differences > allowed).sum())
    excess = (drawn - scored) / completions.num_tokens[list(items)]
    noise = 3 * float(excess.std() / len(excess) ** 0.5) if len(excess) > 1 else float("inf")
    if not wrong and not float(excess.mean()) - noise > LARGEST_EXCESS:
        return
    worst = int(differences.argmax())
    raise RuntimeError(
        f"what was sampled from {name} ({type(model).__name__}) is not what is scored: {wrong} of {len(items)} completions have another "
        f"log-probability than they were drawn with (completion {items[worst]}: drawn {float(drawn[worst]):.4f}, scored {float(scored[worst]):.4f} "
        f"nats; a token differs by {float(differences[worst]):.2g} of its logit, where rounding allows {allowed:.2g}; on average a token "
        f"was drawn with {float(excess.mean()):.2g} nats more). {_likely_cause(model)}; no divergence can be measured from its samples."
    )


def _likely_cause(model: PreTrainedModel | PeftModel) -> str:
    config = model.active_peft_config if isinstance(model, PeftModel) else None
    if getattr(config, "alora_invocation_tokens", None):
        return (
            "It has an aLoRA adapter, which begins at its invocation: that of the prompt when it generates, the last one in prompt and "
            "completion when it is scored, so completions that contain the invocation are answered otherwise"
        )
    return (
        "The model answers otherwise when it generates (a cache that changes its logits, positions that follow the batch, half precision "
        "that adds up: try float32), or it has changed in between"
    )
