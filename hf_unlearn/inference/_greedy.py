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
from hf_unlearn.inference._models import base_model, undisturbed
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
        batch_size: Rows at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What it says.

    Returns:
        Tables, together every item once, in no particular order, on every process: `item`; `tokens`, the end token included; and
        `truncated`, whether the completion was cut before its end.

    Raises:
        ValueError: No prompts, an empty prompt, one that leaves no room in the model's context, an item that does not exist, counts below 1, or a
            model that gives NaN.
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
    distinct = [prompt_ids[group[0]] for group in groups]
    rule = Greedy(max_new_tokens, stops)

    def tables() -> Iterator[pa.Table]:
        if not chosen:
            return
        shortest = min(distinct, key=len)
        with undisturbed(view.model), view.active():
            neutralise(view.model, max_new_tokens, stops)
            pads = pads_well(view.model, shortest, guard(view.model, shortest))
        # Each further batch costs all the steps of a generation, more than padding does.
        plan = batches(list(map(len, distinct)), batch_size, [view], padding=math.inf if pads else 1.0)
        done = rounds(
            asked_for(plan, groups, chosen),
            lambda rows: _complete(view, [distinct[row] for row in rows], rule),
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


def _complete(view: View, prompts: Sequence[Sequence[int]], rule: Greedy) -> list[list[int]]:
    """The completion of each prompt of a batch."""
    with view.active():
        inner = base_model(view.model)
        rows = Growing(*left_padded(prompts, device=input_device(inner)), [0] * len(prompts))
        cache = _empty_cache(inner)
        # Without a cache that rows can be taken out of, those that have ended go on until the last one ends.
        leg = rule.max_new_tokens if cache is None else LEG
        while rows.live:
            neutralise(view.model, min(leg, rule.max_new_tokens - rows.length), rule.stops)
            rows.grow(inner, cache, rule)
    return rows.token_ids


def _empty_cache(model: PreTrainedModel | PeftModel) -> DynamicCache | None:
    """What `generate` is to keep between two legs; None where rows cannot be taken out of it."""
    if not takes_dynamic_cache(model):
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    return cache if can_drop_rows(cache) else None
