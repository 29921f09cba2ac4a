"""How much would two retrainings differ? Estimates from the original alone, judged where true retrained models exist.

python examples/retraining_noise.py                              # pocket, seed 0
python examples/retraining_noise.py --data FOLDER                # TOFU's text, a small model trained on the spot
python examples/retraining_noise.py --smoke

The floor of counterfactual FADE holds what names alone make different. With models that the original became in the place of the original
(`audit(..., continued=...)`) it is to hold what another training makes different, too. An estimate is honest where true retrained models come
out at 0 on the scale from floor to start, and useful where an incomplete unlearning does not.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from counterfactual_audit import World, candidates, pocket_world, tofu_world
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedModel, Trainer
from transformers.utils import logging as hf_logging

from hf_unlearn import audit
from hf_unlearn.training import continued


Estimate = Callable[[Path], list[Path]]
FRACTIONS = [0.1, 0.25, 0.5, 1.0]


def estimates(world: World, fractions: list[float]) -> Iterator[tuple[str, Estimate]]:
    """Name and maker of the models of each estimate."""
    yield "none: names alone", lambda folder: []
    for fraction in fractions:
        for resample in (False, True):
            yield (
                f"continued {fraction:g}{', resampled' if resample else ''}",
                lambda folder, fraction=fraction, resample=resample: trained_on(
                    world, world.recipe, world.original, folder, fraction, resample
                ),
            )
    yield "dropout 0.1", lambda folder: [thinned(world, seed, folder) for seed in (0, 1)]
    yield (
        "LoRA, 0.25",
        lambda folder: trained_on(world, with_adapter(world.recipe), world.original, folder, 0.25, False),
    )
    yield (
        "new top layer, 0.25",
        lambda folder: trained_on(world, world.recipe, renewed(world, folder), folder, 0.25, False),
    )


def trained_on(
    world: World,
    recipe: Callable[[Dataset, int, str], Trainer],
    start: Path,
    folder: Path,
    fraction: float,
    resample: bool,
) -> list[Path]:
    """Two models that `start` became when it was trained on by the recipe."""
    made = continued(
        recipe, start, world.retain, output_dir=folder / "runs", seeds=(0, 1), fraction=fraction, resample=resample
    )
    return list(made.models)


def with_adapter(recipe: Callable[[Dataset, int, str], Trainer]) -> Callable[[Dataset, int, str], Trainer]:
    """The recipe with LoRA in place of all weights."""

    def adapted(rows: Dataset, seed: int, folder: str) -> Trainer:
        trainer = recipe(rows, seed, folder)
        model = get_peft_model(trainer.model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
        return type(trainer)(
            model=model, args=trainer.args, train_dataset=trainer.train_dataset, data_collator=trainer.data_collator,
            processing_class=trainer.processing_class,
        )  # fmt: skip

    return adapted


def thinned(world: World, seed: int, folder: Path) -> Path:
    """Dropout at inference: a tenth of each feed-forward layer's units gone, the same ones throughout."""
    model = LlamaForCausalLM.from_pretrained(world.original)
    generator = torch.Generator().manual_seed(seed)
    for layer in model.model.layers:
        kept = torch.rand(layer.mlp.down_proj.in_features, generator=generator) >= 0.1
        layer.mlp.down_proj.weight.data *= kept / 0.9
    return saved(model, world, folder / f"seed-{seed}")


def renewed(world: World, folder: Path) -> Path:
    """The original with a last layer and a head that know nothing."""
    model = LlamaForCausalLM.from_pretrained(world.original)
    torch.manual_seed(0)
    fresh = LlamaForCausalLM(model.config)
    model.model.layers[-1].load_state_dict(fresh.model.layers[-1].state_dict())
    model.lm_head.load_state_dict(fresh.lm_head.state_dict())
    return saved(model, world, folder / "start")


def saved(model: PreTrainedModel, world: World, folder: Path) -> Path:
    model.save_pretrained(folder)
    world.tokenizer.save_pretrained(folder)
    return folder


def table(world: World, incomplete: Path, fractions: list[float], arguments: argparse.Namespace) -> None:
    """Print one line for each estimate: its floor, and where retrained models and an incomplete unlearning come out."""
    models = {**world.retrained, "incomplete": incomplete}
    if arguments.smoke:
        models = {name: models[name] for name in ("reference", "incomplete")}
    print(f"\n{world.name}\n{'estimate':<26}{'floor':>8}{'start':>8}" + "".join(f"{name:>12}" for name in models))
    for name, make in islice(estimates(world, fractions), 3 if arguments.smoke else None):
        noisy = make(arguments.cache / world.name / "noise" / name.replace(" ", "-")) or None
        line = ""
        for model in models.values():
            report = audit(
                model, original=world.original, continued=noisy, processing_class=world.tokenizer, forget=world.forget,
                retain=world.retain, metrics=["counterfactual_fade"], num_samples=arguments.num_samples, max_examples=12 if arguments.smoke else 64,
                num_counterfactuals=arguments.num_samples, evidence_dir=arguments.output_dir / world.name, progress=False,
            )  # fmt: skip
            found = report.metrics["counterfactual_fade"]
            told = found.start > found.floor  # else the original itself lies within the noise, and there is no scale
            line += (
                f"{(found.value - found.floor) / (found.start - found.floor):12.2f}" if told else f"{'no scale':>12}"
            )
        print(f"{name:<26}{found.floor:8.2f}{found.start:8.2f}{line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with TOFU's .json files; default: pocket")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--num-samples", type=int, default=4)
    parser.add_argument("--output-dir", type=Path, default=Path("counterfactual-audit"))
    parser.add_argument("--cache", type=Path, default=Path("counterfactual-audit") / "models")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    hf_logging.disable_progress_bar()
    arguments.num_samples = 2 if arguments.smoke else arguments.num_samples
    size, budgets, fractions = ("nano", [2], [0.1]) if arguments.smoke else ("small", [15, 30, 60], FRACTIONS)
    for seed in arguments.seeds:
        if arguments.data is None:
            world = pocket_world(seed, size, arguments.cache)
        else:
            world = tofu_world(seed, arguments.data, arguments.cache, 20 if arguments.smoke else 500)
        unlearned = candidates(world, ["scrub"], budgets, arguments.cache)
        table(world, unlearned[f"scrub {budgets[len(budgets) // 2]}"], fractions, arguments)


if __name__ == "__main__":
    main()
