"""Half a model is no model, and a path that leads nowhere is said to, at once."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import world
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from hf_unlearn.inference import check_comparable, load_model, load_processing_class, model_fingerprint


def _edit(path: Path, *, without: str = "", more: str = "") -> None:
    weights = {name: tensor for name, tensor in load_file(path).items() if not (without and without in name)}
    if more:
        weights[more] = torch.zeros(2)
    save_file(weights, path, metadata={"format": "pt"})


def test_a_file_that_lacks_a_weight_is_refused_by_its_name(tmp_path: Path):
    world.build("llama").save_pretrained(tmp_path)
    _edit(tmp_path / "model.safetensors", without="layers.1.mlp.up_proj")
    with pytest.raises(
        ValueError, match=r"lacks weights, which would be random numbers: model.layers.1.mlp.up_proj.weight"
    ):
        load_model(tmp_path)


def test_a_file_with_weights_of_something_else_is_refused(tmp_path: Path):
    world.build("llama").save_pretrained(tmp_path)
    _edit(tmp_path / "model.safetensors", more="model.layers.7.mlp.up_proj.weight")
    with pytest.raises(ValueError, match=r"does not have: model.layers.7.mlp.up_proj.weight"):
        load_model(tmp_path)


def test_buffers_of_older_files_are_no_conflict(tmp_path: Path):
    model = world.build("llama")
    model.save_pretrained(tmp_path)
    _edit(tmp_path / "model.safetensors", more="model.layers.0.self_attn.rotary_emb.inv_freq")
    assert model_fingerprint(load_model(tmp_path)) == model_fingerprint(model)


@pytest.mark.parametrize("name", world.names())
def test_whole_models_of_all_kinds_are_opened(name: str, tmp_path: Path):
    """Tied weights are saved once and are not missing; classifiers are opened without their heads."""
    world.build(name).save_pretrained(tmp_path)
    kind = "causal_lm" if world.ARCHITECTURES[name].kind == "causal_lm" else "any"
    assert load_model(tmp_path, kind=kind) is not None


def test_an_adapter_that_lacks_a_weight_is_refused(tmp_path: Path):
    world.build("llama").save_pretrained(tmp_path / "base")
    world.with_lora(load_model(tmp_path / "base"), "llama").save_pretrained(tmp_path / "adapter")
    assert isinstance(load_model(tmp_path / "adapter"), PeftModel)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    _edit(file, more="base_model.model.model.layers.9.mlp.up_proj.lora_A.weight")
    with pytest.raises(ValueError, match=r"adapter .* does not have: .*layers.9"):
        load_model(tmp_path / "adapter")
    _edit(file, without="layers.9")
    _edit(file, without="layers.0.self_attn.q_proj.lora_B")
    with pytest.raises(ValueError, match=r"adapter .* lacks weights, .*layers.0.self_attn.q_proj.lora_B"):
        load_model(tmp_path / "adapter")


def test_an_adapter_with_whole_modules_is_complete(tmp_path: Path):
    world.build("llama").save_pretrained(tmp_path / "base")
    options = {"modules_to_save": ["lm_head"], "target_modules": ["q_proj", "embed_tokens"]}
    world.with_lora(load_model(tmp_path / "base"), "llama", **options).save_pretrained(tmp_path / "adapter")
    assert isinstance(load_model(tmp_path / "adapter"), PeftModel)
    world.with_prompt_tuning(load_model(tmp_path / "base")).save_pretrained(tmp_path / "soft")
    assert isinstance(load_model(tmp_path / "soft"), PeftModel)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nope/model", "'/nope/model': there is no such folder"),
        ("./nope", "no such folder"),
        ("~/nope", "no such folder"),
        ("nope", "no such folder here, nothing of it in the cache, and the Hub is not asked"),
        (__file__, "it is a file; pass the folder"),
    ],
)
def test_a_path_that_leads_nowhere_is_said_to(name: str, message: str):
    for call in (load_model, load_processing_class, lambda path: check_comparable({"candidate": path})):
        with pytest.raises(FileNotFoundError, match=message):
            call(name)


OFFLINE = """
from hf_unlearn.inference import load_model, load_processing_class
for call in (load_model, load_processing_class):
    try:
        call("nope/model")
    except FileNotFoundError as error:
        print(error)
"""


def test_without_a_network_a_wrong_id_fails_in_seconds():
    """Nobody listens there; the clients' own retries would take minutes."""
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.count("the Hub cannot be reached") == 2, done.stderr[-2000:]
    assert time.monotonic() - started < 60  # of which the imports are most


def test_what_cannot_be_measured_is_refused_where_it_comes_in():
    with pytest.raises(TypeError, match="BertForSequenceClassification is no causal language model"):
        load_model(world.build("bert"))
    assert load_model(world.build("bert"), kind="any") is not None
    with torch.device("meta"):
        empty = AutoModel.from_config(world.build("llama").config)
    with pytest.raises(ValueError, match=r"has no weights: .* on the meta device"):
        load_model(empty, kind="any")
    model = world.build("llama")
    assert load_model(torch.nn.DataParallel(model)) is model
