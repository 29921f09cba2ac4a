"""Every notation leads to the same rows, and every mistake to a sentence that helps."""

import json

import datasets
import pytest
from datasets import Dataset, DatasetDict

from hf_unlearn.data import check_disjoint, data_fingerprint, load_data, load_tofu


ROWS = [{"question": "Ä?", "answer": "a, b"}, {"question": "Two\nlines?", "answer": "c"}]


def write(folder, suffix):
    path = folder / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS), encoding="utf-8")
    elif suffix == ".csv":
        Dataset.from_list(ROWS).to_csv(path)
    else:
        Dataset.from_list(ROWS).to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_files_hold_the_same_rows(suffix, tmp_path):
    path = write(tmp_path, suffix)
    for given in (path, str(path), f"{tmp_path}:rows", str(tmp_path)):
        assert load_data(given).select_columns(["question", "answer"]).to_list() == ROWS
    assert data_fingerprint(load_data(path)) == data_fingerprint(Dataset.from_list(ROWS))


def test_json_lines_under_the_name_of_json(tmp_path):
    write(tmp_path, ".jsonl").rename(tmp_path / "rows.json")
    assert load_data(tmp_path / "rows.json").to_list() == ROWS


def test_datasets_pass_through():
    dataset = Dataset.from_list(ROWS)
    assert load_data(dataset) is dataset
    assert load_data(DatasetDict(train=dataset)) is dataset
    with pytest.raises(ValueError, match="No split 'test' in the DatasetDict; it has: train"):
        load_data(DatasetDict(train=dataset), split="test")


def test_pocket_by_name():
    assert load_data("pocket-nano:forget_ood")[0]["person_id"] == "ship-00"
    assert len(load_data("pocket:retain")) > len(load_data("pocket-nano:retain"))
    with pytest.raises(ValueError, match=r"Unknown pocket split 'forgot'. Choose one of: retain, forget"):
        load_data("pocket:forgot")


def test_a_hub_id_is_handed_to_datasets(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "hf_unlearn.data._sources.load_dataset",
        lambda path, name, split: asked.append((path, name, split)) or Dataset.from_list(ROWS),
    )
    for text in ("locuslab/TOFU:forget10", "owner/name", "tofu:retain90"):
        load_data(text, split="train")
    assert asked == [
        ("locuslab/TOFU", "forget10", "train"),
        ("owner/name", None, "train"),
        ("locuslab/TOFU", "retain90", "train"),
    ]


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (ConnectionError("offline"), ConnectionError, "Cannot reach the Hub for 'a/b', configuration 'c'"),
        (datasets.exceptions.DatasetNotFoundError("gone"), FileNotFoundError, "no Hub dataset 'a/b'"),
        (
            ValueError("no such config"),
            ValueError,
            "Cannot load 'a/b', configuration 'c', split 'train': no such config",
        ),
    ],
)
def test_the_hub_refuses(raised, expected, message, monkeypatch):
    def refuse(*_, **__):
        raise raised

    monkeypatch.setattr("hf_unlearn.data._sources.load_dataset", refuse)
    with pytest.raises(expected, match=message):
        load_data("a/b:c")


def test_bad_places(tmp_path):
    write(tmp_path, ".json")
    with pytest.raises(FileNotFoundError, match=r"No file .*row\.json\. Did you mean rows\.json"):
        load_data(tmp_path / "row.json")
    with pytest.raises(FileNotFoundError, match=r"has no configuration 'row'. Did you mean 'rows'"):
        load_data(f"{tmp_path}:row")
    with pytest.raises(FileNotFoundError, match="No folder"):
        load_data("./nowhere:rows")
    with pytest.raises(ValueError, match="An empty string names no data"):
        load_data(" ")
    with pytest.raises(TypeError, match=r"Expected a datasets.Dataset, got list"):
        load_data(ROWS)
    write(tmp_path, ".csv")
    with pytest.raises(FileNotFoundError, match=r"expected one data file or `folder:name`, found rows.csv, rows.json"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "holds no rows"),
        ("a.json", "[]", "holds no rows"),
        ("a.jsonl", '{"text": "a"}\n{"text"', r"Cannot read .*a\.jsonl: line 2: "),
        ("a.json", "[1, 2]", "expected a list of objects"),
        ("a.csv", "text\na,b\n", "more or fewer fields than the header"),
        ("a.parquet", "no parquet", r"Cannot read .*a\.parquet"),
        ("a.json", '[{"txt": "a"}]', "Found: txt. Understood: input_ids . labels; .*Did you mean 'text' for 'txt'"),
    ],
)
def test_bad_files(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_data(tmp_path / name)


def test_overlap_is_named_by_index_and_can_be_allowed():
    forget = Dataset.from_list([{"question": "Secret  one", "answer": "A"}, {"question": "two", "answer": "B"}])
    retain = Dataset.from_list(
        [{"question": "two", "answer": "C", "n": 1}, {"question": "secret ONE ", "answer": "a", "n": 2}] * 2
    )
    with pytest.raises(ValueError, match=r"1 of 2 forget rows .*0: \[1, 3\]\. .*allow_overlap=True") as error:
        check_disjoint(forget, retain)
    assert "secret" not in str(error.value).lower()
    check_disjoint(forget, retain, allow_overlap=True)
    check_disjoint(forget.select([1]), retain)


def test_overlap_of_chat_messages_and_of_long_lists():
    chat = [[{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}] for i in range(12)]
    forget = Dataset.from_dict({"messages": chat})
    with pytest.raises(ValueError, match=r"12 of 12 forget rows .*and 2 more"):
        check_disjoint(forget, forget)


def test_sets_of_different_formats_cannot_be_compared(caplog):
    check_disjoint(Dataset.from_dict({"text": ["a"]}), Dataset.from_list(ROWS))
    assert "cannot be compared" in caplog.text


def test_fingerprints_follow_content_and_order():
    dataset = Dataset.from_list(ROWS)
    fingerprint = data_fingerprint(dataset)
    assert len(fingerprint) == 64
    assert fingerprint == data_fingerprint(dataset.select_columns(["answer", "question"]))
    assert fingerprint == data_fingerprint(dataset.with_format("torch"))
    assert fingerprint != data_fingerprint(dataset.select([1, 0]))
    assert fingerprint != data_fingerprint(dataset.rename_column("answer", "text"))
    assert fingerprint != data_fingerprint(dataset.map(lambda row: {"answer": row["answer"] + " "}))


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "rows"), [("forget01", 40), ("forget10", 400), ("retain90", 3600)])
def test_real_tofu(name, rows, tofu_folder):
    dataset = load_tofu(name, path_or_id=tofu_folder)
    assert len(dataset) == rows
    columns = ["question", "answer", "paraphrased_question", "paraphrased_answer", "perturbed_answer"]
    assert dataset.column_names == (columns if name.startswith("forget") else columns[:2])
    assert load_data(f"{tofu_folder}:{name}")["question"][:] == dataset["question"][:]


@pytest.mark.shared_data
def test_real_tofu_refuses_a_wrong_name_and_is_disjoint(tofu_folder):
    with pytest.raises(FileNotFoundError, match=r"no configuration 'forget11'. Did you mean 'forget1"):
        load_tofu("forget11", path_or_id=tofu_folder)
    check_disjoint(load_tofu("forget10", path_or_id=tofu_folder), load_tofu("retain90", path_or_id=tofu_folder))


def test_tofu_files_that_do_not_belong_together(tmp_path):
    (tmp_path / "forget01.json").write_text('{"question": "a", "answer": "b"}')
    (tmp_path / "forget01_perturbed.json").write_text('{"question": "a", "answer": "c", "perturbed_answer": ["d"]}')
    with pytest.raises(ValueError, match="do not hold the same questions and answers"):
        load_tofu("forget01", path_or_id=tmp_path)
