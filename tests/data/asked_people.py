"""Questions about invented people, and what became of them."""

from datasets import Dataset


ASKED = ("Where was {} born?", "What did {} win?", "Did {}'s parents sing?", "Who taught {}?")


def people(*names, **columns):
    rows = [
        {
            "question": asked.format(name),
            "answer": f"{name} did.",
            **{key: value[name] for key, value in columns.items()},
        }
        for name in names
        for asked in ASKED
    ]
    return Dataset.from_list(rows)


def texts(found):
    return found.dataset["counterfactual_question"]
