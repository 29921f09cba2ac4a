"""What each layer contributes to the answer: activation patching between models, and the logit lens.

Causal language models only. Gives log-probabilities per layer and example; does not know what follows from them.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from hf_unlearn.functional import answer_positions
from hf_unlearn.inference._features import _batches
from hf_unlearn.inference._hidden import HiddenReader, NoHiddenStatesError
from hf_unlearn.inference._loading import LoadedModel, ModelLike, load_model
from hf_unlearn.inference._models import undisturbed
from hf_unlearn.inference._reading import LogitReader, chunk_length
from hf_unlearn.inference._scoring import Example, _right_padded
from hf_unlearn.inference._sharding import gather, my_share


FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "ln_out")


def patching_effects(
    original: ModelLike,
    donor: ModelLike,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "patching",
) -> torch.Tensor:
    """How much of the answer the original loses when one of its layers gives the donor's states instead (after arXiv 2605.24614).

    At the positions that predict answer tokens, the output of one block of the original is replaced by the donor's, one block at a
    time: one forward pass per layer.

    Args:
        original: The model before unlearning.
        donor: Reference or candidate, of the same depth and width.
        examples: `input_ids` and `labels`, unpadded.
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Drop of the mean token log-probability, nats per token; float64, shape `(examples, layers)`, on every process.

    Raises:
        ValueError: No examples, models whose blocks are not found, or that differ in depth or width.
    """
    models = [load_model(original), load_model(donor)]
    with undisturbed(*models):
        readers = [_hidden_reader(model, examples) for model in models]
        if readers[0].depth != readers[1].depth:
            raise ValueError(f"patching needs models of equal depth, got {readers[0].depth} and {readers[1].depth}.")
        result = torch.zeros(len(examples), readers[0].depth, dtype=torch.float64)
        done = []
        for batch in my_share(_batches(examples, batch_size), label=label, progress=progress):
            done.append((batch, _patch_batch(models[0], readers, [examples[index] for index in batch])))
    for batch, drops in gather(done):
        result[batch] = drops
    return result


def lens_log_probs(
    model: ModelLike,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "logit lens",
) -> torch.Tensor | None:
    """What the model's own final norm and output layer read of the answer at each layer.

    Args:
        model: A causal language model.
        examples: `input_ids` and `labels`, unpadded.
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Mean token log-probability, nats per token; float64, shape `(examples, layers)`, on every process. None where the model's final
        norm cannot be found.

    Raises:
        ValueError: No examples, or a model whose blocks are not found.
    """
    opened = load_model(model)
    with undisturbed(opened):
        reader = _hidden_reader(opened, examples)
        norm = _final_norm(reader, examples)
        head = opened.get_output_embeddings()
        if norm is None or head is None:
            return None
        result = torch.zeros(len(examples), reader.depth, dtype=torch.float64)
        done = []
        for batch in my_share(_batches(examples, batch_size), label=label, progress=progress):
            rows, positions, targets, inputs = _answers([examples[index] for index in batch])
            kept = _states_at(reader, inputs, rows, positions)
            columns = [
                _mean_log_prob(lambda states: head(norm(states)), kept[layer], targets, rows, len(batch))
                for layer in range(1, reader.depth + 1)
            ]
            done.append((batch, torch.stack(columns, 1)))
    for batch, values in gather(done):
        result[batch] = values
    return result


def _hidden_reader(model: LoadedModel, examples: Sequence[Example]) -> HiddenReader:
    if not len(examples):
        raise ValueError("there are no examples to read.")
    reader = HiddenReader(model, {"input_ids": torch.tensor([list(examples[0]["input_ids"])])})
    if not reader.has_blocks:
        raise NoHiddenStatesError(
            f"the blocks of {type(model).__name__} were not found, so single layers cannot be read or replaced."
        )
    return reader


def _answers(
    examples: Sequence[Example],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    input_ids, attention_mask, labels = _right_padded(examples)
    rows, positions, targets = answer_positions(labels)
    return rows, positions, targets, {"input_ids": input_ids, "attention_mask": attention_mask}


def _states_at(
    reader: HiddenReader, inputs: Mapping[str, torch.Tensor], rows: torch.Tensor, positions: torch.Tensor
) -> dict[int, torch.Tensor]:
    """Block outputs at the places that predict answer tokens, shape `(places, width)` each."""
    kept: dict[int, torch.Tensor] = {}
    length = inputs["input_ids"].shape[1]

    def keep(layer: int, hidden: torch.Tensor) -> None:
        kept[layer] = hidden[:, -length:][rows.to(hidden.device), positions.to(hidden.device)]

    reader.read(inputs, range(1, reader.depth + 1), keep)
    return kept


def _patch_batch(original: LoadedModel, readers: Sequence[HiddenReader], examples: Sequence[Example]) -> torch.Tensor:
    rows, positions, targets, inputs = _answers(examples)
    given = _states_at(readers[1], inputs, rows, positions)
    logits = LogitReader(original)
    device = original.device
    places = [tensor.to(device) for tensor in (rows, positions)]
    moved = [inputs[name].to(device) for name in ("input_ids", "attention_mask")]

    def answer() -> torch.Tensor:
        return _mean_log_prob(logits.logits, logits.states(*moved, *places), targets, rows, len(examples))

    untouched = answer()
    length = moved[0].shape[1]
    columns = []
    for layer, states in given.items():

        def change(hidden: torch.Tensor, states: torch.Tensor = states) -> torch.Tensor:
            if hidden.shape[-1] != states.shape[-1]:
                raise ValueError(f"patching needs equal widths, got {hidden.shape[-1]} and {states.shape[-1]}.")
            hidden = hidden.clone()
            hidden[:, -length:][tuple(places)] = states.to(hidden)
            return hidden

        with readers[0].replacing(layer, change):
            columns.append(untouched - answer())
    return torch.stack(columns, 1)


def _mean_log_prob(
    head: Callable[[torch.Tensor], torch.Tensor],
    states: torch.Tensor,
    targets: torch.Tensor,
    rows: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """Mean log-probability of the answer tokens of each example; float64, shape `(examples,)`."""
    values, start = [], 0
    length = chunk_length(head(states[:1]).shape[-1], states.device)
    while start < len(targets):
        at = slice(start, start + length)
        log_probs = head(states[at]).float().log_softmax(-1)
        values.append(log_probs.gather(1, targets[at, None].to(log_probs.device))[:, 0].double().cpu())
        start += length
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, rows.cpu(), torch.cat(values))
    return sums / torch.bincount(rows.cpu(), minlength=count)


def _final_norm(reader: HiddenReader, examples: Sequence[Example]) -> torch.nn.Module | None:
    """The module that turns the last block's output into the states that the output layer receives, checked on real input."""
    inputs = {"input_ids": torch.tensor([list(examples[0]["input_ids"])])}
    last: dict[int, torch.Tensor] = {}
    with reader.listening([reader.depth], last.__setitem__):
        final = reader._forward(inputs).last_hidden_state
    for name, module in reader.body.named_modules():
        if name.rsplit(".", 1)[-1] in FINAL_NORMS and name.count(".") <= 1:
            try:
                normed = module(last[reader.depth])
            except (RuntimeError, TypeError):
                continue
            if normed.shape == final.shape and torch.allclose(normed, final, rtol=1e-4, atol=1e-5):
                return module
    return None
