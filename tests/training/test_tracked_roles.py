"""What the tracker compares with, where it shares weights with the model in training."""

import pytest
import world
from peft import LoraConfig, get_peft_model

from hf_unlearn.training._tracked import ReferenceProbe


EXAMPLES = [{"input_ids": [1, 4, at, 6, 7], "labels": [-100, -100, -100, 6, 7]} for at in range(3, 9)]


def probe(candidate, **models) -> ReferenceProbe:
    options = {"num_samples": 2, "max_new_tokens": 4, "batch_size": 8, "seed": 0, "tokenizer": None}
    given = {"original": None, "twin": None, **models}
    return ReferenceProbe(examples=EXAMPLES, candidate=candidate, **given, **options)


def test_the_base_of_the_adapter_in_training_is_the_original():
    """An adapter that was trained before already answers otherwise when the tracker is made."""
    base, reference = world.build("llama"), world.build("llama", seed=1)
    candidate = world.with_lora(base, "llama")
    found = probe(candidate, reference=reference, original=base)
    alone = probe(candidate, reference=reference, original=world.build("llama"))
    assert found.start == pytest.approx(alone.start, rel=1e-4)
    assert abs(found.start - found._fade(candidate)[0]) > 0.1
    as_it_is = probe(candidate, reference=reference, original=candidate)  # before training it still is the original
    assert as_it_is.start == pytest.approx(found._fade(candidate)[0], rel=1e-4)


def test_another_adapter_of_the_same_name_is_refused():
    base = world.build("llama")
    config = LoraConfig(r=2, target_modules=["q_proj"])
    first, second = get_peft_model(base, config), get_peft_model(base, config)
    with pytest.raises(ValueError, match=r"original and the Trainer's model share weights .* replaces the first"):
        probe(second, reference=world.build("llama", seed=1), original=first)
