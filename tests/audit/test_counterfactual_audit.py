"""An audit's counterfactual numbers against plain passes, one sequence at a time; batches, evidence, conditions, roles."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counterfactual_audits import EACH, METRICS, adapted, arguments, forget_rows, moved
from launch import torchrun
from small_audits import Noisy, numbers, token_rows
from toys import tiny_llama

from hf_unlearn.audit import AuditReport, MetricResult, audit
from hf_unlearn.functional import PairedMoments, layer_metrics
from hf_unlearn.inference import sample_completions


ROWS = forget_rows()
ASKED = [row for row in ROWS if row["counterfactual_question"]]


def prompt_of(row: dict) -> list[int]:
    return row["input_ids"][: row["labels"].count(-100)]


def answer_of(row: dict) -> list[int]:
    return [label for label in row["labels"] if label != -100]


def log_probs(model: torch.nn.Module, prompt: list[int], answer: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1].numpy()


def answer_log_prob(model: torch.nn.Module, prompt: list[int], answer: list[int]) -> float:
    return float(log_probs(model, prompt, answer)[np.arange(len(answer)), answer].sum())


def states(model: torch.nn.Module, prompt: list[int], answer: list[int]) -> list[np.ndarray]:
    """Mean over the answer's tokens, by layer."""
    with torch.no_grad():
        found = model(torch.tensor([[*prompt, *answer]]), output_hidden_states=True).hidden_states
    return [layer[0, len(prompt) :].double().mean(0).numpy() for layer in found]


def samples(model: torch.nn.Module, prompts: list[list[int]], each: int) -> list[list[int]]:
    found = sample_completions(model, prompts, num_samples=each, max_new_tokens=4, seed=0, progress=False)
    return [found.answer(row) for row in range(len(found))]


def divergence(one: np.ndarray, other: np.ndarray) -> float:
    return float((np.exp(one) * (one - other)).sum())


def by_hand(candidate: torch.nn.Module, original: torch.nn.Module) -> dict[str, float]:
    """Fade and exposure, of what the sampler draws."""
    stand_in = samples(original, [p for row in ASKED for p in row["counterfactual_question"][:EACH]], 1)
    own = samples(candidate, [prompt_of(row) for row in ROWS], EACH)
    by_prompt: dict[tuple[int, ...], list[tuple[float, float]]] = {}
    bits = []
    for at, row in enumerate(ASKED):
        prompt, answer, others = prompt_of(row), answer_of(row), row["counterfactual_question"][:EACH]
        for k, other in enumerate(others):
            x, y = stand_in[EACH * at + k], own[EACH * at + k]
            to = divergence(log_probs(original, other, x), log_probs(candidate, prompt, x))
            back = divergence(log_probs(candidate, prompt, y), log_probs(original, other, y))
            by_prompt.setdefault(tuple(prompt), []).append((to, back))
        likely = np.mean([np.exp(answer_log_prob(original, other, answer)) for other in others])
        bits.append(answer_log_prob(candidate, prompt, answer) / np.log(2) - np.log2(likely))
    to, back = np.mean([np.mean(pairs, 0) for pairs in by_prompt.values()], 0)
    return {"fade": to + back, "to": to, "back": back, "exposure": np.mean(bits), "most": np.max(bits)}


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_numbers_follow_from_plain_passes(batch_size: int):
    """The adapter's base is the original itself; rows of a person are one cluster, a prompt with two answers is one prompt."""
    report = audit(**arguments(batch_size=batch_size))
    assert len({tuple(prompt_of(row)) for row in ASKED}) == len(ASKED) - 1
    original, candidate = tiny_llama(0, pad_token_id=2), adapted(tiny_llama(0, pad_token_id=2))
    expected = by_hand(candidate, original)
    fade, exposure = (report.metrics[f"{name}/forget"] for name in METRICS[:2])
    assert fade.value == pytest.approx(expected["fade"], abs=1e-4)
    assert fade.details["stand_in_to_candidate"] == pytest.approx(expected["to"], abs=1e-4)
    assert fade.details["candidate_to_stand_in"] == pytest.approx(expected["back"], abs=1e-4)
    assert (fade.n, fade.details["num_samples"]) == (
        len(ASKED) - 1,
        pytest.approx(len(ASKED) * EACH / (len(ASKED) - 1)),
    )
    assert exposure.value == pytest.approx(expected["exposure"], abs=1e-4)
    assert exposure.details["max"] == pytest.approx(expected["most"], abs=1e-4)
    assert fade.start == pytest.approx(by_hand(original, original)["fade"], abs=1e-4)
    said = [np.exp(answer_log_prob(candidate, prompt_of(row), answer_of(row)) / len(answer_of(row))) for row in ASKED]
    assert fade.details["forget_probability"] == pytest.approx(np.mean(said), abs=1e-5)
    of_stand_in = [
        np.mean(
            [
                np.exp(answer_log_prob(original, other, answer_of(row)) / len(answer_of(row)))
                for other in row["counterfactual_question"][:EACH]
            ]
        )
        for row in ASKED
    ]
    assert fade.details["stand_in_forget_probability"] == pytest.approx(np.mean(of_stand_in), abs=1e-5)


def test_hidden_states_are_those_of_plain_passes():
    report = audit(**arguments())
    original, candidate = tiny_llama(0, pad_token_id=2), adapted(tiny_llama(0, pad_token_id=2))
    for layer in (1, 2):

        def stacked(model: torch.nn.Module, prompts: Any, layer: int = layer) -> np.ndarray:
            return np.stack(
                [np.mean([states(model, p, answer_of(row))[layer] for p in prompts(row)], 0) for row in ASKED]
            )

        features = {
            "reference": stacked(original, lambda row: row["counterfactual_question"][:EACH]),
            "original": stacked(original, lambda row: [prompt_of(row)]),
            "candidate": stacked(candidate, lambda row: [prompt_of(row)]),
            "floor": stacked(original, lambda row: row["counterfactual_question"][EACH : EACH + 1]),
        }
        moments = PairedMoments.from_rows(features)
        for name in ("residual_ratio", "progress"):
            found: MetricResult = report.metrics[f"counterfactual_{name}/forget"].by_layer[str(layer)]
            expected, floor, start = (
                layer_metrics(moments, who).values[name] for who in ("candidate", "floor", "original")
            )
            # Layer 2 is after the final norm in `hidden_states`, and a block's output in the audit.
            if layer == 1:
                assert found.value == pytest.approx(expected, abs=1e-4)
                assert found.floor == pytest.approx(floor, abs=1e-4)
            assert found.start == pytest.approx(start, abs=1e-6)


def test_a_reference_is_measured_beside_and_fade_does_not_move():
    """Reference and twin have counterfactual values of their own, and FADE is what it is alone."""
    roles = {
        "reference": moved(tiny_llama(0, pad_token_id=2), 1),
        "twin": moved(tiny_llama(0, pad_token_id=2), 2),
        "continued": [moved(tiny_llama(0, pad_token_id=2), 3, 0.02), moved(tiny_llama(0, pad_token_id=2), 4, 0.02)],
        "num_samples": EACH,
    }
    both = audit(**arguments(**roles, metrics=["fade", *METRICS]))
    alone = audit(**arguments(**roles, metrics=["fade"]))
    assert both.metrics["fade/forget"] == alone.metrics["fade/forget"]
    found = both.metrics["counterfactual_fade/forget"]
    assert {"reference", "twin", "continued", "continued 2", "stand-in", "original"} == set(found.others)
    assert found.floor_of == "continued"
    assert found.floor == pytest.approx((found.others["continued"] + found.others["continued 2"]) / 2)
    assert found.start == found.others["original"]


def test_evidence_is_kept_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What was lost of a reading is read again, from the completions that were kept, with the same numbers."""
    first = audit(**arguments(evidence_dir=tmp_path, batch_size=3))
    lost = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and "counterfactual_" in str(path) and "candidate" in str(path)
    ]
    lost += [path for path in tmp_path.rglob("*") if path.is_file() and "counterfactual_answers" in str(path)]
    assert len(lost) >= 2
    for path in lost:
        path.unlink()
    monkeypatch.setattr(sys.modules["hf_unlearn.audit._completion_reading"], "sample_tables", None)
    again = audit(**arguments(evidence_dir=tmp_path, batch_size=3))
    assert numbers(first) == numbers(again)


def test_a_candidate_is_measured_after_an_attack():
    report = audit(**arguments(candidate=moved(tiny_llama(0, pad_token_id=2), 5)), conditions=[Noisy()])
    plain, attacked = (report.metrics[f"counterfactual_fade/forget{under}"] for under in ("", "@noise"))
    assert attacked.value != plain.value
    assert (attacked.floor, attacked.start) == (plain.floor, plain.start)


def test_models_of_another_start_have_no_common_basis():
    report = audit(**arguments(candidate=tiny_llama(7, pad_token_id=2)))
    assert "counterfactual_fade/forget" in report.metrics
    assert not {f"{name}/forget" for name in METRICS[2:]} & set(report.metrics)
    assert any("candidate did not start from the original's weights" in note for note in report.notes)


def test_without_questions_the_reason_is_said():
    report = audit(
        **arguments(
            forget=token_rows(1), reference=moved(tiny_llama(0, pad_token_id=2), 1), metrics=["fade", *METRICS]
        )
    )
    assert set(report.metrics) == {"fade/forget"}
    (note,) = [note for note in report.notes if "counterfactual_fade/forget" in note]
    assert note.startswith("Not defined: ") and "no question of the set could be asked about another subject" in note


def test_notes_name_the_assumption_and_what_was_left_out():
    report = audit(**arguments())
    assert any("exchangeable" in note for note in report.notes)
    assert any("1 of 9" in note for note in report.notes)


@pytest.mark.distributed
def test_two_processes_find_what_one_does(tmp_path: Path):
    torchrun(Path(__file__).with_name("two_processes_counterfactual.py"), str(tmp_path), timeout=240)
    first, second = (AuditReport.from_json((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    alone = audit(**arguments(batch_size=3))
    assert first.metrics == second.metrics
    found, expected = numbers(first), numbers(alone)
    assert found.keys() == expected.keys() and len(found) > 50
    for place, value in expected.items():
        assert found[place] == pytest.approx(value, rel=1e-9, abs=1e-9), place
    assert json.loads(first.to_json())["notes"] == json.loads(alone.to_json())["notes"]
