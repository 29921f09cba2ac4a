"""Watch forgetting as it happens, in any Trainer: values where the Trainer looks for them, a file, and no trace in the training."""

import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from hf_unlearn._files import check_writable, write_atomically
from hf_unlearn.data import DataLike, load_data
from hf_unlearn.inference import ModelLike, is_main_process, undisturbed
from hf_unlearn.training._curves import draw_curves
from hf_unlearn.training._table import TerminalTable
from hf_unlearn.training._tracked import AnswerProbe, ReferenceProbe
from hf_unlearn.training._tracker_rule import KeepThenForget


logger = logging.getLogger(__name__)
TRAINERS_OWN = ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
"""What an evaluation calls its own values."""
Probe = Callable[[PreTrainedModel], Mapping[str, float]]


class ForgettingTracker(TrainerCallback):
    """Measures forgetting at the start, with every evaluation, every N steps if wanted, and at the end.

    Values arrive as `eval_…` in the metrics of an evaluation (so `metric_for_best_model="eval_forgetting_score"`, early stopping and best
    checkpoints work), in the Trainer's log, and in `forgetting.jsonl`; at the end `forgetting.png` and `forgetting.html` show the curves. Training with the tracker equals training without it, bit for bit.

    Tracked without a reference: probability, exact memorization, extraction strength, and truth ratio (where the columns are) on forget
    and retain examples. With one: FADE with its interval, generalized exposure, and hidden states; with original and twin `fade_relative`.

    Args:
        trainer: Whose training is watched; add the callback to it.
        forget_dataset: What must go, or what one wants to see forgotten.
        retain_dataset: Held-out examples of what must stay.
        reference: A model that never saw the forget set: loaded, path or Hub id.
        original: The model before unlearning; gives start, and what representation metrics are measured from.
        twin: A second reference; gives the floor.
        probes: Further measurements: callables from the model to values by name.
        every_n_steps: Also between evaluations; None: not.
        max_examples: Of each set, drawn by seed.
        num_samples: Completions per prompt for FADE.
        max_new_tokens: Where a completion is cut.
        batch_size: Rows at a time.
        seed: Of subsets and samples.
        rule: Turns the values into `eval_forgetting_score`, lower is better.
        stop_when: Ends the training when it returns True for the values (names without `eval_`).
        output_dir: Where `forgetting.jsonl` goes; default: the Trainer's.
        processing_class: The tokenizer; default: the Trainer's.
        prompt_template: How questions are put, see `data.tokenize_examples`; it must be the one that the model was trained with.
        table: Whether a table in the terminal grows with every measurement; default: where standard output is a terminal.
        strict: Whether a measurement that fails ends the training; otherwise it is logged once and left out.

    Raises:
        ValueError: Empty or unreadable sets, counts below 1, or a reference that cannot be compared; before training.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        forget_dataset: DataLike,
        retain_dataset: DataLike | None = None,
        reference: ModelLike | None = None,
        original: ModelLike | None = None,
        twin: ModelLike | None = None,
        probes: Sequence[Probe] = (),
        every_n_steps: int | None = None,
        max_examples: int = 16,
        num_samples: int = 2,
        max_new_tokens: int = 32,
        batch_size: int = 32,
        seed: int = 0,
        rule: KeepThenForget | None = None,
        stop_when: Callable[[Mapping[str, float]], bool] | None = None,
        output_dir: str | os.PathLike | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        prompt_template: str | None = None,
        table: bool | None = None,
        strict: bool = False,
    ):
        counts = {
            "max_examples": max_examples,
            "num_samples": num_samples,
            "max_new_tokens": max_new_tokens,
            "batch_size": batch_size,
        }
        for name, value in {**counts, "every_n_steps": 1 if every_n_steps is None else every_n_steps}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        _check_best_model(trainer.args)
        self.path = Path(output_dir or trainer.args.output_dir) / "forgetting.jsonl"
        if is_main_process():
            check_writable(self.path.parent)
        self.trainer, self.rule, self.stop_when, self.strict = trainer, rule or KeepThenForget(), stop_when, strict
        self.every_n_steps, self.probes = every_n_steps, list(probes)
        self._table = TerminalTable(table)
        tokenizer = processing_class or trainer.processing_class
        sets = {"forget": forget_dataset, "retain": retain_dataset}
        self._answers = [
            AnswerProbe(name, _subset(load_data(data), max_examples, seed), tokenizer, batch_size, prompt_template)
            for name, data in sets.items()
            if data is not None
        ]
        self._reference: ReferenceProbe | None = None
        if reference is not None:
            self._reference = ReferenceProbe(
                reference,
                original,
                twin,
                self._answers[0].examples,
                num_samples=num_samples,
                max_new_tokens=max_new_tokens,
                batch_size=batch_size,
                seed=seed,
                candidate=trainer.model,
                tokenizer=tokenizer,
            )
        else:
            logger.info("no reference model was given: FADE, exposure and hidden states are not tracked.")
        self.seconds = 0.0
        self._start: dict[str, float] = {}
        self._values: dict[str, float] = {}
        self._last_step = -1
        self._failed: set[str] = set()

    # The Trainer's events.

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on with the file of a resumed run, or start it; measure the start."""
        lines = self._kept_lines(state.global_step) if state.global_step else []
        if is_main_process():
            text = "".join(json.dumps(line) + "\n" for line in lines)
            write_atomically(self.path, lambda path: path.write_text(text, encoding="utf-8"))
        self._start = dict(lines[0]["values"]) if lines else {}
        self._last_step = lines[-1]["step"] if lines else -1
        if not lines:
            self._measure_and_log(state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Every N steps."""
        if self.every_n_steps and state.global_step % self.every_n_steps == 0:
            self._measure_and_log(state, control)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Put the values into what `evaluate` returns.

        An evaluation by hand, outside training, measures the model as it is then (the best checkpoint, perhaps) and leaves the file alone.
        """
        if self.trainer.is_in_train:
            values = self._measure_and_log(state, control)
        else:
            values = self._scored(self.measure(), self._start)
            self.trainer.log({f"eval_{name}": value for name, value in values.items()})
        if metrics is not None:
            metrics.update({f"eval_{name}": value for name, value in values.items()})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the end, if the last step was not; draw the curves."""
        # A best checkpoint has been loaded by now: it is not what the last step left.
        if not (args.load_best_model_at_end and state.best_model_checkpoint):
            self._measure_and_log(state, control)
        if is_main_process():
            start = time.perf_counter()
            try:
                draw_curves(self.path, self.lines)
            except OSError as error:
                logger.warning("could not write the curves (%s); forgetting.jsonl has the numbers.", error)
            drawing = time.perf_counter() - start
            logger.info("tracking took %.1f s, drawing the curves %.1f s", self.seconds, drawing)

    # Measuring.

    def measure(self) -> dict[str, float]:
        """All values now, names without `eval_`."""
        model = self.trainer.model
        start = time.perf_counter()
        values: dict[str, float] = {}
        readings: list = []
        with undisturbed(model), self.trainer.accelerator.autocast():
            for answers in self._answers:

                def read(answers: AnswerProbe = answers) -> dict[str, float]:
                    found, mine = answers(model)
                    if answers.name == "forget":
                        readings.extend(mine)
                    return found

                values |= self._tried(f"{answers.name} answers", read)
            if self._reference is not None:
                probe = self._reference
                values |= self._tried("comparison with the reference", lambda: probe(model, readings))
            for number, own in enumerate(self.probes):
                name = f"probe {number} ({getattr(own, '__name__', type(own).__name__)})"
                values |= self._tried(name, functools.partial(_own_values, own, model, values))
        seconds = time.perf_counter() - start
        self.seconds += seconds
        return {**values, "tracking_seconds": seconds}

    def _tried(self, name: str, measure: Callable[[], Mapping[str, float]]) -> dict[str, float]:
        if name in self._failed:
            return {}
        try:
            return {key: float(value) for key, value in measure().items()}
        except Exception:
            if self.strict:
                raise
            self._failed.add(name)
            logger.exception("%s failed and is left out from now on; the training goes on.", name)
            return {}

    def _measure_and_log(self, state: TrainerState, control: TrainerControl) -> dict[str, float]:
        if state.global_step == self._last_step:
            return self._values
        values = self.measure()
        if not self._start:
            self._start = dict(values)
        values = self._scored(values, self._start)
        self._values, self._last_step = values, state.global_step
        if is_main_process():
            self._write(state, values)
            self._table.add(state.global_step, values)
        # Logging resets what the Trainer was about to do; it must still do it.
        flags = {name: getattr(control, name) for name in ("should_log", "should_evaluate", "should_save")}
        self.trainer.log({f"eval_{name}": value for name, value in values.items()})
        for name, flag in flags.items():
            setattr(control, name, flag)
        stop = self.stop_when
        if stop is not None and self._tried("stop_when", lambda: {"stop": bool(stop(values))}).get("stop"):
            control.should_training_stop = True
        return values

    def _scored(self, values: dict[str, float], start: Mapping[str, float]) -> dict[str, float]:
        if not any(metric in values for metric in self.rule.metrics):
            return values
        return {**values, "forgetting_score": self.rule.score(values, start or values)}

    def _write(self, state: TrainerState, values: Mapping[str, float]) -> None:
        """One line; JSON has no number that is not finite. A full disk does not end the training: the Trainer's log has the values too."""
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"step": state.global_step, "epoch": state.epoch, "values": plain}, allow_nan=False) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if self.strict:
                raise
            logger.error(
                "could not write to %s (%s); the values of step %d are in the log only.",
                self.path,
                error,
                state.global_step,
            )

    @property
    def lines(self) -> dict[str, float]:
        """What FADE is read against, where it is known: `floor` and `start`."""
        probe = self._reference
        known = {} if probe is None else {"floor": probe.floor, "start": probe.start}
        return {name: value for name, value in known.items() if value is not None}

    def _kept_lines(self, step: int) -> list[dict[str, Any]]:
        """Lines up to the checkpoint that the run resumes from; a line that a kill has cut is dropped."""
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
                if line["step"] <= step:
                    values = {name: value for name, value in line["values"].items() if value is not None}
                    lines.append({**line, "values": values})
            except (json.JSONDecodeError, TypeError, KeyError, AttributeError):
                logger.warning("a damaged line of %s is left out: %.60r", self.path, text)
        if lines:
            self._values = dict(lines[-1]["values"])
        return lines


def _check_best_model(args: TrainingArguments) -> None:
    """The Trainer takes everything that is no loss for "higher is better", and would keep the worst checkpoint."""
    if (args.metric_for_best_model or "").removeprefix("eval_") == "forgetting_score" and args.greater_is_better:
        raise ValueError(
            "forgetting_score is better the lower it is; set greater_is_better=False in the training arguments."
        )


def _own_values(probe: Probe, model: PreTrainedModel, taken: Mapping[str, float]) -> dict[str, float]:
    found = {str(name): value for name, value in probe(model).items()}
    for name in found:
        if name in taken or name in TRAINERS_OWN or name == "forgetting_score":
            raise ValueError(f"a probe may not call a value {name!r}: that name is taken.")
    return found


def _subset(rows: Dataset, count: int, seed: int) -> Dataset:
    if len(rows) <= count:
        return rows
    return rows.select(sorted(np.random.default_rng(seed).choice(len(rows), count, replace=False).tolist()))
