"""Work shared between processes: the only place that knows there may be more than one.

Every process holds the whole plan, does its share, and ends with all the results, so that what follows need not know.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from transformers.utils import logging as hf_logging


Item = TypeVar("Item")
Result = TypeVar("Result")
_TOLD = "_hf_unlearn_told"


def process_rank() -> int:
    """0 on the main process, and where there is only one."""
    return torch.distributed.get_rank() if _distributed() else 0


def num_processes() -> int:
    """1 unless Accelerate (or the Trainer, or torchrun) has started a process group."""
    return torch.distributed.get_world_size() if _distributed() else 1


def join_processes() -> None:
    """Under `torchrun`, form the process group that everything here looks for; otherwise nothing.

    For programs that are ours from the start; in somebody else's, Accelerate or the Trainer has formed it. On a machine without an
    accelerator that needs `ACCELERATE_USE_CPU=1`, as everywhere in Accelerate.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _distributed():
        PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def leave_processes() -> None:
    """Dissolve the process group, if there is one, when a program of ours ends."""
    if _distributed():
        torch.distributed.destroy_process_group()


def my_share(items: Sequence[Item], *, label: str, progress: bool = True) -> Iterator[Item]:
    """This process's items, dealt in turn, with a progress bar on the main process.

    Args:
        items: The whole plan, equal on all processes; put items of like cost next to each other.
        label: What the bar says.
        progress: Whether to show it (`transformers.utils.logging.disable_progress_bar()` hides it too).
    """
    share = items[process_rank() :: num_processes()]
    hidden = not progress or not is_main_process() or not share
    yield from hf_logging.tqdm(share, desc=label, disable=hidden, leave=False)


class OtherProcessError(RuntimeError):
    """Another process could not do its share; carries what it said."""


@dataclass(frozen=True)
class _Failure:
    """Sent in place of results."""

    message: str


def gather(results: list[Any]) -> list[Any]:
    """The results of all processes, on all processes; ordered by process, not by item.

    Raises:
        OtherProcessError: Another process sent word that it failed, see `together`.
    """
    if num_processes() == 1:
        return results
    found = gather_object(results)
    failures = [item.message for item in found if isinstance(item, _Failure)]
    if failures:
        raise OtherProcessError("; ".join(failures))
    return found


def together(work: Callable[[], Result]) -> Result:
    """Do something on every process; where one of them fails, it fails on all, with that one's message.

    Without this the others would wait for ever for results that do not come. What is done must meet the others only through `gather`
    (as everything here does): there a process that fails sends its message in place of its results.

    Args:
        work: Called on every process.

    Returns:
        What this process's call returned.

    Raises:
        OtherProcessError: It failed on another process. Where it fails on this one, its own error.
    """
    try:
        result = work()
    except Exception as error:
        if isinstance(error, OtherProcessError) or vars(error).get(_TOLD):
            raise  # everybody has met already: in that gather, or in a call within this one
        vars(error)[_TOLD] = True
        with contextlib.suppress(OtherProcessError):  # the others may have failed too, each with its own message
            gather([_Failure(f"process {process_rank()}: {type(error).__name__}: {error}")])
        raise
    gather([])  # whoever fails after the last results meets the others here
    return result


def agreed(value: Result) -> Result:
    """The main process's value, on all processes: where it decides what happens next, they must not differ."""
    return gather([value])[0]


def is_main_process() -> bool:
    """Whether this process should write files and show bars."""
    return process_rank() == 0


def on_all_processes(condition: bool) -> bool:
    """Whether it holds on every process; all of them get the same answer, so that all take the same way."""
    return all(gather([condition]))


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
