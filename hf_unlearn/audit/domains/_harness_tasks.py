"""Tasks of EleutherAI's lm-evaluation-harness by name: found, opened and checked before any model is.

Knows lm-eval's tasks and groups; asks no model. lm-eval is optional and slow to import, so it is imported here and only when tasks are named.
"""

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from hf_unlearn.inference import harness_seeds, is_main_process


logger = logging.getLogger(__name__)
NEEDED = "lm-eval>=0.4.13,<0.5"
"""As pip takes it."""


_PLACES = ("dataset_path", "dataset_kwargs", "metadata")
"""Where documents come from, and what nobody is asked by."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""In the text of objects, another in each process."""


@dataclass(frozen=True)
class HarnessTask:
    """One task.

    Attributes:
        name: As lm-eval knows it.
        task: lm-eval's object.
        count: Documents that are used, the first ones.
        total: All that there are.
    """

    name: str
    task: Any
    count: int
    total: int

    @cached_property
    def hashes(self) -> list[str]:
        """Of each document's content."""
        return [_hash(document) for document in itertools.islice(self.task.eval_docs, self.count)]

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that decides what is asked and how it is judged: configuration (its functions as source), version, documents, and those
        that few-shot examples are drawn from; not of where they lie."""
        config = {name: value for name, value in self.task.dump_config().items() if name not in _PLACES}
        shots = self.task.fewshot_docs() if self.task.get_config("num_fewshot") else ()
        return _hash([self.name, str(self.task.VERSION), config, self.hashes, [_hash(shot) for shot in shots or ()]])

    @property
    def aggregations(self) -> Mapping[str, Callable[[Sequence[Any]], Any]]:
        """How values of documents become one, by metric."""
        return self.task.aggregation()

    @property
    def higher_is_better(self) -> Mapping[str, bool | None]:
        """By metric."""
        return self.task.higher_is_better()

    @property
    def filters(self) -> list[str]:
        """Ways of reading an answer; each metric has a value for each."""
        found = [part.name for part in getattr(self.task, "_filters", ())]
        return list(dict.fromkeys(found)) or ["none"]


@dataclass(frozen=True)
class HarnessTasks:
    """What was asked for.

    Attributes:
        tasks: All tasks by name, those within groups too.
        asked: What has results: names of tasks, and lm-eval's groups that have a value of their own.
    """

    tasks: Mapping[str, HarnessTask]
    asked: tuple[Any, ...]


def open_tasks(
    names: Sequence[str], include_path: str | None, limit: int | None, *, progress: bool = True
) -> HarnessTasks:
    """Open tasks with their documents; what is not on this machine is downloaded.

    Args:
        names: Of tasks, groups or tags.
        include_path: A folder with tasks of one's own; they come before lm-eval's of the same name.
        limit: Of each task's documents at most the first so many.
        progress: Whether to show bars of what is downloaded, on the main process.

    Raises:
        ImportError: lm-eval is not installed.
        ValueError: An unknown name (says what may have been meant), a folder that is none, a task that is there twice, that runs code from models
            or needs images, or whose documents cannot be had.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ImportError(f'harness_tasks needs lm-eval: pip install "{NEEDED}"', name="lm_eval")
    if include_path is not None and not Path(include_path).is_dir():
        raise ValueError(f"harness_include_path must be a folder with task files (YAML), got {include_path!r}.")
    shown = progress and is_main_process()
    with harness_seeds(), _bars(shown):  # some tasks shuffle their documents while they are opened
        loaded = _loaded(names, include_path)
    tasks: dict[str, HarnessTask] = {}
    owner: dict[str, str] = {}
    asked: list[Any] = []
    for name, found in loaded.items():
        for mine, task in found["tasks"].items():
            if owner.setdefault(mine, name) != name:
                raise ValueError(f"harness_tasks has the task {mine!r} twice, in {owner[mine]!r} and in {name!r}.")
            tasks[mine] = _checked(mine, task, limit)
        asked += _with_values(name, found)
    return HarnessTasks(tasks, tuple(asked))


def _loaded(names: Sequence[str], include_path: str | None) -> dict[str, Any]:
    """What lm-eval makes of each name; its own tasks, many thousand files, are looked through only where they are needed."""
    manager: Any = importlib.import_module("lm_eval.tasks").TaskManager
    if include_path is not None:
        alone = manager(include_path=include_path, include_defaults=False)
        if set(names) <= set(alone.all_tasks):
            try:
                return {name: _opened(alone, name) for name in names}
            except KeyError:
                logger.debug("tasks of %s need tasks of lm-eval", include_path)
    everything = manager(include_path=include_path)
    for name in names:
        if name not in everything.all_tasks:
            close = difflib.get_close_matches(name, everything.all_tasks, n=3, cutoff=0.6)
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise ValueError(
                f"lm-eval has no task, group or tag {name!r}; `lm-eval ls tasks` lists {len(everything.all_tasks)}.{hint}"
            )
    return {name: _opened(everything, name) for name in names}


@contextlib.contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """With the bars of `datasets`, or without them; afterwards as before."""
    change = not shown and not are_progress_bars_disabled()
    if change:
        disable_progress_bars()
    try:
        yield
    finally:
        if change:
            enable_progress_bars()


def _opened(manager: Any, name: str) -> Any:
    try:
        return manager.load([name])
    except KeyError:
        raise
    except Exception as error:  # of datasets, of the Hub, of a YAML file, of a task's own code
        raise ValueError(f"the harness task {name!r} cannot be opened ({type(error).__name__}: {error}).") from error


def _checked(name: str, task: Any, limit: int | None) -> HarnessTask:
    if getattr(task, "UNSAFE_CODE", False):
        raise ValueError(f"the harness task {name!r} runs code that models write; that is not done here.")
    if getattr(task, "MULTIMODAL", False):
        raise ValueError(f"the harness task {name!r} needs images or sound; the models here read text.")
    total = len(task.eval_docs)
    if not total:
        raise ValueError(f"the harness task {name!r} has no documents.")
    return HarnessTask(name, task, min(total, limit or total), total)


def _with_values(name: str, found: Any) -> list[Any]:
    """A group that has a value, else what is in it that has; a tag is its tasks."""
    groups, tasks = found["groups"], found["tasks"]
    if name not in groups:
        return list(tasks)
    return _of_group(groups[name])


def _of_group(group: Any) -> list[Any]:
    if group.has_aggregation:
        return [group]
    inner = [_of_group(part) if hasattr(part, "aggregate") else [part.task_name] for part in group]
    return list(itertools.chain.from_iterable(inner))


def _hash(value: Any) -> str:
    """Of plain values, and of what can be written as text."""
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(_ADDRESS.sub("", text).encode()).hexdigest()[:20]


def lm_eval_version() -> str:
    """Of the installed package."""
    from importlib.metadata import version

    return version("lm_eval")
