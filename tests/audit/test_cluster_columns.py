"""Whom rows are about decides what intervals count: by the column that is named, by a usual one, else each prompt."""

import pytest
from datasets import Dataset
from small_audits import arguments, token_rows

from hf_unlearn.audit import audit
from hf_unlearn.audit.domains._text_splits import load_splits
from hf_unlearn.data import load_pocket


def changed(rows: Dataset, **columns) -> Dataset:
    for name, values in columns.items():
        rows = rows.add_column(name, values)
    return rows


def measured(forget: Dataset, **options):
    return audit(**arguments(forget=forget, retain=None, holdout=None, metrics=["probability", "fade", "residual_ratio"], **options))  # fmt: skip


def test_rows_about_one_person_are_one():
    """By default; every interval is over people, and a reader is told."""
    alone, people = measured(token_rows(1, 12)), measured(token_rows(1, 12, people=4))
    for key in ("probability/forget", "fade/forget", "residual_ratio/forget"):
        assert (alone.metrics[key].clusters, people.metrics[key].clusters) == (12, 4)
        assert people.metrics[key].value == pytest.approx(alone.metrics[key].value, rel=1e-9)
        assert people.metrics[key].confidence_interval != alone.metrics[key].confidence_interval
    assert any("12 forget examples have 4 different values of person_id" in note for note in people.notes)
    assert not any("count as one" in note for note in alone.notes)


def test_the_named_column_goes_before_the_usual_ones():
    rows = changed(token_rows(1, 12, people=4), family=[at % 3 for at in range(12)], subject=["a", "b"] * 6)
    assert measured(rows).metrics["probability"].clusters == 4
    assert measured(rows, cluster_column="family").metrics["probability"].clusters == 3
    assert measured(rows.remove_columns("person_id")).metrics["probability"].clusters == 2


@pytest.mark.parametrize("nobody", [None, ""])
def test_rows_about_nobody_are_not_about_the_same(nobody):
    names = ["a", "a", nobody, nobody, nobody, "b", "b", "b"]
    rows = changed(token_rows(1), person_id=names)
    assert measured(rows).metrics["probability"].clusters == 8
    with pytest.raises(ValueError, match="forget: the cluster column 'person_id' is empty in some rows"):
        measured(rows, cluster_column="person_id")


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(
        ValueError, match="forget: there is no cluster column 'author'; the columns are input_ids, labels, person_id"
    ):
        measured(token_rows(1, people=2), cluster_column="author")
    with pytest.raises(ValueError, match="retain: there is no cluster column 'person_id'"):
        audit(**arguments(forget=token_rows(1, people=2), cluster_column="person_id"))
    with pytest.raises(TypeError, match="cluster_column"):
        measured(token_rows(1), cluster_column=3)


def test_chunks_of_texts_by_one_author_are_one():
    pocket = load_pocket("nano")
    texts = Dataset.from_dict(
        {"text": [" ".join(row["question"] for row in pocket.retain.select(range(at, at + 6))) for at in (0, 6, 12)]}
    )
    options = {"tokenizer": pocket.tokenizer, "max_examples": 99, "seed": 0, "allow_overlap": False, "context": 32}
    plain = load_splits({"forget": texts}, **options)["forget"]
    assert len(plain) > 3 == plain.clusters.max() + 1
    mine = load_splits({"forget": changed(texts, author=["x", "y", "x"])}, cluster_column="author", **options)[
        "forget"
    ]
    assert len(mine) == len(plain) and mine.clusters.max() + 1 == 2
    assert mine.kind == "different values of author"
    assert (mine.clusters[plain.clusters == 0] == mine.clusters[plain.clusters == 2][0]).all()
