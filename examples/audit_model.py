"""You must publish an unlearned model and say what was forgotten. Audit it against a model that never saw the data.

    python examples/audit_model.py --candidate out --reference me/retrained --original me/model --twin me/retrained-again \\
        --forget forget.jsonl --retain retain.jsonl --output-dir audit
    python examples/audit_model.py --smoke
"""

import argparse
import tempfile

from hf_unlearn import AuditReport, audit
from hf_unlearn.data import load_pocket


def main() -> AuditReport:
    parser = argparse.ArgumentParser(description=__doc__)
    for role in ("candidate", "reference", "original", "twin"):
        parser.add_argument(f"--{role}", help="path or Hub id")
    for split in ("forget", "retain", "holdout"):
        parser.add_argument(f"--{split}", help="file, or Hub id with :configuration")
    parser.add_argument("--output-dir", default="audit")
    parser.add_argument("--smoke", action="store_true", help="run on the embedded benchmark, in seconds")
    arguments = parser.parse_args()
    roles = {role: getattr(arguments, role) for role in ("reference", "original", "twin")}
    splits = {split: getattr(arguments, split) for split in ("forget", "retain", "holdout")}
    candidate, output_dir, tokenizer, max_examples = arguments.candidate, arguments.output_dir, None, 400
    if arguments.smoke:
        pocket = load_pocket("nano")
        roles = {role: getattr(pocket, role)() for role in roles}
        splits = {split: getattr(pocket, split) for split in splits}
        # The original stands in for a candidate, so that the audit must find everything still there: relative = 1.
        candidate, tokenizer, max_examples = pocket.original(), pocket.tokenizer, 8
        output_dir = tempfile.mkdtemp()

    report = audit(
        candidate, **roles, **splits, processing_class=tokenizer, output_dir=output_dir, max_examples=max_examples
    )
    for name, result in report.metrics.items():
        print(f"{name:20s} {result.value:8.3f}  interval {result.confidence_interval}  relative {result.relative}")
    for note in report.notes:
        print("note:", note)
    print(f"report and figure in {output_dir}")
    return report


if __name__ == "__main__":
    main()
