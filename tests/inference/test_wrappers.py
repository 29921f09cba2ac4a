"""What sits on PEFT's wrappers is never passed over: it is refused by name where the model inside is what is read."""

import pytest
import torch
import world
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from hf_unlearn.audit import measure_fade
from hf_unlearn.inference import feature_rows, sample_completions, score


EXAMPLES = [{"input_ids": [1, 5, 6, 7], "labels": [-100, -100, 6, 7]}]


def quieter(module: torch.nn.Module, arguments: tuple, output):
    output.logits = output.logits * 0.2
    return output


def adapted():
    return world.with_lora(world.build("llama"), "llama")


def hooked(level: str):
    model = adapted()
    (model if level == "PeftModel" else model.base_model).register_forward_hook(quieter)
    return model


def hooked_before():
    model = adapted()
    model.register_forward_pre_hook(lambda module, arguments: None)
    return model


def patched(level: str):
    model = adapted()
    part = model if level == "PeftModel" else model.base_model
    inner = part.forward
    part.forward = lambda *args, **kwargs: quieter(part, (), inner(*args, **kwargs))
    return model


def subclassed():
    model = adapted()

    class Quieter(type(model)):
        def forward(self, *args, **kwargs):
            return quieter(self, (), super().forward(*args, **kwargs))

    model.__class__ = Quieter
    return model


ON_WRAPPERS = {
    "hook": lambda: hooked("PeftModel"),
    "hook on LoraModel": lambda: hooked("LoraModel"),
    "hook before": hooked_before,
    "forward": lambda: patched("PeftModel"),
    "forward of LoraModel": lambda: patched("LoraModel"),
    "subclass": subclassed,
}


@pytest.mark.parametrize("what", ON_WRAPPERS)
@pytest.mark.parametrize(
    "read",
    [
        lambda model: score({"m": model}, EXAMPLES, progress=False),
        lambda model: sample_completions(model, [[1, 5]], num_samples=1, max_new_tokens=2, progress=False),
        lambda model: feature_rows(model, EXAMPLES, progress=False),
        lambda model: measure_fade(prompts=[[1, 5]], candidate=model, reference=world.build("llama"), progress=False),
    ],
    ids=["score", "sample", "features", "fade"],
)
def test_what_sits_on_a_wrapper_is_refused_by_name(what: str, read):
    with pytest.raises(ValueError, match=r"(Peft|Lora|Quieter).*(hook|forward).*get_base_model"):
        read(ON_WRAPPERS[what]())


def test_what_sits_on_the_model_inside_is_read():
    model = adapted()
    before = score({"m": model}, EXAMPLES, progress=False).column("log_prob")
    model.get_base_model().register_forward_hook(quieter)
    after = score({"m": model}, EXAMPLES, progress=False).column("log_prob")
    with torch.no_grad():
        logits = model(torch.tensor([EXAMPLES[0]["input_ids"]])).logits[0].log_softmax(-1)
    assert after[0] == pytest.approx(float(logits[1, 6] + logits[2, 7]), abs=1e-4)
    assert abs(after[0] - before[0]) > 0.1


def test_a_soft_prompt_is_read_through_its_wrapper():
    model = world.with_prompt_tuning(world.build("llama"))
    model.register_forward_hook(quieter)
    with torch.no_grad():
        logits = model(torch.tensor([EXAMPLES[0]["input_ids"]])).logits[0, -4:].log_softmax(-1)
    found = score({"m": model}, EXAMPLES, progress=False).column("log_prob")
    assert found[0] == pytest.approx(float(logits[1, 6] + logits[2, 7]), abs=1e-4)


@pytest.fixture
def other_precision():
    """Accelerate keeps one precision per process."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def test_a_trainers_autocast_around_a_wrapper_is_no_obstacle(other_precision):
    """Accelerate puts its own forward on the object; it changes the precision and nothing else."""
    model = adapted()
    before = score({"m": model}, EXAMPLES, progress=False).column("log_prob")
    prepared = Accelerator(cpu=True, mixed_precision="bf16").prepare_model(model)
    assert "forward" in vars(prepared)
    assert score({"m": prepared}, EXAMPLES, progress=False).column("log_prob") == pytest.approx(before)
