"""ReLearn's measures against values published with its code, and by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_unlearn.functional import (
    EntityCoverage,
    knowledge_forgotten,
    knowledge_retained,
    language_score,
    treebank_words,
    wording,
)


PUBLISHED = [
    (
        'Emma Johnson is currently working on a novel titled "Ashes of the New Dawn," which explores the aftermath of a global catastrophe '
        "and the rebuilding of society.",
        7.4334255578808754,
        1594.351202082389,
    ),
    (
        "Yes, Noah Schwartz has collaborated with various scientists to ensure the accuracy and depth of the scientific concepts in his books.",
        6.571939423415696,
        2155.652273451291,
    ),
    (
        "Sofia Alvarez's writing style is heavily influenced by her upbringing in Cartagena, a historic and culturally rich city in Colombia, which "
        "infuses her narratives with a deep sense of place and tradition.",
        7.640454927999368,
        1371.4702110140672,
    ),
]
"""Answers of the model published with arXiv 2502.11190, with Brunet's index and Honoré's statistic as its log has them."""


@pytest.mark.parametrize(("answer", "brunet", "honore"), PUBLISHED)
def test_wording_is_the_published_one(answer: str, brunet: float, honore: float):
    found = wording(treebank_words(answer), compatible=True)
    assert (found.brunet, found.honore) == pytest.approx((brunet, honore), rel=1e-12)


@pytest.mark.parametrize(
    ("perplexity", "brunet", "honore", "score"),
    [
        (14.472358827157453, 7.159914158976758, 1896.8152666567184, 0.12178883348201139),
        (7.086432916146737, 7.217205384508511, 2003.80648490842, 0.17336894288197888),
    ],
)
def test_the_score_of_published_means(perplexity: float, brunet: float, honore: float, score: float):
    assert language_score(perplexity, brunet, honore / (1 + honore)) == pytest.approx(score, rel=1e-12)


@pytest.mark.parametrize(
    ("covered", "total", "contradicts", "forgotten", "retained"),
    [
        (0, 6, False, True, False),  # published rows: no entity of six …
        (3, 4, False, False, True),  # … three of four, entailed
        (1, 3, False, True, True),  # up to three entities, half is still forgotten
        (2, 3, False, False, True),
        (1, 2, False, True, True),
        (3, 10, False, True, True),  # 0.3 is on both sides
        (2, 10, False, True, False),
        (4, 10, False, False, True),
        (4, 4, True, True, False),
    ],
)
def test_thresholds(covered: int, total: int, contradicts: bool, forgotten: bool, retained: bool):
    coverage = EntityCoverage(covered, total)
    for compatible in (False, True):
        assert knowledge_forgotten(coverage, contradicts=contradicts, compatible=compatible) is forgotten
        assert knowledge_retained(coverage, contradicts=contradicts, compatible=compatible) is retained


def test_a_truth_without_entities_says_nothing_unless_it_is_contradicted():
    nothing = EntityCoverage(0, 0)
    assert knowledge_forgotten(nothing) is None and knowledge_retained(nothing) is None
    assert (
        knowledge_forgotten(nothing, compatible=True) is True and knowledge_retained(nothing, compatible=True) is False
    )
    assert (
        knowledge_forgotten(nothing, contradicts=True) is True
        and knowledge_retained(nothing, contradicts=True) is False
    )


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.floats(1, 1e6), st.booleans())
def test_the_score_is_bounded_and_defined_everywhere(tokens: list[str], perplexity: float, compatible: bool):
    found = wording(tokens, compatible=compatible)
    score = language_score(perplexity, found.brunet, found.honore_share)
    assert 0 <= score <= 0.6 and math.isfinite(score)
    assert (score == 0) == (len(tokens) < 2)


def test_better_is_higher():
    assert (
        language_score(2, 7, 0.99)
        > language_score(3, 7, 0.99)
        > language_score(3, 8, 0.99)
        > language_score(3, 8, 0.9)
    )
    assert language_score(math.inf, 7, 0.9) == 0.0
    rich, poor = wording(list("abcdefgh")), wording(list("aaaaaaab"))
    assert rich.brunet < poor.brunet and rich.honore > poor.honore and rich.honore_share == 1.0


def test_words_and_marks():
    assert treebank_words("") == []
    assert treebank_words("Yes. No.") == ["yes", ".", "no", "."]
