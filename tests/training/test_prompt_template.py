"""One template, every road: what training, tracking, task vectors and the audit see of a question is the same token ids."""

from pathlib import Path

import pytest
from datasets import Dataset
from runs import arguments
from toys import tiny_llama
from transformers import Trainer

from hf_unlearn import ForgettingTracker, UnlearningCallback, unlearn
from hf_unlearn.audit.domains._text_splits import load_splits
from hf_unlearn.data import AnswerCollator, pocket_tokenizer, tokenize_examples
from hf_unlearn.training import RequestLedger, task_vector
from hf_unlearn.training._alternatives import REFUSALS


TEMPLATE = "[Q] {question} [A]"
TOKENIZER = pocket_tokenizer()
FORGET = Dataset.from_dict({"question": [f"Who is {name}?" for name in "abcdefgh"], "answer": list("ABCDEFGH")})
RETAIN = Dataset.from_dict({"question": [f"Where is {name}?" for name in "abcdefgh"], "answer": list("ABCDEFGH")})
WANTED = tokenize_examples(FORGET, TOKENIZER, prompt_template=TEMPLATE)


@pytest.fixture
def model():
    return tiny_llama(vocab_size=len(TOKENIZER))


@pytest.fixture
def trainer(model, tmp_path: Path) -> Trainer:
    return Trainer(
        model=model,
        args=arguments(tmp_path),
        train_dataset=tokenize_examples(RETAIN, TOKENIZER, prompt_template=TEMPLATE),
        data_collator=AnswerCollator(0),
        processing_class=TOKENIZER,
    )


def test_the_callback_and_its_alternatives(trainer: Trainer):
    callback = UnlearningCallback(
        trainer, forget_dataset=FORGET, objective="idk_dpo", prompt_template=TEMPLATE, forget_batch_size=4
    )
    assert callback.forget.examples == WANTED.to_list()
    refused = FORGET.remove_columns("answer").add_column("answer", list(REFUSALS[: len(FORGET)]))
    wanted = tokenize_examples(refused, TOKENIZER, prompt_template=TEMPLATE)
    assert callback.loss.term.alternatives == wanted.to_list()


def test_the_tracker(trainer: Trainer):
    tracker = ForgettingTracker(trainer, forget_dataset=FORGET, prompt_template=TEMPLATE, table=False)
    assert list(tracker._metrics.domain.splits()["forget"].examples) == WANTED.to_list()


def test_the_audit():
    splits = load_splits({"forget": FORGET}, TOKENIZER, 400, 0, False, TEMPLATE)
    assert list(splits["forget"].examples) == WANTED.to_list()
    assert TOKENIZER.decode(splits["forget"].prompts[0]) == "<bos>[Q] Who is a? [A]"


@pytest.mark.parametrize("call", ["unlearn", "task_vector", "ledger"])
def test_what_is_trained_on(call: str, model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[Dataset] = []

    class Stopped(Exception):
        pass

    def watching(self, *args, **kwargs):
        seen.append(self.train_dataset)
        raise Stopped

    monkeypatch.setattr(Trainer, "train", watching)
    common = {"processing_class": TOKENIZER, "prompt_template": TEMPLATE, "output_dir": tmp_path / "out"}
    with pytest.raises(Stopped):
        if call == "unlearn":
            unlearn(model, forget=RETAIN, retain=FORGET, **common)
        elif call == "ledger":
            del common["output_dir"]
            RequestLedger(tmp_path / "requests", model).carry_out("one", forget=RETAIN, retain=FORGET, **common)
        else:
            task_vector(model, forget=FORGET, **common)
    assert seen[0].to_list() == WANTED.to_list()
