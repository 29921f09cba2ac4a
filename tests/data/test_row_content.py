"""Rows are the same where they say the same, whatever columns they come in."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_unlearn.data._row_content import contents


Q, A = "Who is Ada?", "A baker."
FORMS = {
    "question": {"question": Q, "answer": A},
    "reordered": {"id": 7, "answer": " a  BAKER.", "question": "who is\nada?"},
    "completion": {"prompt": Q, "completion": " " + A},
    "messages": {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]},
    "with a system": {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": Q},
            {"role": "assistant", "content": A},
        ]
    },
    "chat completion": {
        "prompt": [{"role": "user", "content": Q}],
        "completion": [{"role": "assistant", "content": A}],
    },
    "text": {"text": f"{Q}\n{A}"},
}


@pytest.mark.parametrize("one", FORMS)
@pytest.mark.parametrize("two", FORMS)
def test_one_question_is_recognised_in_every_form(one: str, two: str):
    a, b = contents(Dataset.from_list([FORMS[one]]), Dataset.from_list([FORMS[two]]))
    assert a == b == ["who is ada? a baker."]


@pytest.mark.parametrize("other", [{"question": Q, "answer": "A baker"}, {"question": Q, "answer": "A poet."}])
def test_other_answers_and_other_punctuation_are_other_rows(other: dict):
    a, b = contents(Dataset.from_list([FORMS["question"]]), Dataset.from_list([other]))
    assert a != b


def test_tokenized_rows_are_compared_by_their_ids():
    one = Dataset.from_dict({"input_ids": [[1, 2, 3]], "labels": [[-100, 2, 3]]})
    two = Dataset.from_dict({"labels": [[1, 2, 3], [1, 2]], "input_ids": [[1, 2, 3], [1, 2]]})
    a, b = contents(one, two)
    assert a[0] == b[0] != b[1]
    with pytest.raises(ValueError, match="cannot be compared"):
        contents(one, Dataset.from_list([FORMS["text"]]))


def test_other_columns_count_where_both_sets_have_them_and_numbers_do_not():
    features = Features(
        {"sentence": Value("string"), "label": ClassLabel(names=["no", "yes"]), "weight": Value("float32")}
    )
    one = Dataset.from_list([{"sentence": "A b", "label": 1, "weight": 0.5}], features=features)
    two = Dataset.from_list([{"weight": 2.0, "sentence": "a  B", "label": 0, "origin": "x"}])
    a, b = contents(one, two)
    assert a == b
    with pytest.raises(ValueError, match="the columns label, weight and rows with the columns sentence"):
        contents(one.remove_columns("sentence"), two.select_columns(["sentence"]))


def test_images_are_compared_by_their_pixels():
    import numpy as np
    from datasets import Image
    from PIL import Image as Picture

    pictures = [Picture.fromarray(np.full((2, 2, 3), value, np.uint8)) for value in (0, 9)]
    one = Dataset.from_dict({"image": pictures, "label": [0, 1]}).cast_column("image", Image())
    two = Dataset.from_dict({"image": [pictures[1]], "label": [0]}).cast_column("image", Image())
    a, b = contents(one, two)
    assert b[0] == a[1] != a[0]
