"""What a model answers on one fixed input: a change that moves its answers shows here, wherever in the program it was made.

Knows how to run a model once without a trace. Does not know what the answer is compared with.
"""

import inspect
import logging

import torch
from peft import PeftModel

from hf_unlearn.inference._consistency import resolution
from hf_unlearn.inference._loading import LoadedModel
from hf_unlearn.inference._models import base_model, context_length, undisturbed
from hf_unlearn.inference._placement import input_device


logger = logging.getLogger(__name__)
LENGTH = 48
"""Tokens of the input."""
SIDE = 64
"""Pixels of an image, where the configuration does not say."""
DIRECTIONS = 3
"""Numbers kept of an answer besides its size. Each is one more that may round otherwise on another number of threads."""
FINEST = 1e-4
"""Of the answer's size: how finely it is told, unless the precision is coarser."""
LARGEST = 1e4
"""What lies beyond is a mask, not a logit, and would drown the others."""


def probe(model: LoadedModel) -> str | None:
    """The model's answer on a fixed input, in eval mode and the precision of the moment; everything stays as it was.

    Every process must call it where weights lie in pieces.

    Args:
        model: A model of token ids or of images.

    Returns:
        Its size and its parts along a few fixed random directions, rounded; None where the model cannot be run like this.
    """
    try:
        with undisturbed(model):
            torch.manual_seed(0)  # a model that is noisy in eval mode too; `undisturbed` brings the random state back
            inputs = _inputs(model)
            if inputs is None:
                return None
            answer = base_model(model)(**inputs)
            values = answer.logits if getattr(answer, "logits", None) is not None else answer[0]
            return None if values.is_meta else _told(values, max(FINEST, resolution(model)))
    except Exception as error:  # somebody's own model: whatever it lacks, it can still be described
        logger.info("%s does not run on a fixed input (%s).", type(model).__name__, error)
        return None


def _inputs(model: LoadedModel) -> dict[str, object] | None:
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    generator = torch.Generator().manual_seed(0)
    if inner.main_input_name == "input_ids":
        length = min(LENGTH, context_length(model) or LENGTH)
        ids = torch.randint(_known_tokens(inner), (1, length), generator=generator)
        takes_cache = "use_cache" in inspect.signature(inner.forward).parameters
        return {"input_ids": ids.to(input_device(model))} | ({"use_cache": False} if takes_cache else {})
    channels = getattr(inner.config, "num_channels", None)
    if inner.main_input_name != "pixel_values" or not isinstance(channels, int):
        return None
    size = getattr(inner.config, "image_size", None) or SIDE
    sides = [size, size] if isinstance(size, int) else list(size)
    image = torch.rand(1, channels, *sides, generator=generator)
    return {"pixel_values": image.to(input_device(model), model.dtype)}


def _known_tokens(model: LoadedModel) -> int:
    """Ids below this have an embedding in every table (Gemma has two); asked of the module, since weights in pieces have no shape."""
    settings = model.config.get_text_config().to_dict()
    named = [value for name, value in settings.items() if name.startswith("vocab_size")]
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    return min(count for count in (*named, rows) if isinstance(count, int) and count > 0)


def _told(values: torch.Tensor, step: float) -> str:
    matrix = values.detach().double().cpu().reshape(-1, values.shape[-1])
    matrix = matrix.where(matrix.abs() < LARGEST, 0.0)
    size = matrix.norm()
    generator = torch.Generator().manual_seed(1)
    rows, columns = (
        torch.randn(count, DIRECTIONS, generator=generator, dtype=torch.float64) for count in matrix.shape
    )
    parts = (rows * (matrix @ columns)).sum(0) / size.clamp_min(torch.finfo(size.dtype).tiny)
    told = torch.cat([size.clamp_min(torch.finfo(size.dtype).tiny).log()[None], parts]) / step
    return f"{tuple(values.shape)} {told.round().to(torch.int64).tolist()}"
