"""Find a recipe by the audited score on one pocket benchmark, and see what it is worth on another that it was not tuned on.

python examples/tune.py               # tuned on seed 0, audited on seed 1; a few minutes on two cores
python examples/tune.py --objectives npo simnpo undial --trials 30
python examples/tune.py --smoke
"""

import argparse
import logging
import tempfile
from pathlib import Path

from transformers.utils import logging as hf_logging

from hf_unlearn import OBJECTIVES, audit, tune
from hf_unlearn.data import load_pocket
from hf_unlearn.tuning import Recipe


def audited(recipe: Recipe, size: str, seed: int, max_examples: int) -> dict[str, float]:
    """A recipe on a benchmark: place between another retraining (0) and the original (1) on what had to go, and distances on what had to stay."""
    pocket = load_pocket(size, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        model = recipe.apply(
            pocket.original(), forget=pocket.forget, retain=pocket.retain, processing_class=pocket.tokenizer,
            output_dir=folder,
        ).model  # fmt: skip
    report = audit(
        model, reference=pocket.reference(), original=pocket.original(), twin=pocket.twin(), forget=pocket.forget, retain=pocket.retain,
        processing_class=pocket.tokenizer, metrics=["fade", "probability"], max_examples=max_examples, progress=False,
    )  # fmt: skip
    forget, retain = report.metrics["fade/forget"], report.metrics["fade/retain"]
    low, high = forget.relative_confidence_interval or (float("nan"), float("nan"))
    return {
        "relative": forget.relative, "low": low, "high": high, "retain": retain.value, "floor": retain.floor,
        "probability": report.metrics["probability/forget"].value, "ideal": report.metrics["probability/forget"].ideal,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objectives", nargs="+", default=["simnpo"], choices=list(OBJECTIVES))
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--max-steps", type=int, default=60)
    parser.add_argument("--size", default="small", choices=["nano", "small"])
    parser.add_argument(
        "--output-dir", type=Path, default=Path("tuned"), help="a search that is there already goes on"
    )
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.objectives, arguments.trials, arguments.max_steps, arguments.size = ["simnpo"], 3, 8, "nano"
    hf_logging.disable_progress_bar()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("hf_unlearn.tuning").setLevel(logging.INFO)  # says what the search will cost

    pocket = load_pocket(arguments.size, seed=0)
    result = tune(
        pocket.original(), forget=pocket.forget, retain=pocket.retain, reference=pocket.reference(), twin=pocket.twin(),
        processing_class=pocket.tokenizer, objectives=arguments.objectives, num_trials=arguments.trials, max_steps=arguments.max_steps,
        per_device_train_batch_size=16, max_examples=8 if arguments.smoke else 16, num_samples=2, evaluations=3,
        output_dir=arguments.output_dir,
    )  # fmt: skip
    print(*result.sentences(), sep="\n")

    print(
        "\n| recipe | seed | FADE relative on forget | FADE on retain (floor) | forget probability (retrained) |\n|---|---|---|---|---|"
    )
    for title, recipe in ((f"{result.best.objective}, defaults", result.default), ("found", result.best)):
        for seed in (0, 1):
            found = audited(recipe, arguments.size, seed, 12 if arguments.smoke else 64)
            print(
                f"| {title} | {seed}{', tuned on' if not seed else ''} | {found['relative']:.2f} [{found['low']:.2f}, {found['high']:.2f}] | "
                f"{found['retain']:.2f} ({found['floor']:.2f}) | {found['probability']:.2f} ({found['ideal']:.2f}) |",
                flush=True,
            )
    print(
        f"\nresults: {arguments.output_dir.resolve()}; hf-unlearn unlearn --config {arguments.output_dir}/best.yaml takes the recipe as it is"
    )


if __name__ == "__main__":
    main()
