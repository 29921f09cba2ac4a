"""A data set without what must be forgotten: which rows go, by which rule, and what of the forget set was not found. Trains nothing."""

import logging
from dataclasses import dataclass

from datasets import Dataset

from hf_unlearn.data import similar_rows
from hf_unlearn.data._row_content import contents


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removed:
    """What was taken out of a data set.

    Attributes:
        rows: Indices of the rows that went, in order.
        exact: How many of them say what a forget row says.
        near_duplicates: How many more are nearly equal to one.
        threshold: From which similarity on; None: near-duplicates were not looked for.
        rows_before: Of the data set.
        not_found: Indices of the forget rows that are not in the data set, word for word.
        forget_rows: How many forget rows there are.
    """

    rows: tuple[int, ...]
    exact: int
    near_duplicates: int
    threshold: float | None
    rows_before: int
    not_found: tuple[int, ...]
    forget_rows: int

    def __str__(self) -> str:
        near = "" if self.threshold is None else f", {self.near_duplicates} near-duplicates from {self.threshold:g}"
        return f"{len(self.rows)} of {self.rows_before} rows removed ({self.exact} exact{near})"

    def counts(self) -> dict[str, int | float | None]:
        """What may be written down: numbers, no rows."""
        return {
            "rows_before": self.rows_before,
            "rows_removed": len(self.rows),
            "removed_exact": self.exact,
            "removed_near_duplicates": self.near_duplicates,
            "near_duplicates_from": self.threshold,
            "forget_rows": self.forget_rows,
            "forget_rows_not_found": len(self.not_found),
        }


def without_rows(dataset: Dataset, forget: Dataset, threshold: float | None) -> tuple[Dataset, Removed]:
    """The rows that say nothing of the forget set, in their order and with all their columns.

    Args:
        dataset: What the original was trained on.
        forget: What must go, in whatever columns.
        threshold: Similarity from which a near-duplicate goes, too, see `similar_rows`; None: only rows that say the same.

    Raises:
        ValueError: Not one forget row is in the data, or nothing else is; or the two cannot be compared.
    """
    said, unwanted = contents(dataset, forget)
    wanted = set(unwanted)
    exact = {row for row, content in enumerate(said) if content in wanted}
    near = set[int]()
    if threshold is not None:
        near = {match.row for match in similar_rows(said, unwanted, threshold)} - exact
    there = {said[row] for row in exact}
    not_found = tuple(row for row, content in enumerate(unwanted) if content not in there)
    removed = Removed(
        tuple(sorted(exact | near)), len(exact), len(near), threshold, len(dataset), not_found, len(forget)
    )
    _check(removed)
    gone = exact | near
    logger.info("%s.", removed)
    return dataset.select([row for row in range(len(dataset)) if row not in gone]), removed


def _check(removed: Removed) -> None:
    if not removed.rows:
        tried = (
            f"nor a row that is similar from {removed.threshold:g} on"
            if removed.threshold is not None
            else "word for word; near_duplicates=0.7 looks for nearly equal ones, too"
        )
        raise ValueError(
            f"not one of the {removed.forget_rows} forget rows is in the {removed.rows_before} rows of the data, {tried}. A model that is "
            "retrained on the same rows says nothing about forgetting: pass the data that the original was trained on."
        )
    if len(removed.rows) == removed.rows_before:
        raise ValueError(
            f"all {removed.rows_before} rows are in the forget set or like it: nothing is left to train on. Pass the whole data that the "
            "original was trained on, or a higher threshold for near_duplicates."
        )
    if removed.not_found:
        logger.warning(
            "%d of %d forget rows are not in the data word for word%s; the original was perhaps trained on something else.",
            len(removed.not_found),
            removed.forget_rows,
            "" if removed.threshold is not None else " (near_duplicates=0.7 looks for nearly equal ones)",
        )
