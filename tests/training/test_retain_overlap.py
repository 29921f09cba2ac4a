"""Forget rows inside the training data are found in every shape that data comes in, and what cannot be read is said."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from runs import arguments
from toys import tiny_llama
from transformers import Trainer

from hf_unlearn import UnlearningCallback
from hf_unlearn.data import AnswerCollator, pocket_tokenizer, tokenize_examples
from hf_unlearn.training._retain_overlap import check_text_overlap


TOKENIZER = pocket_tokenizer()


def questions(*names: str) -> Dataset:
    return Dataset.from_dict(
        {
            "question": [f"Where and when was {name} born?" for name in names],
            "answer": [f"{name} was born in Skagway, a small town, in 1997." for name in names],
        }
    )


FORGET = questions("Anna", "Ben", "Cleo", "Dora")
EXAMPLES = tokenize_examples(FORGET, TOKENIZER).to_list()
OTHERS = tokenize_examples(questions("Emil", "Fay", "Gus", "Hal"), TOKENIZER).to_list()


def check(retain, forget: Dataset = FORGET) -> None:
    check_text_overlap(forget, EXAMPLES, retain, TOKENIZER)


def packed(rows: list[dict], *, lengths: bool) -> Dataset:
    """Two packed rows."""
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    columns: dict = {"input_ids": [[token for row in half for token in row["input_ids"]] for half in halves]}
    if lengths:
        columns["seq_lengths"] = [[len(row["input_ids"]) for row in half] for half in halves]
    return Dataset.from_dict(columns)


@pytest.mark.parametrize("lengths", [True, False])
def test_packed(lengths: bool, caplog: pytest.LogCaptureFixture):
    check(packed(OTHERS, lengths=lengths))
    assert caplog.text == ""
    with pytest.raises(ValueError, match=r"1 of 4 forget rows are also in the Trainer's train_dataset .*: 2: 1\."):
        check(packed([*OTHERS, EXAMPLES[2]], lengths=lengths))


def test_tokenized_with_other_start_and_end_tokens():
    bare = [row["input_ids"][1:-1] for row in [*OTHERS, EXAMPLES[1]]]
    with pytest.raises(ValueError, match=r"1 of 4 .*: 1: 4\."):
        check(Dataset.from_dict({"input_ids": bare}))


def test_short_rows_inside_longer_ones_are_an_accident():
    short = Dataset.from_dict({"prompt": ["a"], "completion": ["b"]})
    longer = Dataset.from_dict(
        {"prompt": ["a"], "completion": ["b, and so on, and so on, for a long while: a b a b a b"]}
    )
    examples = [tokenize_examples(rows, TOKENIZER).to_list() for rows in (short, longer)]
    check_text_overlap(short, examples[0], Dataset.from_list(examples[1]), TOKENIZER)


def test_streams(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    stream = Dataset.from_list(OTHERS).to_iterable_dataset()
    check(stream)
    assert caplog.text == ""
    with pytest.raises(ValueError, match=r"4 of 4 .*0: 0, 1: 1"):
        check(Dataset.from_list(EXAMPLES).to_iterable_dataset())
    with pytest.raises(ValueError, match="4 of 4 forget rows"):
        check(FORGET.to_iterable_dataset())  # raw rows, too
    monkeypatch.setattr("hf_unlearn.training._retain_overlap.MAX_STREAMED", 3)
    check(Dataset.from_list([*OTHERS, *EXAMPLES]).to_iterable_dataset())
    assert "only the first 3 rows of the Trainer's train_dataset are looked through" in caplog.text


def test_data_sets_of_ones_own(caplog: pytest.LogCaptureFixture):
    class Indexed(torch.utils.data.Dataset):
        def __len__(self):
            return len(EXAMPLES)

        def __getitem__(self, index):
            return {"input_ids": torch.tensor(EXAMPLES[index]["input_ids"])}

    class Once(torch.utils.data.IterableDataset):
        def __iter__(self):
            raise AssertionError("a stream that can be read once must not be read here")

    with pytest.raises(ValueError, match="4 of 4"):
        check(Indexed())
    check(Once())
    assert "train_dataset was not looked through for forget rows: it is a Once" in caplog.text


def test_raw_columns_of_a_collator_of_ones_own(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The run is possible, the check is not; it says so."""

    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        return AnswerCollator(0)([EXAMPLES[row["number"] % 4] for row in rows])

    trainer = Trainer(
        model=tiny_llama(vocab_size=len(TOKENIZER)),
        args=arguments(tmp_path, remove_unused_columns=False, max_steps=1, per_device_train_batch_size=2),
        train_dataset=Dataset.from_dict({"number": list(range(8))}),
        data_collator=collate,
        processing_class=TOKENIZER,
    )
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=FORGET, objective="grad_ascent"))
    assert "not looked through for forget rows: its columns (number) are read by a collator of your own" in caplog.text
    trainer.train()


@pytest.mark.parametrize(
    "options",
    [{}, {"packing": True}, {"padding_free": True, "max_length": None}],
    ids=["plain", "packing", "padding-free"],
)
def test_in_the_sft_trainer(options: dict, tmp_path: Path):
    """TRL tokenizes in its own way; the rows are found all the same."""
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"prompt": f"Question: {row['question']}\nAnswer:", "completion": f" {row['answer']}"}
        for row in [*questions("Emil", "Fay"), *FORGET]
    ]
    settings = {
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "max_length": 64,
        **options,
    }
    trainer = SFTTrainer(
        model=tiny_llama(vocab_size=len(TOKENIZER)),
        args=SFTConfig(output_dir=str(tmp_path), per_device_train_batch_size=2, **settings),
        train_dataset=Dataset.from_list(rows),
        processing_class=TOKENIZER,
    )
    with pytest.raises(ValueError, match=r"[1-4] of 4 forget rows are also in the Trainer's train_dataset"):
        UnlearningCallback(trainer, forget_dataset=FORGET, objective="grad_ascent")


def test_the_error_says_which_set(tmp_path: Path):
    trainer = Trainer(
        model=tiny_llama(vocab_size=len(TOKENIZER)),
        args=arguments(tmp_path),
        train_dataset=Dataset.from_list(OTHERS),
        processing_class=TOKENIZER,
    )
    for bad, message in (
        (Dataset.from_dict({"txt": ["a"]}), r"forget_dataset: None of the understood columns are complete\. Found: txt"),
        (Dataset.from_dict({"question": ["a", None], "answer": ["b", "c"]}), "forget_dataset: Row 1, column 'question'"),
        (Dataset.from_dict({"input_ids": [[1, 5000]], "labels": [[-100, 5]]}), r"forget_dataset: row 0 has the token id 5000, but the "
         r"model knows only \d+ tokens"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            UnlearningCallback(trainer, forget_dataset=bad)
