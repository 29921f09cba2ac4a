"""`forgetting.jsonl`: one line per measurement, which a kill cannot spoil. Knows steps and values; no Trainer, no model."""

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_unlearn._files import write_atomically


logger = logging.getLogger(__name__)


class ForgettingFile:
    """The file of one training.

    Args:
        path: Of `forgetting.jsonl`.
        strict: Whether a full disk ends the training; otherwise it is logged, and the Trainer's log has the values too.
    """

    def __init__(self, path: Path, *, strict: bool):
        self.path, self.strict = path, strict

    def kept(self, step: int) -> list[dict[str, Any]]:
        """Lines up to the checkpoint that a run resumes from; a line that a kill has cut is dropped."""
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
                if line["step"] <= step:
                    values = {name: value for name, value in line["values"].items() if value is not None}
                    lines.append({**line, "values": values})
            except (json.JSONDecodeError, TypeError, KeyError, AttributeError):
                logger.warning("a damaged line of %s is left out: %.60r", self.path, text)
        return lines

    def start(self, lines: list[dict[str, Any]]) -> None:
        """Begin with these lines and no others.

        Raises:
            OSError: The folder cannot be written to.
        """
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_atomically(self.path, lambda path: path.write_text(text, encoding="utf-8"))

    def append(self, step: int, epoch: float | None, values: Mapping[str, float]) -> None:
        """One line more; JSON has no number that is not finite.

        Raises:
            OSError: The disk is full, and that is to end the training.
        """
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"step": step, "epoch": epoch, "values": plain}, allow_nan=False) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if self.strict:
                raise
            logger.error(
                "could not write to %s (%s); the values of step %d are in the log only.", self.path, error, step
            )
