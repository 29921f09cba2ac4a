"""Counterfactual FADE from prompts alone: the audit's number, its start and its floor; and what is refused."""

from typing import Any

import pytest
import torch
from counterfactual_audits import forget_rows
from named_markov import drawn_tables, named_lm, names_in, subject_rows
from toys import tiny_llama, word_tokenizer

from hf_unlearn.audit import audit, measure_counterfactual_fade


def noisy(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.2 * weights.abs().mean() * torch.randn(weights.shape, generator=generator)
    return model


def lm(seed: int | None = None) -> torch.nn.Module:
    model = tiny_llama(0, pad_token_id=2)
    return model if seed is None else noisy(model, seed)


def inputs(**changes: Any) -> dict[str, Any]:
    rows = forget_rows().select(range(8))  # the last has no counterfactual question
    prompts = [row["input_ids"][: row["labels"].count(-100)] for row in rows]
    given = {
        "prompts": prompts,
        "counterfactual_prompts": rows["counterfactual_question"],
        "candidate": lm(1),
        "original": lm(),
        "max_new_tokens": 4,
        "num_resamples": 100,
        "progress": False,
    }
    return {**given, **changes}


@pytest.mark.parametrize("continued", [None, 1, 2])
def test_it_is_the_audits(continued: int | None):
    models = None if continued is None else [lm(7 + at) for at in range(continued)]
    rows = forget_rows().select(range(8))
    found = measure_counterfactual_fade(**inputs(continued=models, clusters=rows["person_id"])).to_dict()
    report = audit(
        lm(1), original=lm(), continued=models, forget=rows, metrics=["counterfactual_fade"], num_counterfactuals=3, max_new_tokens=4,
        processing_class=word_tokenizer(*(f"w{number}" for number in range(96))), num_resamples=100, progress=False,
    )  # fmt: skip
    own = report.metrics["counterfactual_fade"]
    assert found["counterfactual_fade"] == pytest.approx(own.value, rel=1e-6)
    assert found["start"] == pytest.approx(own.start, rel=1e-6)
    assert found["floor"] == pytest.approx(own.floor, rel=1e-6)
    assert found["floor_of"] == own.floor_of == ("stand-in" if continued is None else "continued")
    assert found["confidence_interval"] == pytest.approx(own.confidence_interval, rel=1e-6)
    assert found["num_prompts"] == own.n and found["num_counterfactuals"] == 3
    assert found["relative"] == (None if own.relative is None else pytest.approx(own.relative, rel=1e-6))
    assert found["assumes"].startswith("counterfactual")


def test_the_original_has_the_start():
    found = measure_counterfactual_fade(**inputs(candidate=lm()))
    assert found.estimate.fade == pytest.approx(found.start, rel=1e-9)


def test_a_model_that_never_saw_the_subjects_is_at_the_floor():
    """Tables drawn for names: to a model with fresh ones for the subjects these are names like any other. Within 4 standard errors of the difference,
    which a right one leaves once in 16,000."""
    rows = subject_rows(12, 8)
    tables = drawn_tables(names_in(rows), 0)
    fresh = tables.clone()
    fresh[:12] = drawn_tables(12, 1)
    prompts = [row["input_ids"][:3] for row in rows]
    found = measure_counterfactual_fade(
        prompts=prompts, counterfactual_prompts=rows["counterfactual_question"], candidate=named_lm(fresh), original=named_lm(tables),
        clusters=rows["subject"], max_new_tokens=5, progress=False,
    )  # fmt: skip
    low, high = found.comparison.over_floor
    error = (high - low) / (2 * 2.2)  # Student's t of 11 degrees, 97.5 %
    assert abs(found.estimate.fade - found.floor) < 4 * error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counterfactual_prompts": [[[1, 2], [1, 3]]] * 3}, "one list for each of the 8 prompts; got 3"),
        ({"counterfactual_prompts": [[[1, 2]]] * 8}, "the same even number of counterfactual ones.*lists of 1"),
        ({"counterfactual_prompts": [[[1, 2], [1, 3]]] * 7 + [[]]}, "there are lists of 0, 2. Leave out prompts"),
        ({"counterfactual_prompts": ["who?"] * 8}, "are lists of texts .* got a text"),
        ({"original": None}, "original must be given"),
        ({"candidate": None}, "candidate must be given"),
        ({"clusters": ["a"]}, "clusters must name one for each of the 8 prompts, got 1"),
        ({"estimator": "best"}, "estimator"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises((ValueError, TypeError), match=message):
        measure_counterfactual_fade(**inputs(**changes))
