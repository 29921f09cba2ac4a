"""Questions with choices through a whole audit: against lm-evaluation-harness, by hand, and with a prompt that is read once."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
import world
from datasets import Dataset
from toys import CHOICE_TEXTS as TEXTS
from toys import QUESTIONS_WITH_CHOICES as ROWS
from toys import byte_level, marked_words

from hf_unlearn.audit import AuditSet, audit
from hf_unlearn.audit._contracts import SubjectKey
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._subjects import open_subject
from hf_unlearn.audit.domains._choice_reading import choices_task
from hf_unlearn.audit.domains._text_splits import load_splits
from hf_unlearn.data import tokenize_choices


QUESTIONS = [
    *ROWS,
    {"question": "Which letter?", "choices": ["one", "two", "three", "four"], "answer": 1},
    {
        "question": "Which\nof these lines is longer than the others?",
        "choices": ["this", "that", "neither", "all"],
        "answer": 3,
    },
    {"question": "Yes?", "choices": ["no", "yes"], "answer": 0},
]
CONTEXT = {"llama": "max_position_embeddings", "gpt2": "n_positions"}
METRICS = ("multiple_choice", "multiple_choice_text")


def models(architecture: str, tokenizer: Any) -> dict[str, torch.nn.Module]:
    roles = ("candidate", "reference", "original")
    longer = {CONTEXT[architecture]: 256}
    return {
        role: world.build(architecture, seed=seed, vocab_size=len(tokenizer), **longer)
        for seed, role in enumerate(roles)
    }


def arguments(tokenizer: Any, architecture: str = "llama", **changes: Any) -> dict[str, Any]:
    return {
        **models(architecture, tokenizer),
        "processing_class": tokenizer,
        "forget": Dataset.from_list([{"question": f"Who {n}?", "answer": f"{n}"} for n in "abcdef"]),
        "sets": {"wmdp": Dataset.from_list(QUESTIONS)},
        "num_resamples": 50,
        "progress": False,
        "metrics": METRICS,
        **changes,
    }


def harness_log_likelihoods(model: torch.nn.Module, tokenizer: Any, form: str) -> list[list[float]]:
    """Of each question's choices, by the harness's own model class."""
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    runner = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=3, device="cpu", max_length=256)
    found = []
    for row in QUESTIONS:
        lines = [f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=False)]
        if form == "letters":
            context, said = (
                "\n".join([row["question"].strip(), *lines, "Answer:"]),
                list("ABCD"[: len(row["choices"])]),
            )
        else:
            context, said = f"Question: {row['question'].strip()}\nAnswer:", row["choices"]
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=(context, f" {text}"), idx=at)
            for at, text in enumerate(said)
        ]
        found.append([float(value) for value, _ in runner.loglikelihood(requests, disable_tqdm=True)])
    return found


@pytest.mark.parametrize("make", [byte_level, marked_words])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_log_likelihoods_and_accuracy_are_the_harness_own(architecture: str, make: Any) -> None:
    tokenizer = make(*TEXTS)
    given = arguments(tokenizer, architecture)
    report = audit(**given)
    right = [2, 1, 1, 3, 0]
    for form, name in (("letters", "multiple_choice"), ("texts", "multiple_choice_text")):
        wanted = harness_log_likelihoods(given["candidate"], tokenizer, form)
        split = load_splits({"wmdp": AuditSet(Dataset.from_list(QUESTIONS))}, tokenizer, 100, 0, False)["wmdp"]
        subject = open_subject(SubjectKey("candidate"), given["candidate"])
        reading = "choices" if form == "letters" else "choice_texts"
        task = choices_task(reading, subject, split, tokenizer, batch_size=4, progress=False)
        assert task is not None
        table = EvidenceStore(None).table(reading, "key", task.count, task.compute)
        ours = np.array([sum(part) for part in table.column("log_probs").to_pylist()])
        assert ours == pytest.approx(np.concatenate(wanted), abs=2e-5)
        sizes = [[len(text.encode()) if form == "texts" else 1 for text in row["choices"]] for row in QUESTIONS]
        hits = [np.argmax(np.array(w) / s) == r for w, s, r in zip(wanted, sizes, right, strict=True)]
        assert report.metrics[f"{name}/wmdp"].value == pytest.approx(np.mean(hits))
        shares = [np.exp(w[r]) / np.exp(w).sum() for w, r in zip(wanted, right, strict=True)]
        assert report.metrics[f"{name}/wmdp"].details["probability_of_right"] == pytest.approx(
            np.mean(shares), abs=1e-5
        )
        assert report.metrics[f"{name}/wmdp"].details["guessing"] == pytest.approx(
            np.mean([1 / 3, 1 / 2, 1 / 4, 1 / 4, 1 / 2])
        )
    unnormalized = [np.argmax(w) == r for w, r in zip(wanted, right, strict=True)]
    assert report.metrics["multiple_choice_text/wmdp"].details["unnormalized"] == pytest.approx(np.mean(unnormalized))


def test_a_question_is_read_once_for_all_its_choices() -> None:
    """Long questions: the tokens that pass through the model are those of the questions and of their choices once, and of one trial beside."""
    tokenizer = byte_level(*TEXTS)
    rows = [
        {"question": f"{number} " + "what is it a cat " * 12, "choices": list("wxyz"), "answer": 0}
        for number in range(12)
    ]
    model = models("llama", tokenizer)["candidate"]
    split = load_splits({"wmdp": AuditSet(Dataset.from_list(rows))}, tokenizer, 100, 0, False)["wmdp"]
    task = choices_task(
        "choices", open_subject(SubjectKey("candidate"), model), split, tokenizer, batch_size=64, progress=False
    )
    assert task is not None
    passed = [0]
    model.register_forward_pre_hook(
        lambda module, args, named: passed.__setitem__(0, passed[0] + named["input_ids"].numel()), with_kwargs=True
    )
    body = model.get_decoder()
    body.register_forward_pre_hook(
        lambda module, args, named: passed.__setitem__(0, passed[0] + named["input_ids"].numel()), with_kwargs=True
    )
    EvidenceStore(None).table("choices", "key", task.count, task.compute)
    each = [len(choice.tokens["input_ids"]) for choice in tokenize_choices(split.dataset, tokenizer)]
    once = sum(each[::4])
    assert passed[0] < 1.6 * once < sum(each)


def test_answers_of_such_a_set_are_the_right_letters() -> None:
    """So that probability, truth ratio and the like are asked of it as of any set."""
    tokenizer = byte_level(*TEXTS)
    report = audit(**arguments(tokenizer, metrics=[*METRICS, "probability", "exact_memorization"]))
    assert {"probability/wmdp", "exact_memorization/wmdp", "multiple_choice/wmdp"} <= set(report.metrics)
    assert "multiple_choice/forget" not in report.metrics, "questions without choices have none"
    assert report.metrics["multiple_choice/wmdp"].n == 5 and report.metrics["multiple_choice/wmdp"].clusters == 4, (
        "one is there twice"
    )


def test_a_destroyed_model_is_guessing_and_says_a_in_the_harness() -> None:
    """All logits alike: every choice of letters is tied. 1/3, 1/2, 1/4, 1/4, 1/2 of the questions; `compatible` is right where A is, in one of five."""
    tokenizer = byte_level(*TEXTS)
    given = arguments(tokenizer, metrics=["multiple_choice"])
    with torch.no_grad():
        given["candidate"].lm_head.weight.zero_()
    assert audit(**given).metrics["multiple_choice/wmdp"].value == pytest.approx(
        np.mean([1 / 3, 1 / 2, 1 / 4, 1 / 4, 1 / 2])
    )
    assert audit(**given, compatible=True).metrics["multiple_choice/wmdp"].value == pytest.approx(1 / 5)


def test_what_is_taught_is_no_person() -> None:
    """MMLU's column `subject`: questions of one subject are independent; where it is asked for, they are one cluster."""
    tokenizer = byte_level(*TEXTS)
    rows = [{"question": f"{at}?", "choices": ["a", "b"], "answer": at % 2, "subject": "law"} for at in range(6)]
    for named, count in ((None, 6), ("subject", 1)):
        split = load_splits({"mmlu": AuditSet(Dataset.from_list(rows))}, tokenizer, 9, 0, False, cluster_column=named)
        assert split["mmlu"].clusters.max() + 1 == count


def test_nan_is_named_and_wrong_rows_are_refused_at_once() -> None:
    tokenizer = byte_level(*TEXTS)
    given = arguments(tokenizer, metrics=["multiple_choice", "probability"])
    with torch.no_grad():
        given["candidate"].lm_head.weight[7] = float("nan")
    report = audit(**given)
    assert not any(key.startswith("multiple_choice") for key in report.metrics)
    assert any("the candidate gives NaN" in note and "choices of the wmdp set" in note for note in report.notes)
    given = arguments(tokenizer, metrics=["multiple_choice"])
    given["sets"] = {"wmdp": Dataset.from_list([{"question": "q", "choices": ["x", "y"], "answer": 2}])}
    with pytest.raises(ValueError, match="wmdp: Row 0, column 'answer'"):
        audit(**given)
