"""The reading of questions with choices: each choice's log-probability, in one teacher-forced pass over all of them."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._contracts import Task
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.audit.domains._answer_reading import count_tokens
from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.data import tokenize_choices
from hf_unlearn.data._columns import column_format
from hf_unlearn.inference import answer_tables


READINGS = {"choices": "letters", "choice_texts": "texts"}
"""By name, the form in which choices are said (`data.FORMS`)."""


def choices_task(
    reading: str,
    subject: LoadedSubject,
    split: Split,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int,
    progress: bool,
) -> Task | None:
    """How to take it; None where the set's rows have no choices. An item is a choice, a column says of which example."""
    if column_format(split.dataset.column_names) != "choices":
        return None
    choices = tokenize_choices(split.dataset, tokenizer, form=READINGS[reading], prompt_template=split.prompt_template)
    examples = [choice.tokens for choice in choices]

    def compute(items: Sequence[int]) -> Iterable[pa.Table]:
        tables = answer_tables(
            subject.view,
            examples,
            items=items,
            statistics=False,
            batch_size=batch_size,
            progress=progress,
            label=f"{reading.replace('_', ' ')} {split.name} {subject.key}",
        )
        for table in tables:
            chosen = [choices[item] for item in table.column("item").to_pylist()]
            table = table.select(["item", "log_probs"])
            table = table.append_column("example", pa.array([choice.example for choice in chosen], pa.int64()))
            table = table.append_column("is_right", pa.array([choice.is_right for choice in chosen], pa.bool_()))
            yield table.append_column("num_bytes", pa.array([choice.num_bytes for choice in chosen], pa.int64()))

    places = [(choice.example, choice.is_right, choice.num_bytes) for choice in choices]
    return Task((subject.fingerprint, examples, places), len(examples), compute, cost=count_tokens(examples))
