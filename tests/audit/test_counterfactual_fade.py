"""Counterfactual FADE on models whose answers depend on a name only through a table drawn for it: known answers."""

from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from named_markov import WORDS, drawn_tables, exact_divergence, named_lm, names_in, subject_rows
from toys import word_tokenizer

from hf_unlearn.audit import audit
from hf_unlearn.audit._engine import Engine
from hf_unlearn.audit._evidence import EvidenceStore
from hf_unlearn.audit._role_checks import RoleChecks
from hf_unlearn.audit._rows import Rows, SubjectKey
from hf_unlearn.audit.domains import DOMAINS
from hf_unlearn.audit.metrics.counterfactual_fade import CounterfactualFade
from hf_unlearn.config import AuditConfig
from hf_unlearn.functional import Bootstrap


CUT = 4
"""Tokens of a completion at most."""


def words(names: int):
    return word_tokenizer(*(f"w{number}" for number in range(WORDS + names - 1)))


def read(models: dict[str, Any], forget: Dataset, metrics: list, **options: Any) -> Rows:
    """The candidate's rows, of an audit's engine alone."""
    config = AuditConfig(**{"max_new_tokens": CUT, "progress": False, "batch_size": 256, **options})
    store = EvidenceStore(None)
    sets = {"forget": forget, "retain": None, "holdout": None}
    roles = {"reference": None, "candidate": None, **models}
    domain = DOMAINS["causal_lm"](roles, sets, words(names_in(forget)), config, store)
    engine = Engine(domain, metrics, [], config.plain(), store, RoleChecks(0.95))
    return Rows(engine.read(list(models)), SubjectKey("candidate"), "forget")


def exact(candidate: torch.Tensor, original: torch.Tensor, forget: Dataset, num: int) -> np.ndarray:
    """Counterfactual FADE of each row, by recursion."""
    found = []
    for row in forget:
        name, first = row["input_ids"][1] - WORDS, row["input_ids"][2]
        others = [prompt[1] - WORDS for prompt in row["counterfactual_question"][:num]]
        both = [
            exact_divergence(original[other], candidate[name], first, CUT)
            + exact_divergence(candidate[name], original[other], first, CUT)
            for other in others
        ]
        found.append(np.mean(both))
    return np.array(found)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_candidate_has_its_exact_value(seed: int):
    """Within 4 standard errors of sampling, whatever names do: false alarm 6e-5 a comparison. Of the floor too."""
    num, forget = 6, subject_rows(12, 6, seed=seed)
    original = drawn_tables(names_in(forget), seed)
    planted = original + drawn_tables(names_in(forget), seed + 10, 0.7)
    metric = CounterfactualFade()
    models = {"candidate": named_lm(planted), "original": named_lm(original)}
    rows = read(models, forget, [metric], num_counterfactuals=num)
    for role, tables in {"candidate": planted, "original": original}.items():
        # Prompts are numbered in sorted order, as rows are: by name, then by question.
        gap = metric._fade(rows.of(role)).per_prompt - exact(tables, original, forget, num)
        assert abs(gap.mean()) < 4 * gap.std(ddof=1) / len(gap) ** 0.5
        assert gap.std() > 0
    floor = metric._fade(rows.of("stand-in")).per_prompt
    expected = [
        np.mean(
            [
                exact_divergence(original[a[1] - WORDS], original[b[1] - WORDS], row["input_ids"][2], CUT)
                + exact_divergence(original[b[1] - WORDS], original[a[1] - WORDS], row["input_ids"][2], CUT)
                for a, b in zip(
                    row["counterfactual_question"][:num], row["counterfactual_question"][num:], strict=True
                )
            ]
        )
        for row in forget
    ]
    gap = floor - np.array(expected)
    assert abs(gap.mean()) < 4 * gap.std(ddof=1) / len(gap) ** 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_model_that_never_saw_the_subject_is_at_the_floor(seed: int):
    """Its tables of the subjects are fresh draws, as those of unseen names: value − floor is 0 in expectation, within 4 standard errors over
    subjects (false alarm 6e-5 each for normal means). The original, who knows them, is not."""
    forget = subject_rows(30, 4, seed=seed)
    count = names_in(forget)
    unseen = drawn_tables(count, seed)
    original = unseen.clone()
    original[:30] = 4 * drawn_tables(30, seed + 50)  # sure of what it knows
    never_saw = original.clone()
    never_saw[:30] = drawn_tables(30, seed + 90)
    models = {"candidate": named_lm(never_saw), "original": named_lm(original)}
    report = audit(
        **models,
        forget=forget,
        metrics="counterfactual_fade",
        processing_class=words(count),
        max_new_tokens=CUT,
        num_counterfactuals=4,
        batch_size=256,
        num_resamples=100,
        progress=False,
    )
    found = report.metrics["counterfactual_fade/forget"]
    assert found.assumes == "counterfactual" and found.floor_of == "stand-in" and found.clusters == 30
    rows = read(models, forget, [CounterfactualFade()], num_counterfactuals=4)
    metric, bootstrap = CounterfactualFade(), Bootstrap()
    mine, floor, start = (metric(rows.of(role), bootstrap) for role in ("candidate", "stand-in", "original"))
    assert found.value == pytest.approx(mine.value) and found.floor == pytest.approx(floor.value)
    difference = mine.minus(floor)
    assert abs(difference.value) < 4 * difference.standard_error
    assert start.minus(floor).value > 4 * start.minus(floor).standard_error
    assert abs(found.relative) < 0.3


def test_the_original_as_candidate_is_the_start_exactly():
    forget = subject_rows(6, 2)
    tables = drawn_tables(names_in(forget), 0)
    report = audit(
        named_lm(tables),
        original=named_lm(tables),
        forget=forget,
        metrics="counterfactual",
        processing_class=words(len(tables)),
        max_new_tokens=CUT,
        num_counterfactuals=2,
        progress=False,
    )
    for name in ("counterfactual_fade", "counterfactual_exposure"):
        found = report.metrics[f"{name}/forget"]
        assert found.value == found.start, name
