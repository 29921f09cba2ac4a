"""Models that end at once, say special tokens only, or say the same to everything: every metric of generated text has a number or a reason."""

from typing import Any

import pytest
import world
from datasets import Dataset
from small_audits import relatives
from toys import word_tokenizer
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit import METRICS, AuditReport, audit


TEXT = [
    name
    for name, metric in METRICS.items()
    if any(n.name == "generations" for n in metric.from_settings({}).spec.needs)
]
WORDS = [f"W{number}" for number in range(world.VOCABULARY - 1)]


def rows(seed: int) -> Dataset:
    questions = [f"W{10 * seed + at} W{at} W3" for at in range(6)]
    return Dataset.from_dict({"question": questions, "answer": [f"W{20 + seed} W{at}" for at in range(6)]})


def report(tokenizer: PreTrainedTokenizerBase, ends: list[int] | None, **changes: Any) -> AuditReport:
    models = relatives()
    for model in models.values():
        if ends is not None:
            model.generation_config.eos_token_id = ends
    sets = {"forget": rows(1), "retain": rows(2), "holdout": rows(3)}
    options = {"max_new_tokens": 6, "metrics": TEXT, "prompt_template": "{question}", "progress": False, **changes}
    return audit(**models, **sets, processing_class=tokenizer, **options)


def reasons(found: AuditReport) -> dict[str, str]:
    """Why a metric has no value on a set, by key."""
    parts = [
        note.removeprefix("Not defined: ").split(": ", 1) for note in found.notes if note.startswith("Not defined")
    ]
    return {key: why for keys, why in parts for key in keys.split(", ")}


def test_there_are_metrics_of_text():
    assert {"rouge_l", "language_score", "distinct_n", "knowledge_forgetting_rate"} <= set(TEXT)


@pytest.mark.parametrize("compatible", [False, True])
def test_models_that_end_at_once(compatible: bool):
    """Whatever they say first ends the answer, and is no text."""
    tokenizer = word_tokenizer(*WORDS)
    silent = report(tokenizer, list(range(world.VOCABULARY)), compatible=compatible)
    for split in ("forget", "retain", "holdout"):
        found = silent.metrics[f"rouge_l/{split}"]
        assert found.details["truncated"] == 0
        assert 0 <= found.value <= 0.5, "the token that ended is one word at most"
        assert {f"repetition/{split}", f"distinct_n/{split}"} <= set(reasons(silent))
        assert silent.metrics[f"generation_perplexity/{split}"].value > 1
    for name in TEXT:
        places = [key for key in [*silent.metrics, *reasons(silent)] if key.split("/")[0] == name]
        assert len(places) == len(METRICS[name].from_settings({}).spec.splits)


@pytest.mark.parametrize("compatible", [False, True])
def test_models_that_say_special_tokens_only(compatible: bool):
    tokenizer = word_tokenizer(*WORDS)
    tokenizer.add_special_tokens({"additional_special_tokens": WORDS})
    empty = report(tokenizer, None, compatible=compatible)
    for name in ("rouge_l", "verbatim_memorization", "knowledge_memorization"):
        found = empty.metrics[f"{name}/forget"]
        assert found.value == 0 and found.details["empty"] == 1.0
    assert empty.metrics["knowledge_forgetting_rate/forget"].value == 1.0
    assert empty.metrics["knowledge_retention_rate/retain"].value == 0.0
    if compatible:
        assert "no answer has two words" in reasons(empty)["language_score/forget"]
    else:
        assert empty.metrics["language_score/forget"].value == 0.0
    assert "repetition/forget" in {*empty.metrics, *reasons(empty)}
