"""Continued models: the original trained on for a while, with the user's own recipe. What they say about names that nobody was trained
on, beside what the original says, estimates how much two trainings differ where no retrained model is there to show it.

Knows how to make them. Does not know how good an estimate they are: that is measured elsewhere, against true twins.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import Trainer

from hf_unlearn import _arguments as checked
from hf_unlearn.audit.domains._text_splits import subjects_of
from hf_unlearn.data import DataLike, about, load_data
from hf_unlearn.inference import ModelLike, load_model, weights_fingerprint
from hf_unlearn.training._original_start import Original, shorten
from hf_unlearn.training._run_checks import refuse_own_folder
from hf_unlearn.training._seed_checks import MakeTrainer, distinct_seeds
from hf_unlearn.training._seed_runs import SeedRuns


@dataclass(frozen=True)
class Continued:
    """What `continued` leaves.

    Attributes:
        paths: By seed, the folder of its model.
    """

    paths: dict[int, Path]

    @property
    def models(self) -> tuple[Path, ...]:
        """The folders, in the order of the seeds."""
        return tuple(self.paths.values())


def continued(
    make_trainer: MakeTrainer,
    original: ModelLike,
    retain: DataLike,
    *,
    output_dir: str | os.PathLike,
    seeds: Sequence[int] = (0, 1),
    fraction: float = 0.1,
    resample: bool = False,
    cluster_column: str | None = None,
    row_for_row: bool = True,
) -> Continued:
    """Train the original on for a while, once for each seed, each time in another order of the retain set, or on a resample of it.

    The recipe is the one that `retrain` takes. Its Trainer gets the original's weights in place of its model's, and `fraction` of its
    length; the schedule is the recipe's own, shortened as a whole (a warm-up counted in steps, too), so that it reaches the recipe's
    learning rate and comes down again. A recipe that puts an adapter on its model trains that adapter on the original.

    The defaults are by measurement (`examples/retraining_noise.py`): on pocket, models trained from scratch came out at 0.07, −0.21 and 0.05 between
    floor (0) and start (1). Resampled or trained for longer, the floor rises until it lets the original itself pass. Where the questions say
    more than the name (TOFU's text) no length is honest: claim no position there.

    Args:
        make_trainer: See `retrain`.
        original: The model before unlearning: loaded (it is only read), path or Hub id.
        retain: What the models are trained on: dataset, `load_dataset` spec or file; nothing that must be forgotten.
        output_dir: Gets a folder for each seed. One that is done is not trained again, one that was interrupted is gone on with.
        seeds: One model each; they decide the resample, the order of the rows and all other noise of the training.
        fraction: Of the recipe's length, above 0 and at most 1; at least one step is trained.
        resample: Draw as many clusters as there are, with replacement, for each seed. False trains on the retain set as it is.
        cluster_column: Whose rows are drawn together by `resample`; default: `person_id`, `subject` or `cluster_id`, else each row by itself.
        row_for_row: See `retrain`.

    Returns:
        Where the models are; each folder has the model (an adapter merged into it, which belongs to no other weights), tokenizer and
        `retraining.json`.

    Raises:
        OSError: `output_dir` cannot be written to.
        TypeError: An argument of the wrong kind.
        ValueError: What the recipe makes does not fit the original, or is not what it was asked for; see `retrain`.
    """
    folder = checked.folder_path("output_dir", output_dir)
    refuse_own_folder(original, folder)
    seeds = distinct_seeds(seeds)
    share, resample = checked.share("fraction", fraction), checked.switch("resample", resample)
    if cluster_column is not None and not resample:
        raise ValueError(
            "cluster_column says whose rows are drawn together, and without resample=True none are drawn."
        )
    with about("retain"):
        rows = load_data(retain)
        drawn = {seed: _resampled(rows, seed, cluster_column) if resample else rows for seed in seeds}
    runs = SeedRuns(make_trainer, folder, drawn, {}, row_for_row=row_for_row, merged=True)
    opened = load_model(original, device="cpu")
    runs.apart.add(opened)  # a recipe that trains the very model it was to start from would start each time elsewhere
    start = Original.of(opened)

    def prepare(trainer: Trainer) -> None:
        start.put_into(trainer)
        shorten(trainer, share)

    runs.prepare = prepare
    runs.made = {
        "made_by": "continued",
        "fraction": share,
        "resample": resample,
        "original_sha256": weights_fingerprint(opened),
    }
    runs.train()
    return Continued(runs.paths())


def _resampled(rows: Dataset, seed: int, cluster_column: str | None) -> Dataset:
    """As many clusters as there are, drawn with replacement; their rows in the order of the data."""
    subjects, _ = subjects_of(rows, cluster_column)
    names = list(range(len(rows))) if subjects is None else list(subjects)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    times = np.bincount(np.random.default_rng(seed).integers(0, len(numbers), len(numbers)), minlength=len(numbers))
    return rows.select([row for row, name in enumerate(names) for _ in range(times[numbers[name]])])
