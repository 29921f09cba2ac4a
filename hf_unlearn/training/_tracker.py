"""Watch forgetting as it happens, in any Trainer: values where the Trainer looks for them, a file, and no trace in the training."""

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from hf_unlearn import _arguments as checked
from hf_unlearn._files import check_writable
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._selection import MetricLike, numbered_roles
from hf_unlearn.config import TrackerConfig, documented
from hf_unlearn.data import DataLike
from hf_unlearn.inference import ModelLike, agreed, is_main_process, together, undisturbed
from hf_unlearn.training._curves import draw_curves
from hf_unlearn.training._printers import filter_printers
from hf_unlearn.training._table import TerminalTable
from hf_unlearn.training._tracked_names import columns, has_place, relative_name
from hf_unlearn.training._tracked_sets import open_metrics, say_if_unknown
from hf_unlearn.training._tracker_file import ForgettingFile
from hf_unlearn.training._tracker_rule import AtFloor, KeepThenForget


logger = logging.getLogger(__name__)
TRAINERS_OWN = ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
"""What an evaluation calls its own values."""
Probe = Callable[[PreTrainedModel], Mapping[str, float]]


@documented(TrackerConfig)
class ForgettingTracker(TrainerCallback):
    """Measures forgetting at the start, with every evaluation, every N steps if wanted, and at the end.

    Values arrive as `eval_…` in the metrics of an evaluation (so `metric_for_best_model="eval_forgetting_score"`, early stopping and best
    checkpoints work), in the Trainer's log, and in `forgetting.jsonl`; at the end `forgetting.png` and `forgetting.html` show the curves.
    What the Trainer prints leaves out the values of single layers, and, where there is a table, what the table shows. Training with the
    tracker equals training without it, bit for bit. On several processes a measurement that fails on one is left out on all.

    Metrics are those of `audit`, measured the same way on a few rows, under the names `forget_…` and `retain_…`; what compares with the
    reference has its plain name (`fade`) on the forget set. By default of a language model: probability, exact memorization, extraction
    strength and truth ratio (where the columns are) on both sets; and with a reference, on the forget set, FADE with its interval,
    generalized exposure and hidden states. Of a classifier: probability and accuracy. Without a reference `metrics=["probability",
    "counterfactual_fade"]` with an original follows how far the model is from what the original says of unseen subjects, and
    `stop_when=at_floor("counterfactual_fade")` ends there.

    Args:
        trainer: Whose training is watched; add the callback to it.
        forget_dataset: What must go, or what one wants to see forgotten; of a classifier in the form of the `train_dataset`. Whether the
            model knows it at all is asked first: if not, a warning says so and shows one row as the model sees it.
        retain_dataset: Held-out examples of what must stay.
        reference: A model that never saw the forget set: loaded, path or Hub id.
        original: The model before unlearning; gives start, and what representation metrics are measured from.
        twin: A second reference; gives the floor.
        continued: What the original became by further training on retain data; the floor of counterfactual metrics.
        {TrackerConfig}
        output_dir: Where `forgetting.jsonl` goes; default: the Trainer's.
        processing_class: The tokenizer; default: the Trainer's.

    Raises:
        ValueError: Empty or unreadable sets, counts below 1, a metric that there is not or that has no value here, or a reference that
            cannot be compared; before training.
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
        continued: ModelLike | Sequence[ModelLike] | None = None,
        metrics: str | Sequence[MetricLike] | None = None,
        probes: Sequence[Probe] = (),
        every_n_steps: int | None = None,
        max_examples: int = 16,
        num_samples: int = 2,
        max_new_tokens: int = 32,
        num_counterfactuals: int = 4,
        subject_column: str | None = None,
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
        config = TrackerConfig.of({**locals(), "metrics": _names(metrics)})
        checked.given("forget_dataset", forget_dataset, "what must go")
        _check_best_model(trainer.args)
        self.path = Path(output_dir or trainer.args.output_dir) / "forgetting.jsonl"
        self._file = ForgettingFile(self.path, strict=strict)
        together(lambda: check_writable(self.path.parent) if is_main_process() else None)
        self.trainer, self.rule, self.stop_when, self.strict = trainer, rule or KeepThenForget(), stop_when, strict
        self.every_n_steps, self.probes = config.every_n_steps, list(probes)
        self._failed: set[str] = set()
        models = {"reference": reference, "original": original, "twin": twin, **numbered_roles("continued", continued)}
        sets = {"forget": forget_dataset, "retain": retain_dataset}
        self._metrics = together(
            lambda: open_metrics(trainer, metrics, models, sets, processing_class or trainer.processing_class, config)
        )
        if isinstance(stop_when, AtFloor):
            stop_when.check([relative_name(*place) for place in self._metrics.places if has_place(place[0])])
        self._table = TerminalTable(columns(self._metrics.places), table if is_main_process() else False)
        self.seconds = 0.0
        self._start: dict[str, float] = {}
        self._tracked: dict[int, dict[str, float]] = {}
        self._filtered: set[int] = set()
        self._is_training = self._in_step = False
        self._weights: object = None

    # The Trainer's events.

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on with the file of a resumed run, or start it; measure the start."""
        lines = agreed(self._file.kept(state.global_step)) if state.global_step else []
        together(lambda: self._file.start(lines) if is_main_process() else None)
        self._tracked = {line["step"]: line["values"] for line in lines}
        self._start = dict(lines[0]["values"]) if lines else {}
        self._is_training, self._in_step = True, False
        filter_printers(self.trainer, self._to_print, self._filtered)
        if not lines:
            self._say_if_unknown()
            self._measure_and_log(state, control)
            self._table.flush()  # nothing else belongs to the start

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The row of the last step is complete."""
        self._in_step = True
        self._table.flush()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Every N steps."""
        self._in_step = False
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
        # After a training that broke off the Trainer still says that it trains.
        changed = state.global_step in self._tracked and self._weights not in (None, weights_state(self.trainer.model))
        if self.trainer.is_in_train and not self._in_step and not changed:
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
        self._table.flush()
        self._is_training = False
        if is_main_process():
            self._say_what_was_kept()
            start = time.perf_counter()
            try:
                draw_curves(self.path, self._metrics.places, self._metrics.results)
            except OSError as error:
                logger.warning("could not write the curves (%s); forgetting.jsonl has the numbers.", error)
            drawing = time.perf_counter() - start
            logger.info("tracking took %.1f s, drawing the curves %.1f s", self.seconds, drawing)

    # Measuring.

    def measure(self) -> dict[str, float]:
        """All values now, names without `eval_`."""
        model = self.trainer.model
        start = time.perf_counter()
        with undisturbed(model), self.trainer.accelerator.autocast():
            values = self._metrics(self._attempt)
            for number, own in enumerate(self.probes):
                name = f"probe {number} ({getattr(own, '__name__', type(own).__name__)})"
                values |= self._attempt(name, functools.partial(_own_values, own, model, values)) or {}
        seconds = time.perf_counter() - start
        self.seconds += seconds
        # A probe may see something else on another process; what decides about checkpoints and the end must be the same everywhere.
        return agreed({**values, "tracking_seconds": seconds})

    def _attempt(self, name: str, work: Callable[[], Any]) -> Any:
        """What comes of it; None where it fails, now or before."""
        if name in self._failed:
            return None
        try:
            return together(work)
        except Exception:
            if self.strict:
                raise
            self._failed.add(name)
            logger.exception("%s failed and is left out from now on; the training goes on.", name)
            return None

    def _measure_and_log(self, state: TrainerState, control: TrainerControl) -> dict[str, float]:
        step = state.global_step
        if step in self._tracked:
            return self._tracked[step]
        values = self.measure()
        self._weights = weights_state(self.trainer.model)
        if not self._start:
            self._start = dict(values)
        values = self._tracked[step] = self._scored(values, self._start)
        together(lambda: self._file.append(step, state.epoch, values) if is_main_process() else None)
        self._table.add(step, values)
        # Logging resets what the Trainer was about to do; it must still do it.
        flags = {name: getattr(control, name) for name in ("should_log", "should_evaluate", "should_save")}
        self.trainer.log({f"eval_{name}": value for name, value in values.items()})
        for name, flag in flags.items():
            setattr(control, name, flag)
        stop = self.stop_when
        if stop is not None and agreed(self._attempt("stop_when", lambda: bool(stop(values)))):
            control.should_training_stop = True
        return values

    def _scored(self, values: dict[str, float], start: Mapping[str, float]) -> dict[str, float]:
        if not any(metric in values for metric in self.rule.metrics):
            return values
        return {**values, "forgetting_score": self.rule.score(values, start or values)}

    # What is shown.

    def _to_print(self, step: int, logs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of a log: nothing that the table shows, and never the values of single layers."""
        if self._is_training and self._table.shown:
            own = {name if name == "eval_loss" else name.removeprefix("eval_"): value for name, value in logs.items()}
            if self._table.takes(own):
                self._table.add(step, own)
                return {}
            self._table.flush()
        return {name: value for name, value in logs.items() if not name.startswith("eval_layer_")}

    def _say_if_unknown(self) -> None:
        if self.trainer.is_deepspeed_enabled or self.trainer.is_fsdp_enabled:
            return  # the weights lie in pieces
        with undisturbed(self.trainer.model), self.trainer.accelerator.autocast():
            say_if_unknown(self.trainer, self._metrics.domain, self._metrics.reference_log_probs)

    def _say_what_was_kept(self) -> None:
        scored = {step: values for step, values in self._tracked.items() if step and "forgetting_score" in values}
        if said := self.rule.unsatisfied(scored, self._start):
            logger.warning("%s", said)


def _names(metrics: str | Sequence[MetricLike] | None) -> str | list[str] | None:
    if metrics is None or isinstance(metrics, str):
        return metrics
    return [metric.spec.name if isinstance(metric, BaseMetric) else metric for metric in metrics]


def _check_best_model(args: TrainingArguments) -> None:
    """The Trainer takes everything that is no loss for "higher is better", and would keep the worst checkpoint."""
    if (args.metric_for_best_model or "").removeprefix("eval_") == "forgetting_score" and args.greater_is_better:
        raise ValueError(
            "forgetting_score is better the lower it is; set greater_is_better=False in the training arguments."
        )


def _own_values(probe: Probe, model: PreTrainedModel, taken: Mapping[str, float]) -> dict[str, float]:
    found = {str(name): float(value) for name, value in probe(model).items()}
    for name in found:
        if name in taken or name in TRAINERS_OWN or name == "forgetting_score":
            raise ValueError(f"a probe may not call a value {name!r}: that name is taken.")
    return found


def weights_state(model: torch.nn.Module) -> tuple[int, int]:
    """Changes when weights are written to or replaced; says nothing of what they are."""
    parameters = list(model.parameters())
    return sum(parameter._version for parameter in parameters), hash(tuple(map(torch.Tensor.data_ptr, parameters)))
