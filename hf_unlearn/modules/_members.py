"""What the modules share that work on scores of members and non-members."""

from typing import Any

import numpy as np

from hf_unlearn.functional import few_clusters_note
from hf_unlearn.modules._spec import Input


SCORES = (
    Input(
        "scores",
        "score of each text under the candidate; higher = more likely a member (for example minus the loss)",
        "number",
    ),
    Input(
        "is_member",
        "whether the text is one of those in question (the forget set: true) or was never trained on (false)",
        "switch",
    ),
)


def sides(rows: dict[str, list], values: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores (or other values of the same rows) of members, and of non-members.

    Raises:
        ValueError: One side is empty.
    """
    member = np.array(rows["is_member"], bool)
    if member.all() or not member.any():
        raise ValueError(
            f"there must be members and non-members; all {len(member)} rows have is_member {bool(member[0])}."
        )
    values = np.asarray(rows["scores"] if values is None else values)
    return values[member], values[~member]


def sorted_clusters(rows: dict[str, list], clusters: list | None) -> np.ndarray | None:
    """Members first, as `functional` takes them."""
    return None if clusters is None else np.concatenate(sides(rows, clusters))


def note(rows: dict[str, list], clusters: list | None) -> str | None:
    """What must be known of the interval: the smaller side decides."""
    names = range(len(rows["scores"])) if clusters is None else clusters
    return few_clusters_note(min(len(np.unique(side)) for side in sides(rows, names)))
