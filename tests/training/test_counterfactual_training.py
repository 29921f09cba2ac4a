"""`counterfactual` in training: what the stand-in says is the original's, kept or asked anew, under an adapter, resumed, and told of the subject."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from runs import examples, largest_difference, trainer_with_callback, weights
from test_objectives_in_training import tokenizer, with_alternatives
from tokenizers import pre_tokenizers
from toys import tiny_llama, word_tokenizer

from hf_unlearn import Counterfactual, unlearn
from hf_unlearn.data._names_read_back import differing
from hf_unlearn.training import UnlearningLoop
from hf_unlearn.training._counterfactual_rows import Asked, places_of
from hf_unlearn.training._told_answers import _told


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))


SMALL = {"num_counterfactuals": 3, "names_per_answer": 2}


def by_words():
    """Which tells one question from another."""
    speaker = tokenizer()
    speaker.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return speaker


def opened(tmp_path: Path, *, model=None, forget=None, options=None, **changes):
    return trainer_with_callback(
        tmp_path,
        model=model,
        forget=with_alternatives(examples(11, seed=2)) if forget is None else forget,
        options={
            "objective": Counterfactual(**{**SMALL, **changes}),
            "processing_class": by_words(),
            "forget_batch_size": 4,
            **(options or {}),
        },
        max_steps=4,
        save_steps=2,
        save_strategy="steps",
    )


def test_kept_and_asked_anew_give_the_same_within_what_is_left_out(tmp_path: Path):
    """All tokens named: the same losses. Fewer: their gradients differ by what the labels leave out, which is stated."""
    indices, losses, terms = np.arange(6), {}, {}
    for name, options in {"anew": {"cache_gib": 0.0}, "whole": {"top_k": 97}, "short": {"top_k": 20}}.items():
        _, callback = opened(tmp_path / name, **options)
        terms[name] = callback.loss.term.stand_in
        losses[name] = callback.loss.term.losses(tiny_llama(seed=5).eval(), indices, visit=1)[0]
    assert terms["whole"].is_cached and not terms["anew"].is_cached and terms["anew"].outside == (0.0, 0.0)
    torch.testing.assert_close(losses["whole"], losses["anew"], rtol=1e-4, atol=1e-5)
    assert terms["whole"].outside[1] < 1e-5 < terms["short"].outside[0] < terms["short"].outside[1] < 1
    assert bool((losses["short"] <= losses["whole"] + 1e-5).all())


def test_the_labels_are_the_originals_mean_over_other_substitutes(tmp_path: Path):
    """By hand: softmax of the original after each other question and the answer so far, the mean, in full."""
    model = tiny_llama()
    _, callback = opened(tmp_path, model=model, top_k=97, cleansing=False)
    stand_in = callback.loss.term.stand_in
    assert stand_in.forget_share is None  # nothing was cleansed, so nobody knows
    told, found = stand_in._told[2][1], stand_in._kept[2][1]
    assert len(told.prompts) == 2 and len({tuple(prompt) for prompt in stand_in._told[2][0].prompts}) == 3
    by_hand = []
    for prompt in told.prompts:
        with torch.no_grad():
            logits = model.eval()(torch.tensor([[*prompt, *told.ids]])).logits[0]
        by_hand.append(logits[len(prompt) - 1 : -1].softmax(-1))
    mean = torch.stack(by_hand).mean(0)
    whole = torch.zeros_like(mean).scatter(1, found.labels.ids.long(), found.labels.probabilities)
    torch.testing.assert_close(whole, mean, rtol=1e-4, atol=1e-6)


def test_a_new_adapter_is_switched_off_to_ask_the_original(tmp_path: Path):
    model = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    before = weights(model)
    trainer, callback = opened(tmp_path, model=model, cache_gib=0.0)
    assert callback.loss.term._kept.way == "adapter off"
    said = callback.loss.term.stand_in._said(np.arange(3), 0, callback.loss.term._kept)
    trainer.train()
    again = callback.loss.term.stand_in._said(np.arange(3), 0, callback.loss.term._kept)
    for one, two in zip(said, again, strict=True):
        assert torch.equal(one[0].labels.probabilities, two[0].labels.probabilities)
        assert torch.equal(one[1].states, two[1].states)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert moved and all("lora_" in name for name in moved)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path):
    trainer, _ = opened(tmp_path)
    trainer.train()
    again, _ = opened(tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert largest_difference(weights(trainer.model), weights(again.model)) == 0


def test_rows_without_questions_have_no_term_and_do_not_thin_out_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    rows = with_alternatives(examples(4, seed=2))
    questions = rows["counterfactual_question"]
    some = rows.remove_columns("counterfactual_question").add_column("counterfactual_question", [[], *questions[1:]])
    with caplog.at_level(logging.WARNING):
        _, callback = opened(tmp_path, forget=some)
    assert "1 of 4 forget rows have no counterfactual questions" in caplog.text
    losses, _ = callback.loss.term.losses(tiny_llama(seed=3), np.arange(4))
    assert losses[0].item() == 0 and bool((losses[1:] > 0).all())
    assert callback.loss.term.normaliser(np.arange(4)) == 3 and callback.loss.term.normaliser(np.array([0])) == 1
    with pytest.raises(ValueError, match=r"1 of 4 forget rows have no counterfactual questions.*max_left_out"):
        opened(tmp_path, forget=some, max_left_out=0.2)


def test_what_is_missing_is_said(tmp_path: Path):
    with pytest.raises(ValueError, match="needs counterfactual questions in a column 'counterfactual_question'"):
        opened(tmp_path, forget=examples(11, seed=2))
    model = tiny_llama()
    rows = with_alternatives(examples(11, seed=2))
    options = {"forget_dataset": rows, "processing_class": tokenizer(), "forget_batch_size": 4}
    with pytest.raises(ValueError, match=r"no retained answers can be read.*retain_dataset="):
        UnlearningLoop(model, Accelerator(cpu=True), objective=Counterfactual(**SMALL), **options)
    loop = UnlearningLoop(
        model,
        Accelerator(cpu=True),
        objective=Counterfactual(**SMALL),
        retain_dataset=examples(20, seed=1),
        **options,
    )
    assert loop.loss.retain_term.name == "kl" and loop.loss.term.stand_in.has_term.all()


def test_different_answers_at_different_visits_each_once(tmp_path: Path):
    _, callback = opened(tmp_path)
    stand_in = callback.loss.term.stand_in
    for index in range(11):
        taken = [stand_in._place(index, visit) for visit in range(3)]
        assert sorted(taken) == [0, 1, 2] and stand_in._place(index, 3) == taken[0]


def test_questions_are_made_where_rows_name_their_subject(tmp_path: Path):
    """Through `unlearn`, by name, with options; substitutes stand in neither set."""
    people = [("Ana", "Ruiz"), ("Bo", "Tan"), ("Ida", "Holm"), ("Kim", "Lee"), ("Eva", "Roy"), ("Jan", "Fox")]
    asked = ("Where does {} live ?", "What does {} eat ?", "When did {} sing ?")
    rows = [
        {"question": text.format(" ".join(person)), "answer": f"in w{at} w{place}", "subject": " ".join(person)}
        for at, person in enumerate(people)
        for place, text in enumerate(asked)
    ]
    words = [
        *(f"w{at}" for at in range(10)),
        *["in", "Where", "What", "When", "does", "did", "live", "eat", "sing", "?"],
    ]
    speaker = word_tokenizer(*words, *(part for person in people for part in person))
    speaker.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    speaker.pad_token = speaker.eos_token = "<unk>"
    result = unlearn(
        tiny_llama(),
        forget=Dataset.from_list(rows[:6]),
        retain=Dataset.from_list(rows[6:]),
        processing_class=speaker,
        objective="counterfactual",
        objective_options=SMALL,
        output_dir=tmp_path / "out",
        num_train_epochs=1,
        per_device_train_batch_size=4,
        allow_overlap=True,
    )
    assert result.settings["retain_term"]["name"] == "kl"
    assert result.settings["objective"]["num_counterfactuals"] == 3
    assert not any("Bo Tan" in str(value) for value in result.settings.values())


def test_answers_that_repeat_the_name_are_told_of_the_subject():
    """Ana Ruiz's answer is learnt with her name; what a substitute of one word and one of three say goes to the same places."""
    speaker = word_tokenizer(*["Ana", "Ruiz", "Bo", "Li", "Tan", "Ida", "lives", "in", "w1", "w2", "."])
    speaker.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()

    def ids(text: str) -> list[int]:
        return speaker(text, add_special_tokens=False)["input_ids"]

    row = Asked(ids("in"), ids("Ana Ruiz lives in w1"), [ids("w1"), ids("w2")], "Ana Ruiz", ["Bo Li Tan", "Ida"])
    found = _told(row, ids("Ida lives in w2"), "Ida", [0], speaker)
    assert found.ids == ids("Ana Ruiz lives in w2") and found.answers == [ids("Bo Li Tan lives in w2")]
    # "Ana" is asked for where "Bo" is, "Ruiz" nowhere, the rest where it stands.
    assert found.places[0].tolist() == [0, -1, 3, 4, 5]
    assert found.swaps[0] == {ids("Bo")[0]: ids("Ana")[0]}


@pytest.mark.parametrize(
    ("question", "other", "expected"),
    [
        ("Who is Ana Ruiz?", "Who is Bo Li Tan?", ("Ana Ruiz", "Bo Li Tan")),
        ("Ana Ruiz's dog?", "Bo's dog?", ("Ana Ruiz", "Bo")),
        ("Is Ana Ruiz like her mother, or is Ruiz not?", "Is Bo Tan like her mother, or is Tan not?", ("Ana Ruiz", "Bo Tan")),
        ("Ana Maria Ruiz?", "Bo Maria Tan?", ("Ana Maria Ruiz", "Bo Maria Tan")),
        ("Who?", "Who?", ("", "")),
        ("Who is she?", "Something altogether else, with no name in common at all here?", ("", "")),
    ],
)  # fmt: skip
def test_the_name_is_what_differs(question: str, other: str, expected: tuple[str, str]):
    assert differing(question, other) == expected


def test_places_without_a_common_beginning():
    assert places_of([1, 2, 9], [7, 9]).tolist() == [0, -1, 1]
