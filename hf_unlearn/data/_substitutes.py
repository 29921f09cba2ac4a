"""Names to put in a subject's place: given, put together from parts that the data's own names share, or from lists of people's names.

Knows names and kinds; no rows. Draws are made from `Random.random` alone, whose numbers are the same on every machine and version.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from random import Random

from hf_unlearn.data._name_lists import FAMILY_NAMES, GIVEN_NAMES
from hf_unlearn.data._names import is_fixed, is_initial, name_parts, word_set
from hf_unlearn.data._seen_names import SeenNames, plain_words


PEOPLE = word_set("person people human man woman author writer artist character patient customer employee user")
"""Kinds, in small letters, whose names are taken from the lists of people's names."""
_NO_PEOPLE = word_set(
    """north south east west new saint united republic university college school institute company corporation inc ltd llc corp gmbh group
    bank city town county state river lake mount island street road avenue hms uss ss award prize series book war act party church museum
    hospital airport station league club fc project system foundation association society agency ministry department"""
)
_ENOUGH_SUBJECTS = 10
_SHARED = 0.02
"""Parts recur where so large a share of all pairs of subjects has one in common: .08 where 24 first and 24 last names are drawn
evenly, .001 to .005 among the authors of TOFU."""
_INITIALS = tuple(f"{letter}." for letter in "ABCDEFGHIJKLMNOPRSTVW")

ONE_WORD = "no other names are known for a subject of one word whose kind is not said to be people's: pass substitutes"
NOT_PEOPLE = "no other names are known for subjects of this kind: pass substitutes"
OTHER_SCRIPT = "no other names are known in the script of the subject's name: pass substitutes"
TOO_FEW = "fewer than two substitutes are left that stand nowhere in the data and can take the place of the name"


@dataclass(frozen=True)
class Substitutes:
    """Where substitutes come from.

    Attributes:
        seen: What stands in the data; no substitute does.
        subjects: Names of the data's subjects, by kind (None where no kind is told).
        given: The user's, by kind; None = to be drawn.
    """

    seen: SeenNames
    subjects: Mapping[str | None, Sequence[str]]
    given: Mapping[str | None, Sequence[str]] | None = None
    _shared: dict[str | None, bool] = field(default_factory=dict)

    def draw(
        self, subject: str, kind: str | None, num: int, seed: str, asks: Callable[[str], str | None]
    ) -> tuple[tuple[str, ...], str]:
        """Different names for one row.

        Args:
            subject: The name to be replaced.
            kind: Of what the subject is one.
            num: How many.
            seed: Any text.
            asks: The row's question with a name in the subject's place; None where it cannot take it. No two names ask the same.

        Returns:
            The names, `num` or fewer, and ""; or none and the reason.
        """
        own = set(plain_words(subject))
        sources, reason = self._sources(subject, kind)
        best: tuple[str, ...] = ()
        for pools, parts_are_new in sources:
            found: dict[tuple[str, ...], str] = {}
            asked: set[str] = set()
            for parts in _shuffled(pools, Random(seed)):
                name, words = " ".join(parts), tuple(plain_words(" ".join(parts)))
                if len({*parts}) < len(parts) or words in found or name in self.seen or not words:
                    continue
                changed = [
                    part for part, pool in zip(parts, pools, strict=True) if len(pool) > 1 and not is_initial(part)
                ]
                if own & set(plain_words(" ".join(changed))) or (
                    parts_are_new and any(part in self.seen for part in changed)
                ):
                    continue
                question = asks(name)
                if question is not None and question not in asked:
                    asked.add(question)
                    found[words] = name
                if len(found) == num:
                    return tuple(found.values()), ""
            best = max(best, tuple(found.values()), key=len)
        return (best, "") if len(best) >= 2 else ((), reason or TOO_FEW)

    def _sources(self, subject: str, kind: str | None) -> tuple[list[tuple[list[Sequence[str]], bool]], str]:
        """For each source the choices of each part, and whether a part may stand nowhere in the data; or none and the reason."""
        if self.given is not None:
            return [([self.given.get(kind, ())], False)], ""
        parts = name_parts(subject)
        sources = []
        if len(parts) > 1 and self._parts_recur(kind):
            sources.append((_pools(parts, *self._seen_parts(kind)), False))
        people = kind is None or kind.casefold() in PEOPLE
        if not people:
            return sources, NOT_PEOPLE
        if not subject.isascii() and not all(
            ord(letter) < 0x250 or 0x1E00 <= ord(letter) < 0x1F00 for letter in subject if letter.isalpha()
        ):
            return sources, OTHER_SCRIPT
        if kind is None and len(parts) == 1:
            return sources, ONE_WORD
        if kind is None and (set(plain_words(subject)) & _NO_PEOPLE or any(letter.isdigit() for letter in subject)):
            return sources, NOT_PEOPLE
        return [*sources, (_pools(parts, GIVEN_NAMES, FAMILY_NAMES), True)], ""

    def _names(self, kind: str | None) -> list[tuple[str, ...]]:
        names = [name_parts(name) for name in self.subjects.get(kind, ())]
        return [parts for parts in names if len(parts) > 1 and not any(map(is_fixed, parts))]

    def _parts_recur(self, kind: str | None) -> bool:
        if kind not in self._shared:
            names = [set(parts) for parts in self._names(kind)]
            pairs = [bool(one & other) for one, other in combinations(names, 2)]
            self._shared[kind] = len(names) >= _ENOUGH_SUBJECTS and sum(pairs) >= _SHARED * len(pairs)
        return self._shared[kind]

    def _seen_parts(self, kind: str | None) -> tuple[Sequence[str], Sequence[str]]:
        names = self._names(kind)
        return tuple(sorted({parts[0] for parts in names})), tuple(sorted({parts[-1] for parts in names}))


def _pools(parts: Sequence[str], given: Sequence[str], family: Sequence[str]) -> list[Sequence[str]]:
    """What each part may become: titles stay, initials become initials, the last of the rest is a family's."""
    own = [at for at, part in enumerate(parts) if not is_fixed(part)]
    pools: list[Sequence[str]] = []
    for at, part in enumerate(parts):
        if is_fixed(part):
            pools.append((part,))
        elif is_initial(part):
            pools.append(tuple(letter for letter in _INITIALS if letter[0] != part[0]))
        else:
            pools.append(family if at == own[-1] and len(own) > 1 else given)
    return pools


def _shuffled(pools: Sequence[Sequence[str]], random: Random) -> Iterator[tuple[str, ...]]:
    """Every combination once, in random order, without making them all: a shuffle of their numbers that remembers only what moved."""
    total = 1
    for pool in pools:
        total *= len(pool)
    moved: dict[int, int] = {}
    for last in range(total - 1, -1, -1):
        at = min(int(random.random() * (last + 1)), last)
        number = moved.get(at, at)
        moved[at] = moved.get(last, last)
        chosen = []
        for pool in pools:
            number, index = divmod(number, len(pool))
            chosen.append(pool[index])
        yield tuple(chosen)
