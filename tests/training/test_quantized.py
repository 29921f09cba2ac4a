"""QLoRA: a 4-bit base under an adapter; skipped where bitsandbytes is not installed."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from runs import trainer_with_callback
from toys import tiny_llama
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def test_a_4_bit_base_unlearns_through_its_adapter(tmp_path: Path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (pip install bitsandbytes)")
    tiny_llama(hidden_size=64, intermediate_size=64).save_pretrained(tmp_path / "base")
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", quantization_config=settings, device_map="cpu")
    base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    before = {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" in name}
    trainer, callback = trainer_with_callback(
        tmp_path,
        model=model,
        options={"objective": "npo", "retain_term": "kl"},
        num_train_epochs=3,
        optim="adamw_torch",
    )
    assert callback.loss.retain.original.way == "adapter off"
    if not torch.cuda.is_available():
        # bitsandbytes packs the weights for inference at the first evaluation and cannot train on a CPU then: said, not silent.
        with pytest.raises(RuntimeError, match="no gradient reached any trainable weight at step 1"):
            trainer.train()
        return
    trainer.train()
    logs = [log["forget_loss"] for log in trainer.state.log_history if "forget_loss" in log]
    assert logs[-1] < logs[0]
    assert before and all(not torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)
