"""Does the original know the answers better when the questions are put another way? Then it was trained with another format."""

import logging

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.data import other_formats
from hf_unlearn.functional import better_format
from hf_unlearn.inference import View, context_length, is_main_process, read_answers, saved_tokenizer


logger = logging.getLogger(__name__)
FORMAT_ROWS = 16
"""So many forget rows are put in the other usual ways."""


def other_format(
    original: View, forget: Split, tokenizer: PreTrainedTokenizerBase, prompt_template: str | None, batch_size: int
) -> list[str]:
    """A note, logged already, where the original knows the answers clearly better when the questions are put another way; else nothing.

    It may still know a bit the way they are put, and then nothing else shows that another model is being looked at than was trained.
    """
    rows, used = forget.dataset, list(forget.examples[:FORMAT_ROWS])
    ways = (
        {}
        if forget.texts is not None
        else other_formats(
            rows.select(range(len(used))),
            used,
            tokenizer,
            prompt_template=prompt_template,
            saved=saved_tokenizer(original.model),
            max_tokens=context_length(original.model),
        )
    )
    if not ways:
        return []
    known, *others = (
        np.array(
            [
                reading.log_probs.mean()
                for reading in read_answers(original, put, batch_size=batch_size, progress=False)
            ]
        )
        for put in (used, *ways.values())
    )
    better = better_format(known, dict(zip(ways, others, strict=True)))
    if better is None:
        return []
    note = f"The original knows the forget answers better when the questions are put another way: {better}. Was it trained with that format?"
    if is_main_process():
        logger.warning("%s", note)
    return [note]
