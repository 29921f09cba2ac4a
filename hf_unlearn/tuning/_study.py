"""The search itself, kept on disk: what comes next, what became of it, and whether it is the same search as the one in the folder. Knows no model."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hf_unlearn.tuning._space import Space
from hf_unlearn.tuning._trial import COMPLETE, FAILED, PRUNED, Outcome


NAME = "hf_unlearn"
FILE = "study.db"
INTERRUPTED = "interrupted"
STARTUP = 4
"""Trials after the defaults that are drawn before the sampler learns from them all."""
TO_COMPARE = 4
"""Complete trials that a trial is compared with before it can be pruned."""


def optuna_or_error() -> Any:
    """The module.

    Raises:
        ImportError: It is not installed; says how to install it.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tune searches with Optuna: pip install optuna.") from error
    return optuna


class Search:
    """A study of Optuna's in a folder; on the main process alone.

    Args:
        folder: Where `study.db` is, or will be.
        space: What may be chosen.
        fingerprint: By name what makes another search of it.
        pruner: "median", "hyperband" or "none".
        evaluations: Scores of a whole trial.
        seed: Of the sampler.

    Raises:
        ValueError: The folder holds another search; says what differs.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        fingerprint: Mapping[str, Any],
        *,
        pruner: str,
        evaluations: int,
        seed: int,
    ):
        self.space, self.seed = space, seed
        optuna = self._optuna = optuna_or_error()
        storage = f"sqlite:///{folder / FILE}"
        chosen = _pruner(optuna, pruner, evaluations, len(space.objectives))
        plain = json.loads(json.dumps(fingerprint, default=_plain))
        with _quiet_optuna(optuna):
            options = {"storage": storage, "study_name": NAME, "pruner": chosen, "load_if_exists": True}
            self.study = optuna.create_study(**options)
            if self.study.user_attrs.get("fingerprint") != plain and not self.done:
                # Nothing was tried yet: what was refused before a first trial may be mended.
                optuna.delete_study(study_name=NAME, storage=storage)
                self.study = optuna.create_study(**options)
        self._check(folder, plain)
        self._take_up()
        self._running: Any = None
        self._since = 0.0

    def _check(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        before = self.study.user_attrs.get("fingerprint")
        if before is None:
            self.study.set_user_attr("fingerprint", fingerprint)
            for parameters in self.space.defaults():
                self.study.enqueue_trial(parameters, user_attrs={"is_default": True})
        elif before != fingerprint:
            differing = sorted(name for name in {*before, *fingerprint} if before.get(name) != fingerprint.get(name))
            raise ValueError(
                f"{str(folder)!r} holds another search: {', '.join(differing)} differ from what its trials were made with. Go on with the same "
                "models, data and options, or choose another output_dir."
            )

    def _take_up(self) -> None:
        """Trials that a kill has left running are done again; what they had chosen stays chosen."""
        for trial in self.study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState.RUNNING,)):
            self._abandon(trial.number, trial.params, trial.user_attrs)

    def _abandon(self, number: int, parameters: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        with _quiet_optuna(self._optuna):
            self.study.tell(number, state=self._optuna.trial.TrialState.FAIL)
            kept = {name: value for name, value in attributes.items() if name == "is_default"}
            self.study.enqueue_trial(dict(parameters), user_attrs=kept)

    @property
    def done(self) -> int:
        """Trials that came to an end."""
        return sum(state_of(trial) in (COMPLETE, PRUNED, FAILED) for trial in self.study.get_trials(deepcopy=False))

    def ask(self) -> dict[str, Any]:
        """What is tried next: options of `unlearn` by name."""
        with _quiet_optuna(self._optuna):
            # Anew for each trial, or a search that was taken up would go on otherwise than one that was not interrupted.
            self.study.sampler = self._optuna.samplers.TPESampler(
                seed=self.seed + self.done, n_startup_trials=len(self.space.objectives) + STARTUP
            )
            self._running, self._since = self.study.ask(), time.perf_counter()
            return self.space.draw(self._running)

    def report(self, place: int, value: float) -> bool:
        """A score on the way; whether the trial is to end. The defaults never are: what is found is compared with them."""
        assert self._running is not None
        self._running.report(value, place)
        return not self._running.user_attrs.get("is_default") and self._running.should_prune()

    def tell(self, outcome: Outcome) -> None:
        """What became of it."""
        trial, states = self._running, self._optuna.trial.TrialState
        assert trial is not None
        kept: dict[str, Any] = {
            "steps": outcome.steps,
            "reason": outcome.reason,
            "seconds": round(time.perf_counter() - self._since, 1),
        }
        for name, score in (("searched", outcome.searched), ("other", outcome.other)):
            kept[name] = None if score is None else asdict(score)
        for name, value in kept.items():
            trial.set_user_attr(name, value)
        with _quiet_optuna(self._optuna):
            if outcome.state == COMPLETE:
                assert outcome.searched is not None
                self.study.tell(trial, outcome.searched.value)
            else:
                self.study.tell(trial, state=states.PRUNED if outcome.state == PRUNED else states.FAIL)
        self._running = None

    def interrupt(self) -> None:
        """The trial that is running did not end; it is done again."""
        if self._running is not None:
            trial, self._running = self._running, None
            self._abandon(trial.number, trial.params, trial.user_attrs)


def state_of(trial: Any) -> str | None:
    """In the words of an `Outcome`, or "interrupted"; None of a trial that has not ended."""
    if not trial.state.is_finished():
        return None
    known = {"COMPLETE": COMPLETE, "PRUNED": PRUNED}
    return known.get(trial.state.name, FAILED if trial.user_attrs.get("reason") else INTERRUPTED)


def _pruner(optuna: Any, name: str, evaluations: int, defaults: int) -> Any:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=max(TO_COMPARE, defaults))
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=evaluations, reduction_factor=2)
    return optuna.pruners.NopPruner()


def _plain(value: Any) -> Any:
    """What JSON does not know: sets have no order."""
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


@contextmanager
def _quiet_optuna(optuna: Any) -> Iterator[None]:
    """What it says of each trial is said by the bar."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
