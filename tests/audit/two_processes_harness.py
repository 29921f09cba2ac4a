"""Run under torchrun by test_harness.py: every process writes the report that it got, and how many requests it answered."""

import json
import sys
from pathlib import Path

from accelerate import PartialState
from launch import leave

from hf_unlearn.audit import audit
from hf_unlearn.data import load_pocket


def main(folder: Path, tasks: str, names: list[str], state: PartialState) -> None:
    from lm_eval.models.huggingface import HFLM

    asked, real = [0], HFLM._loglikelihood_tokens

    def counted(self, requests, *args, **options):
        asked[0] += len(requests)
        return real(self, requests, *args, **options)

    HFLM._loglikelihood_tokens = counted
    pocket = load_pocket("nano")
    report = audit(
        pocket.stranger(),
        reference=pocket.reference(),
        original=pocket.original(),
        processing_class=pocket.tokenizer,
        forget=pocket.forget_request,
        metrics="probability",
        harness_tasks=names,
        harness_include_path=tasks,
        progress=True,
    )
    (folder / f"{state.process_index}.json").write_text(report.to_json())
    (folder / f"asked-{state.process_index}.json").write_text(json.dumps(asked[0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:], PartialState(cpu=True))
    leave()
