"""You have an audited model and must publish it: card section, report, figures and weights in one commit, which anyone can check.

python examples/publish.py --audit audit --weights out --repo-id me/model-unlearned --forgotten "records of 20 persons" --base-model me/model
python examples/publish.py --smoke     # the whole story, from unlearning to verification, against a Hub on this machine
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path


SMOKE = "--smoke" in sys.argv
if SMOKE:  # before the Hub's client is imported, or it does not see it
    os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": tempfile.mkdtemp()}

import torch  # noqa: E402

from hf_unlearn import audit, load_audit, unlearn  # noqa: E402
from hf_unlearn.data import load_pocket  # noqa: E402
from hf_unlearn.publishing import compare_audits, publish, verify  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audit", help="folder of the audit")
    parser.add_argument("--weights", help="folder of the audited model; without it only the audit is published")
    parser.add_argument("--repo-id", help="of the model on the Hub")
    parser.add_argument("--forgotten", help="what was forgotten, in your words")
    parser.add_argument("--base-model", help="Hub id of the model before unlearning")
    parser.add_argument("--smoke", action="store_true", help="run on the embedded benchmark and a Hub on this machine")
    arguments = parser.parse_args()
    if arguments.smoke:
        return smoke()
    options = {"weights": arguments.weights, "forgotten": arguments.forgotten, "base_model": arguments.base_model}
    print(publish(arguments.audit, arguments.repo_id, **options, dry_run=True).diff)
    if input("publish this? [y/N] ").lower() == "y":
        done = publish(arguments.audit, arguments.repo_id, **options)
        print(f"published: {done.url}\nkeep {done.folder / 'data_key.txt'} for those who may check the data")


def smoke() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from loopback_hub import loopback_hub

    pocket, home = load_pocket("nano"), Path(tempfile.mkdtemp())
    references = {"reference": pocket.reference(), "original": pocket.original(), "twin": pocket.twin()}
    sets = {"forget": pocket.forget, "retain": pocket.retain}
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(loopback_hub(home / "hub"))
        there = {"endpoint": hub.endpoint, "token": "hf_example"}

        for objective in ("npo", "simnpo"):
            result = unlearn(
                pocket.original(), **sets, objective=objective, processing_class=pocket.tokenizer, output_dir=home / objective,
                num_train_epochs=2, learning_rate=5e-4,
            )  # fmt: skip
            report = audit(
                str(result.output_dir), **references, **sets, processing_class=pocket.tokenizer, num_samples=2, max_examples=6,
                output_dir=home / f"{objective}-audit",
            )  # fmt: skip
            done = publish(
                report, f"me/{objective}", weights=result.output_dir, forgotten="six invented persons", base_model="me/original", **there,
            )  # fmt: skip
            print(f"published {done.url}: {len(done.files)} files in one commit")

        print("read back: FADE relative", load_audit("me/npo", **there).metrics["fade"].relative)
        key = home / "key.txt"
        key.write_text((done.folder / "data_key.txt").read_text())
        checks = verify("me/simnpo", **sets, **references, data_key=key, progress=False, **there)
        for outcome in ("reproduced", "not reproduced", "not checkable"):
            print(f"{outcome}: {', '.join(check.name for check in checks if check.outcome == outcome) or '-'}")
        for row in compare_audits(["me/npo", "me/simnpo"], **there)[:3]:
            print(row.name, {name: result and round(result.value, 3) for name, result in row.results.items()})

        # Somebody pushes other weights under the published audit.
        model = result.model
        with torch.no_grad():
            next(model.parameters()).add_(0.01)
        model.save_pretrained(home / "changed")
        weights = (home / "changed" / "model.safetensors").read_bytes()
        hub.repository("me/simnpo").commit({"model.safetensors": weights}, "better weights")
        flagged = next(check for check in verify("me/simnpo", **there) if check.name == "weights")
        print(f"after a later push: weights {flagged.outcome} ({flagged.reason})")


if __name__ == "__main__":
    main()
