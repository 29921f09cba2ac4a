"""Files of others are somebody else's: what is wrong with one is said, and nothing is computed with what is no number."""

import json
from pathlib import Path
from typing import Any

import pytest

from hf_unlearn.audit.interchange import _files, import_eval


def write(folder: Path, text: str) -> Path:
    place = folder / "TOFU_EVAL.json"
    place.write_text(text, encoding="utf-8")
    return place


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "holds no metrics by name"),
        ("{}", "holds no metrics by name"),
        ('"text"', "holds no metrics by name"),
        ('{"a": 1, "a": 2}', "the name 'a' is there twice"),
        ('{"forget_Q_A_Prob": {"agg_value": 1, "value_by_index": {"0": {"prob": 1}, "0": {"prob": 0}}}}', "'0' is there twice"),
        ('{"forget_Q_A_Prob": {"agg_value": "0.5"}}', "agg_value of forget_Q_A_Prob must be a number or null, got '0.5'"),
        ('{"forget_Q_A_Prob": {"agg_value": true}}', "must be a number or null, got True"),
        ('{"forget_Q_A_Prob": {"value_by_index": [1]}}', "value_by_index of forget_Q_A_Prob must be an object"),
        ('{"forget_Q_A_Prob": {"value_by_index": {"0": {"prob": {}}}}}', r"forget_Q_A_Prob\['0'\].prob must be a number"),
        ('{"a": 1, "b": "text"}', "a is neither a number among numbers nor an object"),
        ('{"a\\u001b[2J": 1}', "one that is no printable line"),
        ('{"eval_log_forget.json": {"avg_gt_loss": {"0": -3.5}}}', "a mean loss is at least 0"),
    ],
)  # fmt: skip
def test_what_is_none_of_the_three_kinds(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        import_eval(write(tmp_path, text))
    assert "TOFU_EVAL.json" in str(raised.value)


def test_files_that_are_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        import_eval(tmp_path / "gone.json")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        import_eval(tmp_path)
    monkeypatch.setattr(_files, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="has 13 bytes; more than 10 are not read"):
        import_eval(write(tmp_path, '{"a": 1.00000}'[:13]))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="is no JSON"):
        import_eval(place)


def values(**rows: Any) -> str:
    return json.dumps({"forget_Q_A_Prob": {"agg_value": 0.5, "value_by_index": rows}})


@pytest.mark.parametrize("broken", ["NaN", "Infinity", "-Infinity", "null", "1e999", "9" * 400])
def test_values_that_are_no_finite_numbers_are_left_out_and_counted(tmp_path: Path, broken: str) -> None:
    text = values(a={"prob": 0.25}, b={"prob": 0.75}, c={"prob": "@"}).replace('"@"', broken)
    found = import_eval(write(tmp_path, text))
    assert found["forget_Q_A_Prob"].value == 0.5 and found["forget_Q_A_Prob"].n == 2
    assert "1 values of forget_Q_A_Prob are no finite numbers and were left out." in found.notes
    stated = import_eval(write(tmp_path, '{"forget_Q_A_Prob": {"agg_value": @}}'.replace("@", broken)))
    assert stated["forget_Q_A_Prob"].file_value is None


def test_texts_per_example_are_not_kept(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "forget_Q_A_ROUGE": {
                "agg_value": 0.5,
                "value_by_index": {"0": {"rougeL_recall": 0.5, "generation": "SECRET"}},
            }
        }
    )
    assert "SECRET" not in json.dumps(import_eval(write(tmp_path, text)).to_plain())


def test_parts_that_are_missing_are_said(tmp_path: Path) -> None:
    found = import_eval(
        write(tmp_path, json.dumps({"model_utility": {"agg_value": 0.5}, "mia_min_k": {"agg_value": 0.7}}))
    )
    assert "there is no retain_Q_A_Prob" in found["model_utility"].remark
    assert "no scores per example" in found["mia_min_k"].remark and found["mia_min_k"].file_value == 0.7


def test_several_answers_per_prompt_count_as_one_example(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "forget_Q_A_PERT_Prob": {
                "agg_value": 0.5,
                "value_by_index": {"0": {"prob": [0.2, 0.4]}, "1": {"prob": [0.6, 0.8]}},
            }
        }
    )
    found = import_eval(write(tmp_path, text))["forget_Q_A_PERT_Prob"]
    assert found.value == 0.5 and found.n == 2 and found.remark == ""
