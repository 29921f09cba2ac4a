"""Forget requests one after the other on the same model: one adapter each, earlier ones frozen, all of them in a ledger.

The model after some requests is the base with the sum of their adapters merged in, which is exact; each can be taken out again.
"""

import datetime
import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from filelock import FileLock, Timeout
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_unlearn._files import write_atomically
from hf_unlearn.data import DataLike, load_data
from hf_unlearn.data._columns import COLUMN_SETS, column_format
from hf_unlearn.inference import ModelLike, is_main_process, load_model, on_all_processes, weights_fingerprint
from hf_unlearn.objectives import Objective, RetainTerm, get_retain_term
from hf_unlearn.training._unlearn import UnlearnResult, unlearn


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ForgetRequest:
    """One line of the ledger.

    Attributes:
        name: Of the request and its adapter.
        date: When it was carried out, ISO 8601, UTC.
        objective: With its settings.
        data: `sha256` and row counts of forget and retain; no data.
        results: Numbers added later, for example from an audit.
    """

    name: str
    date: str
    objective: dict[str, Any]
    data: dict[str, dict[str, Any]]
    results: dict[str, float] = field(default_factory=dict)


class RequestLedger:
    """Requests on one base model, in a folder: `requests.json` and one adapter folder each.

    Requests that are made at once, also by several programs, are carried out one after the other, each on top of those before it.

    Args:
        folder: Created with the first request.
        base: The model that all requests are about: loaded, path or Hub id.

    Raises:
        ValueError: The folder's requests are about another base model.

    Example:
        ledger = RequestLedger("requests/", "me/model")
        ledger.carry_out("2026-03-anna", forget=…, retain=…)
        ledger.model().save_pretrained("current/")
    """

    def __init__(self, folder: str | os.PathLike, base: ModelLike):
        self.folder, self.base = Path(folder), base
        self._fingerprint = weights_fingerprint(load_model(base))
        self._lock = FileLock(self.folder / ".requests.lock")
        self.requests = self._read()

    def carry_out(
        self,
        name: str,
        *,
        forget: DataLike,
        retain: DataLike,
        keep_forgotten: Sequence[DataLike] = (),
        objective: str | Objective = "npo",
        retain_term: str | RetainTerm | None = None,
        peft_config: PeftConfig | None = None,
        processing_class: PreTrainedTokenizerBase | str | None = None,
        **training: Any,
    ) -> UnlearnResult:
        """Forget one more set, with an adapter of its own on top of all earlier ones.

        Args:
            name: Letters, digits, `-`, `_`, `.`; new.
            forget: What must go.
            retain: What must stay.
            keep_forgotten: Sets of earlier requests. Training on the retain set can bring them back; with this they are held, by the KL
                term, where earlier requests have put them. Their answers are not trained on.
            objective: An objective, or its name.
            retain_term: As for `unlearn`.
            peft_config: Of the adapter; default: rank 8 on all linear layers.
            processing_class: The tokenizer.
            training: Further arguments of `unlearn`.

        Raises:
            ValueError: A name that is taken or unfit for a folder, or what `unlearn` refuses.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(
                f"a request's name becomes a folder: letters, digits, '-', '_' and '.' only, got {name!r}."
            )
        if keep_forgotten and get_retain_term(retain_term or "kl").name != "kl":
            raise ValueError(
                "keep_forgotten works through the retain term 'kl'; with another one the answers would be learnt again."
            )
        kept = [_plain_rows(retain), *map(_plain_rows, keep_forgotten)]
        config = peft_config or LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        with self._alone():
            if name in {request.name for request in self.requests}:
                raise ValueError(f"there is a request {name!r} already; remove it first, or choose another name.")
            result = unlearn(
                self.model(),
                forget=forget,
                retain=concatenate_datasets(kept) if keep_forgotten else retain,
                objective=objective,
                retain_term="kl" if keep_forgotten else retain_term,
                peft_config=config,
                processing_class=processing_class,
                output_dir=self.adapter_folder(name),
                **training,
            )
            date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            request = ForgetRequest(name, date, result.settings["objective"], result.settings["data"])
            self._write((*self.requests, request))
            return result

    def model(self, *, without: Collection[str] = ()) -> PreTrainedModel:
        """A new model: the base with every request's adapter merged in.

        Args:
            without: Names of requests to leave out. Later adapters were trained with them in place; what they do without is not
                guaranteed by anything but an audit.

        Raises:
            KeyError: No such request.
        """
        unknown = set(without) - {request.name for request in self.requests}
        if unknown:
            raise KeyError(
                f"no request {sorted(unknown)[0]!r}; there are {[request.name for request in self.requests]}."
            )
        opened = load_model(self.base)
        merged = type(opened)(opened.config)
        merged.load_state_dict(opened.state_dict())
        merged = merged.to(opened.device, opened.dtype).eval()
        merged.generation_config = opened.generation_config
        for request in self.requests:
            if request.name not in without:
                merged = PeftModel.from_pretrained(merged, self.adapter_folder(request.name)).merge_and_unload()
        return merged

    def combined_adapter(self) -> PeftModel:
        """All requests as one adapter on the base (ranks add up: `cat`, which is exact), for publishing.

        Raises:
            ValueError: There are no requests yet.
        """
        if not self.requests:
            raise ValueError("there are no requests to combine yet.")
        names = [request.name for request in self.requests]
        model = PeftModel.from_pretrained(
            RequestLedger.model(self, without=names), self.adapter_folder(names[0]), names[0]
        )
        for name in names[1:]:
            model.load_adapter(self.adapter_folder(name), name)
        model.add_weighted_adapter(names, [1.0] * len(names), "combined", combination_type="cat")
        model.set_adapter("combined")
        for name in names:
            model.delete_adapter(name)
        return model.eval()

    def remove(self, name: str) -> None:
        """Take a request back: its adapter is deleted and the ledger forgets it.

        Raises:
            KeyError: No such request.
        """
        with self._alone():
            rest = tuple(request for request in self.requests if request.name != name)
            if len(rest) == len(self.requests):
                raise KeyError(f"no request {name!r}; there are {[request.name for request in self.requests]}.")
            self._write(rest)
            shutil.rmtree(self.adapter_folder(name), ignore_errors=True)

    def record(self, name: str, results: Mapping[str, float]) -> None:
        """Add numbers to a request, for example of an audit.

        Raises:
            KeyError: No such request.
        """
        with self._alone():
            if name not in {request.name for request in self.requests}:
                raise KeyError(f"no request {name!r}; there are {[request.name for request in self.requests]}.")
            self._write(
                tuple(
                    ForgetRequest(**{**asdict(request), "results": {**request.results, **results}})
                    if request.name == name
                    else request
                    for request in self.requests
                )
            )

    def adapter_folder(self, name: str) -> Path:
        """Where a request's adapter is."""
        return self.folder / "adapters" / name

    @property
    def _path(self) -> Path:
        return self.folder / "requests.json"

    def _write(self, requests: tuple[ForgetRequest, ...]) -> None:
        content = {"base_sha256": self._fingerprint, "requests": [asdict(request) for request in requests]}
        text = json.dumps(content, indent=2, default=str) + "\n"
        if is_main_process():
            write_atomically(self._path, lambda path: path.write_text(text, encoding="utf-8"))
        self.requests = requests

    def _read(self) -> tuple[ForgetRequest, ...]:
        found = json.loads(self._path.read_text(encoding="utf-8")) if self._path.is_file() else {}
        if found and found["base_sha256"] != self._fingerprint:
            raise ValueError(
                f"the requests in {str(self.folder)!r} were carried out on another base model (weights {found['base_sha256'][:12]}…, this "
                f"one {self._fingerprint[:12]}…); adapters of one do not fit the other."
            )
        return tuple(ForgetRequest(**entry) for entry in found.get("requests", []))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The ledger as it is on disk now, and nobody else's until the block is left; waits for whoever has it."""
        if is_main_process():
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                logger.warning("waiting for another request in %s", self.folder)
                self._lock.acquire()
        on_all_processes(True)  # the other processes of this run wait until the main one has it
        try:
            self.requests = self._read()
            yield
        finally:
            if is_main_process():
                self._lock.release()


def _plain_rows(data: DataLike) -> Dataset:
    """Rows with what tokenization reads, so that sets with other further columns can be joined."""
    rows = load_data(data)
    return rows.select_columns(list(COLUMN_SETS[column_format(rows.column_names)]))
