"""Greedy answers as evidence, and the metrics of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from made_rows import generated
from small_audits import arguments
from toys import tiny_llama

from hf_unlearn.audit import METRICS, Rows, audit
from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit.domains import _generation_reading
from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.audit.metrics._generations import rouge_l_recall_per_example
from hf_unlearn.data import Pocket, load_pocket, prompt_token_ids
from hf_unlearn.functional import Bootstrap, rouge_l
from hf_unlearn.inference import _rounds, greedy_tables, open_view


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was generated, and by whom."""
    found: list[str] = []
    real = _generation_reading.greedy_tables
    monkeypatch.setattr(
        _generation_reading, "greedy_tables", lambda *a, label, **o: found.append(label) or real(*a, label=label, **o)
    )
    return found


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


def test_an_audit_of_pocket(pocket: Pocket) -> None:
    """The original knows the forget answers by heart, the reference does not, and both know what is to stay."""
    report = audit(
        pocket.original(),
        reference=pocket.reference(),
        original=pocket.original(),
        processing_class=pocket.tokenizer,
        forget=pocket.forget_request,
        retain=pocket.retain,
        metrics="rouge_l",
        max_examples=24,
        progress=False,
    )
    forget, retain = report.metrics["rouge_l/forget"], report.metrics["rouge_l/retain"]
    assert forget.value == forget.start > forget.others["reference"] + 0.3
    assert retain.value > 0.9 and retain.others["reference"] > 0.9
    assert forget.details["truncated"] == forget.details["empty"] == 0 and forget.details["rouge_1"] >= forget.value
    assert report.provenance.readings["generations"] == 1


def test_kept_answers_are_not_generated_again(tmp_path: Path, labels: list[str]) -> None:
    given = arguments(metrics=["rouge_l"])
    first = audit(**given, output_dir=tmp_path)
    assert len(labels) == 4 * 3
    labels.clear()
    again = audit(**{**given, "batch_size": 2}, output_dir=tmp_path)
    assert not labels and again.metrics == first.metrics
    longer = audit(**{**given, "max_new_tokens": 6}, output_dir=tmp_path)
    assert len(labels) == 4 * 3 and longer.metrics != first.metrics
    other = arguments(metrics=["rouge_l"])["processing_class"]
    other.add_special_tokens({"additional_special_tokens": ["w7"]})
    labels.clear()
    audit(**{**given, "processing_class": other}, output_dir=tmp_path)
    assert len(labels) == 4 * 3, "another tokenizer, another text"


def value(rows: Any, name: str = "rouge_l", **settings: Any) -> float:
    return METRICS[name].from_settings(settings)(rows, Bootstrap()).value


def test_rouge_l_is_the_mean_of_recalls_over_clusters() -> None:
    """4 of 4, 1 of 2 and 0 of 1 words: mean 0.5; the first two are of one person."""
    rows = generated(
        ["the cat sat down", "in Rome", "Oslo"], ["The cat sat down!", "born in Paris", ""], clusters=[0, 0, 1]
    )
    estimate = METRICS["rouge_l"]()(rows, Bootstrap())
    assert estimate.value == 0.5 and len(estimate.influence) == 2
    assert METRICS["rouge_l"]().details(rows, Bootstrap()) == {"rouge_1": 0.5, "truncated": 0.0, "empty": 1 / 3}


def test_true_answers_without_words_are_left_out_and_said() -> None:
    rows = generated(["…", "Oslo"], ["…", "Oslo"])
    metric = METRICS["rouge_l"]()
    assert value(rows) == 1.0 and metric.count(rows) == 1
    assert metric.notes(rows) == [
        "ROUGE-L recall of the greedy answer: 1 of 2 forget examples have no value: they lack a word in the true answer."
    ]
    assert value(generated(["…", "Oslo"], ["…", "Oslo"], compatible=True)) == 0.5
    with pytest.raises(Undefined, match="no example has a word in the true answer"):
        value(generated(["…", ""], ["a", "b"]))


def test_answers_in_other_scripts_do_not_become_nothing() -> None:
    truths = ["Она родилась в Киеве.", "她出生在北京"]
    assert value(generated(truths, truths)) == 1.0
    assert value(generated(truths, truths, compatible=True)) == 0.0


def test_empty_identical_and_special_answers() -> None:
    truths = ["a b", "a c", "d e"]
    assert value(generated(truths, ["", "", ""])) == 0.0
    assert value(generated(truths, ["a b", "a b", "a b"])) == 0.5
    assert value(generated(truths, [" \n", "\u200b", "…"])) == 0.0


def test_recall_per_example_is_there_for_others() -> None:
    rows = generated(["a b", "", "c"], ["a", "x", "c"])
    assert rouge_l_recall_per_example(rows).tolist()[::2] == [0.5, 1.0]
    assert np.isnan(rouge_l_recall_per_example(rows)[1])


def test_without_text_there_is_no_value() -> None:
    rows = generated(["a"], ["a"])
    place = next(iter(rows.evidence.tables))
    rows.evidence.tables[place] = rows.evidence.tables[place].drop_columns(["text"])
    with pytest.raises(Undefined, match="has no 'text'"):
        value(rows)
    rows.evidence.tables.clear()
    with pytest.raises(Undefined, match="there is no reading 'generations'"):
        value(rows)


def test_long_answers() -> None:
    generator = np.random.default_rng(0)
    long = " ".join(f"w{number}" for number in generator.integers(0, 99, 30_000))
    assert len(long) > 80_000
    assert value(generated([long, long], [long, ""])) == 0.5


class Parrot:
    """Another generator: says the prompt again."""

    generator_name = "parrot"

    def __call__(self, view, prompts, *, items, max_new_tokens, stop_token_ids, label):
        said = [prompts[item][:max_new_tokens] for item in items]
        tokens = pa.array(said, pa.list_(pa.int32()))
        yield pa.table({"item": pa.array(items, pa.int64()), "tokens": tokens, "truncated": [True] * len(items)})


def test_another_generator_has_evidence_of_its_own(pocket: Pocket) -> None:
    labels = [{"labels": [-100, 8, 9]}, {"labels": [-100, 9]}]
    split = Split("forget", Dataset.from_list([{}] * 2), 2, labels, ((5, 6), (7,)), answer_texts=("two", "one"))
    subject = SimpleNamespace(model=pocket.original(), view=None, fingerprint="x", key="candidate")
    decoder = _generation_reading.Decoder(pocket.tokenizer)
    parrot, own = (
        _generation_reading.generation_task(subject, split, generator, decoder, max_new_tokens=1, stops=(2,))
        for generator in (Parrot(), _generation_reading.OwnGenerator(2, False))
    )
    assert parrot.key != own.key and parrot.cost == own.cost == 3 + 2
    table = pa.concat_tables(list(parrot.compute([0, 1])))
    assert table["tokens"].to_pylist() == [[5], [7]]
    assert table["text"].to_pylist() == [pocket.tokenizer.decode([5]), pocket.tokenizer.decode([7])]
    assert table["truth"].to_pylist() == [pocket.tokenizer.decode([8]), "one"], "cut where answers are, else as given"


def test_what_is_left_after_a_kill_is_read_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that are kept are not read again, and the rest of them is what it would have been, the original's numbers included."""
    monkeypatch.setattr(_rounds, "ROUND", 30)
    prompts = tuple((1, *range(3, 4 + length)) for length in (1, 5, 2, 7, 3, 3, 9, 4))
    split = Split("forget", Dataset.from_list([{}] * 8), 8, [{"labels": [4]}] * 8, prompts)
    subject, original = (
        SimpleNamespace(model=model, view=open_view(model), fingerprint=str(seed), key="candidate")
        for seed, model in enumerate((tiny_llama(0), tiny_llama(1)))
    )
    task = _generation_reading.generation_task(
        subject,
        split,
        _generation_reading.OwnGenerator(3, False),
        _generation_reading.Decoder(None),
        max_new_tokens=6,
        stops=(2,),
        judge=_generation_reading.Judge(original, 3, False),
    )
    whole = list(task.compute(range(8)))
    assert len(whole) > 2 and whole[0].column_names == ["item", "tokens", "truncated", "original_log_probs"]
    left = [item for table in whole[1:] for item in table["item"].to_pylist()]
    rest = list(task.compute(left))
    assert pa.concat_tables(rest).sort_by("item") == pa.concat_tables(whole[1:]).sort_by("item")


def test_rouge_is_what_functional_says(pocket: Pocket) -> None:
    truth, said = "Skagway was the place", "the place was Skagway"
    assert value(generated([truth], [said])) == rouge_l(truth, said).recall


def test_verbatim_memorization_balances_recall_and_precision() -> None:
    """Recall 2/4 and precision 2/2: 2/3; equal texts: 1."""
    truths = ["the cat sat down", "in Rome"]
    assert value(generated(truths, ["the cat", "in Rome"]), "verbatim_memorization") == pytest.approx((2 / 3 + 1) / 2)
    assert value(generated(truths, truths), "verbatim_memorization") == 1.0
    assert value(generated(truths, ["", ""]), "verbatim_memorization") == 0.0


def test_verbatim_memorization_compares_with_what_could_be_said() -> None:
    rows = generated(["one two three four"], ["one two"], truncated=[True])
    place, table = next(iter(rows.evidence.tables.items()))
    rows.evidence.tables[place] = table.drop_columns(["truth"]).append_column("truth", pa.array(["one two"]))
    assert value(rows, "verbatim_memorization") == 1.0
    assert value(rows, "rouge_l") == 0.5


def test_knowledge_memorization_reads_the_answer_alone() -> None:
    said = [" Oslo\n\nQuestion: x", "Oslo\nQuestion: Oslo", "Oslo Question: Oslo", "Oslo or Rome"]
    metric = METRICS["knowledge_memorization"]()
    assert metric.values(generated(["Oslo"] * 4, said)).tolist() == pytest.approx([1, 1, 1, 0.5])


def test_compatible_memorization_is_stemmed() -> None:
    """As open-unlearning; the benchmark's own code does not stem."""
    for name in ("verbatim_memorization", "knowledge_memorization"):
        assert value(generated(["running cats"], ["runs cat"]), name) == 0.0
        assert value(generated(["running cats"], ["runs cat"], compatible=True), name) == 1.0


def test_repetition_is_of_tokens_without_the_one_that_ends() -> None:
    """[5]·7 and an end: 4 runs, 1 different: 3/4. Cut: the last token counts. Three tokens have no run of four."""
    tokens, cut = [[5] * 7 + [2], [5, 6, 7, 8, 9], [5, 6, 7, 2]], [False, True, False]
    rows = generated(["a"] * 3, ["a"] * 3, tokens=tokens, truncated=cut)
    metric = METRICS["repetition"]()
    assert value(rows, "repetition") == 3 / 8 and metric.count(rows) == 2
    assert "1 of 3 forget examples have no value: they lack four generated tokens" in metric.notes(rows)[0]
    nothing = generated(["a"] * 3, [""] * 3, tokens=[[2]] * 3)
    with pytest.raises(Undefined, match="no example has four generated tokens"):
        value(nothing, "repetition")
    assert metric.details(nothing, Bootstrap())["empty"] == 1.0


def test_variety_of_answers() -> None:
    same = generated(["a"] * 4, ["a"] * 4, tokens=[[5, 6, 7, 2]] * 4)
    assert value(same, "distinct_n") == 2 / 8
    assert METRICS["distinct_n"]().details(same, Bootstrap()) == {"distinct_1": 3 / 12, "distinct_3": 1 / 4}
    with pytest.raises(Undefined, match="no answer has two tokens"):
        value(generated(["a"] * 4, ["a"] * 4, tokens=[[5, 2]] * 4), "distinct_n")


def judged_rows(log_probs: list[list[float]]) -> Rows:
    return generated(["a"] * len(log_probs), ["a"] * len(log_probs), log_probs=log_probs)


def test_perplexity_is_a_ratio_of_sums() -> None:
    """ln 2 + 3 ln 4 over four tokens: 2^(7/4). A mean of perplexities would be 3."""
    halves, quarters = [np.log(1 / 2)], [np.log(1 / 4)] * 3
    assert value(judged_rows([halves, quarters]), "generation_perplexity") == pytest.approx(2**1.75)
    with pytest.raises(Undefined, match="no probability at all"):
        value(judged_rows([[-np.inf], [0.0]]), "generation_perplexity")
    with pytest.raises(Undefined, match="no 'original_log_probs'"):
        value(generated(["a"], ["a"]), "generation_perplexity")


def test_the_standard_error_of_perplexity_is_that_of_resampling() -> None:
    """Against 4,000 resamples of 60 answers of unequal length; within a tenth."""
    generator = np.random.default_rng(1)
    rows = [(-generator.exponential(1.5, size)).tolist() for size in generator.integers(1, 20, 60)]
    estimate = METRICS["generation_perplexity"]()(judged_rows(rows), Bootstrap())
    nats, tokens = np.array([-sum(row) for row in rows]), np.array([len(row) for row in rows])
    drawn = generator.integers(0, 60, (4000, 60))
    spread = np.exp(nats[drawn].sum(1) / tokens[drawn].sum(1)).std()
    assert estimate.standard_error == pytest.approx(spread, rel=0.1)


def test_the_original_judges_answers_as_it_reads_them(pocket: Pocket) -> None:
    """Its own answers are likelier to it than those of a model with other weights; both as one pass over each says."""
    noisy, original, forget = pocket.original(), pocket.original(), pocket.forget_request.select(range(12))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in noisy.parameters():
            weights += 1.5 * weights.std() * torch.randn(weights.shape, generator=generator)
    given = {
        "reference": pocket.reference(),
        "processing_class": pocket.tokenizer,
        "forget": forget,
        "metrics": ["generation_perplexity", "repetition", "distinct_n"],
        "max_new_tokens": 16,
        "progress": False,
    }
    report = audit(noisy, original=original, **given)
    found = report.metrics["generation_perplexity/forget"]
    assert 1 <= found.start < 1.5 < found.value
    prompts = prompt_token_ids(forget, pocket.tokenizer)
    tables = list(greedy_tables(noisy, prompts, max_new_tokens=16, progress=False))
    answers = pa.concat_tables(tables).sort_by("item")["tokens"].to_pylist()
    nats = []
    for prompt, tokens in zip(prompts, answers, strict=True):
        with torch.no_grad():
            log_probs = original(torch.tensor([[*prompt, *tokens]])).logits[0].double().log_softmax(-1)
        nats += [-float(log_probs[len(prompt) - 1 + at, token]) for at, token in enumerate(tokens)]
    assert found.value == pytest.approx(np.exp(np.mean(nats)), rel=1e-5)
    without = audit(noisy, **given)
    assert "generation_perplexity/forget" not in without.metrics
    assert {"repetition/forget", "distinct_n/forget"} <= set(without.metrics)
