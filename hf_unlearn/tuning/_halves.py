"""A set in two halves: one that a search looks at, and one that it does not. Rows about the same stay together."""

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit.domains._text_splits import subjects_of
from hf_unlearn.data import prompt_token_ids
from hf_unlearn.data._columns import column_format


def halves(
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    cluster_column: str | None = None,
    prompt_template: str | None = None,
) -> tuple[Dataset, Dataset | None]:
    """Divide by clusters; where there is one alone, by prompts.

    Args:
        rows: Of the set.
        tokenizer: Of the prompts.
        seed: Decides which cluster goes where.
        cluster_column: Says which rows are about the same; default: as in an audit.
        prompt_template: How questions are put.

    Returns:
        The half to search on, which is not the smaller one by more than a cluster, and the other one; None where all rows have one prompt.

    Raises:
        ValueError: The column is not there, or does not say it of every row.
    """
    subjects, _ = subjects_of(rows, cluster_column)
    if column_format(rows.column_names) == "text":
        prompts = [str(text) for text in rows["text"]]
    else:
        prompts = list(map(str, prompt_token_ids(rows, tokenizer, prompt_template=prompt_template)))
    clusters = _linked(list(subjects), prompts) if subjects is not None else prompts
    if len(set(clusters)) == 1:
        clusters = prompts
    names, counts = np.unique(clusters, return_counts=True)
    if len(names) == 1:
        return rows, None
    order = np.random.default_rng(seed).permutation(len(names))
    filled = np.cumsum(counts[order])
    # Cut where the halves are most alike; ties go to the half that is searched on.
    cut = len(names) - 1 - int(np.argmin(np.abs(2 * filled[:-1] - len(rows))[::-1]))
    mine = set(names[order[:cut]].tolist())
    searched = [place for place, name in enumerate(clusters) if name in mine]
    others = [place for place, name in enumerate(clusters) if name not in mine]
    return rows.select(searched), rows.select(others)


def _linked(subjects: list[str], prompts: list[str]) -> list[str]:
    """Subjects that are asked about with the same prompt are one."""
    root = {name: name for name in subjects}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    first: dict[str, str] = {}
    for subject, prompt in zip(subjects, prompts, strict=True):
        other = find(first.setdefault(prompt, subject))
        own = find(subject)
        root[max(own, other)] = min(own, other)
    return [find(name) for name in subjects]
