"""Log-probabilities and step divergences of completions under the model that they come from and under others.

Each batch runs through every model once, and the output layer is applied chunk by chunk to answer positions only. A model may read a
completion after another prompt than the one that it was drawn for; the completion's tokens, and so its steps, are the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import torch

from hf_unlearn.functional import IGNORE_INDEX, log_prob_divergence
from hf_unlearn.inference._batching import (
    Batch,
    Example,
    asked_for,
    chosen_items,
    copies,
    group_equal,
    right_padded,
)
from hf_unlearn.inference._completions import Completions
from hf_unlearn.inference._consistency import check_drawn
from hf_unlearn.inference._logits import LogitReader, log_softmax
from hf_unlearn.inference._memory import halves, is_out_of_memory
from hf_unlearn.inference._models import check_comparable
from hf_unlearn.inference._prompts import check_room, encode_prompts
from hf_unlearn.inference._rounds import rounds
from hf_unlearn.inference._rows import ScoredRows, completion_rows
from hf_unlearn.inference._shared_prompts import PromptSharer, plan_reading
from hf_unlearn.inference._views import View, Viewable, open_view, tell_apart


@dataclass
class OwnStates:
    """What a model that does not change computed on completions that do not change, for whoever they are scored against next.

    Attributes:
        limit: Bytes to keep at most; what does not fit is computed again.
        reader: How that model is read.
        states: What its output layer receives, per batch.
    """

    limit: int = 1 << 30
    reader: LogitReader | None = None
    states: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)

    def of(self, batch: tuple[int, ...], read: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The states of a batch, read unless they are known."""
        if batch in self.states:
            return self.states[batch]
        states = read()
        if sum(kept.nbytes for kept in self.states.values()) + states.nbytes <= self.limit:
            self.states[batch] = states
        return states

    def give_up(self) -> None:
        """Keep nothing from now on: memory is short."""
        self.states.clear()
        self.limit = 0


def cross_score(
    completions: Completions,
    *,
    sampled_from: str,
    models: Mapping[str, Viewable],
    own_prompts: Mapping[str, Sequence[Sequence[int]]] | None = None,
    batch_size: int = 32,
    progress: bool = True,
    own_states: OwnStates | None = None,
) -> ScoredRows:
    """Score completions under the model they come from and under others: `score_tables`, whole and in order.

    Returns:
        One row per completion and other model, ordered by other model, then as the completions, on every process.

    Raises:
        ValueError: `sampled_from` is not among the models, there is no other, their vocabularies differ, or `own_prompts` does not fit.
        RuntimeError: The model gives its own completions other log-probabilities than they were drawn with.
    """
    tables = score_tables(
        completions,
        sampled_from=sampled_from,
        models=models,
        own_prompts=own_prompts,
        batch_size=batch_size,
        progress=progress,
        own_states=own_states,
    )
    found = pa.concat_tables(list(tables))
    others = {name: place for place, name in enumerate(name for name in models if name != sampled_from)}
    by_other = [others[name] for name in found["scored_by"].to_pylist()]
    return ScoredRows(found.take(np.lexsort((found["item"].to_numpy(), by_other))).drop_columns("item"))


def score_tables(
    completions: Completions,
    *,
    sampled_from: str,
    models: Mapping[str, Viewable],
    own_prompts: Mapping[str, Sequence[Sequence[int]]] | None = None,
    items: Sequence[int] | None = None,
    own_states: OwnStates | None = None,
    batch_size: int = 32,
    progress: bool = True,
    label: str = "scoring",
) -> Iterator[pa.Table]:
    """Score completions under the model they come from and under others, table by table; equal ones of equal prompts are read once.

    Args:
        completions: Sampled from `models[sampled_from]`.
        sampled_from: Its name.
        models: By name. Loaded models that share weights are told apart (`tell_apart`).
        own_prompts: By other model, what it reads before a completion in place of the completion's own prompt: token ids, one for each of
            `completions.prompts`. Who is not named reads the completion's own.
        items: Which completions to give out, by row; default: all. Their batches are read whole (`asked_for`).
        own_states: Keeps what `models[sampled_from]` computes here, so that later calls with the same completions and batch size do not run
            that model again; it must not change in between.
        batch_size: Sequences at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Tables, together every item once per other model, in no particular order, on every process: `item`, the completion's row, and the
        columns of `ScoredRows`.

    Raises:
        ValueError: `sampled_from` is not among the models, there is no other, their vocabularies differ, an item does not exist, or
            `own_prompts` are of another model, of the one that was sampled from, not one for each prompt, or too long.
        RuntimeError: The model gives its own completions other log-probabilities than they were drawn with; said before a table that holds
            them is given out.
    """
    if sampled_from not in models or len(models) < 2:
        raise ValueError(f"models must name {sampled_from!r} and at least one other; got {sorted(models)}.")
    opened = {name: open_view(model) for name, model in tell_apart(models).items()}
    check_comparable({name: view.model for name, view in opened.items()})
    others = [name for name in opened if name != sampled_from]
    views = [opened[sampled_from], *(opened[name] for name in others)]
    asked = _asked(completions, {name: opened[name] for name in others}, own_prompts or {})
    chosen = chosen_items(items, len(completions))
    groups = group_equal(_content(completions, asked, item) for item in range(len(completions)))
    contents = [_content(completions, asked, group[0]) for group in groups]
    # Planned for whoever has the fewest prompts, and so the most to share.
    prompts = min(zip(*(own for own, _ in contents), strict=True), key=lambda own: len({*own}))
    lengths = [len(prompt) + len(answer) for prompt, (_, answer) in zip(prompts, contents, strict=True)]
    plan, is_shared = plan_reading(lengths, prompts, batch_size, views)
    own = OwnStates(limit=0) if own_states is None else own_states
    own.reader = own.reader or LogitReader(views[0])
    readers = [own.reader, *(LogitReader(view) for view in views[1:])]
    sharers = [PromptSharer(reader, wanted=is_shared, batch_size=batch_size) for reader in readers]

    def read(rows: list[int]) -> _Scores:
        batch = right_padded([_as_example(0, *contents[row]) for row in rows])
        try:
            known = own.of(tuple(groups[row][0] for row in rows), lambda: _states(sharers[0], 0, contents, rows))
            states = [known, *(_states(sharers[at], at, contents, rows) for at in range(1, len(views)))]
            return _score_batch(readers, states, batch, completions, copies(rows, groups, chosen))
        except Exception as error:
            if is_out_of_memory(error):
                own.give_up()
            raise

    done = rounds(
        asked_for(plan, groups, chosen),
        read,
        models=[view.model for view in views],
        tokens=lambda rows: len(views) * sum(lengths[row] for row in rows),
        split=halves,
        label=label,
        progress=progress,
    )

    def tables() -> Iterator[pa.Table]:
        checked = _Scores.none(len(views))
        for round_ in done:
            new = _Scores.of_all([scores for _, scores in round_])
            checked = _Scores.of_all([checked, new])
            check_drawn(
                completions,
                checked.items,
                torch.from_numpy(checked.sums[:, 0]),
                torch.from_numpy(checked.farthest),
                name=sampled_from,
                model=views[0].model,
            )
            yield _table(completions, new, sampled_from, others)

    return tables()


@dataclass(frozen=True, eq=False)
class _Scores:
    """Of some completions.

    Attributes:
        items: Their rows.
        sums: Log-probability under each model, then the step divergence from the first to each other one; float64, nats, shape
            `(items, 2 · models − 1)`.
        farthest: By how much the first model's log-probability of a token lies at most from what it was drawn with, in units of its
            logit's size; 0 where nobody knows that. Shape `(items,)`.
    """

    items: list[int]
    sums: np.ndarray
    farthest: np.ndarray

    @classmethod
    def none(cls, models: int) -> "_Scores":
        return cls([], np.zeros((0, 2 * models - 1)), np.zeros(0))

    @classmethod
    def of_all(cls, parts: Sequence["_Scores"]) -> "_Scores":
        return cls(
            [item for part in parts for item in part.items],
            np.concatenate([part.sums for part in parts]),
            np.concatenate([part.farthest for part in parts]),
        )


def _score_batch(
    readers: Sequence[LogitReader],
    states: Sequence[torch.Tensor],
    batch: Batch,
    completions: Completions,
    wanted: Sequence[tuple[int, int]],
) -> _Scores:
    """Scores of a batch's sequences, for the wanted completions among those that are equal to them."""
    rows, _, targets = batch.answers
    sums = torch.zeros(len(batch), 2 * len(readers) - 1, dtype=torch.float64)
    drawn_as: list[torch.Tensor] = []
    for at, values, own in _chunks(readers, states, targets):
        sums.index_add_(0, rows[at], values)
        drawn_as.append(own)
    own_tokens = batch.by_row(torch.cat(drawn_as))
    farthest = [_farthest(own_tokens[row], completions, item) for row, item in wanted]
    return _Scores([item for _, item in wanted], sums.numpy()[[row for row, _ in wanted]], np.array(farthest))


def _chunks(
    readers: Sequence[LogitReader], states: Sequence[torch.Tensor], targets: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Values of each position, float64 on the CPU, shape `(chunk, 2 · models − 1)`; and the first model's log-probability and its logit's
    size, shape `(chunk, 2)`."""
    for at, logits in readers[0].chunks(states[0]):
        own = log_softmax(logits)
        wanted = targets[at, None].to(own.device)
        log_probs, divergences = [own.gather(1, wanted)], []
        raw = logits.gather(1, wanted).to(own.dtype)
        size = torch.maximum(raw.abs(), (raw - log_probs[0]).abs()).clamp_min(1)
        for reader, other_states in zip(readers[1:], states[1:], strict=True):
            other = log_softmax(reader.logits(other_states[at]).to(own.device))
            log_probs.append(other.gather(1, wanted))
            divergences.append(log_prob_divergence(own, other)[:, None])
        yield at, torch.cat(log_probs + divergences, dim=1).cpu().double(), torch.cat([log_probs[0], size], 1).cpu()


def _farthest(own: np.ndarray, completions: Completions, item: int) -> float:
    if completions.log_probs is None:
        return 0.0
    drawn = completions.log_probs[item, completions.mask[item]].numpy()
    return float((np.abs(own[:, 0] - drawn) / own[:, 1]).max())


def _table(completions: Completions, scores: _Scores, sampled_from: str, others: Sequence[str]) -> pa.Table:
    """Rows of some completions: all of the first other model, then of the next."""
    items = scores.items
    columns = {
        name: getattr(completions, name)[items].repeat(len(others)).numpy()
        for name in ("prompt_index", "sample_index", "num_tokens", "truncated")
    }
    rows = completion_rows(
        {
            "sampled_from": [sampled_from] * (len(items) * len(others)),
            "scored_by": [name for name in others for _ in items],
            **columns,
            "log_prob_own": np.tile(scores.sums[:, 0], len(others)),
            "log_prob_other": scores.sums[:, 1 : len(others) + 1].T.reshape(-1),
            "step_divergence": scores.sums[:, len(others) + 1 :].T.reshape(-1),
        }
    )
    return rows.table.add_column(0, "item", pa.array(items * len(others), pa.int64()))


_Prompt: TypeAlias = tuple[int, ...]
_Content: TypeAlias = tuple[tuple[_Prompt, ...], tuple[int, ...]]
"""What each model reads before a completion, and the completion."""


def _asked(
    completions: Completions, others: Mapping[str, View], own_prompts: Mapping[str, Sequence[Sequence[int]]]
) -> list[Sequence[_Prompt]]:
    """By model, the one that was sampled from first, what it reads in place of each prompt.

    Raises:
        ValueError: Of a model that is not there, not one for each prompt, one without tokens, or one that leaves no room for a completion.
    """
    strangers = sorted(set(own_prompts) - set(others))
    if strangers:
        raise ValueError(f"own_prompts are for the other models, {', '.join(others)}; got some for {strangers[0]!r}.")
    for name, prompts in own_prompts.items():
        if len(prompts) != len(completions.prompts):
            raise ValueError(
                f"{name} needs a prompt for each of the {len(completions.prompts)} prompts of the completions, got {len(prompts)}."
            )
    given = {name: encode_prompts(prompts, None, name=f"prompts of {name}") for name, prompts in own_prompts.items()}
    for name, prompts in given.items():
        check_room(others[name].model, prompts, int(completions.num_tokens.max()))
    return [completions.prompts, *(given.get(name, completions.prompts) for name in others)]


def _content(completions: Completions, asked: Sequence[Sequence[_Prompt]], item: int) -> _Content:
    at = int(completions.prompt_index[item])
    return tuple(prompts[at] for prompts in asked), tuple(completions.answer(item))


def _as_example(model: int, prompts: Sequence[_Prompt], answer: Sequence[int]) -> Example:
    prompt = prompts[model]
    return {"input_ids": [*prompt, *answer], "labels": [*[IGNORE_INDEX] * len(prompt), *answer]}


def _states(sharer: PromptSharer, model: int, contents: Sequence[_Content], rows: Sequence[int]) -> torch.Tensor:
    """What a model's output layer receives where the answers of some rows are predicted, row by row; what is equal to it is read once."""
    different = group_equal((contents[row][0][model], contents[row][1]) for row in rows)
    batch = right_padded([_as_example(model, *contents[rows[places[0]]]) for places in different])
    states = sharer.states(batch)
    if len(different) == len(rows):
        return states
    read_as = {place: number for number, places in enumerate(different) for place in places}
    own = batch.by_row(np.arange(len(states)))
    order = np.concatenate([own[read_as[place]] for place in range(len(rows))])
    return states[torch.from_numpy(order).to(states.device)]
