"""One teacher-forced pass over given answers: token by token what the vocabulary says, and in the same pass hidden states and logit lens.

Knows examples and one model. Does not know what follows from what it leaves, or where that is kept.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hf_unlearn.functional import IGNORE_INDEX
from hf_unlearn.inference._batching import (
    Batch,
    Example,
    asked_for,
    batches,
    chosen_items,
    copies,
    group_equal,
    right_padded,
    unpadded,
)
from hf_unlearn.inference._features import FeatureSettings, chosen_layers, pool, project
from hf_unlearn.inference._hidden import HiddenReader, NoHiddenStatesError
from hf_unlearn.inference._lens import LogitLens, hidden_reader
from hf_unlearn.inference._logits import LogitReader, Pass, joined
from hf_unlearn.inference._memory import halves
from hf_unlearn.inference._models import context_length, rope_switch, undisturbed
from hf_unlearn.inference._rounds import rounds
from hf_unlearn.inference._shared_prompts import PromptSharer, plan_reading
from hf_unlearn.inference._token_statistics import TOKEN_COLUMNS, token_log_probs, token_statistics
from hf_unlearn.inference._views import View, Viewable, open_view


logger = logging.getLogger(__name__)


def answer_tables(
    model: Viewable,
    examples: Sequence[Example],
    *,
    items: Sequence[int] | None = None,
    features: FeatureSettings | None = None,
    lens: Sequence[int] | bool = False,
    statistics: Sequence[int] | bool = True,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "reading",
) -> Iterator[pa.Table]:
    """Read given answers, teacher-forced, table by table. Equal examples are read once; only answer positions reach the vocabulary.

    Args:
        model: A causal language model, loaded, path or id, or in its role.
        examples: `input_ids` and `labels`.
        items: Which of them to give out, by number; default: all. Their batches are read whole (`asked_for`).
        features: Pool hidden states in the same pass, as `feature_rows` does. Its `batch_size` is not used.
        lens: Read the answer at each layer: True, or for these items only (it costs the vocabulary's work once per layer).
        statistics: Take all columns of tokens: True, or for these items only. Of others `log_probs` alone, which is half of the vocabulary's work.
        batch_size: Sequences at a time; does not change the result.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Tables of some thousand tokens each, together every item once, in no particular order, on every process. One row per item; a list has an
        entry per answer token, in nats where it is not a count.

        * `item`: its number.
        * `log_probs`: of the token that the example has.
        * `correct`: whether that is the most likely token (the first of them where several are).
        * `rank`: 1 + how many tokens are more likely; tokens as likely as it do not count, so ties share the best rank.
        * `entropy`: of the model's distribution over the vocabulary.
        * `vocab_mean`, `vocab_std`: mean and standard deviation of log p(z) for z drawn from the model's own distribution p, as Min-K%++
          (arXiv 2404.02936) normalises by: E_p[log p(z)], which is −entropy, and its spread.
        * with `features`, `feature_<layer>`: pooled hidden states, float32.
        * with `lens`, `lens`: per layer from the first, the mean log-probability of the answer's tokens as the model's own final norm and
          output layer read them off there; null for other items, and where the model has no lens (the log says why).

        All lists of tokens but `log_probs` are null for items without `statistics`.

    Raises:
        ValueError: No examples, one without a labelled token or longer than the model's context, an item that does not exist, or pooling
            "all_tokens".
        NoHiddenStatesError: `features` of a model whose layers cannot be read.
    """
    if not len(examples):
        raise ValueError("there are no examples to read.")
    if features is not None and features.pooling == "all_tokens":
        raise ValueError("rows are kept one per example: pooling 'all_tokens' can only be streamed into moments.")
    chosen = chosen_items(items, len(examples))
    contents = [unpadded(example) for example in examples]
    view = open_view(model)
    _check(view, contents)
    through_layers = {*(range(len(examples)) if lens is True else lens or ())}
    in_full = {*(range(len(examples)) if statistics is True else statistics or ())}
    groups = group_equal((ids.tobytes(), labels.tobytes()) for ids, labels in contents)
    lengths = [len(contents[group[0]][0]) for group in groups]
    # A pass through the layers needs them for every token.
    whole = features is not None or bool(through_layers)
    plan, is_shared = (
        (batches(lengths, batch_size, [view]), False)
        if whole
        else plan_reading(lengths, [_prompt(*contents[group[0]]) for group in groups], batch_size, [view])
    )

    plan = asked_for(plan, groups, chosen)

    def tables() -> Iterator[pa.Table]:
        if not plan:
            return
        with undisturbed(view.model):
            settings = {"with_lens": bool(through_layers), "share": is_shared}
            answers = _AnswerPass(view, examples[0], features, batch_size=batch_size, **settings)

        def read(rows: list[int]) -> dict[str, list]:
            batch = right_padded([examples[groups[row][0]] for row in rows])
            marks = [[not asked.isdisjoint(groups[row]) for row in rows] for asked in (through_layers, in_full)]
            found = answers.read(batch, *marks)
            wanted = copies(rows, groups, chosen)
            columns = {name: [values[place] for place, _ in wanted] for name, values in found.items()}
            return {"item": [item for _, item in wanted], **columns}

        done = rounds(
            plan,
            read,
            models=[view.model],
            tokens=lambda rows: sum(lengths[row] for row in rows),
            split=halves,
            label=label,
            progress=progress,
        )
        for round_ in done:
            yield _table([columns for _, columns in round_], through_layers, in_full, with_lens=bool(lens))

    return tables()


def _prompt(ids: np.ndarray, labels: np.ndarray) -> tuple[int, ...]:
    """What comes before the answer's first token; at least the first token, which nothing predicts."""
    return tuple(ids[: 1 + int((labels[1:] != IGNORE_INDEX).argmax())].tolist())


def _check(view: View, contents: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    limit = context_length(view.model)
    for item, (ids, labels) in enumerate(contents):
        if not (labels[1:] != IGNORE_INDEX).any():
            raise ValueError(f"example {item} has no labelled token after its first; nothing can be read there.")
        if limit is not None and len(ids) > limit:
            raise ValueError(
                f"example {item} has {len(ids)} tokens; the model's context holds {limit}. Shorten or drop it."
            )


def _table(
    parts: Sequence[Mapping[str, list]], through_layers: set[int], in_full: set[int], *, with_lens: bool
) -> pa.Table:
    """One table of what the batches of a round left."""
    joined_parts = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    items = joined_parts.pop("item")
    lenses = joined_parts.pop("lens", [None] * len(items))
    arrays = {"item": pa.array(items, pa.int64())}
    for name, values in joined_parts.items():
        if name in TOKEN_COLUMNS:
            kept = values if name == "log_probs" else _only(in_full, items, values)
            arrays[name] = pa.array(kept, TOKEN_COLUMNS[name])
        else:
            arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(values)), len(values[0]))
    if with_lens:
        arrays["lens"] = pa.array(_only(through_layers, items, lenses), pa.list_(pa.float64()))
    return pa.table(arrays)


def _only(asked: set[int], items: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Values of the items that were asked for, None of others, which may have been read with an equal one."""
    return [value if item in asked else None for item, value in zip(items, values, strict=True)]


@dataclass
class _Caught:
    """What one batch's forward passes showed of the layers.

    Attributes:
        at_answers: By layer, the states that predict answer tokens, shape `(answer tokens, width)`.
        pooled: By layer, pooled states, shape `(sequences, width)`.
    """

    at_answers: dict[int, torch.Tensor] = field(default_factory=dict)
    pooled: dict[int, torch.Tensor] = field(default_factory=dict)


class _AnswerPass:
    """One model, made ready to read batches of answers."""

    def __init__(
        self,
        view: View,
        example: Example,
        features: FeatureSettings | None,
        *,
        with_lens: bool,
        share: bool,
        batch_size: int,
    ):
        self.logits, self.features = LogitReader(view), features
        self.sharer = PromptSharer(self.logits, wanted=share, batch_size=batch_size)
        self.switch = rope_switch(view.model)
        self.lens: LogitLens | None = None
        self.layers: list[int] = []
        if features is None and not with_lens:
            return
        batch = right_padded([example])
        if features is not None:
            self.hidden = HiddenReader(view, batch.inputs)
            self.layers = chosen_layers(self.hidden.depth, features)
        if with_lens:
            self._find_lens(view, batch)

    def _find_lens(self, view: View, batch: Batch) -> None:
        try:
            self.hidden = hidden_reader(view, batch) if self.features is None else self.hidden
            self.lens = LogitLens(self.hidden, self.logits, batch)
        except NoHiddenStatesError as error:
            logger.warning("no logit lens for %s: %s", type(view.model).__name__, error)

    def read(self, batch: Batch, lens_wanted: Sequence[bool], in_full: Sequence[bool]) -> dict[str, list]:
        """By column, one value per sequence."""
        caught = _Caught()
        states = self._states(batch, caught, with_lens=self.lens is not None and self.lens.found and any(lens_wanted))
        tokens = self._tokens(states, batch, torch.tensor(in_full))
        found: dict[str, list] = {name: batch.by_row(values) for name, values in tokens.items()}
        if self.features is not None:
            for layer in self.layers:
                rows = project(caught.pooled[layer].cpu().double().numpy(), self.features)
                if not np.isfinite(rows).all():
                    raise ValueError(f"hidden states at layer {layer} are not all finite.")
                found[f"feature_{layer}"] = list(rows.astype(np.float32))
        if self.lens is not None:
            found["lens"] = self._through_layers(batch, caught, lens_wanted)
        return found

    def _states(self, batch: Batch, caught: _Caught, *, with_lens: bool) -> torch.Tensor:
        """What the output layer receives at answer positions; on the way layers are caught."""
        if self.features is None and not with_lens:
            return self.sharer.states(batch)
        device = self.logits.device
        inputs = [tensor.to(device) for tensor in (batch.input_ids, batch.attention_mask, *batch.answers[:2])]
        # Beyond a switch of positions a sequence is read twice, and its features are those of the whole.
        whole = self.switch is None or batch.input_ids.shape[1] <= self.switch
        pooling = self.layers if whole and self.layers and self.hidden.has_blocks else []
        if self.features is not None and not pooling:
            self.hidden.read(batch.inputs, self.layers, lambda layer, hidden: self._pool(layer, hidden, batch, caught))
        tapped = sorted({*pooling, *(range(1, self.hidden.depth + 1) if with_lens else ())})

        parts: list[Pass] = []
        by_layer: dict[int, dict[int, torch.Tensor]] = defaultdict(dict)

        def around(part: Pass) -> AbstractContextManager[None]:
            number = len(parts)
            parts.append(part)

            def consume(layer: int, hidden: torch.Tensor) -> None:
                hidden = self.hidden.of_tokens(layer, hidden, {"input_ids": part.input_ids})
                if with_lens and layer > 0:
                    own = hidden[:, -part.input_ids.shape[1] :]
                    by_layer[layer][number] = own[part.rows.to(own.device), part.positions.to(own.device)]
                if layer in pooling:
                    self._pool(layer, hidden, batch, caught)

            return self.hidden.listening(tapped, consume)

        states = self.logits.states(*inputs, around=around if tapped else None)
        for layer, by_part in by_layer.items():
            caught.at_answers[layer] = joined(parts, [by_part[number] for number in range(len(parts))])
        return states

    def _pool(self, layer: int, hidden: torch.Tensor, batch: Batch, caught: _Caught) -> None:
        assert self.features is not None
        caught.pooled[layer] = pool(hidden, batch.is_answer, self.features.pooling)

    def _tokens(self, states: torch.Tensor, batch: Batch, in_full: torch.Tensor) -> dict[str, np.ndarray]:
        """By column, shape `(answer tokens,)`; of sequences not `in_full` what was not asked for is 0."""
        rows, _, targets = batch.answers
        found = {
            name: np.zeros(len(states), kind.value_type.to_pandas_dtype()) for name, kind in TOKEN_COLUMNS.items()
        }
        for places, read in ((in_full[rows], token_statistics), (~in_full[rows], token_log_probs)):
            own = states if places.all() else states[places.to(states.device)]
            wanted, parts = targets[places], defaultdict[str, list[torch.Tensor]](list)
            for at, logits in self.logits.chunks(own):
                for name, values in read(logits, wanted[at].to(logits.device)).items():
                    parts[name].append(values.cpu())
            for name, chunks in parts.items():
                found[name][places.numpy()] = torch.cat(chunks).numpy()
        return found

    def _through_layers(self, batch: Batch, caught: _Caught, wanted: Sequence[bool]) -> list[np.ndarray | None]:
        """Mean log-probability per layer of the wanted sequences, None of the others."""
        assert self.lens is not None
        rows, _, targets = batch.answers
        kept = torch.tensor(wanted)[rows]
        if not self.lens.found or not kept.any():
            return [None] * len(batch)
        columns = []
        for layer in range(1, self.hidden.depth + 1):
            states = caught.at_answers[layer]
            columns.append(self.lens.log_probs(states[kept.to(states.device)], targets[kept]))
        sums = torch.zeros(len(batch), len(columns), dtype=torch.float64)
        sums.index_add_(0, rows[kept], torch.stack(columns, 1))
        means = (sums / torch.bincount(rows, minlength=len(batch))[:, None]).numpy()
        return [means[row] if wanted[row] else None for row in range(len(batch))]
