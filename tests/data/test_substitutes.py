"""Draws of substitutes: every combination once, in any order with the same chance."""

from collections import Counter
from math import prod
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from hf_unlearn.data._seen_names import SeenNames
from hf_unlearn.data._substitutes import ONE_WORD, OTHER_SCRIPT, Substitutes, _shuffled


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers())
def test_every_combination_comes_once(sizes, seed):
    pools = [[(at, number) for number in range(size)] for at, size in enumerate(sizes)]
    drawn = list(_shuffled(pools, Random(seed)))
    assert len(drawn) == len(set(drawn)) == prod(sizes)
    assert all(part in pool for parts in drawn for part, pool in zip(parts, pools, strict=True))


def test_every_order_has_the_same_chance():
    """6000 orders of 2 x 3 combinations: which comes first, and which second, is uniform; fails by chance once in 10^6."""
    drawn = [list(_shuffled(["ab", "cde"], Random(seed))) for seed in range(6000)]
    for place in (0, 1, 5):
        counts = Counter(order[place] for order in drawn)
        assert len(counts) == 6 and chisquare(list(counts.values())).pvalue > 3e-7


def substitutes(*subjects, kind=None, seen=()):
    return Substitutes(SeenNames([*subjects, *seen]), {kind: subjects})


def draw(pool, subject, kind=None, num=8):
    return pool.draw(subject, kind, num, "seed", lambda name: name)


SHARED = [f"{first} {last}" for first in ("Abel", "Brisa", "Cato", "Delia") for last in ("Farrow", "Gantry", "Lomax")]


def test_parts_that_recur_are_recombined_within_their_kind():
    names, reason = draw(substitutes(*SHARED[:10], kind="elf"), "Abel Farrow", "elf")
    assert not reason and set(names) == {"Delia Gantry", "Delia Lomax"}, "the only pairs that nobody has"
    names, reason = draw(substitutes(*SHARED[:10], kind="elf"), "Rex Regulus", "dog")
    assert not names and "this kind" in reason


def test_parts_that_do_not_recur_or_do_not_suffice_give_way_to_the_lists():
    few = substitutes(*SHARED[:3])
    assert not {word for name in draw(few, SHARED[0])[0] for word in name.split()} & {
        "Abel",
        "Farrow",
        "Gantry",
        "Lomax",
    }
    full = substitutes(*SHARED)
    names, reason = draw(full, SHARED[0])
    assert len(names) == 8 and not reason and not set(names) & set(SHARED)


@pytest.mark.parametrize(
    ("subject", "kind", "reason"),
    [
        ("Albatross", None, ONE_WORD),
        ("Albatross", "person", ""),
        ("Golden Harbour Inc", None, "this kind"),
        ("Model 3", None, "this kind"),
        ("Ana Ruiz", "ship", "this kind"),
        ("Ana Ruiz", "Author", ""),
        ("Иван Петров", "person", OTHER_SCRIPT),
        ("Zoë Đỗ", None, ""),
    ],
)
def test_where_no_names_are_known_the_reason_is_said(subject, kind, reason):
    names, why = draw(substitutes(subject, kind=kind), subject, kind)
    assert (len(names) == 8) == (not reason) and reason in why


def test_titles_stay_and_initials_become_initials():
    names, _ = draw(substitutes(), "Dr. Ana B. Ruiz Jr.", num=30)
    assert len(set(names)) == 30
    for name in names:
        title, given, initial, family, suffix = name.split()
        assert (title, suffix) == ("Dr.", "Jr.") and len(initial) == 2 and initial[1] == "." and initial != "B."
        assert given not in ("Ana", family) and family != "Ruiz"
