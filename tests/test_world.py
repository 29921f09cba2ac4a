"""The world is worth what its models are: far from uniform, different between seeds, noisy only when asked."""

import pytest
import torch
import world


def _answers(model: torch.nn.Module, name: str) -> torch.Tensor:
    if world.ARCHITECTURES[name].kind == "image":
        return model(torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(7))).logits
    return model(torch.tensor([[1, 5, 6, 7], [1, 9, 3, 4]])).logits


@pytest.mark.parametrize("name", world.names())
def test_models_say_something(name):
    with torch.no_grad():
        first, again, other = (_answers(world.build(name, seed=seed), name) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    probabilities = first.softmax(-1)
    assert probabilities.max(-1).values.mean() > 1.5 / first.shape[-1]
    assert (probabilities - other.softmax(-1)).abs().sum(-1).mean() > 0.1
    assert (first[0] - first[1]).abs().max() > 0.05


@pytest.mark.parametrize("name", [name for name in world.names() if world.ARCHITECTURES[name].dropout])
def test_noise_is_there_when_asked_for(name):
    still, noisy = world.build(name).train(), world.build(name, dropout=0.5).train()
    with torch.no_grad():
        assert torch.equal(_answers(still, name), _answers(still, name))
        assert not torch.equal(_answers(noisy, name), _answers(noisy, name))


@pytest.mark.parametrize("name", [*world.CORE, "bert", "vit"])
def test_adapters_change_answers(name):
    model = world.build(name)
    with torch.no_grad():
        before = _answers(model, name)
        adapted = world.with_lora(model, name, fan_in_fan_out=name == "gpt2")
        after = _answers(adapted, name)
        with adapted.disable_adapter():
            torch.testing.assert_close(_answers(adapted, name), before)
    assert (after - before).abs().max() > 0.1
