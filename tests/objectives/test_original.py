"""What the original says stays what it said, whatever others have put on the model; or it is refused."""

import types

import pytest
import torch
from peft import LoraConfig, get_peft_model
from world import build, names, with_lora, with_prompt_tuning

from hf_unlearn.objectives import OriginalModel


IDS = {"input_ids": torch.tensor([[1, 5, 9, 20]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}


def probe(name: str) -> dict[str, torch.Tensor]:
    if name in names("image"):
        return {"pixel_values": torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    return IDS


@torch.no_grad()
def logits(model, inputs) -> torch.Tensor:
    modes = [(module, module.training) for module in model.modules()]
    found = model.eval()(**inputs).logits
    for module, training in modes:
        module.training = training
    return found


def move(model) -> None:
    """As training would: the weights that train, and what normalisation layers learn."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
        for name, buffer in model.named_buffers():
            if "running_" in name:
                buffer.add_(0.3)


@pytest.mark.parametrize("kind", ["plain", "fresh lora", "trained lora"])
@pytest.mark.parametrize("name", ["llama_tied", "gpt2", "mamba", "bert", "vit", "resnet"])
def test_the_original_stays_while_the_model_moves(name: str, kind: str):
    if name == "resnet" and kind != "plain":
        targets = ["resnet.encoder.stages.1.layers.0.layer.0.convolution"]
        model = get_peft_model(build(name), LoraConfig(target_modules=targets, init_lora_weights=kind == "fresh lora"))
    elif kind == "plain":
        model = build(name)
    else:
        model = with_lora(build(name), name)
        if kind == "fresh lora":
            with torch.no_grad():
                for parameter_name, parameter in model.named_parameters():
                    if "lora_B" in parameter_name:
                        parameter.zero_()
    expected = logits(model, probe(name))
    original = OriginalModel(model.train(), probe(name))
    assert original.way == {
        "plain": "frozen copy", "fresh lora": "adapter off", "trained lora": "first adapter weights",
    }[kind]  # fmt: skip
    torch.testing.assert_close(logits(model, probe(name)), expected, rtol=0, atol=0)  # looking moved nothing
    move(model)
    assert not torch.allclose(logits(model, probe(name)), expected, atol=1e-3)
    torch.testing.assert_close(original.logits(probe(name)), expected, rtol=1e-6, atol=1e-6)


def test_a_soft_prompt_knows_its_original():
    model = with_prompt_tuning(build("llama"))
    expected = logits(model, IDS)
    original = OriginalModel(model, IDS)
    move(model)
    assert torch.equal(original.logits(IDS), expected)


def closing_over(model):
    """As TRL patches a model: an instance's forward that calls the forward of this very model."""
    plain = model.forward

    def forward(self, *args, **kwargs):
        return plain(*args, **kwargs)

    model.forward = types.MethodType(forward, model)
    return model


@pytest.mark.parametrize("where", ["the model", "a block", "wrapped twice"])
def test_a_forward_put_on_the_instance_does_not_tie_the_copy_to_the_model(where: str):
    model = build("llama")
    for _ in range(2 if where == "wrapped twice" else 1):
        closing_over(model.model.layers[0] if where == "a block" else model)
    expected = logits(model, IDS)
    original = OriginalModel(model, IDS)
    move(model)
    assert torch.equal(original.logits(IDS), expected)
    assert "forward" in vars(model.model.layers[0] if where == "a block" else model)  # the model keeps its own


def test_hooks_of_accelerate_come_along():
    """What places a model on its devices is needed by the copy too."""
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    model = build("llama")
    for module in (model, model.model.layers[0], model.lm_head):
        add_hook_to_module(module, AlignDevicesHook(execution_device="cpu", io_same_device=True))
    expected = logits(model, IDS)
    original = OriginalModel(model, IDS)
    move(model)
    assert torch.equal(original.logits(IDS), expected)


def test_a_copy_that_still_listens_to_the_model_is_refused():
    model = build("llama")
    live = model.lm_head

    def through_the_live_head(module, arguments, output):
        return torch.nn.functional.linear(arguments[0], live.weight)

    model.lm_head.register_forward_hook(through_the_live_head)
    with pytest.raises(RuntimeError, match="still depends on the weights in training"):
        OriginalModel(model, IDS)


def test_an_instance_forward_that_changes_the_answer_is_refused():
    """Without it, the copy would be another model than the one that is trained."""
    model = build("llama")
    plain = model.forward

    def doubled(self, *args, **kwargs):
        output = plain(*args, **kwargs)
        output.logits = 2 * output.logits
        return output

    model.forward = types.MethodType(doubled, model)
    with pytest.raises(RuntimeError, match="answers differently from the model itself"):
        OriginalModel(model, IDS)


def test_an_adapter_whose_base_trains_too_is_not_merely_switched_off():
    """A fresh adapter that does nothing, but a layer of the base is left to train."""
    model = get_peft_model(build("llama"), LoraConfig(r=2, target_modules=["q_proj"]))
    model.base_model.model.lm_head.weight.requires_grad_(True)
    expected = logits(model, IDS)
    original = OriginalModel(model, IDS)
    move(model)
    assert torch.equal(original.logits(IDS), expected)
