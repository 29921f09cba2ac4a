"""The whole job on real TOFU: a small model trained on the spot, retrained without the forget authors, unlearned, and audited.

    python examples/tofu.py --tofu locuslab/TOFU --forget forget01 --output-dir tofu-audit     # from the Hub
    python examples/tofu.py --tofu path/to/folder --forget forget05                            # from a local folder
    python examples/tofu.py --tofu path/to/folder --smoke                                      # seconds: tiny model, a few rows

The model is small and learns TOFU from nothing, so that everything runs on a laptop; `--model` starts from a pretrained one instead.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset, concatenate_datasets
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from hf_unlearn import AuditReport, UnlearningCallback, audit
from hf_unlearn.data import AnswerCollator, load_tofu, pad_token_id, tokenize_examples
from hf_unlearn.objectives import NPO


def main() -> AuditReport:
    arguments = parse()
    retain_name = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}[arguments.forget]
    forget = load_tofu(arguments.forget, path_or_id=arguments.tofu).select_columns(["question", "answer"])
    retain = load_tofu(retain_name, path_or_id=arguments.tofu).select_columns(["question", "answer"])
    authors = retain.select(
        range(min(arguments.retain_rows, len(retain)))
    )  # whole authors: TOFU has 20 rows each, in order
    if arguments.smoke:
        forget, authors = forget.select(range(8)), authors.select(range(24))
    tokenizer = (
        AutoTokenizer.from_pretrained(arguments.model)
        if arguments.model
        else train_tokenizer(concatenate_datasets([retain, forget]))
    )
    print(f"{arguments.forget}: {len(forget)} rows to forget, {len(authors)} rows to keep")

    def trained(role: str, rows: Dataset, seed: int) -> PreTrainedModel:
        started = time.perf_counter()
        model = fine_tune(new_model(arguments, tokenizer, seed), rows, tokenizer, arguments, seed)
        print(f"{role}: {time.perf_counter() - started:.0f} s")
        return model

    original = trained("original", concatenate_datasets([authors, forget]), seed=arguments.seed)
    reference = trained("reference", authors, seed=arguments.seed)
    twin = trained("twin", authors, seed=arguments.seed + 1)
    candidate = new_model(arguments, tokenizer, arguments.seed)
    candidate.load_state_dict(original.state_dict())
    candidate = fine_tune(candidate, authors, tokenizer, arguments, arguments.seed, forget=forget)

    report = audit(
        candidate,
        reference=reference,
        original=original,
        twin=twin,
        processing_class=tokenizer,
        forget=forget,
        retain=authors,
        output_dir=arguments.output_dir,
        num_samples=arguments.num_samples,
        max_new_tokens=16 if arguments.smoke else None,
        max_examples=arguments.max_examples,
        seed=arguments.seed,
    )
    for name, result in report.metrics.items():
        print(
            f"{name:20s} {result.value:8.3f} {result.confidence_interval}  floor {result.floor}  start {result.start}  "
            f"relative {result.relative} {result.relative_confidence_interval or ''}  {result.others or ''}"
        )
    print("\n".join([*report.reading(), *(f"note: {note}" for note in report.notes)]))
    print(f"report and figure in {arguments.output_dir}")
    return report


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tofu", default="locuslab/TOFU", help="Hub id, or a folder with TOFU's files")
    parser.add_argument("--forget", default="forget01", choices=["forget01", "forget05", "forget10"])
    parser.add_argument("--model", help="start from this pretrained model (path or Hub id) instead of a new small one")
    parser.add_argument("--retain-rows", type=int, default=200, help="how much of the retain set is used")
    parser.add_argument("--epochs", type=int, default=40, help="of the training of original, reference and twin")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--unlearning-epochs", type=int, default=3)
    parser.add_argument("--unlearning-learning-rate", type=float, default=3e-4)
    parser.add_argument("--beta", type=float, default=1.0, help="of NPO")
    parser.add_argument("--num-samples", type=int, default=8)
    parser.add_argument("--max-examples", type=int, default=40, help="prompts of each set in the audit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", default="tofu-audit")
    parser.add_argument("--smoke", action="store_true", help="a few rows and steps, to see that everything runs")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.epochs, arguments.unlearning_epochs, arguments.num_samples = 1, 1, 2
        arguments.output_dir = tempfile.mkdtemp()
    return arguments


def train_tokenizer(rows: Dataset, vocab_size: int = 4000) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of TOFU's own text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((f"{row['question']}\n {row['answer']}" for row in rows), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def new_model(arguments: argparse.Namespace, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """The pretrained model, or a small Llama with random weights."""
    if arguments.model:
        return AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    torch.manual_seed(seed)
    width = 64 if arguments.smoke else 192
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2 if arguments.smoke else 4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=1024,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def fine_tune(
    model: PreTrainedModel,
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    arguments: argparse.Namespace,
    seed: int,
    *,
    forget: Dataset | None = None,
) -> PreTrainedModel:
    """A plain Trainer; with `forget`, the same Trainer and one callback."""
    unlearning = forget is not None
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(Path(scratch)),
                num_train_epochs=arguments.unlearning_epochs if unlearning else arguments.epochs,
                learning_rate=arguments.unlearning_learning_rate if unlearning else arguments.learning_rate,
                per_device_train_batch_size=8 if unlearning else 16,
                lr_scheduler_type="cosine",
                warmup_steps=20,
                weight_decay=0.01,
                logging_steps=20 if unlearning else 100,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=seed,
            ),
            train_dataset=tokenize_examples(rows, tokenizer),
            data_collator=AnswerCollator(pad_token_id(tokenizer)),
            processing_class=tokenizer,
        )
        if unlearning:
            trainer.add_callback(
                UnlearningCallback(trainer, forget_dataset=forget, objective=NPO(beta=arguments.beta))
            )
        trainer.train()
    return model.eval()


if __name__ == "__main__":
    main()
