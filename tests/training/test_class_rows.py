"""Classifier data sets as people have them: transforms, raw columns with a collator of one's own, processed columns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pictures
from runs import arguments
from transformers import Trainer
from world import build

from hf_unlearn import UnlearningCallback


def pictures(count: int, seed: int) -> Dataset:
    random = np.random.default_rng(seed)
    images = [Pictures.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(count)]
    return Dataset.from_dict(
        {"image": images, "label": random.integers(0, 4, count).tolist()},
        features=Features({"image": Image(), "label": Value("int64")}),
    )


def pixels(image: Pictures.Image) -> torch.Tensor:
    return torch.tensor(np.asarray(image), dtype=torch.float32).permute(2, 0, 1) / 255


def transform(batch: dict) -> dict:
    return {"pixel_values": [pixels(image) for image in batch["image"]], "labels": batch["label"]}


def noisy(batch: dict) -> dict:
    return {"pixel_values": [pixels(image) + torch.rand(1) for image in batch["image"]], "labels": batch["label"]}


def own_collator(rows: list[dict]) -> dict[str, torch.Tensor]:
    return {
        "pixel_values": torch.stack([pixels(row["image"]) for row in rows]),
        "labels": torch.tensor([row["label"] for row in rows]),
    }


def callback(tmp_path: Path, name: str, retain, forget, *, collator=None, options=None, **overrides):
    overrides = {"remove_unused_columns": False, "max_steps": 3, **overrides}
    trainer = Trainer(
        model=build(name), args=arguments(tmp_path, **overrides), train_dataset=retain, data_collator=collator
    )
    settings = {"objective": "grad_ascent", "forget_batch_size": 4, **(options or {})}
    added = UnlearningCallback(trainer, forget_dataset=forget, **settings)
    trainer.add_callback(added)
    return trainer, added


@pytest.mark.parametrize("name", ["vit", "resnet"])
@pytest.mark.parametrize("way", ["with_transform", "set_transform", "own collator"])
def test_images_of_every_kind_are_forgotten(name: str, way: str, tmp_path: Path):
    """The forget term sees the very pixels that the retain term's road would give."""
    retain, forget = pictures(12, 0), pictures(6, 1)
    if way == "with_transform":
        retain, forget = retain.with_transform(transform), forget.with_transform(transform)
    elif way == "set_transform":
        retain.set_transform(transform)
        forget.set_transform(transform)
    collator = own_collator if way == "own collator" else None
    trainer, added = callback(tmp_path, name, retain, forget, collator=collator, learning_rate=0.05)
    batch = added.forget.batch([0, 5])
    raw = pictures(6, 1)
    assert torch.allclose(batch["pixel_values"][1], pixels(raw[5]["image"]))
    assert batch["labels"].tolist() == [raw[0]["label"], raw[5]["label"]]
    trainer.train()
    losses = [log["forget_loss"] for log in trainer.state.log_history if "forget_loss" in log]
    assert losses[-1] < losses[0]


def test_a_transform_that_draws_at_random_is_applied_once(tmp_path: Path):
    """NPO compares with what the original said about the same pixels."""
    forget = pictures(6, 1).with_transform(noisy)
    _, added = callback(tmp_path, "vit", pictures(8, 0).with_transform(noisy), forget, options={"objective": "npo"})
    assert torch.equal(added.forget.batch([2])["pixel_values"], added.forget.batch([2])["pixel_values"])


def test_raw_text_with_a_collator_of_ones_own(tmp_path: Path):
    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        ids = torch.tensor([[3 + ord(letter) % 20 for letter in row["text"]] for row in rows])
        return {"input_ids": ids, "labels": torch.tensor([row["label"] for row in rows])}

    retain = Dataset.from_dict({"text": [f"abc{i}" for i in range(8)], "label": [i % 4 for i in range(8)]})
    forget = Dataset.from_dict({"text": [f"xyz{i}" for i in range(4)], "label": [0, 1, 2, 3]})
    trainer, added = callback(tmp_path, "bert", retain, forget, collator=collate)
    assert added.forget.batch([0])["input_ids"].shape == (1, 4)
    trainer.train()
    with pytest.raises(ValueError, match=r"1 of 4 forget rows are also in the Trainer's train_dataset .*: 2: 5\."):
        shared = Dataset.from_list([*forget.select([0, 1]), retain[5], forget[3]])
        callback(tmp_path, "bert", retain, shared, collator=collate)


def test_shared_images_are_seen_through_the_transform(tmp_path: Path):
    retain = pictures(8, 0)
    forget = retain.select([3, 4, 5, 6])
    for change in (lambda rows: rows.with_transform(transform), lambda rows: rows):
        with pytest.raises(ValueError, match=r"4 of 4 forget rows are also in .*0: 3, 1: 4"):
            callback(
                tmp_path,
                "vit",
                change(retain),
                change(forget),
                collator=own_collator if change(retain).format["type"] is None else None,
            )
    callback(tmp_path, "vit", retain, forget, collator=own_collator, options={"allow_overlap": True})


def test_rows_that_cannot_be_compared_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    retain = pictures(8, 0).rename_column("image", "img")

    def either(rows: list[dict]) -> dict[str, torch.Tensor]:
        return own_collator([{"image": row.get("image", row.get("img")), "label": row["label"]} for row in rows])

    callback(tmp_path, "vit", retain, pictures(4, 1), collator=either)
    assert "train_dataset was not looked through for forget rows: it has the columns img, label" in caplog.text


@pytest.mark.parametrize(
    ("forget", "overrides", "message"),
    [
        (pictures(4, 1), {"remove_unused_columns": True}, r"forget_dataset: rows for a classifier need .*they have image, label.*"
         r"pass remove_unused_columns=False"),
        (pictures(4, 1).remove_columns("label").with_transform(lambda b: {"pixel_values": [pixels(i) for i in b["image"]]}),
         {}, "it gives no `labels`"),
        (pictures(4, 1).select([]), {}, "forget_dataset: the dataset has no rows"),
    ],
)  # fmt: skip
def test_what_makes_no_batch_is_refused_by_name(forget, overrides: dict, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        callback(tmp_path, "vit", pictures(8, 0).with_transform(transform), forget, **overrides)


def test_a_classifier_takes_datasets_only(tmp_path: Path):
    with pytest.raises(TypeError, match=r"forget_dataset: for a classifier pass a datasets\.Dataset .* got list"):
        callback(tmp_path, "vit", pictures(8, 0).with_transform(transform), [{"image": 1}])
