"""Plain documents in the audit: chunks are the examples, texts the clusters."""

from collections import defaultdict

import numpy as np
import pytest
from datasets import Dataset

from hf_unlearn import audit
from hf_unlearn.audit.domains._text_splits import load_splits
from hf_unlearn.data import CHUNK_TOKENS, Pocket, load_pocket


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


def documents(rows: Dataset) -> Dataset:
    """What is known of one subject, one after the other, in the format that the pocket models were trained with."""
    by_subject = defaultdict(list)
    for row in rows:
        by_subject[row["person_id"]].append(f"Question: {row['question']}\nAnswer: {row['answer']}")
    return Dataset.from_dict({"text": ["\n".join(lines) for lines in by_subject.values()]})


def test_chunks_are_examples_and_texts_are_clusters(pocket: Pocket):
    forget = documents(pocket.forget)
    splits = load_splits({"forget": forget}, pocket.tokenizer, 400, 0, False, context=64)
    split = splits["forget"]
    assert len(split.examples) > len(forget) == split.clusters.max() + 1
    assert max(len(example["input_ids"]) for example in split.examples) <= 64 < CHUNK_TOKENS
    assert split.prompts[0] == tuple(split.examples[0]["input_ids"][: len(split.prompts[0])])
    assert split.total == len(split.examples)


def test_as_many_chunks_as_asked_for_from_the_texts_that_are_named(pocket: Pocket):
    forget = documents(pocket.forget)
    split = load_splits({"forget": forget}, pocket.tokenizer, 3, 0, False, context=40)["forget"]
    assert len(split.examples) == 3 < split.total
    assert list(split.dataset["text"]) == list(dict.fromkeys(split.texts))
    same = load_splits({"forget": forget}, pocket.tokenizer, 3, 0, False, context=40)["forget"]
    assert same.prompts == split.prompts


def test_an_audit_of_documents(pocket: Pocket):
    """The original knows the second halves of single rows as text, the reference does not."""
    forget, retain = (
        Dataset.from_list([{"text": f"Question: {row['question']}\nAnswer: {row['answer']}"} for row in rows])
        for rows in (pocket.forget, pocket.retain)
    )
    report = audit(
        pocket.original(),
        reference=pocket.reference(),
        original=pocket.original(),
        processing_class=pocket.tokenizer,
        forget=forget,
        retain=retain,
        num_samples=2,
        max_new_tokens=16,
        max_examples=16,
        num_resamples=100,
        progress=False,
    )
    probability = report.metrics["probability"]
    assert probability.others["original"] > 2 * probability.others["reference"]
    assert report.metrics["fade"].value == report.metrics["fade"].start > 0
    assert np.isfinite(report.metrics["fade/retain"].value)
    assert report.provenance.data["forget"]["rows"] <= 16


def test_a_template_is_for_questions(pocket: Pocket):
    with pytest.raises(
        ValueError, match=r"forget: prompt_template says how questions are put, but these rows are text"
    ):
        load_splits({"forget": documents(pocket.forget)}, pocket.tokenizer, 9, 0, False, "{question}")
