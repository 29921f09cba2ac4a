"""A model under EleutherAI's lm-evaluation-harness: the harness asks and judges, the model answers as it does in its role.

Requests are dealt among processes; every process gets all answers, and so the same values. Knows tasks as lm-eval made them; no set and no
metric. lm-eval is optional and slow to import, so it is imported when it is needed.
"""

import contextlib
import copy
import functools
import importlib
import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from hf_unlearn.inference._models import base_model, context_length, undisturbed
from hf_unlearn.inference._sharding import gather, is_main_process, num_processes, process_rank, together
from hf_unlearn.inference._views import View


RANDOM_SEED, OTHER_SEED = 0, 1234
"""Those of lm-eval's own command, so that its few-shot examples are drawn here too."""
_BARS = ("lm_eval.api.task", "lm_eval.api.model", "lm_eval.models.huggingface")
"""Modules of lm-eval that show progress bars."""
CLOSE = 1e-9
"""How near two ways of averaging the same values have to come, relative."""


@dataclass(frozen=True)
class HarnessSettings:
    """How the harness asks.

    Attributes:
        chat_template: Whether questions are put through the tokenizer's chat template.
        precise: Log-probabilities in float32, whatever the model's precision; else as lm-eval's own command does.
        batch_size: Requests at a time.
        progress: Whether lm-eval's bars are shown, on the main process.
    """

    chat_template: bool = False
    precise: bool = True
    batch_size: int = 64
    progress: bool = True


def harness_values(
    view: View, tokenizer: PreTrainedTokenizerBase, task: Any, *, limit: int | None, settings: HarnessSettings
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a model reaches in one task of the harness.

    Args:
        view: The model in its role.
        tokenizer: Of the model; it is copied, since the harness sets a padding token where there is none.
        task: A task (no group) as lm-eval opened it.
        limit: Of its documents the first so many; None = all.
        settings: How it is asked.

    Returns:
        For each document, in their order, the values that the harness gave it, by "metric,filter"; and the harness's own aggregates by the same
        names.

    Raises:
        OtherProcessError: It failed on another process.
    """
    evaluate = importlib.import_module("lm_eval.evaluator").evaluate
    with view.active() as model, harness_seeds(), undisturbed(model), _quiet(settings.progress and is_main_process()):
        asked = _asked(base_model(model), copy.deepcopy(tokenizer), settings)
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=OTHER_SEED)
        name = task.task_name
        found = evaluate(
            lm=asked,
            task_dict={"tasks": {name: task}, "groups": {}, "group_map": {}},
            limit=limit,
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=settings.chat_template,
            fewshot_as_multiturn=True,
        )
    return _by_document(found["samples"][name]), _aggregates(found["results"][name])


def _by_document(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The harness logs each document once for each filter."""
    values: dict[int, dict[str, Any]] = {}
    for sample in samples:
        mine = values.setdefault(int(sample["doc_id"]), {})
        mine.update({f"{metric},{sample['filter']}": sample[metric] for metric in sample["metrics"]})
    return [values[number] for number in sorted(values)]


def _aggregates(results: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in results.items() if "," in key and "_stderr," not in key}


def agrees(value: Any, other: Any) -> bool:
    """Whether two aggregates of the same values are one number; what is no number agrees with nothing."""
    try:
        return math.isclose(float(value), float(other), rel_tol=CLOSE, abs_tol=CLOSE)
    except (TypeError, ValueError):
        return False


@contextlib.contextmanager
def harness_seeds() -> Iterator[None]:
    """Random numbers as lm-eval's own command begins with; afterwards everyone goes on as before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(RANDOM_SEED)
        np.random.seed(OTHER_SEED)
        torch.manual_seed(OTHER_SEED)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _asked(model: Any, tokenizer: PreTrainedTokenizerBase, settings: HarnessSettings) -> Any:
    """The model as lm-eval takes it, without a change to it."""
    # Where a configuration says "tied" and the weights are not, lm-eval would make another model of it.
    model.tie_weights = lambda *args, **kwargs: None
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of models that are open already
    try:
        return _dealing_class()(
            pretrained=model,
            backend="causal",
            tokenizer=_with_padding(tokenizer),
            max_length=context_length(model),
            batch_size=settings.batch_size,
            softmax_dtype="float32" if settings.precise else None,
        )
    finally:
        logger.setLevel(level)
        del model.tie_weights


def _with_padding(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Padding is masked, so any token that the model knows will do; lm-eval may invent one that it does not."""
    if tokenizer.pad_token_id is None:
        other = (tokenizer.unk_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id, 0)
        known = next(number for number in other if number is not None)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(known)
    return tokenizer


@functools.cache
def _dealing_class() -> type:
    """lm-eval's wrapper of a model, with requests dealt among the processes."""
    wrapper: Any = importlib.import_module("lm_eval.models.huggingface").HFLM

    class DealingLM(wrapper):
        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
            return _dealt(super().loglikelihood, requests)

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
            return _dealt(super().loglikelihood_rolling, requests)

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
            return _dealt(super().generate_until, requests)

    return DealingLM


def _dealt(ask: Callable[[list[Any]], list[Any]], requests: Sequence[Any]) -> list[Any]:
    """All answers, on all processes. The requests of one document stay together, since they share their beginning."""
    documents = list(dict.fromkeys((request.task_name, request.doc_id) for request in requests))
    mine = set(documents[process_rank() :: num_processes()])
    places = [at for at, request in enumerate(requests) if (request.task_name, request.doc_id) in mine]

    def work() -> list[tuple[int, Any]]:
        answers = ask([requests[at] for at in places]) if places else []
        return gather(list(zip(places, answers, strict=True)))

    found = dict(together(work))
    return [found[at] for at in range(len(requests))]


@contextlib.contextmanager
def _quiet(bars: bool) -> Iterator[None]:
    """Without lm-eval's progress bars, unless they are wanted; some of them it shows on every process."""
    modules: list[Any] = [] if bars else [importlib.import_module(name) for name in _BARS]
    shown = [module.tqdm for module in modules]
    try:
        for module, bar in zip(modules, shown, strict=True):
            module.tqdm = functools.partial(_hidden, bar)
        yield
    finally:
        for module, bar in zip(modules, shown, strict=True):
            module.tqdm = bar


def _hidden(bar: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return bar(*args, **{**options, "disable": True})
