"""The audit in a Trainer that pushes to the Hub: whenever the Trainer writes its card, the section is put back."""

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_unlearn._files import cache_root, write_atomically
from hf_unlearn.audit import AuditReport
from hf_unlearn.inference import is_main_process, weights_fingerprint
from hf_unlearn.publishing._card import FOLDER, update_card
from hf_unlearn.publishing._front_matter import CardError, FrontMatter
from hf_unlearn.publishing._public import UPLOAD, stage
from hf_unlearn.publishing._statement import Setting, make_statement


logger = logging.getLogger(__name__)


class PublishAuditCallback(TrainerCallback):
    """Audits at the end of training; `trainer.push_to_hub()` then pushes model, card section, report and figures in one commit.

    The Trainer (and PEFT) write the card anew at every push; the section is put into what they wrote.

    Args:
        trainer: Add the callback to it.
        run_audit: Called with the trained model at the end of training, on every process; or a report that is there already.
        forgotten: What was forgotten, in your words.
        objective: How.
        settings: Of the unlearning.
        base_model: Hub id of the model before unlearning.
        datasets: Hub ids of public data sets.

    Attributes:
        report: The audit, once it is done.

    Example:
        ```python
        trainer.add_callback(PublishAuditCallback(trainer, lambda model: audit(model, reference=..., forget=..., retain=...)))
        trainer.train()
        trainer.push_to_hub()
        ```
    """

    def __init__(
        self,
        trainer: Trainer,
        run_audit: Callable[[PreTrainedModel], AuditReport] | AuditReport,
        *,
        forgotten: str | None = None,
        objective: str | None = None,
        settings: Mapping[str, Setting] | None = None,
        base_model: str | None = None,
        datasets: Sequence[str] = (),
    ):
        self.trainer = trainer
        self.report = run_audit if isinstance(run_audit, AuditReport) else None
        self._run_audit = None if isinstance(run_audit, AuditReport) else run_audit
        self.statement = make_statement(forgotten, objective, settings, base_model, datasets)
        self._write_card = trainer.create_model_card
        trainer.create_model_card = self._create_model_card

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Run the audit; a failure is logged, since the trained model must not be lost to it."""
        if self._run_audit is None:
            return
        try:
            # The audit leaves models as they were; whatever else is done here may need gradients.
            self.report = self._run_audit(self.trainer.model)
        except Exception:
            self.report = None
            logger.exception("the audit failed; the model is trained, and its card will carry no audit.")

    def _create_model_card(self, *arguments: Any, **options: Any) -> None:
        given = options.get("tags") or ()
        # PEFT's card writer, which the Trainer calls last, puts its own tags in place of these.
        tags = (*((given,) if isinstance(given, str) else given), "generated_from_trainer")
        self._write_card(*arguments, **options)
        if is_main_process():
            self.add_section(tags)

    def add_section(self, tags: Sequence[str] = ()) -> None:
        """Put section, report and figures into the Trainer's output folder, and tags back into the card.

        A model that is not the one that was audited gets none: an error is logged, and an old section is not kept either.

        Args:
            tags: That the card must have, besides ours.
        """
        folder = Path(self.trainer.args.output_dir)
        refuse_evidence(folder)
        report = self.report or _earlier(folder / FOLDER)
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        if report is None:
            return
        audited = report.provenance.models.get("candidate", {}).get("weights_sha256")
        if audited is not None and weights_fingerprint(self.trainer.model) != audited:
            logger.error(
                "the model changed after its audit; its card carries no audit. Audit it again and push again."
            )
            return
        repo_id = self.trainer.hub_model_id or self.trainer.args.hub_model_id or folder.name
        home = cache_root() / "publications" / repo_id.replace("/", "--")
        home.mkdir(parents=True, exist_ok=True)
        card = folder / "README.md"
        try:
            with FileLock(home / ".lock"):
                bundle = stage(report, self.statement, repo_id, home)
                old = card.read_bytes().decode("utf-8") if card.is_file() else None
                head = FrontMatter(update_card(old, bundle.report, self.statement, repo_id, bundle.figures))
                head.merge_list("tags", tags)
                shutil.copytree(home / UPLOAD / FOLDER, folder / FOLDER)
        except CardError as error:
            logger.error("the card was left alone: %s", error)
            return
        text = head.render()
        write_atomically(card, lambda path: path.write_bytes(text.encode("utf-8")))
        logger.info("the audit is in %s", os.fspath(card))


def _earlier(folder: Path) -> AuditReport | None:
    """The report that an earlier process put beside the model."""
    try:
        return AuditReport.load(folder)
    except (OSError, ValueError):
        return None


def refuse_evidence(folder: Path) -> None:
    """The Trainer uploads all of its folder; evidence of an audit, and a report with plain hashes of data, must not be in it.

    Raises:
        ValueError: Names what is there, before anything is sent.
    """
    for path in folder.rglob("report.json"):
        report = _earlier(path)
        evidence = list(path.parent.glob("evidence/*"))
        if report is not None and (evidence or any("sha256" in part for part in report.provenance.data.values())):
            raise ValueError(
                f"{str(path.parent)!r} holds an audit with its evidence and hashes of the forget data, and the Trainer would upload it; give "
                "audit() an output_dir outside the Trainer's, and move this folder away."
            )
