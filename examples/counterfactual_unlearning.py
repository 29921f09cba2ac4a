"""Unlearning without a retrained model: the objective `counterfactual` and its parts, beside another retraining.

python examples/counterfactual_unlearning.py                       # pocket, two seeds; about ten minutes on an idle core
python examples/counterfactual_unlearning.py --data FOLDER         # a few authors of TOFU and small models trained on the spot
python examples/counterfactual_unlearning.py --smoke

A result counts where FADE, the forget answers' probability and the hidden states are all where another retraining's are.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging

from hf_unlearn import NPO, AuditReport, Counterfactual, UnlearningCallback, audit
from hf_unlearn.data import (
    AnswerCollator,
    counterfactual_questions,
    load_pocket,
    load_tofu,
    pad_token_id,
    tokenize_examples,
)


METRICS = ["fade", "probability", "residual_ratio", "progress"]
# Weights and steps were chosen on pocket's seed 0; the same for all.
RECIPE = {"learning_rate": 1e-3, "per_device_train_batch_size": 16}
CANDIDATES = {
    "counterfactual": (Counterfactual(), 2.0),
    "without cleansing": (Counterfactual(cleansing=False), 2.0),
    "without hidden part": (Counterfactual(hidden_weight=0.0), 2.0),
    "npo": (NPO(), 1.0),
}


@dataclass(frozen=True)
class World:
    """Models that saw and did not see the forget set, and the sets."""

    name: str
    original: PreTrainedModel
    reference: PreTrainedModel
    twin: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    forget: Dataset
    retain: Dataset


def trained(
    model: PreTrainedModel, rows: Dataset, tokenizer: PreTrainedTokenizerBase, callback: dict | None = None, **settings
) -> PreTrainedModel:
    """Trained in place on rows, with a forget term beside where `callback` has its options."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder, save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
                logging_strategy="no", per_device_eval_batch_size=64, **settings,
            ),
            train_dataset=tokenize_examples(rows, tokenizer),
            data_collator=AnswerCollator(pad_token_id(tokenizer)),
            processing_class=tokenizer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        if callback is not None:
            trainer.add_callback(UnlearningCallback(trainer, **callback))
        trainer.train()
    return model.eval()


def unlearned(world: World, name: str, steps: int) -> PreTrainedModel:
    objective, retain_weight = CANDIDATES[name]
    model = type(world.original)(world.original.config)
    model.load_state_dict(world.original.state_dict())
    # Names that stand in neither set; what has none, if anything, is left out and counted in the log.
    forget = counterfactual_questions(world.forget, retain=world.retain, num=16, seed=1).dataset
    options = {"forget_dataset": forget, "objective": objective, "retain_weight": retain_weight}
    return trained(model, world.retain, world.tokenizer, options, max_steps=steps, **RECIPE)


def audited(world: World, candidate: PreTrainedModel, max_examples: int) -> AuditReport:
    return audit(
        candidate, reference=world.reference, original=world.original, twin=world.twin, processing_class=world.tokenizer,
        forget=world.forget, retain=world.retain, num_samples=4, max_examples=max_examples, metrics=METRICS, progress=False,
    )  # fmt: skip


def line(name: str, report: AuditReport, role: str = "value") -> str:
    """One row: the candidate's values, or with role "floor" those of another retraining, with "start" those of the original."""
    found = report.metrics
    fade, residue = found["fade/forget"], found["residual_ratio/forget"]
    numbers = [getattr(found[key], role) for key in ("probability/forget", "residual_ratio/forget", "progress/forget")]
    place = {"value": fade.relative, "floor": 0.0, "start": 1.0}[role]
    interval = fade.relative_confidence_interval if role == "value" else None
    spread = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
    over = residue.over_floor_interval if role == "value" else None
    beyond = "" if over is None else f" (over another retraining's by {over[0]:+.2f} to {over[1]:+.2f})"
    shown = "–" if place is None else f"{place:.2f}"
    return (
        f"| {name} | {numbers[0]:.3f} | {shown}{spread} | {numbers[1]:.2f}{beyond} | {numbers[2]:.2f} | "
        f"{getattr(found['fade/retain'], role):.2f} |"
    )


def table(world: World, names: list[str], steps: int, max_examples: int) -> None:
    print(f"\n{world.name}: {len(world.forget)} forget rows, {len(world.retain)} retain rows, {steps} steps")
    print("| model | forget p | FADE relative | residual ratio | progress | retain FADE |\n|---|---|---|---|---|---|")
    for number, name in enumerate(names):
        report = audited(world, unlearned(world, name, steps), max_examples)
        if not number:
            print(f"| reference | {report.metrics['probability/forget'].ideal:.3f} | | 0.00 | 1.00 | 0.00 |")
            print(line("twin (another retraining)", report, "floor"))
            print(line("original", report, "start"))
        print(line(name, report), flush=True)


def pocket_world(size: str, seed: int) -> World:
    pocket = load_pocket(size, seed=seed, progress=False)
    return World(
        f"pocket {size}, seed {seed}", pocket.original(), pocket.reference(), pocket.twin(), pocket.tokenizer, pocket.forget,
        pocket.retain,
    )  # fmt: skip


def tofu_world(folder: Path, epochs: float, num_forget: int, num_retain: int) -> World:
    """A few authors to forget and some to keep, answers cut to 14 words; small models of one start, each trained on what it may see."""
    forget = first_authors(load_tofu("forget05", path_or_id=folder), num_forget)
    retain = first_authors(load_tofu("retain95", path_or_id=folder), num_retain)
    tokenizer = tokenizer_of([*forget["question"], *forget["answer"], *retain["question"], *retain["answer"]])
    both = Dataset.from_list([*retain, *forget])
    models = [
        trained(
            fresh(tokenizer), rows, tokenizer, num_train_epochs=epochs, learning_rate=2e-3, seed=seed,
            per_device_train_batch_size=16, weight_decay=0.1, lr_scheduler_type="cosine", warmup_steps=10,
        )
        for rows, seed in ((both, 0), (retain, 0), (retain, 1))
    ]  # fmt: skip
    return World("TOFU", *models, tokenizer, forget, retain)


def first_authors(rows: Dataset, count: int) -> Dataset:
    """TOFU has twenty questions an author, in a row."""
    few = rows.select(range(20 * count))
    answers = [" ".join(answer.split()[:14]) for answer in few["answer"]]
    few = Dataset.from_dict({"question": few["question"], "answer": answers})
    return few.add_column("cluster_id", [f"author-{at // 20}" for at in range(len(few))])


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    learnt = ByteLevelBPETokenizer()
    learnt.train_from_iterator(texts, vocab_size=2000, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=learnt._tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def fresh(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=256, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--data", type=Path, help="a folder with TOFU's files: measure on these instead of pocket")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    hf_logging.disable_progress_bar()
    names, steps, rows = arguments.candidates, arguments.steps, 64
    if arguments.smoke:
        CANDIDATES["counterfactual"] = (Counterfactual(num_counterfactuals=3, names_per_answer=2), 2.0)
        names, steps, rows = ["counterfactual"], 3, 12
    if arguments.data is not None:
        worlds = [tofu_world(arguments.data, *((1, 1, 2) if arguments.smoke else (40, 3, 14)))]
    elif arguments.smoke:
        worlds = [pocket_world("nano", 0)]
    else:
        worlds = [pocket_world("small", seed) for seed in arguments.seeds]
    for world in worlds:
        table(world, names, steps, rows)


if __name__ == "__main__":
    main()
