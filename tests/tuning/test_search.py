"""The study on disk, without models: what is asked, what a kill leaves, what is refused, and what is pruned."""

from pathlib import Path

import pytest

from hf_unlearn.tuning._score import Score
from hf_unlearn.tuning._space import Space
from hf_unlearn.tuning._study import Search
from hf_unlearn.tuning._trial import COMPLETE, FAILED, PRUNED, Outcome
from hf_unlearn.tuning._tune_result import best_of, rows_of


SPACE = Space(("npo", "simnpo"), ("nll",), 1e-3, 80)


def search(folder: Path, *, fingerprint: dict | None = None, pruner: str = "median", seed: int = 0) -> Search:
    return Search(folder, SPACE, fingerprint or {"data": "d", "space": SPACE.described()}, pruner=pruner, evaluations=4, seed=seed)  # fmt: skip


def scored(value: float) -> Score:
    return Score(forget=value, forget_floor=0.0, forget_start=1.0, retain=0.0, retain_floor=0.0)


def outcome(chosen: dict) -> Outcome:
    """Best at learning rate 1e-3."""
    value = abs(chosen["learning_rate"] / 1e-3 - 1) + chosen["max_steps"] / 1000
    return Outcome(COMPLETE, chosen["max_steps"], scored(value), scored(value + 0.1))


def asked(one: Search, count: int) -> list[dict]:
    found = []
    for _ in range(count):
        found.append(one.ask())
        one.tell(outcome(found[-1]))
    return found


def test_defaults_come_first_in_their_order(tmp_path: Path):
    found = asked(search(tmp_path), 3)
    assert found[:2] == [SPACE.default("npo"), SPACE.default("simnpo")]
    assert found[2] not in found[:2]
    assert [row["is_default"] for row in rows_of(search(tmp_path).study)] == [True, True, False]


def test_the_seed_decides(tmp_path: Path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    one, two, other = (asked(search(folder, seed=seed), 12) for folder, seed in zip(folders, (0, 0, 1), strict=True))
    assert one == two and one[2:] != other[2:]


def test_a_search_that_is_taken_up_goes_on_as_if_it_had_not_stopped(tmp_path: Path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = asked(search(tmp_path / "whole"), 14)
    parts = asked(search(tmp_path / "parts"), 5)
    killed = search(tmp_path / "parts")
    lost = killed.ask()  # and the process is gone
    stopped = search(tmp_path / "parts")
    again = stopped.ask()
    stopped.interrupt()  # Ctrl-C
    rest = asked(search(tmp_path / "parts"), 9)
    assert lost == again == rest[0]
    assert parts + rest == whole
    rows = rows_of(search(tmp_path / "parts").study)
    assert [row["state"] for row in rows].count("interrupted") == 2
    assert search(tmp_path / "parts").done == 14


def test_defaults_that_were_interrupted_are_still_defaults(tmp_path: Path):
    one = search(tmp_path)
    one.ask()
    one.interrupt()
    found = asked(search(tmp_path), 2)
    assert {each["objective"] for each in found} == {"npo", "simnpo"}
    assert sum(row["is_default"] and row["state"] == "complete" for row in rows_of(one.study)) == 2


@pytest.mark.parametrize(
    "other", [{"data": "another"}, {"space": Space(("npo",), ("nll",), 1e-3, 80).described()}, {"model": "m"}]
)
def test_another_search_in_the_folder_is_refused(tmp_path: Path, other: dict):
    before = {"data": "d", "space": SPACE.described()}
    asked(search(tmp_path, fingerprint=before), 1)
    with pytest.raises(ValueError, match=f"holds another search: {next(iter(other))} differ"):
        search(tmp_path, fingerprint=before | other)
    assert search(tmp_path, fingerprint=before).done == 1


def test_a_folder_in_which_nothing_was_tried_holds_no_search(tmp_path: Path):
    first = search(tmp_path, fingerprint={"data": "a mistake"})
    first.ask()
    first.interrupt()
    assert asked(search(tmp_path), 2) == [SPACE.default("npo"), SPACE.default("simnpo")]


def test_what_does_worse_on_its_way_is_pruned_and_defaults_never_are(tmp_path: Path):
    one = search(tmp_path)
    for value in (5.0, 0.5, 0.4, 0.3):
        one.ask()
        assert not any(one.report(place, value) for place in (1, 2, 3))
        one.tell(Outcome(COMPLETE, 80, scored(value)))
    one.ask()
    assert one.report(1, 9.0)
    one.tell(Outcome(PRUNED, 20, scored(9.0)))
    one.ask()
    assert not one.report(1, 0.1)
    one.tell(Outcome(FAILED, 20, None, None, "not a number"))
    rows = rows_of(one.study)
    assert [row["state"] for row in rows] == ["complete"] * 4 + ["pruned", "failed"]
    assert rows[-1]["reason"] == "not a number" and rows[-2]["steps"] == 20
    assert best_of(rows)["score"] == 0.3


def test_without_a_pruner_nothing_is_pruned(tmp_path: Path):
    one = search(tmp_path, pruner="none")
    asked(one, 6)
    one.ask()
    assert not any(one.report(place, 1e9) for place in (1, 2, 3))


def test_hyperband_prunes_something(tmp_path: Path):
    one, pruned = search(tmp_path, pruner="hyperband"), 0
    for number in range(16):
        one.ask()
        ended = any(one.report(place, float(number)) for place in (1, 2, 3))
        one.tell(Outcome(PRUNED if ended else COMPLETE, 20, scored(float(number))))
        pruned += ended
        assert not (ended and number < 2)
    assert pruned > 0


def test_where_nothing_came_to_its_end_the_reasons_are_said():
    rows = [{"state": "failed", "reason": "loss became nan", "number": 0}]
    with pytest.raises(ValueError, match=r"none of 1 trials came to its end \(loss became nan\)"):
        best_of(rows)
