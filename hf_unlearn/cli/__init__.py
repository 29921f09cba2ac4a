"""The command line: parses, calls, prints. Everything it does can be done with the public functions.

What needs torch is imported inside the commands, so that `--help` and `--version` answer at once.
"""

import sys

from hf_unlearn.cli._app import app as app
from hf_unlearn.cli._audit import audit
from hf_unlearn.cli._benchmarks import benchmarks
from hf_unlearn.cli._demo import demo
from hf_unlearn.cli._hub import compare, publish, push_metrics, verify
from hf_unlearn.cli._interchange import export_eval, import_eval
from hf_unlearn.cli._metrics import metrics
from hf_unlearn.cli._tune import tune
from hf_unlearn.cli._unlearn import unlearn


for command in (
    demo,
    unlearn,
    tune,
    audit,
    metrics,
    benchmarks,
    publish,
    verify,
    compare,
    push_metrics,
    import_eval,
    export_eval,
):
    app.command()(command)


def main() -> None:
    """The `hf-unlearn` command."""
    try:
        app()
    finally:
        if "hf_unlearn.inference" in sys.modules:  # else no process group was formed
            from hf_unlearn.inference import leave_processes

            leave_processes()
