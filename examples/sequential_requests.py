"""Three forget requests, one after the other, on one model: an adapter each, a ledger, and an audit of every request after each.

python examples/sequential_requests.py              # pocket's small model, about two minutes on two cores
python examples/sequential_requests.py --smoke
"""

import argparse
from pathlib import Path

from peft import LoraConfig
from rich.console import Console
from rich.table import Table

from hf_unlearn import RequestLedger, audit
from hf_unlearn.data import load_pocket


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--output-dir", type=Path, default=Path("sequential-requests"))
parser.add_argument("--smoke", action="store_true")
arguments = parser.parse_args()

pocket = load_pocket("nano" if arguments.smoke else "small", progress=False)
people = sorted(set(pocket.forget["person_id"]))
requests = {
    f"request-{number + 1}": pocket.forget.filter(lambda row, mine=people[number::3]: row["person_id"] in mine)
    for number in range(3)
}
ledger = RequestLedger(arguments.output_dir / "requests", pocket.original())
table = Table(
    title="Probability of the answers of each request (reference: never trained on any)", title_justify="left"
)
for column in ("after", *requests, "retain", "FADE relative"):
    table.add_column(column, justify="left" if column == "after" else "right")
done: list[str] = []
for name, rows in requests.items():
    if name not in {request.name for request in ledger.requests}:
        ledger.carry_out(
            name, forget=rows, retain=pocket.retain, keep_forgotten=[requests[earlier] for earlier in done],
            objective="simnpo", retain_term="kl", processing_class=pocket.tokenizer, learning_rate=1e-3, num_train_epochs=5,
            per_device_train_batch_size=4, peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        )  # fmt: skip
    done.append(name)
    model, cells = ledger.model(), []
    for other, their_rows in requests.items():
        report = audit(
            model, reference=pocket.reference(), original=pocket.original(), twin=pocket.twin(), forget=their_rows,
            retain=pocket.retain, processing_class=pocket.tokenizer, num_samples=4, max_examples=48, progress=False,
        )  # fmt: skip
        found = report.metrics["probability/forget"]
        cells.append(f"{found.value:.2f} ({found.others['reference']:.2f})")
        if other == name:
            place, kept = report.metrics["fade"].relative, report.metrics["probability/retain"].value
            ledger.record(
                name, {"fade_relative": float("nan") if place is None else place, "retain_probability": kept}
            )
    table.add_row(name, *cells, f"{kept:.2f}", "–" if place is None else f"{place:.2f}")
Console(width=110).print(table)
