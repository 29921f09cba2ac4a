"""A model on given answers, token by token: how likely each is, and whether it would have been the first choice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hf_unlearn.functional import answer_positions
from hf_unlearn.inference._features import batches
from hf_unlearn.inference._models import undisturbed
from hf_unlearn.inference._reading import LogitReader, chunk_length
from hf_unlearn.inference._scoring import Example, _right_padded
from hf_unlearn.inference._sharding import gather, my_share
from hf_unlearn.inference._views import Viewable, open_view


@dataclass(frozen=True, eq=False)
class AnswerReading:
    """One answer under one model.

    Attributes:
        log_probs: Of its tokens, nats, float64.
        correct: Whether each is the most likely token given the true ones before it.
    """

    log_probs: np.ndarray
    correct: np.ndarray

    @property
    def probability(self) -> float:
        """exp(mean token log-probability), in [0, 1]."""
        return float(np.exp(self.log_probs.mean()))


def read_answers(
    model: Viewable,
    examples: Sequence[Example],
    *,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "reading",
) -> list[AnswerReading]:
    """Teacher-forced pass over given answers.

    Args:
        model: A causal language model.
        examples: `input_ids` and `labels`, unpadded.
        batch_size: Sequences at a time; does not change the result.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        One reading per example, in order, on every process.

    Raises:
        ValueError: No examples, or one without a labelled token.
    """
    if not len(examples):
        raise ValueError("there are no answers to read.")
    view = open_view(model)
    found: dict[int, AnswerReading] = {}
    with undisturbed(view.model):
        reader = LogitReader(view)
        done = []
        for batch in my_share(batches(examples, batch_size), label=label, progress=progress):
            done.append((batch, _read_batch(reader, [examples[index] for index in batch])))
    for batch, readings in gather(done):
        found |= dict(zip(batch, readings, strict=True))
    return [found[index] for index in range(len(examples))]


def _read_batch(reader: LogitReader, examples: Sequence[Example]) -> list[AnswerReading]:
    input_ids, attention_mask, labels = _right_padded(examples)
    rows, positions, targets = answer_positions(labels)
    device = reader.model.device
    states = reader.states(*(tensor.to(device) for tensor in (input_ids, attention_mask, rows, positions)))
    length = chunk_length(reader.logits(states[:1]).shape[-1], states.device)
    log_probs, correct = [], []
    for chunk, wanted in zip(states.split(length), targets.to(states.device).split(length), strict=True):
        logits = reader.logits(chunk).float()
        log_probs.append(logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0].double().cpu())
        correct.append((logits.argmax(-1) == wanted).cpu())
    all_log_probs, all_correct = torch.cat(log_probs).numpy(), torch.cat(correct).numpy()
    mine = [rows.cpu().numpy() == row for row in range(len(examples))]
    if not all(places.any() for places in mine):
        raise ValueError("an example has no labelled token after its first; nothing can be read there.")
    return [AnswerReading(all_log_probs[places], all_correct[places]) for places in mine]
