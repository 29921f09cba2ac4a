"""True answers after counterfactual questions: how probable they are, and hidden states on average over the questions of an example."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from hf_unlearn.audit._contracts import Reading, Task
from hf_unlearn.audit._rows import FEATURE
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.audit.domains._answer_reading import count_tokens
from hf_unlearn.audit.domains._counterfactual_reading import Pairs, is_floor
from hf_unlearn.audit.domains._layers import LayerFacts
from hf_unlearn.audit.domains._text_splits import Split
from hf_unlearn.config import AuditConfig
from hf_unlearn.inference import Example, FeatureSettings, NoHiddenStatesError, answer_tables, check_room


def answers_task(
    reading: Reading,
    subject: LoadedSubject,
    split: Split,
    pairs: Pairs,
    layers: LayerFacts,
    features: FeatureSettings,
    config: AuditConfig,
) -> Task:
    """True answers after counterfactual questions, one row per example that has any: `example`; `log_probs` and `num_tokens` of the answer
    after each question, by number; pooled hidden states where they are wanted, of the stand-in the mean over questions, of the floor those
    after the first.

    Args:
        reading: With or without "features".
        subject: The original, or one whose values are the floor.
        split: The set.
        pairs: Its counterfactual questions.
        layers: What is known of the models' layers.
        features: How hidden states are pooled.
        config: Options of the audit.

    Raises:
        ValueError: A question that the model cannot read.
    """
    own = pairs.floor if is_floor(subject) else pairs.asked
    examples: list[Example] = [one.tokens for one in own]
    check_room(subject.model, [one.prompt for one in own], 1)
    pooled = features if "features" in reading.parts and layers.skipped is None else None
    groups = [pairs.of_example[example] for example in pairs.examples]

    def compute(items: Sequence[int]) -> Iterable[pa.Table]:
        take = partial(
            answer_tables,
            subject.view,
            examples,
            items=[place for item in items for place in groups[item]],
            statistics=False,
            batch_size=config.batch_size,
            progress=config.progress,
            label=f"counterfactual answers {split.name} {subject.key}",
        )
        shown = slice(1) if is_floor(subject) else slice(None)
        gather = _Gathered(pairs, groups, shown)
        try:
            yield from gather.tables(take(features=pooled))
        except NoHiddenStatesError as error:
            layers.skip(str(error).removesuffix("."))
            yield from gather.tables(take())

    places = [(one.example, one.number) for one in own]
    return Task((subject.fingerprint, examples, places, pooled), len(groups), compute, cost=count_tokens(examples))


class _Gathered:
    """Rows of questions as rows of examples, each as soon as all of its questions are there.

    Args:
        pairs: The questions.
        groups: Of each item, its questions.
        shown: Of which of them hidden states are averaged.
    """

    def __init__(self, pairs: Pairs, groups: Sequence[Sequence[int]], shown: slice):
        self.pairs, self.groups, self.shown = pairs, groups, shown
        self._item = {place: item for item, places in enumerate(groups) for place in places}
        self._waiting: dict[int, dict[int, Mapping[str, Any]]] = {}

    def tables(self, found: Iterable[pa.Table]) -> Iterable[pa.Table]:
        """Tables of whole examples."""
        for table in found:
            features = [name for name in table.column_names if name.startswith(FEATURE)]
            complete = []
            for row in table.select(["item", "log_probs", *features]).to_batches():
                complete += self._take(row, features)
            if complete:
                yield self._table(complete, features)

    def _take(self, rows: pa.RecordBatch, features: Sequence[str]) -> list[int]:
        """Items that are complete with these rows."""
        places, log_probs = rows.column("item").to_pylist(), rows.column("log_probs").to_pylist()
        states = {name: np.stack(rows.column(name).to_numpy(zero_copy_only=False)) for name in features}
        done = []
        for at, place in enumerate(places):
            item = self._item[place]
            own = {name: matrix[at].astype(np.float64) for name, matrix in states.items()}
            mine = self._waiting.setdefault(item, {})
            mine[place] = {"log_prob": float(np.sum(log_probs[at])), "num_tokens": len(log_probs[at]), **own}
            if len(mine) == len(self.groups[item]):
                done.append(item)
        return done

    def _table(self, items: Sequence[int], features: Sequence[str]) -> pa.Table:
        parts = [[self._waiting[item][place] for place in self.groups[item]] for item in items]
        arrays: dict[str, pa.Array] = {
            "item": pa.array(items, pa.int64()),
            "example": pa.array([self.pairs.examples[item] for item in items], pa.int64()),
            "log_probs": pa.array([[row["log_prob"] for row in rows] for rows in parts], pa.list_(pa.float64())),
            "num_tokens": pa.array([[row["num_tokens"] for row in rows] for rows in parts], pa.list_(pa.int64())),
        }
        for name in features:
            means = [np.mean([row[name] for row in rows[self.shown]], 0).astype(np.float32) for rows in parts]
            arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(means)), len(means[0]))
        for item in items:
            del self._waiting[item]
        return pa.table(arrays)
