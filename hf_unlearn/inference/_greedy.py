"""What a model answers when it takes its most likely token each time, whatever its generation settings say.

Penalties, suppressed tokens and beams would make it an answer to another question, silently: all settings are set aside, and a guard proves on
one step that nothing touches the logits. Knows prompts and one model. Does not know what the answers are compared with.
"""

import math
from collections.abc import Iterator, Sequence

import pyarrow as pa
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel

from hf_unlearn.inference._batching import asked_for, batches, chosen_items, copies, group_equal
from hf_unlearn.inference._drawing import LEG, Greedy, Growing
from hf_unlearn.inference._generation import guard, neutralise, pads_well
from hf_unlearn.inference._memory import halves
from hf_unlearn.inference._models import base_model, context_length, undisturbed
from hf_unlearn.inference._placement import input_device
from hf_unlearn.inference._prefix import can_drop_rows, left_padded, takes_dynamic_cache
from hf_unlearn.inference._prompts import check_room, default_stop_token_ids, encode_prompts
from hf_unlearn.inference._rounds import rounds
from hf_unlearn.inference._views import View, Viewable, open_view


GREEDY_SCHEMA = pa.schema([("item", pa.int64()), ("tokens", pa.list_(pa.int32())), ("truncated", pa.bool_())])


def greedy_tables(
    model: Viewable,
    prompts: Sequence[Sequence[int]],
    *,
    items: Sequence[int] | None = None,
    max_new_tokens: int = 128,
    stop_token_ids: Sequence[int] | None = None,
    known: Sequence[Sequence[int]] | None = None,
    batch_size: int = 64,
    progress: bool = True,
    label: str = "generating",
) -> Iterator[pa.Table]:
    """The greedy completion of each prompt, table by table: the most likely token each time, the one of lowest number where several are.

    Equal prompts are completed once. Neighbours in length go together, rows that have ended leave the batch, and nothing of this changes a
    token, as far as floating point allows: two tokens whose logits are a rounding apart may change places in another batch.

    Args:
        model: Loaded model, path or Hub id, or a model in its role. Its mode and `generation_config` stay as they were.
        prompts: Token ids.
        items: Which prompts to complete, by number; default: all. Their batches are read whole (`asked_for`).
        max_new_tokens: Where a completion is cut.
        stop_token_ids: Tokens that end a completion; default: what the model names as end tokens.
        known: How each completion begins, as far as that is known: tokens that were found to be the most likely ones, each after those before it.
            They are read at once, not generated one by one; what they end need not be generated at all.
        batch_size: Rows at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Tables, together every item once, in no particular order, on every process: `item`; `tokens`, the end token included; and
        `truncated`, whether the completion was cut before its end.

    Raises:
        ValueError: No prompts, an empty prompt, one that leaves no room in the model's context, an item that does not exist, counts below 1, or a
            model that gives NaN; beginnings of other prompts.
        RuntimeError: The model changes its logits while generating in a way that cannot be set aside.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}.")
    prompt_ids = encode_prompts(prompts, None)
    view = open_view(model)
    check_room(view.model, prompt_ids, max_new_tokens)
    stops = tuple(stop_token_ids) if stop_token_ids is not None else default_stop_token_ids(view.model)
    chosen = chosen_items(items, len(prompt_ids))
    groups = group_equal(prompt_ids)
    begun = _begun(known, groups, len(prompt_ids), max_new_tokens, stops)
    ended = [row for row, begin in enumerate(begun) if _has_ended(begin, max_new_tokens, stops)]
    open_ = sorted({*range(len(groups))}.difference(ended))
    limit = context_length(view.model)
    if limit is not None:
        # Beside it there may be a row that goes on to the end, and padding takes room too.
        for row in open_:
            begun[row] = begun[row][: max(0, limit - max_new_tokens - len(prompt_ids[groups[row][0]]))]
    distinct = [(*prompt_ids[group[0]], *begin) for group, begin in zip(groups, begun, strict=True)]

    def tables() -> Iterator[pa.Table]:
        if not chosen:
            return
        finished = [
            {"item": item, "tokens": [*begun[row]], "truncated": begun[row][-1] not in stops}
            for row in ended
            for item in groups[row]
            if item in chosen
        ]
        if finished:
            yield pa.Table.from_pylist(finished, schema=GREEDY_SCHEMA)
        plan = asked_for([[row] for row in open_], groups, chosen)
        if not plan:
            return
        shortest = min((distinct[row] for row in open_), key=len)
        with undisturbed(view.model), view.active():
            neutralise(view.model, max_new_tokens, stops)
            pads = pads_well(view.model, shortest, guard(view.model, shortest))
        # Each further batch costs all the steps of a generation, more than padding does.
        lengths = [len(distinct[row]) for row in open_]
        places = batches(lengths, batch_size, [view], padding=math.inf if pads else 1.0)
        plan = [[open_[place] for place in batch] for batch in places]
        done = rounds(
            asked_for(plan, groups, chosen),
            lambda rows: _completed(
                view, [distinct[row] for row in rows], [begun[row] for row in rows], max_new_tokens, stops
            ),
            models=[view.model],
            tokens=lambda rows: sum(len(distinct[row]) + max_new_tokens for row in rows),
            split=halves,
            label=label,
            progress=progress,
        )
        for round_ in done:
            found = [
                {"item": item, "tokens": answers[place], "truncated": answers[place][-1] not in stops}
                for rows, answers in round_
                for place, item in copies(rows, groups, chosen)
            ]
            yield pa.Table.from_pylist(found, schema=GREEDY_SCHEMA)

    return tables()


def _begun(
    known: Sequence[Sequence[int]] | None,
    groups: Sequence[Sequence[int]],
    count: int,
    max_new_tokens: int,
    stops: Sequence[int],
) -> list[tuple[int, ...]]:
    """Of each distinct prompt the longest beginning that is known, up to its end."""
    if known is None:
        return [()] * len(groups)
    if len(known) != count:
        raise ValueError(f"known holds the beginnings of {len(known)} completions, of {count} prompts.")
    found = []
    for group in groups:
        longest = max((known[item] for item in group), key=len)[:max_new_tokens]
        end = next((place + 1 for place, token in enumerate(longest) if token in stops), len(longest))
        found.append(tuple(int(token) for token in longest[:end]))
    return found


def _has_ended(begin: Sequence[int], max_new_tokens: int, stops: Sequence[int]) -> bool:
    return len(begin) == max_new_tokens or (len(begin) > 0 and begin[-1] in stops)


def _completed(
    view: View,
    prompts: Sequence[Sequence[int]],
    begun: Sequence[Sequence[int]],
    max_new_tokens: int,
    stops: Sequence[int],
) -> list[list[int]]:
    """The completions of a batch, beginnings included."""
    found = _complete(view, prompts, [max_new_tokens - len(begin) for begin in begun], stops)
    return [[*begin, *rest] for begin, rest in zip(begun, found, strict=True)]


def _complete(
    view: View, prompts: Sequence[Sequence[int]], limits: Sequence[int], stops: Sequence[int]
) -> list[list[int]]:
    """What follows each prompt of a batch, each up to its own limit: beyond it there may be no room."""
    with view.active():
        inner, rule = base_model(view.model), Greedy(max(limits), stops)
        rows = Growing(*left_padded(prompts, device=input_device(inner)), [0] * len(prompts), limits)
        cache = _empty_cache(inner)
        # Without a cache that rows can be taken out of, those that have ended go on until the last one ends.
        leg = rule.max_new_tokens if cache is None else LEG
        while rows.live:
            left = min(limits[row] for row in rows.live) - rows.length
            neutralise(view.model, min(leg, left), rule.stops)
            rows.grow(inner, cache, rule)
    return rows.token_ids


def _empty_cache(model: PreTrainedModel | PeftModel) -> DynamicCache | None:
    """What `generate` is to keep between two legs; None where rows cannot be taken out of it."""
    if not takes_dynamic_cache(model):
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    return cache if can_drop_rows(cache) else None
