"""One recipe, several seeds: each trained into a folder of its own, once, and gone on with where it was interrupted.

Knows folders and what is noted in them. Does not know why there are several, nor what the rows are.
"""

import gc
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import Trainer, set_seed

from hf_unlearn._files import check_writable, fill_atomically, write_atomically
from hf_unlearn.audit._provenance import library_versions
from hf_unlearn.data import data_fingerprint
from hf_unlearn.inference import agreed, in_pieces, is_main_process, together
from hf_unlearn.training._checkpoint_weights import whole_checkpoints
from hf_unlearn.training._recipe import differences, recipe_of, shared_start, start_of
from hf_unlearn.training._resume import last_whole_checkpoint
from hf_unlearn.training._seed_checks import Apart, MakeTrainer, check_rows, check_starts, check_trainer
from hf_unlearn.training._unlearn_result import ADAPTER_FILES, MODEL_FILES


logger = logging.getLogger(__name__)
NOTE = "retraining.json"
"""In each seed's folder: how its model was made. Written before training, and again, last of all, when all of it is there."""
CHECKPOINTS = "checkpoints"


@dataclass
class SeedRuns:
    """The trainings of one recipe.

    Attributes:
        make_trainer: The recipe.
        folder: Where each seed gets one, `seed-<seed>`.
        rows: By seed.
        made: What is noted of how the models are made, beside rows and recipe: plain values, no paths, no texts.
        row_for_row: See `check_rows`.
        prepare: Done to each Trainer before anything is looked at.
        inspect: Further checks of each Trainer and its rows.
        merged: Save an adapter merged into its base: for bases that are not what the adapter's configuration names.
        apart: Models whose weights no Trainer's may be.
    """

    make_trainer: MakeTrainer
    folder: Path
    rows: Mapping[int, Dataset]
    made: Mapping[str, Any]
    row_for_row: bool = True
    prepare: Callable[[Trainer], None] = lambda trainer: None
    inspect: Callable[[Trainer, Dataset], None] = lambda trainer, rows: None
    merged: bool = False
    apart: Apart = field(default_factory=Apart)

    def paths(self) -> dict[int, Path]:
        """Where each seed's model is, or will be."""
        return {seed: self.folder / f"seed-{seed}" for seed in self.rows}

    def train(self) -> bool:
        """Check the recipe for all seeds, then train those that are not done yet.

        Returns:
            Whether all models start from the same weights.

        Raises:
            OSError: The folder cannot be written to.
            TypeError, ValueError: A Trainer that is not what was asked for, or a folder that holds the training of another recipe.
        """
        check_writable(self.folder)
        started = {seed: self._rehearsed(seed) for seed in self.rows}
        names = {seed: note["base"] for seed, note in started.items()}
        together_from_one = check_starts({seed: note["start"] for seed, note in started.items()}, names)
        for seed, note in started.items():
            if agreed(self._is_finished(seed)):
                logger.info("seed %d is trained already; it is in %s.", seed, self.paths()[seed])
            else:
                self._train(seed, note)
                _let_go()
        return together_from_one

    def _trainer(self, seed: int) -> Trainer:
        folder = self.paths()[seed] / CHECKPOINTS
        set_seed(seed)  # a recipe may draw weights before its Trainer is seeded
        trainer = self.make_trainer(self.rows[seed], seed, str(folder))
        check_trainer(trainer, seed, folder)
        self.apart.add(trainer.model)
        self.prepare(trainer)
        check_rows(trainer, self.rows[seed], row_for_row=self.row_for_row)
        return trainer

    def _rehearsed(self, seed: int) -> dict[str, Any]:
        """All that can be checked without training; what would be noted, and the base that the model names."""
        trainer = self._trainer(seed)
        self.inspect(trainer, self.rows[seed])
        rows = {"rows": len(self.rows[seed]), "rows_sha256": data_fingerprint(self.rows[seed])}
        made = json.loads(json.dumps({**self.made, "seed": seed, **rows}))
        note = {"finished": False, "made": made, "recipe": recipe_of(trainer), "start": start_of(trainer.model)}
        self._check_folder(seed, note)
        base = str(getattr(trainer.model.config, "_name_or_path", "") or "")
        del trainer
        _let_go()
        return {**note, "base": base}

    def _is_finished(self, seed: int) -> bool:
        """Not where somebody has made room since: what is noted is then made again, from the last checkpoint if that is still there."""
        return bool(self._noted(seed).get("finished")) and any(self.paths()[seed].glob("*.safetensors"))

    def _noted(self, seed: int) -> dict[str, Any]:
        try:
            return json.loads((self.paths()[seed] / NOTE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    def _check_folder(self, seed: int, note: Mapping[str, Any]) -> None:
        """Refuse what another recipe, other rows or other starting weights have left there."""
        folder, before = self.paths()[seed], self._noted(seed)
        if not before:
            if (folder / CHECKPOINTS).is_dir() and any((folder / CHECKPOINTS).glob("checkpoint-*")):
                raise ValueError(
                    f"{str(folder)!r} holds checkpoints and no {NOTE} that says of what; choose another output_dir."
                )
            return
        said = [*differences(before["made"], note["made"]), *differences(before["recipe"], note["recipe"])]
        if before["start"] != note["start"]:
            said.append("it started from other weights")
        if said:
            raise ValueError(
                f"{str(folder)!r} holds a training that was made another way: {'; '.join(said)}. Choose another output_dir, or go back to how "
                "it was made."
            )

    def _train(self, seed: int, note: dict[str, Any]) -> None:
        trainer = self._trainer(seed)
        if shared_start(note["start"], start_of(trainer.model)) < 1:
            raise ValueError(
                f"make_trainer gave the model of seed {seed} other starting weights than when it was first called for that seed: they depend on "
                "what was trained in between, or on a random draw that set_seed does not decide. Open the model anew in make_trainer."
            )
        folder = self.paths()[seed]
        note = {name: note[name] for name in ("finished", "made", "recipe", "start")}
        checkpoint = agreed(_last_checkpoint(folder / CHECKPOINTS))
        together(lambda: _write(folder, note))
        began = time.perf_counter()
        set_seed(seed)
        with whole_checkpoints(trainer, checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint)
        results = {
            "finished": True,
            "optimizer_steps": trainer.state.global_step,
            "resumed_from": None if checkpoint is None else Path(checkpoint).name,
            "seconds": round(time.perf_counter() - began, 1),
            "versions": library_versions(),
        }
        together(lambda: _save(trainer, folder, merged=self.merged))
        together(lambda: _write(folder, {**note, **results}))


def _last_checkpoint(folder: Path) -> str | None:
    try:
        return last_whole_checkpoint(folder)
    except ValueError:  # all are cut off: it has said so of each, and the seed is trained from its start
        return None


def _write(folder: Path, note: Mapping[str, Any]) -> None:
    if is_main_process():
        text = json.dumps(note, indent=2) + "\n"
        write_atomically(folder / NOTE, lambda path: path.write_text(text, encoding="utf-8"))


def _save(trainer: Trainer, folder: Path, *, merged: bool) -> None:
    """Model (or adapter) and tokenizer; not trainer.save_model, which adds the arguments as a pickle."""
    model = trainer.model
    if merged and isinstance(model, PeftModel):
        model = model.merge_and_unload()
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if in_pieces(model) else None

    def write(target: Path) -> None:
        model.save_pretrained(target, **({} if state is None else {"state_dict": state}))
        if trainer.processing_class is not None:
            trainer.processing_class.save_pretrained(target)

    if is_main_process():
        stale = ADAPTER_FILES if isinstance(model, PeftModel) else (*ADAPTER_FILES, *MODEL_FILES)
        fill_atomically(folder, write, stale=stale)


def _let_go() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
