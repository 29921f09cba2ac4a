"""Hub ids go through the real clients, over real HTTP, to a Hub on the loopback."""

import os
import subprocess
import sys
from pathlib import Path

from loopback_hub import loopback_hub
from peft import LoraConfig, get_peft_model
from toys import tiny_llama, word_tokenizer

from hf_unlearn.audit import measure_fade
from hf_unlearn.inference import load_model


PROGRAM = """
import sys
import evaluate, hf_unlearn
from hf_unlearn.audit import measure_fade
fade = evaluate.load(hf_unlearn.metric_path("fade"))
options = dict(prompts=["a b", "b"], num_samples=2, max_new_tokens=4, progress=False)
print("fade", fade.compute(candidate="me/adapter", reference="me/reference", **options)["fade"])
try:
    measure_fade(candidate="me/nothing", reference="me/reference", **options)
except FileNotFoundError as error:
    print("refused", error)
"""


def test_models_adapters_and_tokenizers_by_id(tmp_path: Path):
    hub = tmp_path / "hub" / "me"
    for name, seed in (("base", 0), ("reference", 1)):
        tiny_llama(seed).save_pretrained(hub / name)
        word_tokenizer("a", "b").save_pretrained(hub / name)
    base = tiny_llama(0)
    base.config._name_or_path = "me/base"
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.peft_config["default"].base_model_name_or_path = "me/base"
    adapted.save_pretrained(hub / "adapter")
    word_tokenizer("a", "b").save_pretrained(hub / "adapter")
    with loopback_hub(tmp_path / "served") as served:
        for folder in sorted(hub.iterdir()):
            served.add(f"me/{folder.name}", folder)
        environment = {
            **os.environ,
            "HF_ENDPOINT": served.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = dict(line.split(" ", 1) for line in done.stdout.strip().splitlines())
    expected = measure_fade(
        prompts=["a b", "b"],
        candidate=adapted,
        reference=load_model(hub / "reference"),
        processing_class=word_tokenizer("a", "b"),
        num_samples=2,
        max_new_tokens=4,
        progress=False,
    )
    assert abs(float(printed["fade"]) - expected.estimate.fade) < 1e-5
    assert "me/nothing" in printed["refused"]
    assert not [request for request in served.requests if request.path.endswith((".bin", ".pt"))]
