"""The data of benchmarks: from folders as they are downloaded, from a Hub over real HTTP, and from the real files beside the repository."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from loopback_hub import loopback_hub

from hf_unlearn.benchmarks import BENCHMARKS, Source, load_benchmark
from hf_unlearn.benchmarks._rows import source_rows


TEXT = [{"text": f"text {at} of some length"} for at in range(3)]
ASKED = [{"question": f"Who is {at}?", "answer": f"{at} {{is}}\nsomebody"} for at in range(4)]
SHOTS = [{"question": "In {context}?", "answer": "yes\nof course"}]
CHOICES = [{"question": " Which? ", "choices": ["red", "blue", "green", "grey"], "answer": at} for at in range(4)]
PROBES = [
    {"query": f"{who} wrote ___.", "answer": "books", "subject": who, "level": "1", "type": "x"}
    for who in ("Stephen King", "Ann Lee", "Stephen King")
]
PAIRS = [{"text": f"What of {at}?", "labels": f"That of {at}."} for at in range(3)]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows))


def muse(folder: Path, pattern: str) -> None:
    for name, split, rows in (
        *(("privleak", side, TEXT) for side in ("forget", "retain", "holdout")),
        ("verbmem", "forget", [{"prompt": "It was", "gt": " a dark {night}"}]),
        *(("knowmem", f"{side}_qa", ASKED) for side in ("forget", "retain")),
        *(("knowmem", f"{side}_qa_icl", SHOTS) for side in ("forget", "retain")),
    ):
        write(folder / pattern.format(name=name, split=split), rows)


@pytest.mark.parametrize(
    "pattern", ["{name}/{split}-00000-of-00001.parquet", "data/news/{name}/{split}.json", "{name}/{split}.json"]
)
def test_muse_from_a_folder(tmp_path: Path, pattern: str):
    """As the Hub has it, and as its own repository has it."""
    muse(tmp_path, pattern)
    loaded = load_benchmark("muse:news", data=tmp_path)
    assert {name: found.role for name, found in loaded.sets.items()} == {
        "forget": "forget", "retain": "retain", "holdout": "holdout", "forget_verbmem": "forget", "forget_knowmem": "forget",
    }  # fmt: skip
    assert loaded.sets["forget_verbmem"].data[0] == {"prompt": "It was", "completion": " a dark {night}"}
    texts = loaded.sets["holdout"].data
    assert [(row["prompt"], row["completion"]) for row in texts] == [("", row["text"]) for row in TEXT]
    assert len(set(texts["person_id"])) == len(TEXT)
    known = loaded.sets["forget_knowmem"]
    assert known.data.to_list() == ASKED and known.examples.to_list() == SHOTS
    given = loaded.arguments()  # there is one base model, so it is the one
    assert given["reference"] == "muse-bench/MUSE-news_retrain" and given["original"] == "muse-bench/MUSE-news_target"
    assert given["benchmark"] == "muse:news@1" and given["max_new_tokens"] == 128
    assert set(given["sets"]) == {"forget_verbmem", "forget_knowmem"}


def test_shards_are_one_table(tmp_path: Path):
    for part in range(3):
        write(tmp_path / f"knowmem/forget_qa-0000{part}-of-00003.parquet", ASKED[part : part + 1])
    rows = source_rows(Source("knowmem", "forget_qa"), str(tmp_path))
    assert rows.to_list() == ASKED[:3]


def test_one_person_of_rwku(tmp_path: Path):
    names = ("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2")
    for name in names:
        write(tmp_path / "All" / f"{name}.json", PROBES)
    everybody = load_benchmark("rwku", data=tmp_path)
    assert everybody.label == "rwku:all@1" and {len(found.data) for found in everybody.sets.values()} == {3}
    assert {"question", "answer", "subject"} <= set(everybody.sets["forget"].data.column_names)
    one = load_benchmark("rwku:Stephen King", data=tmp_path)
    assert one.label == "rwku:Stephen King@1"
    for found in one.sets.values():
        assert {row["question"] for row in found.data} == {"Stephen King wrote ___."}
        assert (
            "subject" not in found.data.column_names
        )  # one person would be one cluster, and there would be no interval
    with pytest.raises(ValueError, match=r"no row has subject = 'Steven King'\. Did you mean 'Stephen King'"):
        load_benchmark("rwku:Steven King", data=tmp_path)
    with pytest.raises(ValueError, match="nobody has published a model that never saw"):
        one.arguments()
    assert one.arguments(reference="me/reference")["reference"] == "me/reference"


def test_the_hub_s_lists_of_knowundo_are_rows():
    cell = Dataset.from_list([{"train": PAIRS[:1], "val": PAIRS}])
    source = BENCHMARKS["knowundo"].configurations["privacy"].sets["forget"].source
    from hf_unlearn.benchmarks._rows import _nested, _renamed

    rows = _renamed(_nested(cell, source.nested), source)
    assert rows.to_list() == [{"question": pair["text"], "answer": pair["labels"]} for pair in PAIRS]
    with pytest.raises(ValueError, match="holds no rows"):
        _nested(Dataset.from_dict({"val": [[]]}), "val")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (Source("fact"), FileNotFoundError, "has none of fact, fact/train, fact/train-.*Did you mean 'facts'.*Found: facts"),
        (Source("facts", columns={"question": "q"}), ValueError, "no column 'q', as the benchmark says; the columns are question, answer"),
        (Source("facts", where={"person": "a"}), ValueError, "no column 'person' to choose by"),
        (Source("twice"), ValueError, "has twice.csv and twice.json; keep one"),
    ],
)  # fmt: skip
def test_data_that_are_not_as_described(tmp_path: Path, source: Source, error: type, message: str):
    write(tmp_path / "facts.json", ASKED)
    write(tmp_path / "twice.json", ASKED)
    (tmp_path / "twice.csv").write_text("question,answer\na,b\n")
    with pytest.raises(error, match=message):
        source_rows(source, str(tmp_path))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tofo", {}, "no benchmark 'tofo'.*Did you mean 'tofu'"),
        ("tofu", {}, "several configurations: say tofu:NAME with one of forget01, forget05, forget10"),
        ("tofu:forget1", {}, "no configuration of tofu 'forget1'.*Did you mean 'forget10'"),
        ("tofu:forget10", {"base_model": "Llama-3.2-1B"}, "Did you mean 'Llama-3.2-1B-Instruct'"),
        ("own.yaml", {}, "no file own.yaml"),
    ],
)
def test_a_name_that_is_none(name: str, options: dict, message: str):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_benchmark(name, **options)


def test_a_line_that_is_cut_is_no_missing_set(monkeypatch: pytest.MonkeyPatch):
    """The holdout set is optional; that the Hub cannot be reached does not mean that there is none."""

    def refuse(path: str, name: str, split: str) -> Dataset:
        if name.startswith("holdout"):
            raise ConnectionError("gone")
        return Dataset.from_list(ASKED)

    monkeypatch.setattr("hf_unlearn.data._sources.load_dataset", refuse)
    with pytest.raises(ConnectionError, match="tofu, holdout set: Cannot reach the Hub"):
        load_benchmark("tofu:forget10")

    def lacks(path: str, name: str, split: str) -> Dataset:
        if name.startswith("holdout"):
            raise ValueError("BuilderConfig 'holdout10' not found. Available: ['forget10']")
        return Dataset.from_list(ASKED)

    monkeypatch.setattr("hf_unlearn.data._sources.load_dataset", lacks)
    loaded = load_benchmark("tofu:forget10")
    assert "holdout" not in loaded.sets and "holdout10" in loaded.absent["holdout"]


@pytest.mark.shared_data
def test_tofu_from_the_real_files(shared_data: Path):
    loaded = load_benchmark("tofu:forget10", data=shared_data / "tofu", base_model="Llama-3.2-1B-Instruct")
    rows = {name: len(found.data) for name, found in loaded.sets.items()}
    assert rows == {"forget": 400, "retain": 400, "real_authors": 100, "world_facts": 117}
    assert "membership" in loaded.absent["holdout"] and "holdout10" in loaded.absent["holdout"]
    for name in ("forget", "retain"):
        people = loaded.sets[name].data["person_id"]
        assert len(set(people)) == 20 and len(set(people[:20])) == 1 and people[19] != people[20]
    assert not set(loaded.sets["forget"].data["person_id"]) & set(loaded.sets["retain"].data["person_id"])
    given = loaded.arguments()
    assert given["reference"] == "open-unlearning/tofu_Llama-3.2-1B-Instruct_retain90"
    assert given["original"] == "open-unlearning/tofu_Llama-3.2-1B-Instruct_full"
    assert given["prompt_template"].count("{question}") == 1 and "benchmark" in given
    nobody = load_benchmark("tofu:forget10", data=shared_data / "tofu")
    with pytest.raises(ValueError, match=r"say which with base_model= .*, or give a reference"):
        nobody.arguments()  # of several published references none is taken by chance


@pytest.mark.shared_data
def test_the_rows_of_one_author_stand_together(shared_data: Path):
    """What makes the clusters: in each block of 20 rows of forget05 one of the ten names is in (nearly) all rows, and in no other block."""
    names = (
        "Ameen",
        "Xin Lee",
        "Ben-David",
        "Abera",
        "Nakamura",
        "Marais",
        "Al-Hashim",
        "Patrick",
        "Al-Kuwaiti",
        "Abilov",
    )
    rows = load_benchmark("tofu:forget05", data=shared_data / "tofu").sets["forget"].data
    for place, name in enumerate(names):
        found = [at // 20 for at, row in enumerate(rows) if name.split()[-1] in f"{row['question']} {row['answer']}"]
        assert found.count(place) >= 18 and len(found) - found.count(place) <= 1, name


@pytest.mark.shared_data
def test_knowundo_from_the_real_files(shared_data: Path):
    loaded = load_benchmark("knowundo:privacy", data=shared_data / "knowundo")
    assert {name: len(found.data) for name, found in loaded.sets.items()} == {"forget": 110, "retain": 108}
    assert all(set(found.data.column_names) == {"question", "answer"} for found in loaded.sets.values())
    with pytest.raises(FileNotFoundError, match="copyright_unlearn_val"):
        load_benchmark("knowundo:copyright", data=shared_data / "knowundo")


PROGRAM = """
import json
from hf_unlearn.benchmarks import load_benchmark
out = {}
for name, data in (("muse:news", None), ("tofu:forget01", "me/tofu"), ("knowundo:privacy", None)):
    loaded = load_benchmark(name, data=data)
    out[name] = {each: found.data.to_list() for each, found in loaded.sets.items()}
    out[name]["absent"] = loaded.absent
print("RESULT", json.dumps(out))
"""


def test_from_a_hub(tmp_path: Path):
    """Over HTTP through `datasets`, with the layouts that the dataset cards declare."""
    files = tmp_path / "files"
    muse(files / "news", "{name}/{split}-00000-of-00001.parquet")
    card = {}
    for path in sorted((files / "news").rglob("*.parquet")):
        split = path.name.split("-")[0]
        card.setdefault(path.parent.name, []).append({"split": split, "path": f"{path.parent.name}/{split}-*"})
    configs = [{"config_name": name, "data_files": parts} for name, parts in card.items()]
    (files / "news" / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    tofu = ("forget01_perturbed", "retain_perturbed", "real_authors_perturbed", "world_facts_perturbed")
    for name in tofu:
        write(files / "tofu" / f"{name}.json", ASKED)
    configs = [{"config_name": name, "data_files": f"{name}.json"} for name in tofu]
    (files / "tofu" / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    for split in ("unlearn", "retention"):
        write(files / "knowundo" / "privacy" / f"{split}.json", [{"train": PAIRS[:1], "val": PAIRS}])
    parts = [{"split": split, "path": f"privacy/{split}.json"} for split in ("unlearn", "retention")]
    configs = [{"config_name": "privacy", "data_files": parts}]
    (files / "knowundo" / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    with loopback_hub(tmp_path / "served") as served:
        for name, folder in (("muse-bench/MUSE-News", "news"), ("me/tofu", "tofu"), ("zjunlp/KnowUnDo", "knowundo")):
            served.add(name, files / folder, kind="dataset")
        environment = {
            **os.environ, "HF_ENDPOINT": served.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT ")).split(" ", 1)[1])
    assert found["muse:news"]["forget_knowmem"] == ASKED and [
        row["completion"] for row in found["muse:news"]["forget"]
    ] == [row["text"] for row in TEXT]
    assert found["tofu:forget01"]["world_facts"] == ASKED
    assert "holdout01" in found["tofu:forget01"]["absent"]["holdout"]
    assert found["knowundo:privacy"]["forget"][0] == {"question": "What of 0?", "answer": "That of 0."}
