"""No damaged, stale or foreign file is used in silence, and none keeps an audit from being run again."""

import logging
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from damages import CUTS, DAMAGES, FLIPS, GONE, HARMLESS, KEY, LABEL, OTHERS, Folder
from fsspec.implementations.local import LocalFileSystem
from readings import COUNT, Reading, never, rows

from hf_unlearn.audit import EvidenceStore
from hf_unlearn.audit import _evidence as evidence_module
from hf_unlearn.audit import _shards as shards_module
from hf_unlearn.audit._shards import DamagedShardError, Shelf, storage


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three readings in eight shards of three rows each."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence_module, "SHARD_SECONDS", 0.0)
        patch.setattr(evidence_module.time, "monotonic", lambda: 0.0)
        for seed, (label, key) in enumerate([(LABEL, KEY), *OTHERS]):
            EvidenceStore(folder).table(label, key, COUNT, Reading(seed=seed))
    return folder


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Folder:
    return Folder(Path(shutil.copytree(sound, tmp_path / "evidence")))


def _lost(damage: str) -> set[int]:
    """The items that must be computed again; of all other shards nothing may be."""
    if damage == "two shards swapped":
        return {9, 10, 11, 15, 16, 17}
    if damage == "right checksum: an item of the next shard":
        return {9, 13, 14}
    if damage == "its file twice":
        return set()
    if "first shard" in damage or damage in ("directories only", "every shard cut", "every shard exchanged"):
        return set(range(COUNT))
    return {9, 10, 11}


def test_there_are_at_least_57_kinds():
    assert len(DAMAGES) >= 57


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_said_and_repaired(damage: str, folder: Folder, caplog: pytest.LogCaptureFixture):
    DAMAGES[damage](folder)
    again = Reading()
    with caplog.at_level(logging.WARNING):
        found = EvidenceStore(folder.path).table(LABEL, KEY, COUNT, again)
    assert found == rows(range(COUNT))
    assert set(again.computed) == _lost(damage)
    assert "computed again" in caplog.text and str(folder.path) in caplog.text
    assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, never) == rows(range(COUNT))


@pytest.mark.parametrize("damage", [*CUTS, *FLIPS])
def test_what_was_repaired_is_not_said_again(damage: str, folder: Folder, caplog: pytest.LogCaptureFixture):
    DAMAGES[damage](folder)
    EvidenceStore(folder.path).table(LABEL, KEY, COUNT, Reading())
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        EvidenceStore(folder.path).table(LABEL, KEY, COUNT, never)
    assert caplog.text == "" and len(folder.of(LABEL, KEY)) == 8


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_no_damage_costs_nothing(change: str, folder: Folder, caplog: pytest.LogCaptureFixture):
    HARMLESS[change](folder)
    with caplog.at_level(logging.WARNING):
        assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, never) == rows(range(COUNT))
    assert caplog.text == ""


@pytest.mark.parametrize("change", GONE)
def test_what_is_gone_is_computed_again(change: str, folder: Folder):
    lost = {"the first": {0, 1, 2}, "the last": {21, 22, 23}, "a shard": {9, 10, 11}}.get(change, set(range(COUNT)))
    GONE[change](folder)
    again = Reading()
    assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, again) == rows(range(COUNT))
    assert set(again.computed) == lost
    assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, never) == rows(range(COUNT))


def test_a_flipped_bit_is_noticed_at_every_place(folder: Folder):
    """Not only where Parquet reads: all bytes are under the checksum."""
    shelf = Shelf(*storage(folder.path), LABEL, KEY)
    sound = folder.shard.read_bytes()
    for place in range(0, len(sound), 7):
        folder.shard.write_bytes(sound[:place] + bytes([sound[place] ^ (1 << place % 8)]) + sound[place + 1 :])
        with pytest.raises(DamagedShardError, match="checksum"):
            shelf.read(folder.shard.name)


def test_a_shard_that_may_not_be_read_stays_and_is_used_when_it_may(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A server that is away for a minute must not cost what it holds."""
    cat = LocalFileSystem.cat_file

    def refuse(self, path, *arguments, **options):
        if path == str(folder.shard):
            raise PermissionError(13, "Permission denied", path)
        return cat(self, path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "cat_file", refuse)
        again = Reading()
        with caplog.at_level(logging.WARNING):
            assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, again) == rows(range(COUNT))
        assert again.computed == [9, 10, 11] and "PermissionError" in caplog.text
    assert folder.shard.is_file()
    assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, never) == rows(range(COUNT))


def test_damage_that_cannot_be_removed_is_passed_over(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A folder one may only read, as another user's."""

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    DAMAGES["cut to half"](folder)
    monkeypatch.setattr(LocalFileSystem, "rm_file", refuse)
    monkeypatch.setattr(shards_module, "write_atomically", refuse)
    for _ in range(2):
        again = Reading()
        with caplog.at_level(logging.WARNING):
            assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, again) == rows(range(COUNT))
        assert again.computed == [9, 10, 11]
    assert caplog.text.count("cannot resume from here") == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "swapped", "no file"])
def test_damage_on_other_storage_is_noticed_too(damage: str, sound: Path, caplog: pytest.LogCaptureFixture):
    memory = fsspec.filesystem("memory")
    url = f"memory://damaged-{damage.replace(' ', '-')}"
    for path in sound.iterdir():
        memory.pipe_file(f"{url}/{path.name}", path.read_bytes())
    shard = f"{url}/{Folder(sound).shard.name}"
    content = memory.cat_file(shard)
    if damage == "no file":
        memory.rm_file(shard)
        memory.pipe_file(f"{shard}/notes.txt", b"mine")
    else:
        other = memory.cat_file(f"{url}/{Folder(sound).shards[5].name}")
        flipped = bytes([content[0] ^ 1]) + content[1:]
        memory.pipe_file(shard, {"cut": content[:-9], "flipped": flipped, "swapped": other}[damage])
    again = Reading()
    with caplog.at_level(logging.WARNING):
        assert EvidenceStore(url).table(LABEL, KEY, COUNT, again) == rows(range(COUNT))
    assert again.computed == [9, 10, 11] and "computed again" in caplog.text
    assert EvidenceStore(url).table(LABEL, KEY, COUNT, never) == rows(range(COUNT))
    memory.rm(url, recursive=True)


def test_an_item_twice_is_no_group(folder: Folder):
    """Two rows of item 9 are as many as a group of two has."""
    folder.replace(lambda rows: pa.concat_tables([rows.slice(0, 1)] * 2))
    again = Reading()
    assert EvidenceStore(folder.path).table(LABEL, KEY, COUNT, again, whole=2) == rows(range(COUNT))
    assert {8, 9} <= set(again.computed)


def test_two_audits_at_a_time_leave_one_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second begins while the first is under way, with other batches; their shards overlap."""
    monkeypatch.setattr(evidence_module, "SHARD_SECONDS", 0.0)
    monkeypatch.setattr(evidence_module.time, "monotonic", lambda: 0.0)

    def meanwhile(missing):
        for found in Reading(batch=5)(missing):
            yield found
            if found["item"][0].as_py() == 10:
                assert EvidenceStore(tmp_path).table(LABEL, KEY, COUNT, Reading(batch=7)) == rows(range(COUNT))

    assert EvidenceStore(tmp_path).table(LABEL, KEY, COUNT, meanwhile) == rows(range(COUNT))
    again = Reading()
    assert EvidenceStore(tmp_path).table(LABEL, KEY, COUNT, again) == rows(range(COUNT))
    assert EvidenceStore(tmp_path).table(LABEL, KEY, COUNT, never) == rows(range(COUNT))
