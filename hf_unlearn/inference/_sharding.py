"""Work shared between processes: the only place that knows there may be more than one.

Every process holds the whole plan, does its share, and ends with all the results, so that what follows need not know.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from transformers.utils import logging as hf_logging


Item = TypeVar("Item")
Result = TypeVar("Result")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
_TOLD = "_hf_unlearn_told"


def process_rank() -> int:
    """0 on the main process, and where there is only one."""
    return torch.distributed.get_rank() if _distributed() else 0


def num_processes() -> int:
    """1 unless Accelerate (or the Trainer, or torchrun) has started a process group."""
    return torch.distributed.get_world_size() if _distributed() else 1


def join_processes() -> None:
    """Under `torchrun` or `accelerate launch`, form the process group that everything here looks for; otherwise, and where there is one,
    nothing."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1 and {"RANK", "LOCAL_RANK", "MASTER_ADDR"} <= set(os.environ)
    if launched and not _distributed():
        PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


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


def dealt(items: Sequence[Item], work: Callable[[Item], Result]) -> dict[Item, Result]:
    """What is done with each item, by one of the processes; on all of them, in the order of the items.

    Args:
        items: Equal on all processes, each once.
        work: Gives the same wherever it is done.

    Raises:
        ValueError: On all processes, where `work` raises one on any: whoever goes on after it does so everywhere.
    """
    if num_processes() == 1:
        return {item: work(item) for item in items}
    mine = list[tuple[Item, Any, str | None]]()
    for item in items[process_rank() :: num_processes()]:
        try:
            mine.append((item, work(item), None))
        except ValueError as error:
            mine.append((item, None, str(error)))
    found = {item: (result, said) for item, result, said in gather(mine)}
    for item in items:
        if found[item][1] is not None:
            raise ValueError(found[item][1])
    return {item: found[item][0] for item in items}


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


def as_one(function: FunctionT) -> FunctionT:
    """Decorator: under `torchrun` or `accelerate launch` the processes do it together, and where one of them fails, all do (`together`)."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        join_processes()
        return together(lambda: function(*args, **kwargs))

    return cast(FunctionT, run)


def same_everywhere(what: str, value: Any) -> None:
    """Refuse what is not equal on all processes: each would do its share of something else, and nobody would see it.

    Raises:
        ValueError: On every process.
    """
    found = gather([value])
    strangers = [rank for rank, other in enumerate(found) if other != found[0]]
    if strangers:
        raise ValueError(
            f"{what} on process {strangers[0]} is not that on process 0. All processes must be given the same models, data and options; "
            "where they run on several machines, copy the files to each, or name a path or Hub id that is the same for all."
        )


def is_main_process() -> bool:
    """Whether this process should write files and show bars."""
    return process_rank() == 0


def on_all_processes(condition: bool) -> bool:
    """Whether it holds on every process; all of them get the same answer, so that all take the same way."""
    return all(gather([condition]))


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
