"""Run under torchrun by test_counterfactual_audit.py: every process writes the report that it got."""

import sys
from pathlib import Path

from accelerate import PartialState
from counterfactual_audits import arguments
from launch import leave

from hf_unlearn.audit import audit


def main(folder: Path, state: PartialState) -> None:
    report = audit(**arguments(batch_size=3), output_dir=folder / "audit")
    (folder / f"{state.process_index}.json").write_text(report.to_json())


if __name__ == "__main__":
    main(Path(sys.argv[1]), PartialState(cpu=True))
    leave()
