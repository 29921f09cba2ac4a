"""The TOFU suite: forward tokens and seconds, beside the field's way, metric by metric, and beside the floor.

    python tests/benchmarks/suite.py                     # some minutes on one core
    python tests/benchmarks/suite.py --rows 400          # whole sets
    python tests/benchmarks/suite.py --help

Both sides measure two models (a candidate that knows forget10 and a reference that does not) on forget, retain, real authors and world facts of
TOFU, in this process, in turn, with one thread, and must agree to 1e-5. Tokens are counted at the transformer's body, padding included. The floor
is each distinct question, each distinct answer to it and each generated token that does not belong to the true answer's beginning, once per
model, without padding. Seconds of the processor say more than those of the clock where others work on the machine too.
"""

import argparse
import functools
import json
import logging
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import harmonic_mean, median

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from metric_by_metric import FieldSet, MetricByMetric

from hf_unlearn import audit
from hf_unlearn.audit import AuditReport, AuditSet
from hf_unlearn.data import QUESTION_TEMPLATE
from hf_unlearn.functional import rouge_l


FILES = {
    "forget": "forget10_perturbed",
    "retain": "retain_perturbed",
    "real_authors": "real_authors_perturbed",
    "world_facts": "world_facts_perturbed",
}
DEFAULT = (
    *("probability", "truth_ratio", "rouge_l", "exact_memorization", "extraction_strength"),
    *("forget_quality", "model_utility"),
)
MEMBERSHIP = tuple(f"membership_{name}" for name in ("loss", "zlib", "min_k", "min_k_plus_plus", "reference"))
SUITES = {"default": DEFAULT, "with membership": DEFAULT + MEMBERSHIP}
STOP = "</s>"
PAD, END = 0, 1
TRAINED = 16
"""Rows of a training step."""


@dataclass(frozen=True)
class World:
    """Models, tokenizer and rows of one comparison."""

    models: Mapping[str, LlamaForCausalLM]
    tokenizer: PreTrainedTokenizerFast
    rows: Mapping[str, list[dict]]


def load_rows(folder: Path, count: int) -> dict[str, list[dict]]:
    """The first rows of each set; the holdout is of the end of the retain rows."""
    found = {}
    for name, file in {**FILES, "holdout": "retain90"}.items():
        with open(folder / f"{file}.json", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
        found[name] = rows[-count:] if name == "holdout" else rows[:count]
    return found


def make_tokenizer(folder: Path, size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE on TOFU's own text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<pad>", STOP], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train(
        [str(folder / f"{name}.json") for name in ("forget10_perturbed", "retain_perturbed", "retain90")], trainer
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token=STOP)


def make_model(vocabulary: int, layers: int, width: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=width // 32, num_key_value_heads=width // 32, max_position_embeddings=512,
        bos_token_id=None, eos_token_id=END, pad_token_id=PAD, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def tokenize(tokenizer: PreTrainedTokenizerFast, rows: Sequence[dict]) -> FieldSet:
    """Questions and answers as ids, every kind of answer with the end."""

    def pairs(row: dict, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        prompt = tokenizer(QUESTION_TEMPLATE.format(question=row["question"]), add_special_tokens=False).input_ids
        return [(prompt, [*tokenizer(f" {text}", add_special_tokens=False).input_ids, END]) for text in texts]

    answers = {"answer": [pairs(row, [row["answer"]]) for row in rows]}
    if "perturbed_answer" in rows[0]:
        answers["wrong"] = [pairs(row, row["perturbed_answer"]) for row in rows]
    if "paraphrased_answer" in rows[0]:
        answers["paraphrased"] = [pairs(row, [row["paraphrased_answer"]]) for row in rows]
    return FieldSet(answers, [row["answer"] for row in rows])


def train(model: LlamaForCausalLM, sets: Sequence[FieldSet], epochs: int) -> None:
    """On the true answers, from which the model learns to end what it says, and knows much of it in the end."""
    rows = [row for data in sets for row in data.true]
    generator, optimizer = np.random.default_rng(0), torch.optim.AdamW(model.parameters(), lr=3e-3)
    steps = epochs * -(-len(rows) // TRAINED)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    model.train()
    for _ in range(epochs):
        order = generator.permutation(len(rows))
        for start in range(0, len(rows), TRAINED):
            batch = [rows[at] for at in order[start : start + TRAINED]]
            longest = max(len(prompt) + len(answer) for prompt, answer in batch)
            ids, labels = torch.full((len(batch), longest), PAD), torch.full((len(batch), longest), -100)
            for number, (prompt, answer) in enumerate(batch):
                ids[number, : len(prompt + answer)] = torch.tensor(prompt + answer)
                labels[number, len(prompt) : len(prompt + answer)] = torch.tensor(answer)
            model(input_ids=ids, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
    model.eval()


def make_world(folder: Path, given: argparse.Namespace) -> World:
    """A reference trained on all sets but forget, and a candidate that was trained on forget as well."""
    rows = load_rows(folder, given.rows)
    tokenizer = make_tokenizer(folder, given.vocabulary)
    tokens = {name: tokenize(tokenizer, rows[name]) for name in FILES}
    reference = make_model(given.vocabulary, given.layers, given.width)
    train(reference, [tokens[name] for name in FILES if name != "forget"], given.epochs)
    candidate = make_model(given.vocabulary, given.layers, given.width)
    candidate.load_state_dict(reference.state_dict())
    train(candidate, list(tokens.values()), (given.epochs + 1) // 2)
    return World({"candidate": candidate, "reference": reference}, tokenizer, rows)


@contextmanager
def counting() -> Iterator[list[int]]:
    """Tokens that go through any transformer's body meanwhile, padding included, and in how many passes."""
    found, forward = [0, 0], LlamaModel.forward

    @functools.wraps(forward)  # what it takes decides whether prompts can be shared
    def counted(self: LlamaModel, *args: object, **named: object) -> object:
        given = named.get("input_ids", named.get("inputs_embeds", args[0] if args else None))
        found[0] += given.shape[0] * given.shape[1]
        found[1] += 1
        return forward(self, *args, **named)

    LlamaModel.forward = counted
    try:
        yield found
    finally:
        LlamaModel.forward = forward


@dataclass
class Cost:
    """Of some work: tokens through bodies, passes, seconds on the clock and of the processor."""

    tokens: int = 0
    passes: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(Cost)))


@contextmanager
def clocked(cost: Cost) -> Iterator[None]:
    """Adds what happens inside."""
    start = time.perf_counter(), time.process_time()
    with counting() as (counted):
        yield
    cost.tokens, cost.passes = cost.tokens + counted[0], cost.passes + counted[1]
    cost.wall += time.perf_counter() - start[0]
    cost.cpu += time.process_time() - start[1]


def ours(world: World, metrics: Sequence[str], max_new_tokens: int, folder: Path) -> tuple[AuditReport, Cost]:
    """One audit of both models on all sets, evidence, report and figures included."""
    data = {name: Dataset.from_list(rows) for name, rows in world.rows.items()}
    cost = Cost()
    with clocked(cost):
        report = audit(
            world.models["candidate"],
            reference=world.models["reference"],
            forget=data["forget"],
            retain=data["retain"],
            # Only what tells members from others is measured with it.
            holdout=AuditSet(data["holdout"], "holdout", MEMBERSHIP) if set(metrics) & set(MEMBERSHIP) else None,
            sets={name: AuditSet(data[name]) for name in ("real_authors", "world_facts")},
            processing_class=world.tokenizer,
            metrics=list(metrics),
            max_examples=len(data["forget"]),
            max_new_tokens=max_new_tokens,
            output_dir=folder,
            progress=False,
        )
    return report, cost


Values = dict[str, dict[str, float]]
"""By key of a result and role."""


def theirs(world: World, max_new_tokens: int) -> tuple[Values, dict[str, Cost], int]:
    """Every metric of both models on all sets, each by itself; what it cost by suite; and how many tokens were generated."""
    cost = {name: Cost() for name in SUITES}
    values: Values = {}
    ratios: dict[str, np.ndarray] = {}
    models = {role: field_side(model, world, max_new_tokens) for role, model in world.models.items()}
    for role, model in models.items():
        with clocked(cost["default"]):
            sets = {name: tokenize(world.tokenizer, world.rows[name]) for name in FILES}
            for name, data in sets.items():
                found, of_examples = metric_by_metric(model, data)
                for metric, value in found.items():
                    values.setdefault(f"{metric}/{name}", {})[role] = value
                ratios = ratios if name != "forget" else {**ratios, role: of_examples}
        with clocked(cost["with membership"]):
            holdout = tokenize(world.tokenizer, world.rows["holdout"])
            other = None if role == "reference" else models["reference"]
            for metric, value in membership(model, sets["forget"], holdout, other).items():
                values.setdefault(f"{metric}/forget", {})[role] = value
    values["forget_quality/forget"] = {"candidate": float(ks_2samp(ratios["candidate"], ratios["reference"]).pvalue)}
    cost["with membership"] += cost["default"]
    return values, cost, sum(model.generated for model in models.values())


def field_side(model: LlamaForCausalLM, world: World, max_new_tokens: int) -> MetricByMetric:
    return MetricByMetric(model, PAD, END, max_new_tokens, world.tokenizer.decode)


def metric_by_metric(model: MetricByMetric, data: FieldSet) -> tuple[dict[str, float], np.ndarray]:
    """All metrics of the default suite on one set, and the truth ratios of its examples."""
    answer = model.mean_log_probs(data, "answer")
    truth = model.mean_log_probs(data, "paraphrased") if "paraphrased" in data.answers else answer
    wrong = model.mean_log_probs(data, "wrong")
    ratios = np.exp(wrong.mean(1) - truth[:, 0])
    options = np.exp(np.concatenate([answer, wrong], 1))
    recalls = [rouge_l(*pair) for pair in zip(data.texts, model.generations(data), strict=True)]
    strength = []
    for correct in model.correct(data):
        missed = np.flatnonzero(~correct)
        strength.append(1 - (missed[-1] + 1) / len(correct) if len(missed) else 1.0)
    return {
        "probability": float(np.exp(answer).mean()),
        "normalized_probability": float((options[:, 0] / options.sum(1)).mean()),
        "truth_ratio": float(ratios.mean()),
        "true_better": float(np.maximum(0, 1 - ratios).mean()),
        "rouge_l": float(np.mean([recall.recall for recall in recalls if recall is not None])),
        "exact_memorization": float(np.mean([correct.mean() for correct in model.correct(data)])),
        "extraction_strength": float(np.mean(strength)),
    }, ratios


def membership(
    model: MetricByMetric, forget: FieldSet, holdout: FieldSet, reference: MetricByMetric | None
) -> dict[str, float]:
    """Areas under the curve of each attack."""

    def area(scores: Callable[[FieldSet], Sequence[float]]) -> float:
        found = [scores(data) for data in (forget, holdout)]
        return float(roc_auc_score([1] * len(found[0]) + [0] * len(found[1]), np.concatenate(found)))

    def lowest(tokens: np.ndarray) -> float:
        return float(np.sort(tokens)[: max(1, int(0.2 * len(tokens) + 1e-9))].mean())

    def per_byte(data: FieldSet) -> list[float]:
        sizes = [len(zlib.compress(text.encode())) for text in data.texts]
        return [own.sum() / size for own, size in zip(model.token_log_probs(data), sizes, strict=True)]

    def standardised(data: FieldSet) -> list[float]:
        moments = model.vocabulary_moments(data)
        pairs = zip(model.token_log_probs(data), moments, strict=True)
        return [lowest((own - mean) / np.maximum(std, 1e-3)) for own, (mean, std) in pairs]

    def loss(data: FieldSet) -> np.ndarray:
        return model.mean_log_probs(data, "answer")[:, 0]

    found = {
        "membership_loss": area(loss),
        "membership_zlib": area(per_byte),
        "membership_min_k": area(lambda data: [lowest(own) for own in model.token_log_probs(data)]),
        "membership_min_k_plus_plus": area(standardised),
    }
    if reference is not None:
        found["membership_reference"] = area(lambda data: loss(data) - reference.mean_log_probs(data, "answer")[:, 0])
    return found


def floor(world: World, sets: Sequence[str], generated: int) -> int:
    """Tokens that no evaluation can do without: each question, each answer to it, each token generated beside them; once per model."""
    total = 0
    for name in sets:
        kinds = tokenize(world.tokenizer, world.rows[name]).answers.values()
        distinct = {(tuple(prompt), tuple(answer)) for kind in kinds for row in kind for prompt, answer in row}
        total += sum(map(len, {prompt for prompt, _ in distinct})) + sum(len(answer) for _, answer in distinct)
    return len(world.models) * total + generated


def apart(report: AuditReport, values: Values) -> float:
    """How far the two sides' values differ at most, relative above 1.

    Raises:
        AssertionError: By more than 1e-5, or a value is missing.
    """
    gaps = {}
    for key, mine in report.metrics.items():
        found = values[key] if mine.name != "model_utility" else utilities(mine.details, values)
        for role, value in (("candidate", mine.value), *mine.others.items()):
            gaps[key, role] = abs(value - found[role]) / max(1.0, abs(found[role]))
    assert gaps and max(gaps.values()) <= 1e-5, {place: gap for place, gap in gaps.items() if gap > 1e-5}
    return max(gaps.values())


def utilities(components: Mapping[str, float], values: Values) -> dict[str, float]:
    """The harmonic mean of the components that the report names, by role."""
    names = [name for name in components if name != "components"]
    keys = [
        key
        for name in names
        for key in values
        if "true_better".join(name.split("truth_ratio")) == "_".join(key.split("/"))
    ]
    assert len(keys) == len(names) == components["components"], (names, keys)
    found = {role: [values[key][role] for key in keys] for role in ("candidate", "reference")}
    return {role: float(harmonic_mean(parts)) if min(parts) > 0 else 0.0 for role, parts in found.items()}


def run(world: World, given: argparse.Namespace) -> dict[str, dict[str, Cost | int | float]]:
    """Both sides once, checked: by suite, what ours and theirs cost, the floor, and how far values are apart."""
    with tempfile.TemporaryDirectory() as scratch:
        found = {}
        for name, metrics in SUITES.items():
            report, cost = ours(world, metrics, given.max_new_tokens, Path(scratch) / name)
            found[name] = {"report": report, "ours": cost}
        values, costs, generated = theirs(world, given.max_new_tokens)
        for name, side in found.items():
            sets = [*FILES, *(["holdout"] if name != "default" else [])]
            side |= {
                "theirs": costs[name],
                "floor": floor(world, sets, generated),
                "apart": apart(side.pop("report"), values),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=48, help="Of each set.")
    parser.add_argument("--repeats", type=int, default=2, help="Runs of each side, in turn.")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument(
        "--epochs", type=int, default=40, help="Of the reference's training; the candidate goes on for half as many."
    )
    parser.add_argument("--max-new-tokens", type=int, default=64, help="Of greedy answers.")
    shared = Path(os.environ.get("HF_UNLEARN_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    parser.add_argument("--data", type=Path, default=shared / "data" / "tofu", help="TOFU's files.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("hf_unlearn").setLevel(logging.ERROR)
    world = make_world(given.data, given)
    with tempfile.TemporaryDirectory() as scratch:  # imports, and what libraries do once
        ours(replace(world, rows={name: rows[:4] for name, rows in world.rows.items()}), DEFAULT, 4, Path(scratch))
    weights = sum(weight.numel() for weight in world.models["candidate"].parameters())
    print(
        f"{given.rows} rows of each set, models of {weights / 1e6:.1f} million weights, {given.repeats} runs of each side"
    )
    runs = [run(world, given) for _ in range(given.repeats)]
    for name in SUITES:
        show(name, [found[name] for found in runs])


def show(name: str, runs: Sequence[Mapping]) -> None:
    """Medians and ratios of one suite."""
    least = runs[0]["floor"]
    print(
        f"\n{name} suite; the floor is {least} tokens; values differ by at most {max(one['apart'] for one in runs):.1e}"
    )
    for side in ("ours", "theirs"):
        costs = [one[side] for one in runs]
        wall, cpu = (median(getattr(cost, clock) for cost in costs) for clock in ("wall", "cpu"))
        tokens, passes = costs[-1].tokens, costs[-1].passes
        print(
            f"{side}: {tokens} tokens ({tokens / least:.2f} times the floor), {passes} passes, {wall:.2f} s, {cpu:.2f} s of the processor"
        )
    wall, cpu, tokens = (
        median(getattr(one["theirs"], part) / getattr(one["ours"], part) for one in runs)
        for part in ("wall", "cpu", "tokens")
    )
    print(f"theirs / ours: tokens {tokens:.2f}, seconds {wall:.2f}, of the processor {cpu:.2f}")


if __name__ == "__main__":
    main()
