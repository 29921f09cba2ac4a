"""The domain of a Trainer's classifier: rows as its collator makes them, and how likely each one's class is."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from transformers import Trainer

from hf_unlearn.audit._contracts import Reading, SubjectKey, Task
from hf_unlearn.audit._subjects import LoadedSubject
from hf_unlearn.config import AuditConfig
from hf_unlearn.data import DataLike
from hf_unlearn.inference import ModelLike, gather, my_share, open_view, undisturbed
from hf_unlearn.training._class_rows import class_collator, class_examples


@dataclass(frozen=True)
class ClassSplit:
    """One set of a classifier.

    Attributes:
        name: "forget" or "retain".
        dataset: The rows that are used, as they came.
        examples: Ready for the collator.
    """

    name: str
    dataset: Dataset
    examples: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def groups(self) -> np.ndarray:
        """Each row by itself, shape `(examples,)`."""
        return np.arange(len(self))

    @property
    def clusters(self) -> np.ndarray:
        """Each row by itself, shape `(examples,)`."""
        return np.arange(len(self))


class ClassesInTraining:
    """A classifier of sequences or images, and models to compare it with.

    Args:
        trainer: Whose model is the candidate.
        models: "reference", "original", "twin", as given; None where there is none.
        data: "forget" and perhaps "retain", in the form of the `train_dataset`.
        tokenizer: Not used: rows are what the collator takes.
        config: What the tracker's options are in an audit.

    Raises:
        TypeError: A set that is no `datasets.Dataset`.
        ValueError: An empty set, labels that are no classes, a prompt template, or a reference with other classes.
    """

    name = "classes in training"
    versions: Mapping[str, int] = {"answers": 1}
    default = ("probability", "accuracy")

    def __init__(
        self,
        trainer: Trainer,
        models: Mapping[str, ModelLike | None],
        data: Mapping[str, DataLike | None],
        tokenizer: object,
        config: AuditConfig,
    ):
        if config.prompt_template is not None:
            raise ValueError("prompt_template is for questions; the model is a classifier.")
        self.trainer, self.config, self.collate = trainer, config, class_collator(trainer)
        self.views = {role: open_view(model, kind="classifier") for role, model in models.items() if model is not None}
        for role, view in self.views.items():
            known, own = view.model.config.num_labels, trainer.model.config.num_labels
            if known != own:
                raise ValueError(
                    f"the {role} has {known} classes, the Trainer's model has {own}; they must be the same."
                )
        self._splits = {name: self._split(name, rows) for name, rows in data.items() if rows is not None}

    def _split(self, name: str, rows: DataLike) -> ClassSplit:
        if not isinstance(rows, Dataset):
            raise TypeError(
                f"{name}_dataset: for a classifier pass a datasets.Dataset in the form of the train_dataset, got {type(rows).__name__}."
            )
        chosen = _drawn(rows, self.config.max_examples, self.config.seed)
        with undisturbed(self.trainer.model):  # a transform may draw at random
            return ClassSplit(name, chosen, class_examples(self.trainer, chosen, name=f"{name}_dataset"))

    def given(self, role: str) -> Any:
        """The model of a role; the candidate is what the Trainer has now."""
        return self.trainer.model if role == "candidate" else self.views.get(role)

    def open(self, key: SubjectKey, model: Any) -> LoadedSubject:
        """A model in its role; nothing is kept, so that nobody needs to know its weights."""
        return LoadedSubject(key, open_view(model, kind="classifier"), str(key), "")

    def splits(self) -> Mapping[str, ClassSplit]:
        """The sets, loaded and checked."""
        return self._splits

    def task(
        self, reading: Reading, subject: LoadedSubject, split: ClassSplit, others: Mapping[str, LoadedSubject]
    ) -> Task:
        """How to read the classes: as answers of one token."""

        def compute(items: Sequence[int]) -> Iterable[pa.Table]:
            size = self.config.batch_size
            plan = [items[start : start + size] for start in range(0, len(items), size)]
            with undisturbed(subject.model), subject.view.active():
                mine = [
                    self._read(subject, split, part)
                    for part in my_share(plan, label=f"{subject.key} {split.name}", progress=self.config.progress)
                ]
            yield pa.concat_tables(gather(mine))

        return Task((), len(split), compute, cost=len(split))

    def _read(self, subject: LoadedSubject, split: ClassSplit, items: Sequence[int]) -> pa.Table:
        model = subject.model
        rows = self.collate([split.examples[item] for item in items])
        batch = {name: value.to(model.device) for name, value in rows.items()}
        labels = batch.pop("labels")
        log_probs = model(**batch).logits.double().log_softmax(-1)
        of_truth = log_probs.gather(1, labels[:, None]).cpu().numpy()
        correct = (log_probs.argmax(-1) == labels)[:, None].cpu().numpy()
        return pa.table(
            {
                "item": pa.array(list(items), pa.int64()),
                "log_probs": pa.array(list(of_truth), pa.list_(pa.float64())),
                "correct": pa.array(list(correct), pa.list_(pa.bool_())),
            }
        )

    def facts(self) -> dict[str, Any]:
        """Nothing beside the tables."""
        return {}

    def let_go(self, readings: Collection[Reading]) -> set[str]:
        """Close all models but the one in training."""
        self.views, self.config = {}, dataclasses.replace(self.config, progress=False)
        return set()


def _drawn(rows: Dataset, count: int, seed: int) -> Dataset:
    if len(rows) <= count:
        return rows
    return rows.select(sorted(np.random.default_rng(seed).choice(len(rows), count, replace=False).tolist()))
