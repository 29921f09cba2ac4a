"""`python -m hf_unlearn.modules [FOLDER]`: write `metrics/` anew from the specs."""

import sys
from pathlib import Path

from hf_unlearn.audit import metric_path
from hf_unlearn.modules import MODULES, module_files


def write(root: Path) -> None:
    """Every module's folder."""
    for name, module in MODULES.items():
        for file, text in module_files(module).items():
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(metric_path("fade")).parent)
