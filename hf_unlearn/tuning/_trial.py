"""One trial: unlearn with a recipe on a copy of the model, scored on the way and at the end. Knows no study."""

import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hf_logging

from hf_unlearn.inference import LoadedModel, agreed
from hf_unlearn.training._open_run import OpenRun, open_run
from hf_unlearn.training._training_arguments import training_arguments
from hf_unlearn.training._unlearn_data import Sets
from hf_unlearn.tuning._measured_half import BrokenModelError
from hf_unlearn.tuning._recipe import Recipe
from hf_unlearn.tuning._score import Score


COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


class Measure(Protocol):
    """Scores the model of a trainer on one half of the data."""

    def __call__(self, trainer: Trainer) -> Score: ...


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        state: "complete", "pruned" or "failed".
        steps: Optimisation steps that were taken.
        searched: The last score on the half that is searched on; None where there was none.
        other: The score on the other half; of complete trials, where there is another half.
        reason: Why it failed.
    """

    state: str
    steps: int
    searched: Score | None = None
    other: Score | None = None
    reason: str | None = None


class ScoredTraining(TrainerCallback):
    """Scores a training, evenly on its way and at its end, and ends it where it is told to.

    Args:
        trainer: Whose training it is.
        measure: On the half that is searched on.
        evaluations: How often, in all.
        report: Takes number (from 1) and value of a score on the main process; True ends the training.
    """

    def __init__(self, trainer: Trainer, measure: Measure, evaluations: int, report: Callable[[int, float], bool]):
        steps = trainer.args.max_steps
        self.at = sorted({math.ceil(steps * part / evaluations) for part in range(1, evaluations + 1)})
        self.trainer, self.measure, self.report = trainer, measure, report
        self.score: Score | None = None
        self.was_pruned = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score where it is due."""
        if control.should_training_stop and state.global_step < state.max_steps:
            return  # it has collapsed
        if state.global_step in self.at:
            self.score = self.measure(self.trainer)
            place = self.at.index(state.global_step) + 1
            if place < len(self.at) and self.report(place, self.score.value):
                self.was_pruned = control.should_training_stop = True


def run_trial(
    recipe: Recipe,
    model: LoadedModel,
    sets: Sets,
    processing: Any,
    *,
    halves: Callable[[Trainer], tuple[Measure, Measure | None]],
    evaluations: int,
    report: Callable[[int, float], bool],
) -> Outcome:
    """Unlearn and score.

    Args:
        recipe: How.
        model: Trained in place.
        sets: What must go and what must stay, whole.
        processing: The tokenizer.
        halves: Given the trainer before training, how to score on the half that is searched on, and on the other one.
        evaluations: Scores of a whole trial.
        report: As for `ScoredTraining`.

    Raises:
        Exception: Whatever is not the recipe's fault.
    """
    with tempfile.TemporaryDirectory() as scratch:
        args = training_arguments(Path(scratch), recipe.config)
        args.disable_tqdm, args.logging_strategy = True, "no"
        args.dataloader_pin_memory = torch.cuda.is_available()  # which warns where there is no accelerator
        run = open_run(model, sets, processing, recipe.config, args)
        run.trainer.remove_callback(PrinterCallback)
        searched, other = halves(run.trainer)
        scored = ScoredTraining(run.trainer, searched, evaluations, lambda at, value: agreed(report(at, value)))
        run.trainer.add_callback(scored)
        try:
            run.trainer.train()
            return _outcome(run, scored, other)
        except (FloatingPointError, BrokenModelError) as error:
            return Outcome(FAILED, run.trainer.state.global_step, scored.score, None, str(error))


def _outcome(run: OpenRun, scored: ScoredTraining, other: Measure | None) -> Outcome:
    done, planned = run.trainer.state.global_step, run.trainer.args.max_steps
    if scored.was_pruned:
        return Outcome(PRUNED, done, scored.score)
    if done < planned or run.callback.loss.has_collapsed:
        return Outcome(FAILED, done, scored.score, None, "the forget answers became far less likely than guessing")
    return Outcome(COMPLETE, done, scored.score, None if other is None else other(run.trainer))


@contextmanager
def quiet_training(*, first: bool) -> Iterator[None]:
    """No bars and no warnings of single trainings; those about data and model are said once.

    Args:
        first: Whether nothing has been said yet.
    """
    had_bars = hf_logging.is_progress_bar_enabled()
    levels = {name: logging.getLogger(name).level for name in _SAID}
    hf_logging.disable_progress_bar()
    for name, once in _SAID.items():
        logging.getLogger(name).setLevel(logging.WARNING if once and first else logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if had_bars:
            hf_logging.enable_progress_bar()


_SAID = {"hf_unlearn": False, "hf_unlearn.training._vacuity": True}
"""Loggers, and whether what they say holds for all trials."""
