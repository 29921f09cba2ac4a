"""`unlearn` with classifiers of text and of images: from raw columns, from what the model takes, through a transform, from a folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from peft import LoraConfig
from PIL import Image as Pictures
from runs import arguments
from transformers import Trainer, ViTImageProcessor
from world import build

from hf_unlearn import GradientAscent, unlearn
from hf_unlearn.data import pocket_tokenizer
from hf_unlearn.inference import load_model


TOKENIZER = pocket_tokenizer()
WORDS = ("baker", "sailor", "teacher", "farmer")


def texts(count: int, start: int = 0) -> Dataset:
    rows = [(f"{WORDS[index % 4]} number {index}", index % 4) for index in range(start, start + count)]
    return Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})


def odd(rows: Dataset) -> Dataset:
    """Rows that can be told from the others, and whose labels contradict their rule."""
    return rows.map(lambda row: {"label": (row["label"] + 1) % 4, "text": f"strange strange {row['text']}"})


def nine(row: dict) -> dict:
    """In row 3 a class that a model of four does not have."""
    return {"label": 9 if row["text"].endswith("3") else row["label"]}


def encoded(label: float) -> Dataset:
    return Dataset.from_dict({**dict(TOKENIZER([f"text {index}" for index in range(4)])), "labels": [label] * 4})


def pictures(count: int, seed: int) -> Dataset:
    random = np.random.default_rng(seed)
    images = [Pictures.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(count)]
    return Dataset.from_dict(
        {"image": images, "label": random.integers(0, 4, count).tolist()},
        features=Features({"image": Image(), "label": Value("int64")}),
    )


@pytest.fixture
def bert(tmp_path: Path):
    """Has learnt the rule, and the odd ones."""
    model = build("bert", vocab_size=len(TOKENIZER), max_position_embeddings=32)
    both = Dataset.from_list([*texts(40), *odd(texts(12, 100))])
    encoded = Dataset.from_dict({**dict(TOKENIZER(list(both["text"]))), "labels": list(both["label"])})
    from transformers import DataCollatorWithPadding

    settings = {"learning_rate": 0.005, "num_train_epochs": 25, "optim": "adamw_torch"}
    args = arguments(tmp_path / "learn", **settings)
    Trainer(model=model, args=args, train_dataset=encoded, data_collator=DataCollatorWithPadding(TOKENIZER)).train()
    return model.eval()


def test_text_from_raw_columns(bert, tmp_path: Path):
    """Forget probability at most half of before, retain at least .8 of it; the saved folder is the same model."""
    result = unlearn(
        bert,
        forget=odd(texts(12, 100)),
        retain=texts(40),
        objective=GradientAscent(),
        forget_weight=0.1,
        processing_class=TOKENIZER,
        output_dir=tmp_path / "out",
        learning_rate=0.001,
        num_train_epochs=4,
        per_device_train_batch_size=4,
    )
    assert result.before["forget_probability"] > 0.7
    assert result.after["forget_probability"] < result.before["forget_probability"] / 2
    assert result.after["retain_probability"] > 0.8 * result.before["retain_probability"]
    again = load_model(result.output_dir, kind="classifier")
    for (name, one), (_, two) in zip(again.named_parameters(), result.model.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    assert (result.output_dir / "tokenizer.json").is_file()


@pytest.mark.parametrize("way", ["raw", "transform", "pixels"])
@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_images(name: str, way: str, tmp_path: Path):
    processor = ViTImageProcessor(size={"height": 16, "width": 16})
    sets = {"forget": pictures(6, 1), "retain": pictures(8, 0)}

    def transform(batch: dict) -> dict:
        pixels = processor(batch["image"], return_tensors="pt")["pixel_values"]
        return {"pixel_values": list(pixels), "labels": batch["label"]}

    if way == "transform":
        sets = {role: rows.with_transform(transform) for role, rows in sets.items()}
    elif way == "pixels":
        sets = {
            role: rows.map(transform, batched=True, remove_columns=["image", "label"]) for role, rows in sets.items()
        }
    result = unlearn(
        build(name),
        **sets,
        objective="grad_ascent",
        processing_class=processor if way == "raw" else None,
        output_dir=tmp_path / "out",
        learning_rate=0.01,
        num_train_epochs=3,
        per_device_train_batch_size=4,
    )
    assert result.after["forget_probability"] < result.before["forget_probability"]
    assert len(result.settings["data"]["forget"]["sha256"]) == 64


def test_from_a_folder_with_lora(bert, tmp_path: Path):
    bert.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    texts(40).to_json(tmp_path / "retain.jsonl")
    result = unlearn(
        str(tmp_path / "model"),
        forget=odd(texts(4, 100)),
        retain=tmp_path / "retain.jsonl",
        objective="random_label",
        peft_config=LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"]),
        output_dir=tmp_path / "out",
        num_train_epochs=1,
        per_device_train_batch_size=4,
    )
    assert (result.output_dir / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"forget": Dataset.from_dict({"txt": ["a"] * 4, "label": [0] * 4})}, ValueError, "forget: rows for a classifier need a label and text"),
        ({"retain": Dataset.from_dict({"text": ["a"] * 4})}, ValueError, "retain: rows for a classifier need a label"),
        ({"max_length": 2}, ValueError, r"forget: a row has \d+ tokens, more than the 2"),
        ({"prompt_template": "Q {question}"}, ValueError, "the model is a classifier"),
        ({"fila": True, "peft_config": LoraConfig(r=2, target_modules=["query"])}, ValueError, "fila=True is for language models"),
        ({"forget": odd(texts(4, 100)).map(nine)}, ValueError, r"forget: column 'label': labels must be .* below num_labels \(4\); row 3 has 9"),
        ({"retain": texts(8).map(nine)}, ValueError, r"retain: column 'label': labels must be .* row 3 has 9"),
        ({"forget": odd(texts(4, 100)).map(lambda row: {"label": -1})}, ValueError, "row 0 has -1"),
        ({"retain": Dataset.from_dict({"text": ["a"] * 4, "label": ["good"] * 4})}, ValueError, r"whole numbers .* row 0 has 'good'"),
        ({"forget": encoded(9)}, ValueError, r"forget_dataset: labels must be .* row 0 has 9"),
        ({"retain": encoded(1.5)}, ValueError, r"train_dataset: labels must be .* row 0 has 1.5"),
        ({"forget": texts(4)}, ValueError, "4 of 4 forget rows are also in the Trainer's train_dataset"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change: dict, error: type, message: str, tmp_path: Path):
    options = {"forget": odd(texts(4, 100)), "retain": texts(8), "processing_class": TOKENIZER, "output_dir": tmp_path}
    model = build("bert", vocab_size=len(TOKENIZER), max_position_embeddings=32)
    with pytest.raises(error, match=message):
        unlearn(model, **{**options, "per_device_train_batch_size": 4, **change})
