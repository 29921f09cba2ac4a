"""Work shared between processes: a failure on one of them is a failure of all, wherever it happens."""

import json
from pathlib import Path

import pytest
from launch import torchrun

from hf_unlearn.inference import agreed, together


def test_alone_there_is_nothing_to_agree_on():
    assert together(lambda: 3) == 3 and agreed({"a": 1}) == {"a": 1}
    with pytest.raises(ZeroDivisionError):
        together(lambda: 1 / 0)


@pytest.mark.distributed
def test_one_processes_error_ends_all_with_its_message(tmp_path: Path):
    """Before, between and after the gathers of the others; and they can go on together afterwards."""
    torchrun(Path(__file__).with_name("two_processes_failing.py"), str(tmp_path), timeout=120)
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for failing in (0, 1):
            for when in ("before", "between", "after"):
                said = found[f"{when} {failing}"]
                assert (
                    said
                    == ("ValueError: " if rank == failing else f"OtherProcessError: process {failing}: ValueError: ")
                    + when
                )
        assert found["both"] == "ValueError: both"
        own = "ValueError: between"
        assert found["nested"] == [own if rank == 1 else f"OtherProcessError: process 1: {own}", [0, 1, 0, 1]]
        tens = {str(item): 10 * item for item in range(5)}
        refused = "ValueError: invalid literal for int() with base 10: 'no number'"
        assert found["dealt"] == [tens, refused, [0, 1, 0, 1]], "refused on both, and both go on together"
        assert found["whole"] == [0, 1, 0, 1] and found["agreed"] == 0
