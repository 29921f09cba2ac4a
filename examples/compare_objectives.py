"""All objectives on pocket under one budget: what they forget, what they keep, and how far from a retrained model they end.

python examples/compare_objectives.py               # two seeds, every objective; about fifteen minutes on two cores
python examples/compare_objectives.py --objectives npo idk --seeds 0
python examples/compare_objectives.py --smoke
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging

from hf_unlearn import OBJECTIVES, RMU, UnlearningCallback, audit
from hf_unlearn.data import AnswerCollator, Pocket, load_pocket, pad_token_id, tokenize_examples


EPOCHS, LEARNING_RATE = 5, 1e-3
# Objectives with their defaults; weights where a default weight of 1 does nothing or too much to so small a model.
RECIPES: dict[str, dict] = {
    "grad_diff": {"forget_weight": 0.05},
    "kl_min": {"forget_weight": 0.05},
    "scrub": {"forget_weight": 0.05},
    "idk_dpo": {"forget_weight": 5.0},
    "sat_imp": {"forget_weight": 5.0},
    "rmu": {"objective": RMU(layer=2), "retain_term": "hidden", "retain_weight": 30.0, "learning_rate": 5e-3},
}
NAMES = [*OBJECTIVES, "grad_diff", "kl_min"]


def unlearned(pocket: Pocket, name: str):
    """The original after unlearning with one objective."""
    recipe = dict(RECIPES.get(name, {}))
    learning_rate = recipe.pop("learning_rate", LEARNING_RATE)
    forget = pocket.forget_request
    if name == "dpo":  # altpo answers for itself
        forget = forget.add_column("alternative_answer", [answers[0] for answers in forget["perturbed_answer"]])
    model = pocket.original()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder, num_train_epochs=EPOCHS, learning_rate=learning_rate, per_device_train_batch_size=16,
                save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False, logging_strategy="no",
            ),
            train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer),
            data_collator=AnswerCollator(pad_token_id(pocket.tokenizer)),
            processing_class=pocket.tokenizer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        options = {"objective": name, **recipe}
        trainer.add_callback(UnlearningCallback(trainer, forget_dataset=forget, **options))
        trainer.train()
    return model.eval()


def numbers(pocket: Pocket, name: str, max_examples: int) -> dict[str, float | None]:
    report = audit(
        unlearned(pocket, name), reference=pocket.reference(), original=pocket.original(), twin=pocket.twin(),
        processing_class=pocket.tokenizer, forget=pocket.forget, retain=pocket.retain, num_samples=4,
        max_examples=max_examples, metrics=["probability", "fade", "residual_ratio"], progress=False,
    )  # fmt: skip
    found = report.metrics
    interval = found["fade"].relative_confidence_interval
    return {
        "forget_probability": found["probability/forget"].value,
        "retain_probability": found["probability/retain"].value,
        "relative": found["fade"].relative,
        "relative_low": interval and interval[0],
        "relative_high": interval and interval[1],
        "residual_ratio": found["residual_ratio"].value,
        "retrained": found["probability/retain"].ideal,
    }


def mean(rows: list[dict], name: str) -> float:
    values = [row[name] for row in rows if row[name] is not None]
    return float(np.mean(values)) if values else float("nan")


def table(results: dict[str, list[dict]]) -> str:
    lines = [
        "| objective | forget p | retain p | FADE relative, each seed with its interval | residual ratio |",
        "|---|---|---|---|---|",
    ]
    for name, rows in sorted(results.items(), key=lambda item: mean(item[1], "relative")):
        places = "; ".join(
            "–" if row["relative"] is None
            else f"{row['relative']:.2f}" if row["relative_low"] is None
            else f"{row['relative']:.2f} [{row['relative_low']:.2f}, {row['relative_high']:.2f}]"
            for row in rows
        )  # fmt: skip
        lines.append(
            f"| `{name}` | {mean(rows, 'forget_probability'):.2f} | {mean(rows, 'retain_probability'):.2f} | {places} | "
            f"{mean(rows, 'residual_ratio'):.2f} |"
        )
    return "\n".join(lines)


def draw(results: dict[str, list[dict]], reference: dict[str, float], path: Path) -> None:
    """Trade-off: FADE relative (left is better) against retained probability (up is better); marker size is the residue."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, rows in results.items():
        x, y, size = mean(rows, "relative"), mean(rows, "retain_probability"), mean(rows, "residual_ratio")
        point = axes.scatter(x, y, s=30 * min(size, 12), alpha=0.6)
        axes.annotate(
            name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8, color=point.get_facecolor()[0]
        )
    axes.axvline(1, color="#555555", lw=1, ls="--")
    axes.axhline(reference["retain"], color="#0072B2", lw=1, ls=":")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlabel("FADE relative: 0 = as good as retraining, 1 (dashed) = as if nothing had been unlearned")
    axes.set_ylabel("probability of retain answers (dotted: retrained)")
    axes.set_title("Objectives on pocket; marker area: residual ratio of hidden states")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objectives", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output-dir", type=Path, default=Path("compare-objectives"))
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    hf_logging.disable_progress_bar()
    names = ["npo", "wga"] if arguments.smoke else arguments.objectives
    seeds = [0] if arguments.smoke else arguments.seeds
    pockets = [load_pocket("nano" if arguments.smoke else "small", seed=seed, progress=False) for seed in seeds]
    results: dict[str, list[dict]] = {}
    for name in names:
        results[name] = [numbers(pocket, name, 18 if arguments.smoke else 48) for pocket in pockets]
        print(name, json.dumps(results[name][-1]), flush=True)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    (arguments.output_dir / "results.json").write_text(json.dumps(results, indent=1))
    draw(results, {"retain": results[names[0]][0]["retrained"]}, arguments.output_dir / "trade-off.png")
    print(table(results))


if __name__ == "__main__":
    main()
