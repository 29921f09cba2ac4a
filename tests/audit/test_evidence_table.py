"""`EvidenceStore.table`: rows are kept while they are computed, used again for the same question only, on any storage."""

import errno
import logging
import os
import random
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from readings import COUNT, Reading, never, rows

from hf_unlearn._files import write_atomically
from hf_unlearn.audit import EvidenceStore
from hf_unlearn.audit import _evidence as evidence_module
from hf_unlearn.audit import _shards as shards_module
from hf_unlearn.audit._evidence import content_key


class Interrupt(BaseException):
    """As Ctrl-C, which no `except Exception` sees."""


@pytest.fixture(params=["path", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "memory":
        name = f"memory://{uuid4().hex}/evidence"
        yield name
        fsspec.filesystem("memory").rm(name, recursive=True)
    else:
        yield tmp_path / "new" / "evidence" if request.param == "path" else f"file://{tmp_path}/new/evidence"


@pytest.fixture
def every_table(monkeypatch: pytest.MonkeyPatch):
    """Every yielded table is worth a shard."""
    monkeypatch.setattr(evidence_module, "SHARD_SECONDS", 0.0)
    monkeypatch.setattr(evidence_module.time, "monotonic", lambda: 0.0)


def _shuffled(items):
    return random.Random(0).sample(list(items), len(items))


@pytest.mark.parametrize("order", [list, lambda items: items[::-1], _shuffled], ids=["given", "reversed", "shuffled"])
def test_kept_rows_are_the_computed_ones_whatever_their_order(folder, order, every_table):
    first = EvidenceStore(folder).table("answers", "key", COUNT, Reading(order=order))
    assert first == rows(range(COUNT)) == EvidenceStore(None).table("answers", "key", COUNT, Reading(order=order))
    again = EvidenceStore(folder).table("answers", "key", COUNT, never)
    assert again == first and again.schema.equals(first.schema, check_metadata=True)
    assert str(again.schema) == str(first.schema)


@pytest.mark.parametrize("error", [Interrupt, RuntimeError, MemoryError])
def test_a_break_inside_a_reading_costs_the_batch_that_was_under_way(folder, error):
    """Without any shard being due: what waits is written on the way out."""

    def breaks(missing):
        for found in Reading()(missing):
            if found["item"][0].as_py() == 9:
                raise error
            yield found

    with pytest.raises(error):
        EvidenceStore(folder).table("answers", "key", COUNT, breaks)
    rest = Reading()
    assert EvidenceStore(folder).table("answers", "key", COUNT, rest) == rows(range(COUNT))
    assert rest.computed == list(range(9, COUNT))


def test_label_key_and_version_each_make_another_reading(tmp_path: Path):
    store = EvidenceStore(tmp_path)
    versions = [content_key("answers", version, "fingerprint") for version in (1, 2)]
    asked = [(label, key) for label in ("answers-candidate", "answers-candidate@int8") for key in versions]
    for seed, (label, key) in enumerate(asked):
        reading = Reading(seed=seed)
        assert store.table(label, key, COUNT, reading) == rows(range(COUNT), seed)
        assert reading.computed == list(range(COUNT))
    for seed, (label, key) in enumerate(asked):
        assert store.table(label, key, COUNT, never) == rows(range(COUNT), seed)


@pytest.mark.parametrize(
    "label", ["a/b", "../up", "@int8 @q=4", "%2F", "*[a-z]?", "ответы", "a b\n", ".", "a-key", "a-key-000000", "C:\\x"]
)
def test_no_label_leaves_the_folder_or_meets_another(label, tmp_path: Path):
    store = EvidenceStore(tmp_path / "evidence")
    plain = store.table("a", "key", COUNT, Reading())
    assert store.table(label, "key", COUNT, Reading(seed=1)) == rows(range(COUNT), 1)
    assert store.table(label, "key", COUNT, never) == rows(range(COUNT), 1)
    assert store.table("a", "key", COUNT, never) == plain
    assert [path.name for path in tmp_path.iterdir()] == ["evidence"]
    assert len([path for path in (tmp_path / "evidence").iterdir() if path.is_file()]) == 2


@pytest.mark.parametrize("batch", [1, 3, 5, COUNT])
def test_groups_are_kept_whole_however_they_come(batch, tmp_path: Path, every_table):
    """Four samples of a prompt are drawn together: half of them is no evidence."""

    def breaks(missing):
        for found in Reading(batch, order=_shuffled)(missing):
            if 13 in found["item"].to_pylist():
                raise Interrupt
            yield found

    if batch < COUNT:
        with pytest.raises(Interrupt):
            EvidenceStore(tmp_path).table("completions", "key", COUNT, breaks, whole=4)
    rest = Reading()
    assert EvidenceStore(tmp_path).table("completions", "key", COUNT, rest, whole=4) == rows(range(COUNT))
    assert {12, 13, 14, 15} <= set(rest.computed)
    groups = [item // 4 for item in rest.computed]
    assert all(groups.count(group) == 4 for group in groups)
    assert EvidenceStore(tmp_path).table("completions", "key", COUNT, never, whole=4) == rows(range(COUNT))


def test_shards_of_single_items_are_stale_for_groups(tmp_path: Path, every_table, caplog: pytest.LogCaptureFixture):
    EvidenceStore(tmp_path).table("completions", "key", COUNT, Reading(batch=3))
    again = Reading()
    with caplog.at_level(logging.WARNING):
        found = EvidenceStore(tmp_path).table("completions", "key", COUNT, again, whole=4)
    assert found == rows(range(COUNT)) and again.computed == list(range(COUNT))
    assert "parts of a group of 4 items" in caplog.text


def test_rows_with_other_columns_than_now_are_computed_again(
    tmp_path: Path, every_table, caplog: pytest.LogCaptureFixture
):
    """Somebody changed a reading and forgot its version: a run that must compute anything notices."""

    def older(missing):
        for found in Reading()(missing):
            if found["item"][0].as_py() >= 9:
                raise Interrupt
            yield found.drop_columns("states")

    with pytest.raises(Interrupt):
        EvidenceStore(tmp_path).table("answers", "key", COUNT, older)
    again = Reading()
    with caplog.at_level(logging.WARNING):
        assert EvidenceStore(tmp_path).table("answers", "key", COUNT, again) == rows(range(COUNT))
    assert sorted(again.computed) == list(range(COUNT)) and "have other columns than now" in caplog.text
    assert EvidenceStore(tmp_path).table("answers", "key", COUNT, never) == rows(range(COUNT))


@pytest.mark.parametrize(
    ("yielded", "said"),
    [
        ([], "no rows came for 24 of 24 items, 0 among them"),
        ([range(COUNT - 1)], "no rows came for 1 of 24 items, 23 among them"),
        ([range(COUNT + 1)], "came twice or were not asked for"),
        ([range(-1, COUNT)], "came twice or were not asked for"),
        ([range(5), range(4, COUNT)], "came twice or were not asked for"),
        ([[0, 0]], "came twice or were not asked for"),
    ],
)
def test_a_reading_that_yields_other_items_is_refused(yielded, said, tmp_path: Path):
    with pytest.raises(ValueError, match=said):
        EvidenceStore(tmp_path).table("answers", "key", COUNT, lambda missing: [rows(items) for items in yielded])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns("item"), "one column 'item' of int64"),
        (lambda table: table.set_column(0, "item", table["item"].cast(pa.int32())), "one column 'item' of int64"),
        (lambda table: table.set_column(0, "item", pa.array([None] * 3, pa.int64())), "one column 'item' of int64"),
        (lambda table: table.append_column("item", table["item"]), "one column 'item' of int64"),
        (lambda table: table.drop_columns("text") if table["item"][0].as_py() else table, "followed rows with"),
    ],
)
def test_a_reading_with_other_columns_is_refused(change, said, tmp_path: Path):
    with pytest.raises(ValueError, match=said):
        EvidenceStore(tmp_path).table("answers", "key", COUNT, lambda missing: map(change, Reading()(missing)))


@pytest.mark.parametrize(("count", "whole"), [(0, 1), (-3, 1), (6, 4), (6, 0)])
def test_a_count_that_cannot_be_is_refused(count, whole, tmp_path: Path):
    with pytest.raises(ValueError, match="answers: expected a positive number of items in groups of"):
        EvidenceStore(tmp_path).table("answers", "key", count, never, whole=whole)


@pytest.mark.parametrize("until", [1, 4, 10**9])
def test_a_disk_that_cannot_take_rows_costs_the_resumption_not_the_result(
    until, tmp_path: Path, every_table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Said once; and what waited is written as soon as there is room again."""
    tries = []

    def full(path, write):
        tries.append(path)
        if len(tries) <= until:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomically(path, write)

    monkeypatch.setattr(shards_module, "write_atomically", full)
    with caplog.at_level(logging.WARNING):
        assert EvidenceStore(tmp_path).table("answers", "key", COUNT, Reading()) == rows(range(COUNT))
    assert caplog.text.count("cannot resume from here") == 1 and "No space left on device" in caplog.text
    monkeypatch.setattr(shards_module, "write_atomically", write_atomically)
    again = Reading()
    assert EvidenceStore(tmp_path).table("answers", "key", COUNT, again) == rows(range(COUNT))
    assert again.computed == ([] if until < 10**9 else list(range(COUNT)))


def test_a_file_where_the_folder_should_be_costs_the_resumption(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "evidence").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        found = EvidenceStore(tmp_path / "evidence").table("answers", "key", COUNT, Reading())
    assert found == rows(range(COUNT)) and "cannot resume from here" in caplog.text


def test_a_storage_that_answers_nothing_but_errors_costs_the_resumption(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Remote storage has exceptions of its own, which are no OSError."""

    class Forbidden(Exception):
        pass

    def refuse(*arguments, **options):
        raise Forbidden("403")

    memory = fsspec.filesystem("memory")
    for method in ("ls", "cat_file", "pipe_file", "makedirs"):
        monkeypatch.setattr(type(memory), method, refuse)
    with caplog.at_level(logging.WARNING):
        assert EvidenceStore("memory://forbidden").table("answers", "key", COUNT, Reading()) == rows(range(COUNT))
    assert "cannot be listed" in caplog.text and "Forbidden: 403" in caplog.text


def test_an_unknown_kind_of_url_is_refused_at_once():
    with pytest.raises(ValueError, match="nowhere"):
        EvidenceStore("nowhere://bucket/evidence")


def test_a_long_reading_leaves_few_shards_and_a_short_time_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An hour at a row a second: 1800 files of two seconds each would take longer to read than some to compute."""
    clock = [0.0]
    written = []
    monkeypatch.setattr(evidence_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(evidence_module.Shelf, "write", lambda shelf, table: written.append(clock[0]))

    def slow(missing):
        for item in missing:
            clock[0] += 1.0
            yield pa.table({"item": [item]})

    EvidenceStore(tmp_path).table("answers", "key", 3600, slow)
    assert len(written) < 300
    steps = np.diff([0.0, *written])
    assert (steps <= np.maximum(2, np.array(written) / 50) + 1).all()


def test_a_key_tells_classes_and_values_apart_but_not_batch_sizes():
    from dataclasses import dataclass

    @dataclass
    class Quantized:
        bits: int
        batch_size: int = 8

    @dataclass
    class Pruned:
        bits: int

    same = [content_key("answers", Quantized(8, batch_size)) for batch_size in (1, 8)]
    others = [
        content_key("answers", part)
        for part in (Quantized(4), Pruned(8), [Quantized(4)], [Quantized(8)], {"bits": 8}, 8, "8", None, [], [[]])
    ]
    assert same[0] == same[1] and len({same[0], *others}) == 1 + len(others)
    with pytest.raises(TypeError, match="plain values and dataclasses, got set"):
        content_key({1})
