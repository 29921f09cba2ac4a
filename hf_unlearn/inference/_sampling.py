"""Completions drawn from a model as it is: true ancestral sampling, whatever its generation settings say.

Tempered or truncated sampling would make every divergence that is estimated from the samples a different quantity, silently.
So all settings are set aside, a guard proves on one step that nothing has touched the distribution, and each token keeps the
log-probability that it was drawn with, so that scoring can compare.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from hf_unlearn.inference._batching import batches, chosen_items
from hf_unlearn.inference._completions import Completions
from hf_unlearn.inference._drawing import LEG, Draw, Growing
from hf_unlearn.inference._generation import guard, neutralise, pads_well
from hf_unlearn.inference._models import base_model, undisturbed
from hf_unlearn.inference._placement import input_device
from hf_unlearn.inference._prefix import can_drop_rows, left_padded, shared_prefix_cache
from hf_unlearn.inference._prompts import Prompts, check_room, default_stop_token_ids, encode_prompts
from hf_unlearn.inference._rounds import rounds
from hf_unlearn.inference._views import View, Viewable, open_view


SAMPLE_SCHEMA = pa.schema(
    [
        ("item", pa.int64()),
        ("token_ids", pa.list_(pa.int32())),
        ("log_probs", pa.list_(pa.float32())),
        ("truncated", pa.bool_()),
    ]
)


def sample_completions(
    model: Viewable,
    prompts: Prompts,
    *,
    processing_class: PreTrainedTokenizerBase | None = None,
    num_samples: int = 8,
    max_new_tokens: int = 128,
    seed: int = 0,
    stop_token_ids: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: bool = True,
    label: str = "sampling",
) -> Completions:
    """Sample completions from p(·|prompt): temperature 1, the whole vocabulary, no penalties, no suppressed tokens.

    Sample number s of a prompt depends on the model, the prompt's tokens and `seed`; not on `batch_size`, the other prompts,
    their order, `num_samples` or the number of processes (up to ties in floating point). The same seed gives two models the
    same noise, so that models that agree produce the same samples. The work on a prompt is done once for all its samples.

    Args:
        model: Loaded model, path or Hub id, or a model in its role. Its mode, random state and `generation_config` stay as they were.
        prompts: Texts (the tokenizer adds what it adds to any text, such as a start token) or token ids.
        processing_class: The tokenizer; needed for texts, and for the end token where the model names none.
        num_samples: Completions per prompt.
        max_new_tokens: Where a completion is cut; such a completion is marked as truncated.
        seed: Of the noise.
        stop_token_ids: Tokens that end a completion; default: what model and tokenizer name as end tokens. Two models can
            only be compared under the same ones.
        batch_size: Rows at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What the bar says.

    Returns:
        `num_samples` completions per prompt, in the order of the prompts, on every process.

    Raises:
        ValueError: No prompts, an empty prompt, a prompt that leaves no room in the model's context, or counts below 1.
        RuntimeError: The model changes its distribution while generating in a way that cannot be set aside.
    """
    prompt_ids = encode_prompts(prompts, processing_class)
    view = open_view(model)
    stops = stop_token_ids if stop_token_ids is not None else default_stop_token_ids(view.model, processing_class)
    tables = sample_tables(
        view,
        prompt_ids,
        num_samples=num_samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        stop_token_ids=stops,
        batch_size=batch_size,
        progress=progress,
        label=label,
    )
    return completions_from_table(pa.concat_tables(list(tables)), prompt_ids, num_samples)


def sample_tables(
    model: Viewable,
    prompts: Sequence[Sequence[int]],
    *,
    items: Sequence[int] | None = None,
    num_samples: int = 8,
    max_new_tokens: int = 128,
    seed: int = 0,
    stop_token_ids: Sequence[int] | None = None,
    batch_size: int = 64,
    progress: bool = True,
    label: str = "sampling",
) -> Iterator[pa.Table]:
    """Sample as `sample_completions` does, table by table.

    Args:
        model: As there.
        prompts: Token ids; all of them, also where only some are completed: a prompt that occurs again has noise of its own.
        items: Which completions to give out: number of the prompt · `num_samples` + number of the sample, always all samples of a prompt. Default:
            all.
        num_samples: As there, and so are the others.
        max_new_tokens: Where a completion is cut.
        seed: Of the noise.
        stop_token_ids: Tokens that end a completion; default: what the model names as end tokens.
        batch_size: Rows at a time.
        progress: Whether to show a progress bar (on the main process).
        label: What the bar says.

    Returns:
        Tables, together every item once, in no particular order, on every process: `item`; `token_ids`, the end token included; `log_probs` that
        they were drawn with, nats; and `truncated`, whether the completion was cut before its end.

    Raises:
        ValueError: As `sample_completions`, or items that are not all samples of their prompts.
        RuntimeError: As `sample_completions`.
    """
    for name, value in {
        "num_samples": num_samples,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
    }.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    prompt_ids = encode_prompts(prompts, None)
    view = open_view(model)
    check_room(view.model, prompt_ids, max_new_tokens)
    stops = tuple(stop_token_ids) if stop_token_ids is not None else default_stop_token_ids(view.model)
    chosen = _whole_prompts(chosen_items(items, len(prompt_ids) * num_samples), num_samples)
    draw = Draw(prompt_ids, _noise_keys(prompt_ids), num_samples, max_new_tokens, seed, stops)

    def tables() -> Iterator[pa.Table]:
        shortest = min(prompt_ids, key=len)
        with undisturbed(view.model), view.active():
            neutralise(view.model, max_new_tokens, stops)
            pads = pads_well(view.model, shortest, guard(view.model, shortest))
        plan = [
            group
            for group in _plan(prompt_ids, num_samples, batch_size, view=view, pads=pads)
            if not chosen.isdisjoint(
                group.prompts
            )  # whole groups, so that a sample never hangs on what else is asked for
        ]
        done = rounds(
            plan,
            lambda group: _generate(view, group, draw),
            models=[view.model],
            tokens=lambda group: len(group.rows) * (len(prompt_ids[group.prompts[0]]) + max_new_tokens),
            split=_Group.halves,
            label=label,
            progress=progress,
        )
        for round_ in done:
            columns = zip(
                *(row for group, rows in round_ for row in rows if row[0] // num_samples in chosen), strict=True
            )
            yield pa.table(dict(zip(SAMPLE_SCHEMA.names, columns, strict=True)), schema=SAMPLE_SCHEMA)

    return tables()


def completions_from_table(table: pa.Table, prompts: Sequence[Sequence[int]], num_samples: int) -> Completions:
    """Completions from all tables of `sample_tables`, in the order of the prompts.

    Args:
        table: The tables, one after the other.
        prompts: That were completed.
        num_samples: Per prompt.

    Raises:
        ValueError: A completion is missing or there twice.
    """
    table = table.sort_by("item")
    index = torch.arange(len(prompts) * num_samples)
    if table["item"].to_pylist() != index.tolist():
        raise ValueError(
            f"expected every one of {len(index)} completions once ({len(prompts)} prompts, {num_samples} samples each); got {table.num_rows} rows."
        )
    rows = [torch.tensor(ids, dtype=torch.int64) for ids in table["token_ids"].to_pylist()]
    drawn = [torch.tensor(values, dtype=torch.float32) for values in table["log_probs"].to_pylist()]
    lengths = torch.tensor([len(row) for row in rows])
    return Completions(
        prompts=tuple(tuple(prompt) for prompt in prompts),
        token_ids=pad_sequence(rows, batch_first=True),
        mask=torch.arange(int(lengths.max())) < lengths[:, None],
        prompt_index=index // num_samples,
        sample_index=index % num_samples,
        truncated=torch.tensor(table["truncated"].to_pylist()),
        log_probs=pad_sequence(drawn, batch_first=True),
    )


@dataclass(frozen=True)
class _Group:
    """Rows that are generated together: some prompts of similar length, the same range of samples for each."""

    prompts: list[int]
    samples: range

    @property
    def rows(self) -> list[tuple[int, int]]:
        """Prompt and sample of each."""
        return [(prompt, sample) for prompt in self.prompts for sample in self.samples]

    def halves(self) -> "Sequence[_Group]":
        """Some of the prompts each, or some of the samples of the only one; nothing of a single row."""
        if len(self.prompts) > 1:
            middle = (len(self.prompts) + 1) // 2
            return _Group(self.prompts[:middle], self.samples), _Group(self.prompts[middle:], self.samples)
        middle = (len(self.samples) + 1) // 2
        parts = self.samples[:middle], self.samples[middle:]
        return [_Group(self.prompts, part) for part in parts] if len(self.samples) > 1 else ()


def _whole_prompts(items: Collection[int], num_samples: int) -> frozenset[int]:
    """The prompts whose samples the items are."""
    prompts = frozenset(item // num_samples for item in items)
    if len(prompts) * num_samples != len(items):
        raise ValueError(
            f"items must be all {num_samples} samples of each prompt; got {len(items)} items of {len(prompts)} prompts."
        )
    return prompts


def _plan(
    prompts: Sequence[Sequence[int]], num_samples: int, batch_size: int, *, view: View, pads: bool
) -> list[_Group]:
    """Groups of neighbours in length.

    Args:
        prompts: Token ids.
        num_samples: Per prompt.
        batch_size: Rows at a time.
        view: The model.
        pads: Whether the model answers alike behind padding; otherwise only prompts of one length come together.
    """
    lengths = [len(prompt) for prompt in prompts]
    # Each further group costs all the steps of a generation, more than padding does.
    together = batches(lengths, max(1, batch_size // num_samples), [view], padding=math.inf if pads else 1.0)
    samples = [range(at, min(at + batch_size, num_samples)) for at in range(0, num_samples, batch_size)]
    return [_Group(members, part) for members in together for part in samples]


def _noise_keys(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Where each prompt's noise begins: by its content, so that order and neighbours do not matter.

    A prompt that occurs twice gets other noise the second time: its samples must be independent.
    """
    seen: Counter[Sequence[int]] = Counter()
    keys = []
    for prompt in prompts:
        content = f"{seen[prompt]}:{','.join(map(str, prompt))}".encode()
        keys.append(int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big"))
        seen[prompt] += 1
    return keys


def _generate(view: View, group: _Group, draw: Draw) -> list[tuple[int, list[int], list[float], bool]]:
    """Of each row its number, generated ids, their log-probabilities, and whether it was cut."""
    with view.active():
        inner, repeats = base_model(view.model), len(group.samples)
        input_ids, attention_mask = left_padded(
            [draw.prompts[index] for index in group.prompts], device=input_device(inner)
        )
        cache = shared_prefix_cache(inner, input_ids, attention_mask, repeats=repeats)
        noise = [(draw.keys[prompt] + sample) % 2**64 for prompt, sample in group.rows]
        rows = Growing(input_ids.repeat_interleave(repeats, 0), attention_mask.repeat_interleave(repeats, 0), noise)
        # Rows that have ended go on until the last one ends, unless the others can be taken out of the cache.
        leg = LEG if cache is not None and can_drop_rows(cache) else draw.max_new_tokens
        while rows.live:
            neutralise(view.model, min(leg, draw.max_new_tokens - rows.length), draw.stops)
            rows.grow(inner, cache, draw)
    found = []
    for (prompt, sample), ids, log_probs in zip(group.rows, rows.token_ids, rows.log_probs, strict=True):
        found.append((prompt * draw.num_samples + sample, ids, log_probs, ids[-1] not in draw.stops))
    return found
