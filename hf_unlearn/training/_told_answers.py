"""Answers told of the subject and of its substitutes: the true one, and what the original says about each substitute.

Knows rows, token ids and names. Does not know losses or steps.
"""

import logging
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_unlearn.data import renamed
from hf_unlearn.inference import context_length, default_stop_token_ids, sample_completions
from hf_unlearn.training._compute import Compute
from hf_unlearn.training._counterfactual_rows import Asked, places_of
from hf_unlearn.training._stand_in_labels import Told


logger = logging.getLogger(__name__)


def told_answers(
    compute: Compute,
    rows: Sequence[Asked | None],
    tokenizer: PreTrainedTokenizerBase,
    *,
    names_per_answer: int,
    seed: int,
) -> list[tuple[Told, ...]]:
    """Per row the true answer and then one answer of the original about each substitute; none where the row is left out.

    Args:
        compute: Whose model answers, as it is now.
        rows: With their counterfactual prompts.
        tokenizer: Of both.
        names_per_answer: How many substitutes each of the original's answers is told of; never the one it was given about. The true answer is told of all.
        seed: Of the sampling, which depends on nothing else.

    Raises:
        ValueError: Prompts that leave no room for an answer.
    """
    samples = iter(_samples(compute, [row for row in rows if row is not None], tokenizer, seed))
    result: list[tuple[Told, ...]] = []
    lost = 0
    for row in rows:
        if row is None:
            result.append(())
            continue
        names = range(len(row.prompts))
        told = [_told(row, row.answer, row.subject, names, tokenizer)]
        for number in names:
            others = [(number + 1 + at) % len(names) for at in range(min(names_per_answer, len(names) - 1))]
            told.append(_told(row, next(samples), row.names[number], others, tokenizer))
        found = tuple(each for each in told[1:] if each is not None)
        lost += len(told) - 1 - len(found)
        # Without its name's other form the true answer is still an answer; read as it stands.
        result.append((told[0] or _as_it_stands(row, row.answer, names), *found) if found else ())
    if lost:
        logger.warning(
            "%d answers with a substitute's name were left out: their text does not give their tokens back.", lost
        )
    return result


def _samples(compute: Compute, rows: list[Asked], tokenizer: PreTrainedTokenizerBase, seed: int) -> list[list[int]]:
    prompts = [prompt for row in rows for prompt in row.prompts]
    longest = max(len(row.answer) for row in rows)
    limit = context_length(compute.model)
    if limit is not None:
        # A name may be longer in tokens when the answer is told of another substitute.
        longest = max(1, min(longest, limit - max(len(prompt) for prompt in prompts)))
    completions = sample_completions(
        compute.model,
        prompts,
        num_samples=1,
        max_new_tokens=longest,
        seed=seed,
        stop_token_ids=default_stop_token_ids(compute.model, tokenizer),
        batch_size=compute.eval_batch_size,
        progress=compute.progress,
        label="counterfactual answers",
    )
    return [completions.answer(row) for row in range(len(completions))]


def _told(
    row: Asked, answer: list[int], name: str, others: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> Told | None:
    """The answer about `name` as the subject's and as the others'; None if its tokens cannot be had back from its text."""
    if not name:
        return _as_it_stands(row, answer, others)
    body = [token for token in answer if token not in tokenizer.all_special_ids]
    text = tokenizer.decode(body)
    targets = [row.subject, *(row.names[at] for at in others)]
    texts = [renamed(text, name, target) for target in targets]
    if all(other == text for target, other in zip(targets, texts, strict=True) if target != name):
        found = _as_it_stands(row, answer, others)
    else:
        if _encoded(tokenizer, text) != body or answer[: len(body)] != body:
            return None
        ours, *theirs = [_encoded(tokenizer, other) + answer[len(body) :] for other in texts]
        prompts = [row.prompts[at] for at in others]
        found = Told(ours, prompts, theirs, [places_of(ours, each) for each in theirs])
    swaps = [_swaps(row.names[at], row.subject, tokenizer) for at in others]
    return Told(found.ids, found.prompts, found.answers, found.places, swaps)


def _as_it_stands(row: Asked, answer: list[int], others: Sequence[int]) -> Told:
    same = np.arange(len(answer))
    return Told(answer, [row.prompts[at] for at in others], [answer] * len(others), [same] * len(others))


def _encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _swaps(name: str, subject: str, tokenizer: PreTrainedTokenizerBase) -> dict[int, int]:
    """Tokens that begin a substitute's name, to those that begin the subject's, at the start of a text and inside."""
    found = {}
    for before in ("", " "):
        theirs, ours = _encoded(tokenizer, before + name), _encoded(tokenizer, before + subject)
        if theirs and ours and theirs[0] != ours[0]:
            found[theirs[0]] = ours[0]
    return found
