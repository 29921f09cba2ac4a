"""The original is not overwritten by its own result, and a training of nothing is no training."""

from pathlib import Path

import pytest
from peft import LoraConfig, PeftModel, get_peft_model
from runs import examples, trainer_with_callback
from toys import tiny_llama

from hf_unlearn import unlearn
from hf_unlearn.data import pocket_tokenizer
from hf_unlearn.inference import load_model


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tiny_llama().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(base: Path) -> Path:
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(load_model(base), config).save_pretrained(base.parent / "adapter")
    return base.parent / "adapter"


def run(model: object, output_dir: Path):
    return unlearn(
        model,
        forget=examples(8, seed=2),
        retain=examples(8, seed=1),
        processing_class=pocket_tokenizer(),
        output_dir=output_dir,
        objective="grad_ascent",
        num_train_epochs=1,
    )


@pytest.mark.parametrize(
    "way", ["path", "loaded", "link", "roundabout", "adapter", "adapter's base", "loaded adapter"]
)
def test_the_result_does_not_go_where_the_model_is(way: str, base: Path, adapter: Path):
    (base.parent / "link").symlink_to(base)
    model, folder = {
        "path": (str(base), base),
        "loaded": (load_model(base), base),
        "link": (base.parent / "link", base),
        "roundabout": (base, base.parent / "adapter" / ".." / "base"),
        "adapter": (adapter, adapter),
        "adapter's base": (adapter, base),
        "loaded adapter": (load_model(adapter), base),
    }[way]
    before = {path: path.read_bytes() for path in [*base.iterdir(), *adapter.iterdir()]}
    with pytest.raises(ValueError, match=r"the original would be overwritten\. Choose another output_dir"):
        run(model, folder)
    assert {path: path.read_bytes() for path in [*base.iterdir(), *adapter.iterdir()]} == before


@pytest.mark.parametrize("where", ["inside", "around"])
def test_folders_near_the_model_will_do(where: str, base: Path):
    before = (base / "model.safetensors").read_bytes()
    result = run(base, base / "unlearned" if where == "inside" else base.parent)
    assert (result.output_dir / "model.safetensors").is_file()
    assert (base / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("as_path", [True, False])
def test_an_adapter_opened_for_inference_is_refused(as_path: bool, base: Path, adapter: Path):
    model = adapter if as_path else PeftModel.from_pretrained(load_model(base), adapter)
    with pytest.raises(ValueError, match=r"all weights of the model are frozen .*is_trainable=True"):
        run(model, base.parent / "out")


def test_a_frozen_model_is_refused_by_the_callback(tmp_path: Path):
    with pytest.raises(ValueError, match=r"requires_grad is False.*model.requires_grad_\(True\)"):
        trainer_with_callback(tmp_path, model=tiny_llama().requires_grad_(False))


def test_an_adapter_opened_for_training_trains(base: Path, adapter: Path):
    model = PeftModel.from_pretrained(load_model(base), adapter, is_trainable=True)
    assert (run(model, base.parent / "out").output_dir / "adapter_model.safetensors").is_file()
