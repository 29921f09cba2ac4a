"""Is the counterfactual distance, which needs no retrained model, as good as the true one? Shown where retrained models exist.

python examples/counterfactual_audit.py                              # pocket, two seeds
python examples/counterfactual_audit.py --data FOLDER --seeds 0      # TOFU's text (its .json files), a small model trained on the spot
python examples/counterfactual_audit.py --smoke

Candidates are the checkpoints of unlearning runs with several objectives, and the original, the reference and the twin. Each is audited against
the reference (FADE) and against what the original says of people whom it has never seen (counterfactual FADE). Models are kept in
`--cache`, evidence in `--output-dir`, so that a second run is fast.
"""

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from datasets import Dataset, concatenate_datasets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import pearsonr, spearmanr
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging

from hf_unlearn import AuditReport, UnlearningCallback, audit
from hf_unlearn.audit import MetricResult
from hf_unlearn.data import (
    AnswerCollator,
    counterfactual_questions,
    load_pocket,
    load_tofu,
    pad_token_id,
    tokenize_examples,
)  # fmt: skip


OBJECTIVES: dict[str, dict] = {
    "scrub": {"forget_weight": 0.05},
    "npo": {"forget_weight": 0.2},
    "undial": {},
    "idk": {},
}
AUTHOR_QUESTIONS = 20  # TOFU's authors come one after the other
SHIPS = [
    f"{first}{last}" for first in ("Sea", "Storm", "North", "Silver") for last in ("hawk", "rose", "star", "wind")
]


@dataclass(frozen=True)
class World:
    """What there is to audit: sets, models by role, and the recipe behind them."""

    name: str
    forget: Dataset
    retain: Dataset
    tokenizer: PreTrainedTokenizerFast
    original: Path
    retrained: dict[str, Path]
    recipe: Callable[[Dataset, int, str], Trainer]
    ships: Dataset | None = None


def trainer_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Dataset, seed: int, folder: str, **options
) -> Trainer:
    """A plain Trainer on question and answer, without noise on the terminal."""
    options = {
        "lr_scheduler_type": "cosine",
        "warmup_steps": 10,
        "weight_decay": 0.1,
        "save_strategy": "no",
        **options,
    }
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            folder, per_device_train_batch_size=16, report_to="none", disable_tqdm=True, logging_strategy="no",
            dataloader_pin_memory=False, seed=seed, **options,
        ),
        train_dataset=tokenize_examples(rows, tokenizer),
        data_collator=AnswerCollator(pad_token_id(tokenizer)),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


def pocket_world(seed: int, size: str, cache: Path) -> World:
    """The embedded benchmark; its models are trained when they are first asked for."""
    pocket = load_pocket(size, seed=seed)
    kept = {}
    for role in ("original", "reference", "twin", "stranger"):
        model = getattr(pocket, role)()
        kept[role] = cache / f"pocket-{size}-{seed}" / role
        model.save_pretrained(kept[role])
        pocket.tokenizer.save_pretrained(kept[role])
    original = kept.pop("original")

    def recipe(rows: Dataset, seed: int, folder: str) -> Trainer:
        model = LlamaForCausalLM.from_pretrained(original)
        return trainer_of(model, pocket.tokenizer, rows, seed, folder, num_train_epochs=18, learning_rate=1.2e-3)

    return World(
        f"pocket-{seed}", pocket.forget, pocket.retain, pocket.tokenizer, original, kept, recipe, pocket.forget_ood
    )


def bpe(texts: list[str]) -> PreTrainedTokenizerFast:
    """A small tokenizer of these texts."""
    made = Tokenizer(BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<bos>", "<eos>"]
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=1500, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def tofu_world(seed: int, data: Path, cache: Path, steps: int = 500) -> World:
    """A few authors of TOFU, answers cut to ten words, and a Llama of three layers trained from scratch on them."""
    rows = concatenate_datasets([load_tofu(name, path_or_id=data) for name in ("retain90", "forget10")])
    rows = rows.select_columns(["question", "answer"]).map(
        lambda row: {"answer": " ".join(row["answer"].split()[:10])}
    )
    rows = rows.add_column("person_id", [f"author-{at // AUTHOR_QUESTIONS}" for at in range(len(rows))])
    tokenizer = bpe([f"{row['question']} {row['answer']}" for row in rows])
    authors = torch.randperm(len(rows) // AUTHOR_QUESTIONS, generator=torch.Generator().manual_seed(seed)).tolist()

    def about(chosen: list[int]) -> Dataset:
        return rows.select([AUTHOR_QUESTIONS * author + at for author in chosen for at in range(AUTHOR_QUESTIONS)])

    forget, retain, others = about(authors[:3]), about(authors[3:12]), about(authors[12:72])

    def recipe(rows: Dataset, seed: int, folder: str) -> Trainer:
        torch.manual_seed(seed)
        shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
        model = LlamaForCausalLM(
            LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2, **shape)
        )
        return trainer_of(model, tokenizer, rows, seed, folder, max_steps=steps, learning_rate=3e-3)

    folder = cache / f"tofu-{seed}-{steps}"
    everything = concatenate_datasets([retain, forget])
    original = trained(recipe, everything, seed, folder / "original")
    retrained = {
        role: trained(recipe, retain, seed + at, folder / role) for at, role in enumerate(("reference", "twin"))
    }
    names = counterfactual_questions(others).subjects
    forget = counterfactual_questions(
        forget, retain=retain, num=16, substitutes=sorted({name for name in names if name})
    ).dataset
    return World(f"tofu-{seed}", forget, retain, tokenizer, original, retrained, recipe)


def trained(recipe: Callable[[Dataset, int, str], Trainer], rows: Dataset, seed: int, folder: Path) -> Path:
    """A model by the recipe, from disk where it is there."""
    if not (folder / "model.safetensors").is_file():
        trainer = recipe(rows, seed, str(folder / "run"))
        trainer.train()
        trainer.save_model(str(folder))
    return folder


def candidates(world: World, objectives: list[str], budgets: list[int], cache: Path) -> dict[str, Path]:
    """Checkpoints of unlearning runs, one run for each objective."""
    found = {}
    for name in objectives:
        options = {"objective": name, **OBJECTIVES[name]}
        told = json.dumps([options, budgets, len(world.forget), 3])
        folder = cache / world.name / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        if not (folder / f"checkpoint-{budgets[-1]}" / "model.safetensors").is_file():
            request = world.forget if world.ships is None else concatenate_datasets([world.forget, world.ships])
            trainer = trainer_of(
                LlamaForCausalLM.from_pretrained(world.original), world.tokenizer, world.retain, 0, str(folder),
                max_steps=budgets[-1], learning_rate=5e-4, lr_scheduler_type="constant", save_strategy="steps",
                save_steps=budgets[0], save_only_model=True,
            )  # fmt: skip
            trainer.add_callback(UnlearningCallback(trainer, forget_dataset=request, **options))
            trainer.train()
        found |= {f"{name} {budget}": folder / f"checkpoint-{budget}" for budget in budgets}
    return found


def audited(world: World, model: Path, arguments: argparse.Namespace, **options) -> AuditReport:
    """Forget side only. A retrained model is a candidate like another, so the role that it has elsewhere stays empty."""
    others = {role: world.retrained[role] for role in ("reference", "twin") if world.retrained[role] != model}
    if "reference" not in others:
        others = {}
    return audit(
        model, original=world.original, processing_class=world.tokenizer, **{"forget": world.forget, "retain": world.retain},
        metrics=["probability", "counterfactual_fade", *(["fade"] if others else [])],
        num_samples=arguments.num_samples, num_counterfactuals=arguments.num_samples, max_examples=arguments.max_examples, max_new_tokens=arguments.max_new_tokens,
        evidence_dir=arguments.output_dir / world.name, progress=False, **others, **options,
    )  # fmt: skip


def compared(reports: dict[str, AuditReport], title: str) -> list[tuple[float, float, float]]:
    """Print true, counterfactual and probability side by side, and how well the last two rank by the first."""
    scales = {name: reports["original"].metrics[name] for name in ("fade", "counterfactual_fade")}
    print(
        f"\n{title}\n{'candidate':<16}{'FADE':>8}{'relative':>10}{'counterfactual':>16}{'position':>10}{'forget p':>10}"
    )
    points = []
    for name, report in reports.items():
        true = report.metrics["fade"].value if "fade" in report.metrics else 0.0  # the reference's distance to itself
        other, p = report.metrics["counterfactual_fade"].value, report.metrics["probability/forget"].value
        places = (place(true, scales["fade"]), place(other, scales["counterfactual_fade"]))
        print(f"{name:<16}{true:8.2f}{places[0]:>10}{other:16.2f}{places[1]:>10}{p:10.2f}")
        points.append((true, other, p))
    for name, scale in scales.items():
        print(f"{name}: floor {scale.floor:.2f}, start {scale.start:.2f} ({scale.unit})")
    true, counterfactual, probability = zip(*points, strict=True)
    for name, values in (("counterfactual FADE", counterfactual), ("forget probability alone", probability)):
        spearman, pearson = spearmanr(true, values).statistic, pearsonr(true, values).statistic
        print(f"{name} against FADE, {len(points)} candidates: Spearman {spearman:.3f}, Pearson {pearson:.3f}")
    return points


def place(value: float, scale: MetricResult) -> str:
    """Where a value lies between floor (0) and start (1)."""
    return f"{(value - scale.floor) / (scale.start - scale.floor):.2f}"


def where_it_fails(world: World, models: dict[str, Path], arguments: argparse.Namespace) -> None:
    """Ships: a kind of thing that only the forget set had, so that no retrained model answers as the original does about unseen ones."""
    refused = audit(
        world.retrained["reference"], original=world.original, processing_class=world.tokenizer, forget=world.ships,
        retain=world.retain, metrics=["probability", "counterfactual_fade"], progress=False,
    )  # fmt: skip
    print(f"\nShips, {world.name}: {'claimed' if 'counterfactual_fade' in refused.metrics else 'refused'}")
    print("\n".join(f"  {note}" for note in refused.notes if "kind" in note))
    unlabelled = world.ships.remove_columns(["kind", "subject"])
    forced = counterfactual_questions(
        world.ships.remove_columns("kind"), num=2 * arguments.num_samples, substitutes=SHIPS
    ).dataset
    ships = replace(world, forget=unlabelled.add_column("counterfactual_question", forced["counterfactual_question"]))
    reports = {name: audited(ships, model, arguments) for name, model in models.items()}
    compared(reports, f"{world.name}: ships, had it been claimed")


def draw(worlds: dict[str, list[tuple[float, float, float]]], path: Path) -> None:
    """True against counterfactual distance; darker points still give the forget answers."""
    figure = Figure(figsize=(5 * len(worlds), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, points) in zip(figure.subplots(1, len(worlds), squeeze=False)[0], worlds.items(), strict=True):
        true, counterfactual, probability = zip(*points, strict=True)
        shown = axes.scatter(
            true, counterfactual, c=probability, cmap="cividis_r", vmin=0, vmax=1, edgecolors="#555555"
        )
        axes.set_title(f"{name}: Spearman {spearmanr(true, counterfactual).statistic:.3f}")
        axes.set_xlabel("FADE to the reference (nats per sequence)")
        axes.set_ylabel("counterfactual FADE (nats per sequence)\nassumes that subjects are exchangeable")
        figure.colorbar(shown, label="probability of the forget answers")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with TOFU's .json files; default: pocket")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--num-samples", type=int, default=4)
    parser.add_argument("--max-examples", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--output-dir", type=Path, default=Path("counterfactual-audit"))
    parser.add_argument("--cache", type=Path, default=Path("counterfactual-audit") / "models")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    hf_logging.disable_progress_bar()
    seeds, objectives, budgets = arguments.seeds, list(OBJECTIVES), [15, 30, 60]
    if arguments.smoke:
        seeds, objectives, budgets = [0], ["npo"], [2, 4, 6]
        arguments.max_examples, arguments.max_new_tokens, arguments.num_samples = 12, 4, 2
    points = {}
    for seed in seeds:
        if arguments.data is None:
            world = pocket_world(seed, "nano" if arguments.smoke else "small", arguments.cache)
        else:
            world = tofu_world(seed, arguments.data, arguments.cache, 20 if arguments.smoke else 500)
        unlearned = candidates(world, objectives, budgets, arguments.cache)
        models = {"original": world.original, **world.retrained, **unlearned}
        points[world.name] = compared({n: audited(world, m, arguments) for n, m in models.items()}, world.name)
        if world.ships is not None:
            some = [*models][:3] + [f"{name} {budgets[-1]}" for name in objectives]
            where_it_fails(world, {name: models[name] for name in some}, arguments)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    draw(points, arguments.output_dir / "true-against-counterfactual.png")


if __name__ == "__main__":
    main()
