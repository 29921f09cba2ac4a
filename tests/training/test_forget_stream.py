import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.training import ForgetStream


sizes = st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(sizes, st.integers(0, 2**31))
def test_every_pass_visits_every_example_once(size: tuple[int, int], seed: int):
    examples, per_step = size
    stream = ForgetStream(examples, per_step, seed)
    drawn = np.concatenate([stream.step(step) for step in range(examples)])  # per_step whole passes
    for number in range(per_step):
        assert sorted(drawn[number * examples : (number + 1) * examples]) == list(range(examples))


@given(sizes, st.integers(0, 50), st.integers(1, 5), st.integers(1, 5))
def test_micro_batches_and_processes_only_cut_a_step(size: tuple[int, int], step: int, count: int, processes: int):
    stream = ForgetStream(*size, seed=1)
    parts = [
        part
        for rank in range(processes)
        for part in stream.micro_batches(step, count=count, rank=rank, num_processes=processes)
    ]
    assert len(parts) == count * processes
    assert np.concatenate(parts).tolist() == stream.step(step).tolist()


def test_the_order_changes_from_pass_to_pass_and_with_the_seed():
    stream = ForgetStream(20, 20, seed=0)
    assert stream.step(0).tolist() != stream.step(1).tolist()
    assert stream.step(0).tolist() != ForgetStream(20, 20, seed=1).step(0).tolist()
    assert stream.step(7).tolist() == ForgetStream(20, 20, seed=0).step(7).tolist()


def test_a_step_larger_than_the_set_is_refused():
    with pytest.raises(ValueError, match=r"has 3 rows, but each optimisation step takes 4 .*forget_batch_size=3"):
        ForgetStream(3, 4, seed=0)
    with pytest.raises(ValueError, match="at least one forget example"):
        ForgetStream(3, 0, seed=0)
