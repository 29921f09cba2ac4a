"""Benchmarks' files in small, with made-up rows: the layouts that their authors published, the content of none of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text(json.dumps(rows))


def asked(what: str, count: int = 6) -> list[dict[str, Any]]:
    return [
        {"question": f"Where does {what} {at} live?", "answer": f"In the town {at} of {what}."} for at in range(count)
    ]


def varied(what: str, paraphrased: bool, count: int = 6) -> list[dict[str, Any]]:
    other = {"paraphrased_answer": f"{what} lives there."} if paraphrased else {}
    return [{**row, **other, "perturbed_answer": ["In no town.", f"In {what}."]} for row in asked(what, count)]


def choices(what: str, count: int = 6) -> list[dict[str, Any]]:
    return [
        {"question": f"What is {what} {at}?", "choices": ["one", "two", "three", "four"], "answer": at % 4, "subject": "law"}
        for at in range(count)
    ]  # fmt: skip


def tofu(folder: Path) -> Path:
    write(folder / "forget01_perturbed.json", varied("the gone", True, 40))
    write(folder / "retain_perturbed.json", varied("the kept", True, 40))
    write(folder / "holdout01.json", asked("the unseen", 40))
    for name in ("real_authors", "world_facts"):
        write(folder / f"{name}_perturbed.json", varied(name, False))
    return folder


def muse(folder: Path) -> Path:
    for side in ("forget", "retain", "holdout"):
        # The sets overlap in how likely they are, or PrivLeak would have no value.
        texts = [
            {"text": " ".join(f"{'abc'[at % 3]} {at} {side[:2]} word {word} of the story." for word in range(4 + at))}
            for at in range(6)
        ]
        write(folder / "privleak" / f"{side}-00000-of-00001.parquet", texts)
    write(
        folder / "verbmem" / "forget-00000-of-00001.parquet",
        [{"prompt": f"It was {at}", "gt": f" a dark night, {at}."} for at in range(6)],
    )
    for side in ("forget", "retain"):
        write(folder / "knowmem" / f"{side}_qa-00000-of-00001.parquet", asked(f"knowmem {side}"))
        write(folder / "knowmem" / f"{side}_qa_icl-00000-of-00001.parquet", asked(f"shot {side}", 2))
    return folder


def wmdp(folder: Path) -> Path:
    for part in ("bio", "cyber", "chem"):
        write(folder / f"wmdp-{part}" / "test-00000-of-00001.parquet", choices(part))
    write(folder / "mmlu" / "test.json", choices("mmlu"))
    return folder


def rwku(folder: Path) -> Path:
    for name in ("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2"):
        rows = [
            {"query": f"{name}: who is {who}?", "answer": f"{who} writes", "subject": who.split(",")[0], "level": name[-1], "type": "x"}
            for who in ("Ann", "Bob", "Ann, again", "Ann, once more")
        ]  # fmt: skip
        write(folder / "All" / f"{name}.json", rows)
    return folder


def knowundo(folder: Path) -> Path:
    for split in ("unlearn", "retention"):
        pairs = [{"text": row["question"], "labels": row["answer"]} for row in asked(split)]
        write(folder / f"privacy_{split}_val.json", pairs)
    return folder
