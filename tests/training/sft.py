"""TRL's SFTTrainer on rows that are tokenized already, and on conversations."""

from pathlib import Path

from datasets import Dataset
from runs import examples
from tokenizers.pre_tokenizers import WhitespaceSplit
from toys import word_tokenizer
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer


CHAT_TEMPLATE = "{% for message in messages %}{{ message['role'] + ' ' + message['content'] + ' ' }}{% endfor %}"


def tokenizer() -> PreTrainedTokenizerFast:
    made = word_tokenizer("user", "assistant", *(f"w{index}" for index in range(94)))
    made.pad_token = made.eos_token = "w93"
    made.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    made.chat_template = CHAT_TEMPLATE
    return made


def conversations(count: int, *, first: int = 0) -> Dataset:
    rows = [
        [
            {"role": "user", "content": f"w{(first + row) % 90} w{(3 * row) % 90}"},
            {"role": "assistant", "content": f"w{(first + 7 * row) % 90} w{(first + row) % 90} w5"},
        ]
        for row in range(count)
    ]
    return Dataset.from_dict({"messages": rows})


def sft_trainer(output_dir: Path, *, model, rows: Dataset | None = None, **overrides) -> SFTTrainer:
    settings = {
        "output_dir": str(output_dir),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.01,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_length": 64,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
    }
    return SFTTrainer(
        model=model,
        args=SFTConfig(**{**settings, **overrides}),
        train_dataset=examples(20, seed=1) if rows is None else rows,
        processing_class=tokenizer(),
    )
