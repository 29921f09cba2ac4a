"""ReLearn's rates and score in an audit."""

from collections.abc import Sequence

import numpy as np
import pytest
from made_rows import generated

from hf_unlearn.audit import METRICS, audit
from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit.metrics.knowledge_forgetting_rate import KnowledgeForgettingRate
from hf_unlearn.audit.metrics.knowledge_retention_rate import KnowledgeRetentionRate
from hf_unlearn.data import load_pocket
from hf_unlearn.functional import Bootstrap, language_score, wording


TRUTHS = ["In Skagway in 1997.", "Anna lives in Oslo", "it is red"]
QUESTIONS = ["Where and when was Quilla born?", "Where does Anna live?", "Which colour?"]


class Shouting:
    """Says that whatever ends with ! contradicts."""

    name = "shouting"

    def contradicts(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        self.premises = list(premises)
        return [
            premise.endswith("!") or hypothesis.endswith("!")
            for premise, hypothesis in zip(premises, hypotheses, strict=True)
        ]


def test_rates_by_entities() -> None:
    """Skagway but not 1997: 1 of 2, forgotten and retained; Oslo is there; the third truth has no entity."""
    rows = generated(TRUTHS, ["In Skagway in 1990.", "oslo", "blue"], questions=QUESTIONS)
    forgetting, retention = KnowledgeForgettingRate(), KnowledgeRetentionRate()
    assert forgetting(rows, Bootstrap()).value == 0.5 and retention(rows, Bootstrap()).value == 1.0
    assert forgetting.count(rows) == 2
    assert forgetting.details(rows, Bootstrap()) == {"entity_coverage": 0.75, "truncated": 0.0, "empty": 0.0}
    assert forgetting.spec.title == "knowledge forgetting rate by entities"
    assert forgetting.notes(rows) == [
        "knowledge forgetting rate by entities: 1 of 3 forget examples have no value: they lack an entity in the true answer that is not in the "
        "question."
    ]
    empty = generated(TRUTHS, ["", "", ""], questions=QUESTIONS)
    assert forgetting(empty, Bootstrap()).value == 1.0 and retention(empty, Bootstrap()).value == 0.0


def test_contradiction_decides_against_knowledge() -> None:
    rows = generated(TRUTHS, ["Skagway 1997!", "oslo", "blue!"], questions=QUESTIONS)
    model = Shouting()
    forgetting = KnowledgeForgettingRate(contradictions=model)
    assert forgetting.values(rows).tolist() == [1, 0, 1]
    assert model.premises[0] == "Skagway 1997!", "the answer is the premise"
    retention = KnowledgeRetentionRate(contradictions=model)
    assert retention.values(rows).tolist() == [0, 1, 0]
    assert model.premises[0] == TRUTHS[0], "the truth is the premise"
    assert forgetting.spec.title.endswith("by entities and contradiction")
    assert "contradictions: shouting" in forgetting.spec.citation.note


def test_models_that_answer_in_another_form_are_refused() -> None:
    class Short:
        def contradicts(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
            return [True]

    class OneText:
        def entities(self, text: str) -> str:
            return text

    rows = generated(TRUTHS, TRUTHS, questions=QUESTIONS)
    with pytest.raises(TypeError, match=r"one truth value per pair: 3 pairs, 1 values from Short\."):
        KnowledgeForgettingRate(contradictions=Short()).values(rows)
    with pytest.raises(TypeError, match="must give a list of texts, OneText gave one text"):
        KnowledgeForgettingRate(OneText()).values(rows)


def test_compatible_counts_truths_without_entities_as_forgotten() -> None:
    rows = generated(TRUTHS, TRUTHS, questions=QUESTIONS, compatible=True)
    assert KnowledgeForgettingRate().values(rows).tolist() == [0, 0, 1]
    assert KnowledgeRetentionRate().values(rows).tolist() == [1, 1, 0]


def test_without_entities_or_questions_there_is_no_rate() -> None:
    with pytest.raises(Undefined, match="no example has an entity in the true answer"):
        KnowledgeForgettingRate()(generated(["red"], ["red"], questions=["Which?"]), Bootstrap())
    with pytest.raises(Undefined, match="the questions of the forget set are no text"):
        KnowledgeForgettingRate()(generated(["Oslo"], ["Oslo"]), Bootstrap())


def test_the_language_score_is_the_mean_of_answers() -> None:
    """Perplexities 2 and 4; an empty answer and one of a single word score 0."""
    said = ["a b a c", "a b c d", "", "word"]
    log_probs = [[np.log(0.5)] * 5, [np.log(0.25)] * 5, [0.0], [0.0]]
    values = METRICS["language_score"]().values(generated(["x"] * 4, said, log_probs=log_probs))
    first, second = wording(said[0].split()), wording(said[1].split())
    assert values[:2] == pytest.approx(
        [language_score(2, first.brunet, first.honore_share), language_score(4, second.brunet, 1.0)]
    )
    assert values[2:].tolist() == [0.0, 0.0]


def test_compatible_is_the_score_of_means() -> None:
    """One answer of perplexity 1e9 among ten decides the published form, and costs a tenth of ours."""
    said = ["the cat sat on the mat."] * 10
    log_probs = [[np.log(0.5)] * 6 + [-50.0]] * 9 + [[np.log(1e-9)] * 6 + [-50.0]]
    rows = {on: generated(said, said, log_probs=log_probs, compatible=on) for on in (False, True)}
    theirs = METRICS["language_score"]()(rows[True], Bootstrap())
    found = wording(["the", "cat", "sat", "on", "the", "mat", "."], compatible=True)
    share = found.honore / (1 + found.honore)
    assert (
        theirs.value == pytest.approx(language_score((9 * 2 + 1e9) / 10, found.brunet, share)) and theirs.value < 1e-7
    )
    assert theirs.standard_error > 0
    assert METRICS["language_score"]()(rows[False], Bootstrap()).value > 0.001


def test_an_audit_of_pocket() -> None:
    pocket = load_pocket("nano")
    report = audit(
        pocket.twin(),
        reference=pocket.reference(),
        original=pocket.original(),
        processing_class=pocket.tokenizer,
        forget=pocket.forget_request,
        retain=pocket.retain,
        metrics=[KnowledgeForgettingRate(contradictions=Shouting()), "knowledge_retention_rate", "language_score"],
        max_examples=16,
        progress=False,
    )
    forgetting, retention = (
        report.metrics["knowledge_forgetting_rate/forget"],
        report.metrics["knowledge_retention_rate/retain"],
    )
    assert forgetting.value > forgetting.start + 0.3 and retention.value > 0.9
    assert report.spec("knowledge_forgetting_rate").title == "knowledge forgetting rate by entities and contradiction"
    assert {"language_score/forget", "language_score/retain"} <= set(report.metrics)
