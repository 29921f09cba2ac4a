"""The search from end to end: check, open, try, keep, choose."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftConfig
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from hf_unlearn import _arguments as checked
from hf_unlearn._arguments import known_name
from hf_unlearn._files import check_writable
from hf_unlearn.audit.metrics import METRICS
from hf_unlearn.config import TuneConfig, UnlearnConfig, documented
from hf_unlearn.data import DataLike, about, load_data
from hf_unlearn.inference import ModelLike, agreed, as_one, is_classifier, is_main_process, together
from hf_unlearn.inference._sharding import num_processes
from hf_unlearn.objectives import get_objective, get_retain_term
from hf_unlearn.training._alternatives import COLUMN
from hf_unlearn.training._open_run import check_options
from hf_unlearn.training._run_checks import refuse_own_folder
from hf_unlearn.training._unlearn_data import Sets, load_processing, open_sets
from hf_unlearn.tuning._measured_half import COUNTERFACTUAL, FADE, Roles
from hf_unlearn.tuning._pareto_figure import draw_pareto
from hf_unlearn.tuning._recipe import Recipe
from hf_unlearn.tuning._space import chosen_of
from hf_unlearn.tuning._study import Search, optuna_or_error
from hf_unlearn.tuning._trials import Trials
from hf_unlearn.tuning._tune_result import Row, TuneResult, best_of, complete, pareto_front, rows_of, write_trials


logger = logging.getLogger(__name__)


@as_one
@documented(TuneConfig)
def tune(
    model: ModelLike,
    *,
    forget: DataLike,
    retain: DataLike,
    output_dir: str | os.PathLike,
    reference: ModelLike | None = None,
    original: ModelLike | None = None,
    twin: ModelLike | None = None,
    holdout: DataLike | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    objectives: Sequence[str] = ("npo", "simnpo", "undial", "grad_diff"),
    retain_terms: Sequence[str] = ("nll",),
    num_trials: int = 20,
    timeout: float | None = None,
    max_steps: int | None = None,
    evaluations: int = 4,
    pruner: str = "median",
    metric: str | None = None,
    max_examples: int = 32,
    num_samples: int = 4,
    num_counterfactuals: int = 4,
    subject_column: str | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 32,
    cluster_column: str | None = None,
    prompt_template: str | None = None,
    max_length: int | None = None,
    peft_config: PeftConfig | None = None,
    per_device_train_batch_size: int = 8,
    gradient_accumulation_steps: int = 1,
    forget_batch_size: int | None = None,
    bf16: bool = False,
    allow_overlap: bool = False,
    seed: int = 0,
    progress: bool = True,
    trust_remote_code: bool = False,
) -> TuneResult:
    """Find a recipe of unlearning under a budget, by the audited score.

    Each trial unlearns on a fresh copy of the model with all of both sets, and is scored on one half of the people (clusters) of both, drawn by seed.
    What the search minimises is

        (forget − floor + max(0, retain − retain floor)) / (start − floor)

    with FADE on the forget and on the retain set, the floors of the twin (without one 0, and on the retain set the original's) and the start of the
    original: 0 is as good as another retraining, 1 as if nothing had been done. Trials that are complete are scored on the other half, too, which
    decides nothing: what is found by searching on some rows flatters them, and the other half says by how much.

    The defaults of each objective are tried first and never pruned, so what is found is no worse than they are on the half that was searched on.
    Learning rate and options go from a fifth to five times the default, the forget weight from 0.05 to 5, the length from an eighth of the greatest on.
    A trial whose loss or weights are no numbers any more, or whose forget answers collapse, has failed, and the search goes on.

    A search that was interrupted goes on where it was: call it again with the same folder. `num_trials` and `timeout` may change. It runs in one process.

    Args:
        model: That must forget: loaded (never changed), path or Hub id. A causal language model.
        forget: What must go.
        retain: What must stay.
        output_dir: Where `study.db`, `trials.csv`, `best.yaml` (for `hf-unlearn unlearn --config`) and `pareto.png` go.
        reference: A model that never saw the forget set; without one the distance is counterfactual (it assumes that subjects are exchangeable), and what is
            lost on the retain set is measured against the original.
        original: The model before unlearning; default: the model.
        twin: A second reference; gives the floor.
        holdout: Never trained on: no substitute of a counterfactual distance stands in it.
        processing_class: The tokenizer; default: the one saved with the model.
        {TuneConfig}

    Returns:
        The best recipe, all trials as rows, those that no other is better than on both sets, and the study.

    Raises:
        ImportError: Optuna is not installed.
        OSError: `output_dir` cannot be written to.
        TypeError: An argument of the wrong kind.
        ValueError: Models, data or options that cannot work, or a folder that holds another search; before anything is trained. Or no trial came to
            its end.
    """
    optuna_or_error()
    if num_processes() > 1:  # a trial that one process gives up would leave the others waiting
        raise ValueError(f"tune runs in one process, which takes one device; {num_processes()} were started.")
    config = TuneConfig.of(locals())
    folder = checked.folder_path("output_dir", output_dir)
    refuse_own_folder(model, folder)
    if is_main_process():
        check_writable(folder)
    checked.given("forget", forget, "what must go")
    checked.given("retain", retain, "what must stay")
    metric = _check(config, model, reference)
    sets = open_sets(forget, retain, classes=False, allow_overlap=config.allow_overlap)
    _check_columns(config, sets)
    tokenizer: Any = load_processing(model, processing_class, sets, trust_remote_code=config.trust_remote_code)
    roles = Roles(reference, model if original is None else original, twin)
    trials = Trials(config, model, roles, sets, tokenizer, metric, _opened_holdout(holdout), num_processes())
    inputs = {"model": model, "forget": forget, "retain": retain, "tokenizer": processing_class}
    kept = _Kept(
        folder,
        {name: os.fspath(value) for name, value in inputs.items() if isinstance(value, (str, os.PathLike))},
        trials,
    )
    search = _opened_search(folder, trials)
    logger.info("%s", _cost(config, trials, search))
    try:
        _run(config, trials, search, kept)
    finally:
        if search is not None:
            search.interrupt()
    return kept.result(search)


def _check(config: TuneConfig, model: ModelLike, reference: ModelLike | None) -> str:
    """Refuse what cannot work; the name of the distance on the forget set."""
    if is_classifier(model):
        raise ValueError("tune is for causal language models; the model is a classifier.")
    for name in config.objectives:
        get_objective(name)
    for name in config.retain_terms:
        get_retain_term(name)
    if config.num_trials < len(config.objectives):
        raise ValueError(
            f"num_trials must be at least {len(config.objectives)}, one for the defaults of each objective; got {config.num_trials}."
        )
    check_options(UnlearnConfig(prompt_template=config.prompt_template, peft_config=config.peft_config))
    metric = config.metric or (COUNTERFACTUAL if reference is None else FADE)
    spec = METRICS[known_name("metric", metric, METRICS)].from_settings(config.plain()).spec
    if spec.ideal != 0.0 or "forget" not in spec.splits or spec.by_layer:
        raise ValueError(
            f"{metric} is no distance on the forget set that is 0 where nothing is left to forget: choose fade or {COUNTERFACTUAL}."
        )
    if reference is None and not spec.assumes:
        raise ValueError(f"{metric} needs a reference; without one leave metric out.")
    return metric


def _opened_holdout(holdout: DataLike | None) -> Dataset | None:
    if holdout is None:
        return None
    with about("holdout"):
        return load_data(holdout)


def _check_columns(config: TuneConfig, sets: Sets) -> None:
    """Alternatives that an objective would ask for in its trials."""
    for name in config.objectives:
        objective = get_objective(name)
        if (
            "alternative" in objective.needs
            and getattr(objective, "alternatives", "column") == "column"
            and COLUMN not in sets.forget.column_names
        ):
            raise ValueError(
                f"objective {name!r} needs alternative answers in a column {COLUMN!r}; the forget rows have {', '.join(sets.forget.column_names)}."
            )


def _opened_search(folder: Path, trials: Trials) -> Search | None:
    """On the main process; where it is refused there, it is refused everywhere."""
    config, fingerprint = trials.config, trials.fingerprint()
    options: dict[str, Any] = {"pruner": config.pruner, "evaluations": config.evaluations, "seed": config.seed}
    return together(lambda: Search(folder, trials.space, fingerprint, **options) if is_main_process() else None)


def _cost(config: TuneConfig, trials: Trials, search: Search | None) -> str:
    done = 0 if search is None else search.done
    steps, left = trials.space.max_steps, max(0, config.num_trials - done)
    limit = "" if config.timeout is None else f", none beginning after {config.timeout:g} s"
    return (
        f"up to {left} trials of at most {steps} optimisation steps ({left * steps} in all), each scored up to {config.evaluations} times on at most "
        f"{config.max_examples} rows of each set{limit}; {done} are done."
    )


def _run(config: TuneConfig, trials: Trials, search: Search | None, kept: "_Kept") -> None:
    """Trial after trial, until the budget is spent."""
    begun = time.perf_counter()
    hidden = not config.progress or not is_main_process()
    done = agreed(search.done if search else 0)
    title = f"tune, trials of up to {trials.space.max_steps} steps"
    with hf_logging.tqdm(
        total=config.num_trials, initial=min(done, config.num_trials), desc=title, disable=hidden
    ) as bar:
        while done < config.num_trials:
            if agreed(config.timeout is not None and time.perf_counter() - begun > config.timeout):
                logger.warning(
                    "the time of %g s is over after %d of %d trials.", config.timeout, done, config.num_trials
                )
                return
            recipe = trials.recipe(agreed(search.ask() if search else {}))
            outcome = trials.run(recipe, search.report if search else lambda place, value: False)
            if search is not None:
                search.tell(outcome)
                bar.set_postfix_str(kept.after(search))
            done += 1
            bar.update()


class _Kept:
    """What a search leaves in its folder, after each trial.

    Args:
        folder: Where.
        inputs: Model and data, where they are paths or ids.
        trials: Which know recipes.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, str], trials: Trials):
        self.folder, self.inputs, self.trials = folder, inputs, trials
        self._best: int | None = None

    def after(self, search: Search) -> str:
        """Write the table, and the best recipe where it is another one; what the bar says."""
        rows = rows_of(search.study)
        write_trials(rows, self.folder / "trials.csv")
        if not complete(rows):
            return ""
        best = best_of(rows)
        if best["number"] != self._best:
            self._best = best["number"]
            self._write_recipe(self.recipe(best))
        return f"best {best['score']:.3g} ({best['objective']})"

    def recipe(self, row: Row) -> Recipe:
        """Of a trial."""
        return self.trials.recipe(chosen_of(row))

    def _write_recipe(self, recipe: Recipe) -> None:
        try:
            recipe.save(self.folder / "best.yaml", self.inputs)
        except ValueError as error:
            logger.warning("best.yaml is not written: %s", error)

    def result(self, search: Search | None) -> TuneResult:
        """All of it, on every process; the main one draws.

        Raises:
            ValueError: No trial came to its end.
        """
        rows = agreed(rows_of(search.study) if search else [])
        best = self.recipe(best_of(rows))
        if search is not None:
            self.after(search)
            draw_pareto(
                rows, self.folder / "pareto.png", metric=METRICS[self.trials.metric].from_settings({}).spec.title
            )
        default = self.trials.default(best.objective)
        return TuneResult(best, default, rows, pareto_front(rows), search and search.study, self.folder)
