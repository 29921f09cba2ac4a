"""References by one's own recipe: what must be forgotten is found in the training data and taken out, and the recipe runs again.

    python examples/retrain.py                         # minutes: all weights
    python examples/retrain.py --lora                  # adapters on one base
    python examples/retrain.py --near-duplicates 0.7   # rows that are nearly equal to a forget row go, too
    python examples/retrain.py --smoke

A second run with the same --output-dir trains nothing: it finds what is finished. One that is killed goes on where it was.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from datasets import Dataset, concatenate_datasets
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from hf_unlearn import audit, retrain, unlearn
from hf_unlearn.data import AnswerCollator, load_pocket, pad_token_id, tokenize_examples


def main() -> None:
    options = parse()
    pocket = load_pocket("nano" if options.smoke else "small")
    tokenizer, folder = pocket.tokenizer, Path(options.output_dir)
    data = concatenate_datasets([pocket.retain, pocket.forget_request])

    def trainer_on(model, rows: Dataset, seed: int, output_dir: str) -> Trainer:
        arguments = TrainingArguments(
            output_dir=output_dir,
            seed=seed,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=16,
            learning_rate=1e-2 if isinstance(model, PeftModel) else 2e-3,
            lr_scheduler_type="cosine",
            save_strategy="epoch",
            save_total_limit=1,
            report_to="none",
            disable_tqdm=True,
        )
        return Trainer(
            model,
            arguments,
            train_dataset=tokenize_examples(rows, tokenizer),
            data_collator=AnswerCollator(pad_token_id(tokenizer)),
            processing_class=tokenizer,
        )

    def make_trainer(train_dataset: Dataset, seed: int, output_dir: str) -> Trainer:
        """The recipe: everything starts from one base."""
        model = AutoModelForCausalLM.from_pretrained(folder / "base")
        if options.lora:
            model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"))
        return trainer_on(model, train_dataset, seed, output_dir)

    if not (
        folder / "base" / "config.json"
    ).exists():  # in life a published model; here one that has read about other people
        base = trainer_on(
            new_model(tokenizer), load_pocket(pocket.size, seed=1000).retain, 0, str(folder / "base-run")
        )
        base.train()
        base.save_model(str(folder / "base"))

    made = retrain(
        make_trainer,
        data,
        without=pocket.forget_request,
        near_duplicates=options.near_duplicates,
        seeds=(0, 1),
        output_dir=folder,
    )
    print(made.removed)

    # The same recipe on all the data is the original, and an unlearning of it is what is to be judged.
    trainer = make_trainer(data, 2, str(folder / "original-run"))
    trainer.train()
    trainer.model.save_pretrained(folder / "original")
    settings = {"processing_class": tokenizer, "learning_rate": 1e-3, "num_train_epochs": 1 if options.smoke else 3}
    candidate = unlearn(
        trainer.model,
        forget=pocket.forget_request,
        retain=pocket.retain,
        output_dir=folder / "unlearned",
        objective="grad_diff",
        forget_weight=0.05,
        **settings,
    )
    report = audit(
        candidate.output_dir,
        reference=made.reference,
        twin=made.twins,
        original=folder / "original",
        processing_class=tokenizer,
        forget=pocket.forget,
        retain=pocket.retain,
        metrics=["fade", "probability"],
        num_samples=2 if options.smoke else 8,
        max_examples=4 if options.smoke else 100,
        progress=False,
    )
    for name, found in report.metrics.items():
        print(f"{name}: {shown(found.value)}, another retraining {shown(found.floor)}, original {shown(found.start)}")
    print("\n".join(report.reading()))


def shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def new_model(tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora", action="store_true", help="train adapters, not all weights")
    parser.add_argument("--near-duplicates", type=float, help="similarity from which a row goes, too")
    parser.add_argument("--epochs", type=int, default=26)
    parser.add_argument("--output-dir", default="retrained")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that everything runs")
    options = parser.parse_args()
    if options.smoke:
        options.epochs, options.output_dir = 1, tempfile.mkdtemp()
    return options


if __name__ == "__main__":
    main()
