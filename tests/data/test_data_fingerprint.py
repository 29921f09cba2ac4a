"""One hash for one content: whatever the rows hold, wherever they lie, in every process."""

import datetime
import decimal
import subprocess
import sys

import numpy as np
import pytest
from datasets import Array2D, Audio, Dataset, Features, Image, List, Value
from PIL import Image as Pictures

from hf_unlearn.data import data_fingerprint


def picture(seed: int, size: int = 8) -> Pictures.Image:
    return Pictures.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8))


def pictures(*seeds: int) -> Dataset:
    return Dataset.from_dict(
        {"image": [picture(seed) for seed in seeds], "label": list(seeds)},
        features=Features({"image": Image(), "label": Value("int64")}),
    )


def test_images_hash_by_content():
    one = data_fingerprint(pictures(1, 2))
    assert one == data_fingerprint(pictures(1, 2))
    assert one == data_fingerprint(pictures(1, 2).with_format("torch"))
    assert one == data_fingerprint(pictures(1, 2).with_transform(lambda batch: {"x": batch["label"]}))
    assert one != data_fingerprint(pictures(1, 3).remove_columns("label").add_column("label", [1, 2]))
    assert one != data_fingerprint(pictures(2, 1))


def test_the_hash_of_images_is_the_same_in_another_process():
    program = (
        "import sys; sys.path[:0] = ['tests/data']; from test_data_fingerprint import data_fingerprint, pictures; "
        "print(data_fingerprint(pictures(1, 2)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == data_fingerprint(pictures(1, 2))


def test_images_in_files_hash_as_the_same_images_in_memory(tmp_path):
    for seed in (1, 2):
        picture(seed).save(tmp_path / f"{seed}.png")
    paths = Dataset.from_dict({"image": [str(tmp_path / f"{seed}.png") for seed in (1, 2)], "label": [1, 2]})
    assert data_fingerprint(paths.cast_column("image", Image())) == data_fingerprint(pictures(1, 2))
    (tmp_path / "2.png").unlink()
    with pytest.raises(OSError, match=r"column 'image' points to .*2\.png"):
        data_fingerprint(paths.cast_column("image", Image()))


def test_images_inside_lists_and_dictionaries():
    def nested(*seeds: int) -> Dataset:
        features = Features({"page": {"figures": List(Image()), "name": Value("string")}})
        rows = [{"page": {"figures": [picture(seed) for seed in seeds], "name": "p"}}]
        return Dataset.from_list(rows, features=features)

    assert data_fingerprint(nested(1, 2)) == data_fingerprint(nested(1, 2))
    assert data_fingerprint(nested(1, 2)) != data_fingerprint(nested(1, 3))


def test_audio_hashes_without_being_decoded():
    def sound(content: bytes) -> Dataset:
        stored = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
        rows = Dataset.from_dict({"audio": [{"bytes": content, "path": None}, None]}, features=stored)
        return rows.cast_column("audio", Audio())

    assert data_fingerprint(sound(b"RIFF1")) == data_fingerprint(sound(b"RIFF1"))
    assert data_fingerprint(sound(b"RIFF1")) != data_fingerprint(sound(b"RIFF2"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"\x00\x01", b"\x00\x02"),
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), datetime.datetime(2026, 1, 1, 1)),
        (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
        (datetime.timedelta(1), datetime.timedelta(2)),
        (decimal.Decimal("1.10"), decimal.Decimal("1.11")),
        ([[0.0] * 2000], [[0.0] * 1999 + [1.0]]),
        ({"a": [{"b": b"x"}]}, {"a": [{"b": b"y"}]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_hash_by_content(one, other):
    hashes = [data_fingerprint(Dataset.from_list([{"value": value}])) for value in (one, one, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_large_arrays_hash_by_every_number():
    def array(last: float) -> Dataset:
        values = np.zeros((50, 50), dtype=np.float32)
        values[25, 25] = last
        return Dataset.from_dict({"x": [values]}, features=Features({"x": Array2D((50, 50), "float32")}))

    assert data_fingerprint(array(1)) == data_fingerprint(array(1))
    assert data_fingerprint(array(1)) != data_fingerprint(array(2))


def test_text_keeps_the_hash_that_cards_have_published():
    rows = Dataset.from_dict({"question": ["Ä?"], "answer": ["a, b"]})
    assert data_fingerprint(rows) == "00a3426f7f3fb5babc8e15110ac2c085bf65a623d3bf0fc5c6d73c6b24fb81e7"


def test_what_has_no_content_is_refused_by_column(monkeypatch):
    class Opaque:
        pass

    monkeypatch.setattr(
        "hf_unlearn.data._fingerprint.stored_rows", lambda dataset: iter([{"good": "a", "odd": [Opaque()]}])
    )
    with pytest.raises(TypeError, match=r"column 'odd' holds values of type Opaque, whose content cannot be hashed"):
        data_fingerprint(Dataset.from_list([{"good": "a", "odd": "b"}]))
    with pytest.raises(TypeError, match=r"expected a datasets\.Dataset to hash, got list"):
        data_fingerprint([{"text": "a"}])
