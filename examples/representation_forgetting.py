"""Gone from the hidden states, or only from the output? What the papers say, looked for on the pocket benchmark, with several seeds.

python examples/representation_forgetting.py                 # two seeds; about two minutes on two cores
python examples/representation_forgetting.py --smoke         # the same on the smallest models, for the tests
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from hf_unlearn import NPO, AuditReport, GradientAscent, UnlearningCallback, audit
from hf_unlearn.data import AnswerCollator, Pocket, load_pocket, pad_token_id, tokenize_examples


OBJECTIVES = {"NPO": (NPO(beta=1.0), 3), "gradient ascent": (GradientAscent(), 4)}


def unlearned(pocket: Pocket, objective: NPO | GradientAscent, epochs: float):
    """The pocket's original model after unlearning beside its Trainer's own loss."""
    model = pocket.original()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder, num_train_epochs=epochs, learning_rate=1e-3, per_device_train_batch_size=16,
                save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False, logging_strategy="no",
            ),
            train_dataset=tokenize_examples(pocket.retain, pocket.tokenizer),
            data_collator=AnswerCollator(pad_token_id(pocket.tokenizer)),
            processing_class=pocket.tokenizer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)  # the table says what there is to say
        trainer.add_callback(UnlearningCallback(trainer, forget_dataset=pocket.forget_request, objective=objective))
        trainer.train()
    return model.eval()


def audits(size: str, seed: int, output_dir: Path) -> dict[str, AuditReport]:
    """One report per objective."""
    pocket = load_pocket(size, seed=seed, progress=False)
    return {
        name: audit(
            unlearned(pocket, objective, epochs),
            reference=pocket.reference(),
            original=pocket.original(),
            twin=pocket.twin(),
            processing_class=pocket.tokenizer,
            forget=pocket.forget,
            retain=pocket.retain,
            holdout=pocket.holdout,
            max_examples=64,
            num_samples=4,
            progress=False,
            output_dir=output_dir / f"{name.replace(' ', '-')}-{seed}",
        )
        for name, (objective, epochs) in OBJECTIVES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output-dir", type=Path, default=Path("representation-forgetting"))
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    table = Table(title="Forget set of the pocket benchmark; hidden states: mean over layers", title_justify="left")
    for column in (
        "objective", "seed", "forget p", "retrained", "FADE\nrelative", "residual\nratio", "twin", "on\nretain",
        "concen-\ntration", "diffuse", "probe\nAUC", "retrained",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "objective" else "right", no_wrap=True)
    for seed in arguments.seeds:
        for name, report in audits("nano" if arguments.smoke else "small", seed, arguments.output_dir).items():
            found = report.metrics
            residue, concentration = found["residual_ratio"], found["residual_concentration"]
            probe = found.get("probe_auc")  # it takes five people in the holdout set
            numbers = (
                found["probability/forget"].value, found["probability/forget"].others["reference"],
                found["fade"].relative, residue.value, residue.floor, found["residual_ratio/retain"].value,
                concentration.value, concentration.details["diffuse"], *((None, None) if probe is None else (probe.value, probe.ideal)),
            )  # fmt: skip
            table.add_row(name, str(seed), *("–" if number is None else f"{number:.2f}" for number in numbers))
    Console(width=144).print(table)


if __name__ == "__main__":
    main()
