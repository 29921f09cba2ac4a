"""Tasks of the lm-evaluation-harness that need no network: YAML files and rows beside them, about the people of pocket."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_unlearn.data import Pocket


CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {rows}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{gold}}}}"
target_delimiter: " "
num_fewshot: 0
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
  - {{metric: mcc}}
metadata: {{version: 1.0}}
"""
GENERATE = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {rows}}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\nAnswer:"
doc_to_target: "{{{{answer}}}}"
num_fewshot: {shots}
fewshot_split: test
generation_kwargs: {{until: ["\\n"], max_gen_toks: 12, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
filter_list:
  - {{name: whole, filter: [{{function: remove_whitespace}}, {{function: take_first}}]}}
  - {{name: first-word, filter: [{{function: regex, regex_pattern: "(\\\\w+)"}}, {{function: take_first}}]}}
metadata: {{version: 1.0}}
"""
ROLLING = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {rows}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
num_fewshot: 0
metric_list:
  - {{metric: word_perplexity}}
  - {{metric: bits_per_byte}}
metadata: {{version: 1.0}}
"""
GROUP = """
group: {name}
task: [{members}]
aggregate_metric_list:
  - {{metric: acc, weight_by_size: {by_size}, filter_list: none}}
metadata: {{version: 1.0}}
"""


def choice_rows(pocket: Pocket, count: int, start: int = 0) -> list[dict[str, Any]]:
    """Questions about forget people, with the answers to other questions as wrong ones; the last row occurs twice."""
    rows = pocket.forget_request.to_list()
    found = []
    for at in range(start, start + count):
        row = rows[at % len(rows)]
        others = [rows[(at + step) % len(rows)]["answer"] for step in (1, 2, 3)]
        others.insert(at % 4, row["answer"])
        found.append({"question": row["question"], "choices": others, "gold": at % 4})
    return [*found, found[-1]]


def write_task(folder: Path, name: str, template: str, rows: Sequence[dict[str, Any]], shots: int = 0) -> None:
    """A task and its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.jsonl"
    place.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(template.format(name=name, rows=place, shots=shots))


def write_group(folder: Path, name: str, members: Sequence[str], by_size: bool) -> None:
    """A group of tasks that are written too."""
    text = GROUP.format(name=name, members=", ".join(members), by_size=str(by_size).lower())
    (folder / f"{name}.yaml").write_text(text)


def write_tasks(folder: Path, pocket: Pocket) -> Path:
    """All kinds of tasks, and two groups."""
    write_task(folder, "pocket_choice", CHOICE, choice_rows(pocket, 11))
    write_task(folder, "pocket_more", CHOICE, choice_rows(pocket, 4, start=11))
    people = pocket.forget_request.to_list()[:9]
    said = [{key: row[key] for key in ("question", "answer")} for row in people]
    write_task(folder, "pocket_said", GENERATE, said)
    write_task(folder, "pocket_shots", GENERATE, said, shots=2)
    texts = [{"text": f"{row['question']} {row['answer']}"} for row in people]
    write_task(folder, "pocket_texts", ROLLING, [*texts, {"text": "Ünïcode 句 🙂"}])
    write_group(folder, "pocket_by_size", ["pocket_choice", "pocket_more"], by_size=True)
    write_group(folder, "pocket_even", ["pocket_choice", "pocket_more"], by_size=False)
    write_task(folder, "pocket_third", CHOICE, choice_rows(pocket, 9, start=3)[:-1])
    write_task(folder, "pocket_fourth", CHOICE, choice_rows(pocket, 5, start=14)[:-1])
    write_group(folder, "pocket_plain", ["pocket_third", "pocket_fourth"], by_size=False)
    write_group(folder, "pocket_top", ["pocket_by_size", "pocket_plain"], by_size=True)
    return folder
