"""TOFU (arXiv 2401.06121): questions about fictitious authors, from the Hub or from a local folder with the same files.

Knows that a split's paraphrased and perturbed answers are in a second file, and joins the two. Does not know pocket, which has
the same columns from the start.
"""

import os

from datasets import Dataset

from hf_unlearn.data._sources import read_configuration


TOFU_ID = "locuslab/TOFU"
TOFU_COLUMNS = ("question", "answer", "paraphrased_question", "paraphrased_answer", "perturbed_answer")

# Only these have a companion; the one for retain99 and the like, `retain_perturbed`, is a split of its own.
_COMPANIONS = {
    name: f"{name}_perturbed" for name in ("forget01", "forget05", "forget10", "real_authors", "world_facts")
}


def load_tofu(name: str, *, path_or_id: str | os.PathLike[str] = TOFU_ID) -> Dataset:
    """One split of TOFU.

    Args:
        name: A configuration: `forget01`, `forget05`, `forget10`, `retain99`, `retain95`, `retain90`, `full`,
            `real_authors`, `world_facts`, or a `..._perturbed` one as it stands.
        path_or_id: Hub id, or a folder with `<name>.json` files (one object a line).

    Returns:
        `question` and `answer`; for splits with perturbed answers also `paraphrased_question`, `paraphrased_answer` (both
        only for forget and retain splits) and `perturbed_answer` (a list).

    Raises:
        FileNotFoundError: The folder has no such configuration; says which it has.
        ValueError: The two files of a split do not hold the same questions.
    """
    rows = read_configuration(path_or_id, name, split="train")
    if name in _COMPANIONS:
        companion = read_configuration(path_or_id, _COMPANIONS[name], split="train")
        _require_same_questions(rows, companion, name)
        rows = companion
    return rows.select_columns([column for column in TOFU_COLUMNS if column in rows.column_names])


def _require_same_questions(rows: Dataset, companion: Dataset, name: str) -> None:
    # The companion repeats question and answer, so that joining is checking; a wrong pairing would go unseen in every number.
    pairs, others = (list(zip(part["question"], part["answer"], strict=True)) for part in (rows, companion))
    if pairs != others:
        raise ValueError(
            f"{name} and {_COMPANIONS[name]} do not hold the same questions and answers in the same order "
            f"({len(pairs)} and {len(others)} rows). Download both files of one revision."
        )
