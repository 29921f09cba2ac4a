"""Log-probabilities and step divergences of token sequences under one or more frozen models.

One pass over the data: each batch runs through every model once, and the output layer is applied chunk by chunk to answer
positions only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from hf_unlearn.functional import IGNORE_INDEX, answer_positions, log_prob_divergence
from hf_unlearn.inference._completions import Completions
from hf_unlearn.inference._consistency import check_drawn
from hf_unlearn.inference._models import check_comparable, context_length, undisturbed
from hf_unlearn.inference._reading import LogitReader, chunk_length
from hf_unlearn.inference._rows import AnswerRows, ScoredRows, answer_rows, completion_rows
from hf_unlearn.inference._sharding import gather, my_share
from hf_unlearn.inference._views import View, Viewable, open_view, tell_apart


Example = Mapping[str, Any]
"""`input_ids` and `labels` of one sequence, unpadded; labels are −100 outside the answer. A completion also brings the `log_probs` that its
tokens were drawn with."""


@dataclass
class OwnStates:
    """What a model that does not change computed on completions that do not change, for the next call of `cross_score`.

    Attributes:
        reader: How that model is read.
        states: What its output layer receives, per batch.
    """

    reader: LogitReader | None = None
    states: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)


def cross_score(
    completions: Completions,
    *,
    sampled_from: str,
    models: Mapping[str, Viewable],
    batch_size: int = 32,
    progress: bool = True,
    own_states: OwnStates | None = None,
) -> ScoredRows:
    """Score completions under the model they come from and under others.

    Args:
        completions: Sampled from `models[sampled_from]`.
        sampled_from: Its name.
        models: By name; the others' order is the order of the rows. Loaded models that share weights are told apart (`tell_apart`).
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        own_states: Keeps what `models[sampled_from]` computes here, so that later calls with the same completions and batch size do not run
            that model again; it must not change in between.

    Returns:
        One row per completion and other model, ordered by other model, then as the completions, on every process.

    Raises:
        ValueError: `sampled_from` is not among the models, there is no other, or their vocabularies differ.
        RuntimeError: The model gives its own completions other log-probabilities than they were drawn with.
    """
    if sampled_from not in models or len(models) < 2:
        raise ValueError(f"models must name {sampled_from!r} and at least one other; got {sorted(models)}.")
    opened = {name: open_view(model) for name, model in tell_apart(models).items()}
    check_comparable({name: view.model for name, view in opened.items()})
    others = [name for name in opened if name != sampled_from]
    examples = [_as_example(completions, row) for row in range(len(completions))]
    order = [sampled_from, *others]
    views = [opened[name] for name in order]
    sums = _sum_by_example(examples, views, batch_size, progress, label="scoring", first=own_states)
    check_drawn(completions, sums[:, 0], sums[:, -1], name=sampled_from, model=views[0].model)
    count = len(completions)
    repeated = {
        "prompt_index": completions.prompt_index,
        "sample_index": completions.sample_index,
        "num_tokens": completions.num_tokens,
        "truncated": completions.truncated,
    }
    return completion_rows(
        {
            "sampled_from": [sampled_from] * (count * len(others)),
            "scored_by": [name for name in others for _ in range(count)],
            **{name: column.repeat(len(others)).numpy() for name, column in repeated.items()},
            "log_prob_own": sums[:, 0].repeat(len(others)).numpy(),
            "log_prob_other": sums[:, 1 : len(order)].T.reshape(-1).numpy(),
            "step_divergence": sums[:, len(order) : -1].T.reshape(-1).numpy(),
        }
    )


def score(
    models: Mapping[str, Viewable],
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
) -> AnswerRows:
    """Log-probabilities of given answers, teacher-forced.

    Args:
        models: By name.
        examples: `input_ids` and `labels`, unpadded (for example from `hf_unlearn.data.tokenize_examples`).
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).

    Returns:
        One row per model and example, ordered by model, then as the examples, on every process.

    Raises:
        ValueError: No examples, one without a labelled token, or one longer than a model's context.
    """
    if not len(examples):
        raise ValueError("there are no examples to score.")
    lengths = [sum(label != IGNORE_INDEX for label in example["labels"][1:]) for example in examples]
    if min(lengths) < 1:
        raise ValueError(
            f"example {lengths.index(0)} has no labelled token after its first; nothing can be scored there."
        )
    columns: dict[str, list] = {"model": [], "example_index": [], "num_tokens": [], "log_prob": []}
    for name, model in tell_apart(models).items():
        view = open_view(model)
        _check_lengths(examples, view.model)
        sums = _sum_by_example(examples, [view], batch_size, progress, label=f"scoring {name}")
        columns["model"] += [name] * len(examples)
        columns["example_index"] += range(len(examples))
        columns["num_tokens"] += lengths
        columns["log_prob"] += sums[:, 0].tolist()
    return answer_rows(dict(columns))


def _sum_by_example(
    examples: Sequence[Example],
    views: Sequence[View],
    batch_size: int,
    progress: bool,
    *,
    label: str,
    first: OwnStates | None = None,
) -> torch.Tensor:
    """Per example: log-probability under each model, the step divergence from the first to each other one, and how far the first one's
    token log-probabilities lie at most from those that the example brings.

    Returns:
        float64, shape `(examples, 2 · models)`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    order = sorted(range(len(examples)), key=lambda index: -len(examples[index]["input_ids"]))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    result = torch.zeros(len(examples), 2 * len(views), dtype=torch.float64)
    with undisturbed(*(view.model for view in views)):
        readers = [LogitReader(view) for view in views]
        if first is not None:
            first.reader = readers[0] = first.reader or readers[0]
        done = [
            (batch, _score_batch(readers, [examples[index] for index in batch], tuple(batch), first))
            for batch in my_share(batches, label=label, progress=progress)
        ]
    for batch, sums in gather(done):
        result[batch] = sums
    return result


def _score_batch(
    readers: Sequence[LogitReader], examples: Sequence[Example], batch: tuple[int, ...], first: OwnStates | None
) -> torch.Tensor:
    input_ids, attention_mask, labels = _right_padded(examples)
    rows, positions, targets = answer_positions(labels)

    def read(reader: LogitReader) -> torch.Tensor:
        device = reader.model.device
        return reader.states(*(tensor.to(device) for tensor in (input_ids, attention_mask, rows, positions)))

    known = {} if first is None else first.states
    if batch not in known:
        known[batch] = read(readers[0])
    states = [known[batch], *(read(reader) for reader in readers[1:])]
    drawn = torch.cat([torch.as_tensor(example.get("log_probs", ())) for example in examples])
    sums = torch.zeros(len(examples), 2 * len(readers), dtype=torch.float64)
    for at, values, differences in _chunks(readers, states, targets, drawn):
        sums[:, :-1].index_add_(0, rows[at], values)
        np.maximum.at(sums[:, -1].numpy(), rows[at].numpy(), differences.numpy())
    return sums


def _chunks(
    readers: Sequence[LogitReader], states: Sequence[torch.Tensor], targets: torch.Tensor, drawn: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Values of each position, float64 on the CPU, shape `(chunk, 2 · models − 1)`; and the first model's distance from what was drawn,
    shape `(chunk,)`, in units of its logit's size (0 where nothing is known)."""
    start = 0
    length = chunk_length(readers[0].logits(states[0][:1]).shape[-1], states[0].device)
    while start < len(targets):
        at = slice(start, start + length)
        logits = readers[0].logits(states[0][at])
        own = _log_softmax(logits)
        chunk_targets = targets[at, None].to(own.device)
        log_probs, divergences = [own.gather(1, chunk_targets)], []
        differences = torch.zeros(len(own), dtype=torch.float64)
        if len(drawn):
            raw = logits.gather(1, chunk_targets).to(own.dtype)
            size = torch.maximum(raw.abs(), (raw - log_probs[0]).abs()).clamp_min(1)
            differences = ((log_probs[0] - drawn[at, None].to(own)).abs() / size)[:, 0].cpu().double()
        for reader, other_states in zip(readers[1:], states[1:], strict=True):
            other = _log_softmax(reader.logits(other_states[at]).to(own.device))
            log_probs.append(other.gather(1, chunk_targets))
            divergences.append(log_prob_divergence(own, other)[:, None])
        yield at, torch.cat(log_probs + divergences, dim=1).cpu().double(), differences
        start += length


def _log_softmax(logits: torch.Tensor) -> torch.Tensor:
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)


def _right_padded(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    longest = max(len(example["input_ids"]) for example in examples)
    input_ids = torch.zeros(len(examples), longest, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORE_INDEX)
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        input_ids[row, :length] = torch.tensor(example["input_ids"])
        labels[row, :length] = torch.tensor(example["labels"])
        attention_mask[row, :length] = 1
    return input_ids, attention_mask, labels


def _as_example(completions: Completions, row: int) -> Example:
    prompt = completions.prompts[int(completions.prompt_index[row])]
    answer = completions.answer(row)
    example = {"input_ids": [*prompt, *answer], "labels": [IGNORE_INDEX] * len(prompt) + answer}
    if completions.log_probs is None:
        return example
    return {**example, "log_probs": completions.log_probs[row, completions.mask[row]]}


def _check_lengths(examples: Sequence[Example], model: PreTrainedModel | PeftModel) -> None:
    limit = context_length(model)
    longest = max(range(len(examples)), key=lambda index: len(examples[index]["input_ids"]))
    length = len(examples[longest]["input_ids"])
    if limit is not None and length > limit:
        raise ValueError(
            f"example {longest} has {length} tokens; the model's context holds {limit}. Shorten or drop it."
        )
