"""What must be right of the Trainer that a recipe gives for a seed, before anything is trained. Knows no folder's history."""

import gc
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, Trainer

from hf_unlearn import _arguments as checked
from hf_unlearn.training._recipe import shared_start
from hf_unlearn.training._run_checks import check_trainable
from hf_unlearn.training._training_arguments import check_steps


MakeTrainer: TypeAlias = Callable[[Dataset, int, str], Trainer]
"""A recipe: rows, seed and folder in, a Trainer out that has not trained yet, with a model of its own."""


def distinct_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers from 0, none of them twice.

    Raises:
        TypeError: Others.
        ValueError: None, or one twice: models that differ in nothing would pass for two.
    """
    found = checked.whole_numbers("seeds", seeds, minimum=0)
    if len(set(found)) < len(found):
        raise ValueError(f"seeds must differ, got {list(found)}: models of one seed are one and the same.")
    return found


def check_trainer(trainer: Trainer, seed: int, folder: Path) -> None:
    """Refuse a Trainer that would train something else than it was asked for.

    Args:
        trainer: What the recipe gave.
        seed: That it was called with.
        folder: That it was called with.

    Raises:
        TypeError: No Trainer.
        ValueError: Says what was expected, what came, and what to write in the recipe.
    """
    if not isinstance(trainer, Trainer):
        raise TypeError(
            f"make_trainer must return a transformers.Trainer (or a subclass, as TRL's), got {type(trainer).__name__}."
        )
    if trainer.model_init is not None:
        raise ValueError("make_trainer must build the model itself: pass model=, not model_init=, to the Trainer.")
    if not isinstance(trainer.model, (PreTrainedModel, PeftModel)):
        raise TypeError(
            f"make_trainer's model must be a transformers or PEFT model, got {type(trainer.model).__name__}."
        )
    args = trainer.args
    if args.seed != seed:
        raise ValueError(
            f"make_trainer was called with seed {seed}, and its TrainingArguments have seed {args.seed}: models that differ in nothing would "
            "pass for two. Pass seed=seed to the arguments."
        )
    if args.data_seed not in (None, seed):
        raise ValueError(
            f"make_trainer was called with seed {seed}, and its TrainingArguments have data_seed {args.data_seed}: all models would see the "
            "rows in one order. Pass data_seed=seed, or leave it out."
        )
    if Path(args.output_dir).resolve() != folder.resolve():
        raise ValueError(
            f"make_trainer was called with output_dir {str(folder)!r}, and its TrainingArguments have {args.output_dir!r}: the checkpoints of "
            "several models would lie in one folder. Pass output_dir=output_dir to the arguments."
        )
    check_trainable(trainer.model)
    if trainer.state.global_step or trainer.is_in_train:
        raise ValueError(
            "make_trainer must return a Trainer that has not trained yet; leave the call of train() to retrain."
        )


def check_rows(trainer: Trainer, rows: Dataset, *, row_for_row: bool) -> None:
    """Refuse a Trainer whose training set has another number of rows than were handed to the recipe.

    Args:
        trainer: What the recipe gave.
        rows: That it was called with.
        row_for_row: Whether each row is to be one there, too; what TRL packs is not.

    Raises:
        ValueError: No training set, or another number of rows.
    """
    there = trainer.train_dataset
    if there is None:
        raise ValueError(
            "make_trainer's Trainer has no train_dataset: pass it the rows that make_trainer is called with."
        )
    if row_for_row and not getattr(trainer.args, "packing", False):
        count = len(there) if hasattr(there, "__len__") else None
        if count != len(rows):
            raise ValueError(
                f"make_trainer was called with {len(rows)} rows, and the train_dataset of its Trainer has "
                f"{'an unknown number' if count is None else count}: it must train on the rows that it is called with. Where the recipe cuts, "
                "packs or drops rows, pass row_for_row=False."
            )
    if hasattr(there, "__len__"):
        check_steps(trainer.args, len(there))


class Apart:
    """Refuses models that share weights with one that the recipe gave before: the second would start where the first ended."""

    def __init__(self) -> None:
        self._seen: dict[int, weakref.ref[torch.Tensor]] = {}

    def add(self, model: torch.nn.Module) -> None:
        """Note a model.

        Raises:
            ValueError: It has a weight of an earlier one.
        """
        gc.collect()  # a Trainer and its model go in a circle; what is left after this is held by somebody
        mine = list[torch.Tensor](model.parameters())
        for parameter in mine:
            earlier = self._seen.get(id(parameter))
            if earlier is not None and earlier() is parameter:
                base = "one base under their adapters" if isinstance(model, PeftModel) else "one model"
                raise ValueError(
                    f"make_trainer gave two Trainers {base}: the second would go on where the first ends, and be no model of its own. Open the "
                    "model inside make_trainer (from_pretrained, or a copy.deepcopy of one that never trains)."
                )
        self._seen = {id(parameter): weakref.ref(parameter) for parameter in mine} | {
            key: kept for key, kept in self._seen.items() if kept() is not None
        }


def check_starts(starts: Mapping[int, Mapping[str, str]], names: Mapping[int, str]) -> bool:
    """Whether the models of all seeds start from the same weights.

    Args:
        starts: By seed, as from `start_of`.
        names: By seed, the path or id that the model says it was opened from; empty where it says none.

    Raises:
        ValueError: They say that they come from one base, and do not start from the same weights.
    """
    (first, start), *others = starts.items()
    strangers = [seed for seed, other in others if shared_start(start, other) < 0.5]
    named = [seed for seed in strangers if names[first] and names[first] == names[seed]]
    if named:
        raise ValueError(
            f"the models of seeds {first} and {named[0]} both say that they come from {Path(names[first]).name!r}, and start from different "
            "weights: one was trained before, or drawn at random. Open the base anew in make_trainer with from_pretrained; where weights are "
            "to be random, draw them with a fixed seed of their own."
        )
    return not strangers
