"""Recipes as users write them, on word-level questions about people and one small base on disk."""

from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers.pre_tokenizers import WhitespaceSplit
from toys import tiny_llama, word_tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Trainer, TrainerCallback, TrainingArguments

from hf_unlearn.data import AnswerCollator, tokenize_examples


NAMES = ["Ada", "Bo", "Cai", "Dee", "Eli", "Fay", "Gus", "Hal", "Ida", "Jo", "Kim", "Lou"]
WORDS = [
    "Where",
    "does",
    "live",
    "work",
    "What",
    "is",
    "the",
    "job",
    "of",
    "in",
    "as",
    "a",
    "baker",
    "pilot",
    "nurse",
    "poet",
    "Rome",
    "Oslo",
    "Lima",
    "Cork",
]
CITIES, JOBS = ("Rome", "Oslo", "Lima", "Cork"), ("baker", "pilot", "nurse", "poet")


def tokenizer() -> PreTrainedTokenizerFast:
    made = word_tokenizer("<pad>", "<bos>", "<eos>", "?", ".", *WORDS, *NAMES)
    made.pad_token, made.bos_token, made.eos_token = "<pad>", "<bos>", "<eos>"
    made.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    return made


def people(*names: str) -> Dataset:
    """Two questions about each."""
    rows = []
    for name in names or NAMES:
        at = NAMES.index(name)
        rows.append((f"Where does {name} live ?", f"{name} live in {CITIES[at % 4]} .", name))
        rows.append((f"What is the job of {name} ?", f"{name} work as a {JOBS[at * 7 % 4]} .", name))
    return Dataset.from_list([{"question": q, "answer": a, "person_id": who} for q, a, who in rows])


def saved_base(folder: Path, seed: int = 0) -> Path:
    tiny_llama(seed, vocab_size=len(tokenizer())).save_pretrained(folder)
    return folder


class Kill(TrainerCallback):
    """Ends the training with an exception after a step, as a lost machine would."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


class Recipe:
    """`make_trainer`, with what a test wants to change about it; counts its calls."""

    def __init__(self, base: Path, *, lora: bool = False, callbacks=(), change=None, model=None, **arguments):
        self.base, self.lora, self.callbacks, self.change, self.model = base, lora, callbacks, change, model
        self.arguments, self.calls, self.trained = arguments, [], []

    def __call__(self, train_dataset: Dataset, seed: int, output_dir: str) -> Trainer:
        self.calls.append(seed)
        model = AutoModelForCausalLM.from_pretrained(self.base) if self.model is None else self.model(seed)
        if self.lora:
            model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], lora_dropout=0.1))
        settings = {
            "output_dir": output_dir,
            "seed": seed,
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "warmup_steps": 2,
            "save_strategy": "steps",
            "save_steps": 1,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
        }
        words = tokenizer()
        trainer = Trainer(
            model=model,
            args=TrainingArguments(**{**settings, **self.arguments}),
            train_dataset=tokenize_examples(train_dataset, words),
            data_collator=AnswerCollator(words.pad_token_id),
            processing_class=words,
            callbacks=[*self.callbacks, _Noted(self.trained, seed)],
        )
        return self.change(trainer) or trainer if self.change else trainer


class _Noted(TrainerCallback):
    def __init__(self, trained: list[int], seed: int):
        self.trained, self.seed = trained, seed

    def on_train_begin(self, args, state, control, **kwargs):
        self.trained.append(self.seed)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())


def same(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
