"""References for those who can: the user's own recipe run again on the data without what must be forgotten, once for each seed."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hf_unlearn import _arguments as checked
from hf_unlearn.data import DataLike, about, open_data
from hf_unlearn.training._put_back import refuse_put_back
from hf_unlearn.training._row_filter import Removed, without_rows
from hf_unlearn.training._seed_checks import MakeTrainer, distinct_seeds
from hf_unlearn.training._seed_runs import SeedRuns


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retrained:
    """What `retrain` leaves; `audit(candidate, reference=made.reference, twin=made.twins, …)` takes it as it is.

    Attributes:
        paths: By seed, the folder of its model (or adapter) and tokenizer, with `retraining.json`: how it was made.
        removed: What was taken out of the data, by which rule.
        share_start: Whether all models started from the same weights. Where they did not, coordinates of their hidden states mean
            different things, and an audit compares those through Gram matrices.
    """

    paths: dict[int, Path]
    removed: Removed
    share_start: bool

    @property
    def reference(self) -> Path:
        """The model of the first seed."""
        return next(iter(self.paths.values()))

    @property
    def twins(self) -> tuple[Path, ...]:
        """Those of the other seeds: they show how much two retrainings differ."""
        return tuple(self.paths.values())[1:]


def retrain(
    make_trainer: MakeTrainer,
    dataset: DataLike,
    *,
    without: DataLike,
    output_dir: str | os.PathLike,
    seeds: Sequence[int] = (0, 1),
    near_duplicates: float | None = None,
    row_for_row: bool = True,
) -> Retrained:
    """Train the reference and its twins as the original was trained, on the data without what must be forgotten.

    A recipe is code, so there is no command for this. It is a function that opens a fresh model and returns a Trainer (also TRL's
    `SFTTrainer`; also with an adapter) that has not trained yet:

        def make_trainer(train_dataset: Dataset, seed: int, output_dir: str) -> Trainer:
            model = AutoModelForCausalLM.from_pretrained("me/base")
            args = TrainingArguments(output_dir=output_dir, seed=seed, num_train_epochs=5, learning_rate=1e-5)
            return SFTTrainer(model, args=args, train_dataset=train_dataset, processing_class=tokenizer)

    It is called twice for each seed that is still to be trained: once for all seeds before anything is trained, so that what is wrong
    with it is said at once (another seed or folder, a model that two Trainers share, rows that are not those handed in, forget rows put
    back), and once to train. Random numbers are seeded before each call. Start all models from one base: then they differ only by the
    order of the rows and the noise of training, as fine-tunings of a published model do. Use the original's own base and recipe; what is not
    the same there is in every distance from the original.

    A training that was interrupted goes on from its last whole checkpoint where the recipe keeps some (`save_strategy`); a model that is
    finished is not trained again. Under `torchrun` or `accelerate launch` every process calls this, and the main one writes.

    Args:
        make_trainer: The recipe: rows, seed and folder in, Trainer out.
        dataset: What the original was trained on: dataset, `load_dataset` spec or file. The recipe gets its rows with all their columns.
        without: What must be forgotten. Its rows are found by what they say: question and answer, prompt and completion, chat messages or
            text, in whatever columns and order, without regard to case and white space; rows of other columns by all that both sets have
            and that are not numbers. All copies go.
        output_dir: Gets a folder for each seed, `seed-0`. One that holds another recipe, other rows or other starting weights is refused.
        seeds: The first is the reference's, the others are the twins'. One seed gives no floor.
        near_duplicates: Rows of this similarity to a forget row go as well: the share of three words in a row that the two have in common,
            see `data.similar_rows`; 0.7 finds a changed word in twenty. None: only rows that say the same.
        row_for_row: Whether the Trainer's training set must have as many rows as were handed to the recipe. False for recipes that cut,
            pack or drop rows (TRL's `packing` is seen).

    Returns:
        Where the models are, and what was taken out.

    Raises:
        OSError: `output_dir` cannot be written to.
        TypeError: An argument, or what the recipe returns, is of the wrong kind.
        ValueError: No forget row is in the data, or nothing else; a recipe that does not do what it is asked for; a folder with the
            training of another one. Names what differs, and what to do.
    """
    checked.given("without", without, "what must be forgotten")
    folder = checked.folder_path("output_dir", output_dir)
    seeds = distinct_seeds(seeds)
    threshold = None if near_duplicates is None else checked.share("near_duplicates", near_duplicates)
    row_for_row = checked.switch("row_for_row", row_for_row)
    with about("dataset"):
        rows = open_data(dataset)
    with about("without"):
        forget = open_data(without)
    kept, removed = without_rows(rows, forget, threshold)
    made = {"made_by": "retrain", **removed.counts()}
    inspect = partial(refuse_put_back, forget=forget)
    runs = SeedRuns(make_trainer, folder, dict.fromkeys(seeds, kept), made, row_for_row=row_for_row, inspect=inspect)
    share_start = runs.train()
    if not share_start:
        logger.warning(
            "the models start from different weights, not from one base: hidden states are compared through Gram matrices, and two of them "
            "differ by more than the order of the rows. Open one base in make_trainer, or draw weights with a fixed seed."
        )
    return Retrained(runs.paths(), removed, share_start)
