"""A Trainer made to start from the original: its weights in place of those that the recipe opened, and a part of the recipe's length.

Knows models and arguments; no rows and no folders.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import Trainer

from hf_unlearn.inference import LoadedModel, in_pieces


_WRAPPED = re.compile(r"\.(base_layer|original_module|modules_to_save\.[^.]+)(?=\.)")
"""What PEFT puts into the name of a weight whose module it has wrapped."""
_PROBED = 16
NEUTRAL = 1e-3
"""Total variation between next-token distributions up to which an adapter changes nothing: it is computed beside what it adds to."""
CLOSE, ROUGHLY = 1e-4, 0.1
"""The same up to which two models count as one: both float32 on the CPU, and on whatever devices and in whatever precisions."""


@dataclass(frozen=True)
class Original:
    """What is kept of the original while models are continued from it.

    Attributes:
        weights: By name; its own tensors, which are only read.
        answers: Its next-token probabilities after some fixed tokens, float32, shape `(positions, vocabulary)`.
        exact: Whether they come from float32 weights on the CPU.
    """

    weights: Mapping[str, torch.Tensor]
    answers: torch.Tensor
    exact: bool

    @classmethod
    def of(cls, model: LoadedModel) -> "Original":
        """Taken from the loaded model, which stays as it is."""
        return cls(dict(model.state_dict()), _answers(model), _is_exact(model))

    def put_into(self, trainer: Trainer) -> None:
        """Give the Trainer's model the original's weights, under its adapter where it has one of its own.

        Raises:
            ValueError: They do not fit, or the model does not answer like the original with them.
        """
        model = trainer.model
        if in_pieces(model):
            raise ValueError(
                "the recipe spreads each weight over processes (ZeRO-3); continue the original without that."
            )
        target = model.state_dict()
        under_an_adapter = target.keys() != self.weights.keys() and isinstance(model, PeftModel)
        if under_an_adapter:
            target = model.get_base_model().state_dict()
        pairs = {name: _WRAPPED.sub("", name) for name in target}
        pairs = {name: name if name in self.weights else plain for name, plain in pairs.items()}
        _refuse_unfit({pairs[name]: tensor for name, tensor in target.items()}, self.weights)
        with torch.no_grad():
            for name, tensor in target.items():
                if pairs[name] in self.weights:
                    tensor.copy_(self.weights[pairs[name]])
        answers = _answers(model)
        if under_an_adapter:
            with model.disable_adapter():
                _refuse_apart(answers, _answers(model), NEUTRAL)
        _refuse_apart(answers, self.answers, CLOSE if self.exact and _is_exact(model) else ROUGHLY)


def shorten(trainer: Trainer, share: float) -> None:
    """Leave the Trainer a part of its length, with its schedule shortened as a whole.

    Args:
        trainer: Before training. Its arguments are replaced, not changed: a recipe may hand out the same ones again.
        share: Above 0 and at most 1; at least one step is left.
    """
    args = copy.copy(trainer.args)
    if args.max_steps > 0:
        args.max_steps = max(1, round(share * args.max_steps))
    else:
        args.num_train_epochs = share * args.num_train_epochs
    if args.warmup_steps >= 1:  # below 1 it is a share already
        args.warmup_steps = round(share * args.warmup_steps)
    trainer.args = args


def _refuse_apart(answers: torch.Tensor, expected: torch.Tensor, allowed: float) -> None:
    """An adapter that was fitted to the weights that are gone (PiSSA, OLoRA, DoRA) makes another model of the new ones."""
    distance = float((answers - expected).abs().sum(-1).mean()) / 2
    if not distance <= allowed:
        raise ValueError(
            f"the recipe's model does not answer like the original with the original's weights (total variation {distance:.2g}): its "
            "adapter is not neutral where training starts, or its configuration is another one. Use an adapter that starts at zero "
            "(init_lora_weights=True, no DoRA), and the original's configuration."
        )


def _is_exact(model: LoadedModel) -> bool:
    return model.dtype == torch.float32 and model.device.type == "cpu"


def _answers(model: LoadedModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    size = int(model.config.get_text_config().vocab_size)
    ids = torch.randint(0, size, (1, _PROBED), generator=generator)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(input_ids=ids.to(model.device)).logits[0]
    finally:
        model.train(training)
    return logits.float().softmax(-1).cpu()


def _refuse_unfit(target: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    missing = sorted(weights.keys() - target.keys())
    other = sorted(name for name in weights.keys() & target.keys() if weights[name].shape != target[name].shape)
    if missing or other:
        example = (missing or other)[0]
        how = "is not in" if missing else "has another shape in"
        raise ValueError(
            f"the original does not fit the model that make_trainer builds: {len(missing) + len(other)} of {len(weights)} weights, such as "
            f"{example!r}, which {how} it. Build the original's architecture; an original with an adapter needs the same adapter in the "
            "recipe, or its adapter merged (merge_and_unload)."
        )
