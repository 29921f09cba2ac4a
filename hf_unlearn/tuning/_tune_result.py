"""What a search has found: trials as rows, the best recipe, and which trials no other one is better than on both sets."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_unlearn._files import write_atomically
from hf_unlearn.tuning._recipe import Recipe
from hf_unlearn.tuning._score import Score
from hf_unlearn.tuning._study import state_of
from hf_unlearn.tuning._trial import COMPLETE


Row = dict[str, Any]


@dataclass(frozen=True)
class TuneResult:
    """What `tune` gives.

    Attributes:
        best: The recipe of the lowest score on the half that was searched on.
        default: The defaults of its objective, as they were tried.
        trials: All trials in order, one row each: `number`, `state` ("complete", "pruned", "failed" or "interrupted"), `is_default`, the recipe
            (`objective`, `retain_term`, `learning_rate`, `forget_weight`, `max_steps` and options as `npo.beta`), `steps` taken, `seconds`, `reason` of a
            failure; and on the half that was searched on `score`, `relative`, `excess`, `forget`, `forget_floor`, `forget_start`, `retain`, `retain_floor`, as
            in `Score` (of a trial that was ended, the last), on the other half the same with `other_` before the name.
        pareto: Rows of complete trials that no other one is better than on both sets, by `forget`.
        study: Optuna's; None on other processes than the main one.
        output_dir: Where `study.db`, `trials.csv`, `best.yaml` and `pareto.png` are.
    """

    best: Recipe
    default: Recipe
    trials: Sequence[Row]
    pareto: Sequence[Row]
    study: Any
    output_dir: Path

    @property
    def best_trial(self) -> Row:
        """The row of the best recipe."""
        return best_of(self.trials)

    @property
    def default_trial(self) -> Row | None:
        """The row of the defaults of the best recipe's objective; None where they failed."""
        same = [row for row in complete(self.trials) if row["is_default"] and row["objective"] == self.best.objective]
        return same[0] if same else None

    @property
    def optimism(self) -> float | None:
        """By how much the best score is higher on the half that nobody looked at; None where there is no other half."""
        row = self.best_trial
        return None if row["other_score"] is None else row["other_score"] - row["score"]

    def sentences(self) -> list[str]:
        """What was found, in words."""
        row, default = self.best_trial, self.default_trial
        said = [f"best of {len(self.trials)} trials: {self.best.objective}, {_numbers(row)}; {_scores(row)}."]
        if default is not None and default is not row:
            said.append(f"{self.best.objective} with its defaults: {_scores(default)}.")
        if self.optimism is None:
            said.append("There is no other half: the value is that of rows that were searched on, and flatters.")
        else:
            how = "optimistic" if self.optimism > 0 else "pessimistic"
            said.append(f"By the other half, the value that was searched for is {how} by {abs(self.optimism):.3g}.")
        return said


def _numbers(row: Row) -> str:
    named = ("retain_term", "learning_rate", "forget_weight", "max_steps")
    names = [*named, *(name for name in row if "." in name and name.startswith(f"{row['objective']}."))]
    shown = ((name, row.get(name)) for name in names)
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in shown
        if value is not None
    )


def _scores(row: Row) -> str:
    other = (
        ""
        if row["other_score"] is None
        else f"; {row['other_score']:.3g} ({row['other_relative']:.3g} + {row['other_excess']:.3g}) on the other half"
    )
    return f"score {row['score']:.3g} (forget {row['relative']:.3g} + retain {row['excess']:.3g}) on the half that was searched on{other}"


def complete(trials: Sequence[Row]) -> list[Row]:
    """Those that were trained to their end."""
    return [row for row in trials if row["state"] == COMPLETE]


def best_of(trials: Sequence[Row]) -> Row:
    """The complete trial of the lowest score; of equal ones the first.

    Raises:
        ValueError: No trial is complete; says why.
    """
    whole = complete(trials)
    if not whole:
        reasons = sorted({str(row["reason"]) for row in trials if row["reason"]})
        raise ValueError(
            f"none of {len(trials)} trials came to its end ({'; '.join(reasons) or 'all were interrupted'}). Give other objectives, or fewer max_steps."
        )
    return min(whole, key=lambda row: (row["score"], row["number"]))


def pareto_front(trials: Sequence[Row]) -> list[Row]:
    """Complete trials that no other one is better than on one set and no worse on the other.

    Example:
        >>> rows = [{"state": "complete", "forget": f, "retain": r} for f, r in [(1, 3), (2, 2), (3, 2), (3, 1)]]
        >>> [(row["forget"], row["retain"]) for row in pareto_front(rows)]
        [(1, 3), (2, 2), (3, 1)]
    """
    front: list[Row] = []
    for row in sorted(complete(trials), key=lambda row: (row["forget"], row["retain"])):
        if not front or row["retain"] < front[-1]["retain"]:
            front.append(row)
    return front


def rows_of(study: Any) -> list[Row]:
    """Trials of a study as rows, those that have ended."""
    trials = ((trial, state_of(trial)) for trial in study.get_trials(deepcopy=False))
    return [_row(trial, state) for trial, state in trials if state is not None]


def _row(trial: Any, state: str) -> Row:
    kept = trial.user_attrs
    row: Row = {"number": trial.number, "state": state, "is_default": bool(kept.get("is_default"))}
    row |= dict(sorted(trial.params.items(), key=lambda item: ("." in item[0], item[0])))
    row |= {name: kept.get(name) for name in ("steps", "seconds", "reason")}
    for prefix, name in (("", "searched"), ("other_", "other")):
        score = None if kept.get(name) is None else Score(**kept[name])
        for part in ("relative", "excess", "forget", "forget_floor", "forget_start", "retain", "retain_floor"):
            row[prefix + part] = None if score is None else getattr(score, part)
        row[f"{prefix}score"] = None if score is None else score.value
    return row


def write_trials(trials: Sequence[Row], path: Path) -> None:
    """One line per trial, one column per name."""
    names = list(dict.fromkeys(name for row in trials for name in row))

    def write(file: Path) -> None:
        with file.open("w", encoding="utf-8", newline="") as opened:
            table = csv.DictWriter(opened, names)
            table.writeheader()
            table.writerows(trials)

    write_atomically(path, write)
