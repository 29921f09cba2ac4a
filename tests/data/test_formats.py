"""The other usual ways of putting questions: which there are, by what would have to be passed."""

import copy

from datasets import Dataset

from hf_unlearn.data import load_pocket, other_formats, tokenize_examples


CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"
ROWS = Dataset.from_dict({"question": ["Who?", "Where?"], "answer": ["Ann.", "Here."]})


def names(template: str | None = None, **options) -> set[str]:
    tokenizer = options.pop("tokenizer", load_pocket("nano").tokenizer)
    used = tokenize_examples(ROWS, tokenizer, prompt_template=template).to_list()
    return {name.split(" (")[0] for name in other_formats(ROWS, used, tokenizer, prompt_template=template, **options)}


def test_what_is_in_use_is_not_offered():
    assert names() == {"prompt_template='{question}'"}
    assert names("{question}") >= {r"prompt_template='Question: {question}\nAnswer:'"}


def test_the_same_template_without_the_space():
    assert "prompt_template='<user>{question}<bot>{answer}'" in names("<user>{question}<bot>")
    assert not any("{answer}" in name for name in names("<user>{question}<bot>{answer}"))


def test_the_template_of_the_folder_s_own_tokenizer():
    saved = copy.deepcopy(load_pocket("nano").tokenizer)
    saved.chat_template = CHAT
    own = "the chat template of the tokenizer in the model's own folder"
    assert own in names(saved=saved)
    assert own not in names(saved=saved, tokenizer=saved)


def test_nothing_for_other_rows_and_for_rows_that_do_not_fit():
    tokenizer = load_pocket("nano").tokenizer
    assert names(max_tokens=1) == set()
    rows = Dataset.from_dict({"prompt": ["a"], "completion": ["b"]})
    assert other_formats(rows, tokenize_examples(rows, tokenizer).to_list(), tokenizer) == {}
