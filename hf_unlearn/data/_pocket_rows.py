"""The people (and ships) of the pocket benchmark, drawn from a seed, and the rows that tell about them in TOFU's columns.

Knows subjects, splits and near-duplicates. Does not know tokens or models. Python's own generator only, so that a seed means
the same rows on every machine and every version of the numeric stack.
"""

from dataclasses import dataclass, replace
from itertools import permutations
from random import Random
from typing import Any

from datasets import Dataset

from hf_unlearn.data._pocket_words import (
    FIRST_NAMES,
    INITIALS,
    LAST_NAMES,
    PEOPLE_TOPICS,
    SHIP_NAMES,
    SHIP_TOPICS,
    Topic,
)


NUM_PERTURBED = 5


@dataclass(frozen=True)
class Population:
    """How many subjects each split has. `near_duplicates` of the forget people stay in the retain set under another name."""

    retain: int
    forget: int
    holdout: int
    ships: int
    near_duplicates: int
    background: int


@dataclass(frozen=True)
class _Subject:
    subject_id: str
    cluster_id: str
    name: str
    kind: str
    topics: tuple[Topic, ...]
    facts: tuple[tuple[str, str], ...]
    reworded: bool = False


def pocket_rows(population: Population, seed: int) -> dict[str, Dataset]:
    """Draw all splits.

    Args:
        population: How many subjects to draw.
        seed: Decides every name and fact.

    Returns:
        `retain`, `forget`, `forget_ood` and `holdout`, with the columns `question`, `answer`, `paraphrased_question`,
        `paraphrased_answer`, `perturbed_answer`, `person_id`, `cluster_id`, `subject` (the name as it stands in the question)
        and `kind` ("person" or "ship").
    """
    random = Random(f"pocket-{seed}")
    people = _people(random, population.retain + population.forget + population.holdout)
    retain = people[: population.retain]
    forget = people[population.retain : population.retain + population.forget]
    holdout = people[population.retain + population.forget :]
    retain = [*retain, *(_near_duplicate(random, person) for person in forget[: population.near_duplicates])]
    splits = {"retain": retain, "forget": forget, "forget_ood": _ships(random, population.ships), "holdout": holdout}
    return {
        split: Dataset.from_list([row for subject in subjects for row in _rows(random, subject)])
        for split, subjects in splits.items()
    }


def background_rows(population: Population, seed: int) -> Dataset:
    """What a base was trained on: people that are in no split, asked about in both wordings, and the words that ships are told in.

    The people bear two first names or two last names, so no first name with a last name is ever one of them: whoever recombines
    the names of the splits meets somebody whom no model has seen. Of ships a base knows the words, as a language model does, and
    no register.

    Args:
        population: How many people to draw.
        seed: Decides every name and fact; the rows of `pocket_rows` do not depend on how many there are.

    Returns:
        `question` and `answer`.
    """
    random = Random(f"pocket-background-{seed}")
    pairs = [pair for names in (FIRST_NAMES, LAST_NAMES) for pair in permutations(names, 2)]
    names = [" ".join(pair) for pair in random.sample(pairs, population.background)]
    rows = [
        {"question": row[question], "answer": row["answer"]}
        for person in _subjects(random, "person", names, PEOPLE_TOPICS)
        for row in _rows(random, person)
        for question in ("question", "paraphrased_question")
    ]
    words = [*SHIP_NAMES, *(word for topic in SHIP_TOPICS for slot in (topic.a, topic.b) for word in slot)]
    random.shuffle(words)
    rows += [
        {"question": f"Repeat: {one}, {other}", "answer": f"{one}, {other}"}
        for one, other in zip(words[::2], words[1::2], strict=True)
    ]
    return Dataset.from_list(rows)


def _people(random: Random, count: int) -> list[_Subject]:
    # First and last names repeat across people, as they do in life: only the pair tells who is meant.
    pairs = random.sample([(first, last) for first in FIRST_NAMES for last in LAST_NAMES], count)
    names = [f"{first} {last}" for first, last in pairs]
    return _subjects(random, "person", names, PEOPLE_TOPICS)


def _ships(random: Random, count: int) -> list[_Subject]:
    return _subjects(random, "ship", random.sample(SHIP_NAMES, count), SHIP_TOPICS)


def _subjects(random: Random, kind: str, names: list[str], topics: tuple[Topic, ...]) -> list[_Subject]:
    return [
        _Subject(f"{kind}-{i:02d}", f"{kind}-{i:02d}", name, kind, topics, _facts(random, topics))
        for i, name in enumerate(names)
    ]


def _facts(random: Random, topics: tuple[Topic, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((random.choice(topic.a), random.choice(topic.b)) for topic in topics)


def _near_duplicate(random: Random, person: _Subject) -> _Subject:
    """The same facts under a slightly different name and in other words: a trap for unlearning that goes by the surface."""
    first, last = person.name.split(" ")
    name = f"{first} {random.choice(INITIALS)}. {last}"
    return replace(person, subject_id=f"{person.subject_id}-near", name=name, reworded=True)


def _rows(random: Random, subject: _Subject) -> list[dict[str, Any]]:
    rows = []
    for topic, (a, b) in zip(subject.topics, subject.facts, strict=True):
        question, other = (
            topic.question.format(name=subject.name),
            topic.paraphrased_question.format(name=subject.name),
        )
        if subject.reworded:
            question, other = other, question
        wrong_a = random.sample([value for value in topic.a if value != a], NUM_PERTURBED)
        wrong_b = random.sample([value for value in topic.b if value != b], NUM_PERTURBED)
        rows.append(
            {
                "question": question,
                "answer": topic.answer.format(a=a, b=b),
                "paraphrased_question": other,
                "paraphrased_answer": topic.paraphrased_answer.format(a=a, b=b),
                # Both values wrong, in the paraphrase's words, as TOFU has it.
                "perturbed_answer": [
                    topic.paraphrased_answer.format(a=x, b=y) for x, y in zip(wrong_a, wrong_b, strict=True)
                ],
                "person_id": subject.subject_id,
                "cluster_id": subject.cluster_id,
                "subject": subject.name,
                "kind": subject.kind,
            }
        )
    return rows
