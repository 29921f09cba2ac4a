"""Names in text: their parts, where they stand as whole words, and one name put in the place of another. Knows no dataset."""

import re
import unicodedata
from functools import lru_cache


def word_set(text: str) -> frozenset[str]:
    """The words of a text, told apart by white space."""
    return frozenset(text.split())


TITLES = word_set(
    "dr mr mrs ms miss prof professor sir dame lord lady rev captain president sheikh author writer poet"
)
"""Words before a name that are no part of it, in lower case and without a full stop."""
SUFFIXES = word_set("jr sr ii iii iv phd md esq")
"""Words after a name that are no part of it."""
PARTICLES = word_set(
    "van von der den de del della di da do dos das du des la le el al bin ibn bint ben abu ter ten zu y e"
)
"""Words inside a name that belong to the one after them."""
FUNCTION_WORDS = word_set(
    """a about according after all along also although among an and any are aren't around as at based because before being besides both but by
    can could describe despite did discuss do does during each elaborate else even explain for from give had has have he her hers his how
    however i if in into is isn't it its let like list many may me mention might most must my name no not of on one or our out over outside
    please provide regarding reveal share she should since so some state such tell than that the their them then there these they this those
    through throughout to under until up upon us was we were what what's when where where's whether which while who who's whom whose why will
    with within without would yes yet you your
    wann warum was welche welchem welchen welcher welches wer wessen wie wieso wo worüber hat haben ist sind wurde quand quel quelle quelles
    quels où pourquoi comment cuál cuáles cuándo dónde cómo quién quiénes qué quale quali quando dove perché quem onde quais waar waarom
    wanneer welk wat"""
)
"""Words that begin an English question or stand in one and are no name, however they are written."""
ALSO_NAMES = word_set("Will May So An")
"""Of these, what is a name where it has a capital letter within a sentence."""
# Scripts written without spaces, or (Hangul) with endings on the name: the edge of a name is no edge of a word there.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_APOSTROPHES, _HYPHENS = "'\u2019\u2018\u02bc`\u00b4", "-\u2010\u2011\u2013"


@lru_cache(maxsize=8192)
def name_parts(name: str) -> tuple[str, ...]:
    """The parts of a name, each with its particles; titles and suffixes are parts of their own.

    Example:
        >>> name_parts("Dr. Ana van der Berg-Ruiz")
        ('Dr.', 'Ana', 'van der Berg-Ruiz')
        >>> name_parts("Hafsa Al Mansouri"), name_parts("Ali bin Omar")
        (('Hafsa', 'Al Mansouri'), ('Ali', 'bin Omar'))
    """
    parts: list[str] = []
    waiting: list[str] = []
    words = name.split()
    for at, word in enumerate(words):
        waiting.append(word)
        if at > 0 and at < len(words) - 1 and word.casefold() in PARTICLES:
            continue
        parts.append(" ".join(waiting))
        waiting = []
    return tuple(parts)


def is_fixed(part: str) -> bool:
    """Whether the part says nothing about who is meant: a title or a suffix.

    Example:
        >>> is_fixed("Dr."), is_fixed("Ana")
        (True, False)
    """
    return part.casefold().rstrip(".,") in TITLES | SUFFIXES


def is_initial(part: str) -> bool:
    """Whether the part is one letter, with or without a full stop.

    Example:
        >>> is_initial("B."), is_initial("Bo")
        (True, False)
    """
    return len(part.rstrip(".")) == 1 and part[:1].isupper()


@lru_cache(maxsize=8192)
def telling_parts(name: str) -> tuple[str, ...]:
    """The parts by which the bearer can be meant: no initial, no title, no word of another use, none that the name has twice.

    Example:
        >>> telling_parts("Dr. Ana B. Vasquez"), telling_parts("Will Smith")
        (('Ana', 'Vasquez'), ('Smith',))
    """
    parts = name_parts(name)
    return tuple(part for part in parts if parts.count(part) == 1 and _is_telling(part))


def _is_telling(part: str) -> bool:
    own = part.split()[-1]
    return (
        not is_fixed(part)
        and sum(letter.isalpha() for letter in own) >= 2
        and own[:1] == own[:1].upper()
        and part.casefold() not in FUNCTION_WORDS | PARTICLES
    )


def renamed(text: str, subject: str, substitute: str) -> str:
    """The text with another name wherever the subject's stands as whole words: the full name, its possessive, and parts of it.

    A part ("Vasquez") becomes the part of the other name at the same place, where both names have equally many; else only the first
    and the last part have partners. Parts that can mean something else (initials, titles, "Will") stay. The full name is found in any
    case, parts as they are written or all in capitals; what is all in capitals or in small letters stays so. A bare possessive ("Williams'")
    gets its "s" where the other name needs one. Putting the subject back undoes it, but for that "s" and where a part has no partner.

    Args:
        text: Any text.
        subject: The name to replace.
        substitute: The name to put there.

    Raises:
        ValueError: One of the names is empty.

    Example:
        >>> there = renamed("Is Ana Vasquez's art VASQUEZ's own?", "Ana Vasquez", "Tor Holm")
        >>> there
        "Is Tor Holm's art HOLM's own?"
        >>> renamed(there, "Tor Holm", "Ana Vasquez")
        "Is Ana Vasquez's art VASQUEZ's own?"
    """
    if not subject.strip() or not substitute.strip():
        raise ValueError("a name to replace and a name to put there are needed, and one of the two is empty.")
    pairs = _pairs(subject, substitute)
    pattern = _pattern(subject, tuple(part for part, _ in pairs))

    def put(found: re.Match[str]) -> str:
        number = next(at for at, value in enumerate(found.groups()) if value is not None)
        start, end = found.span(number + 1)
        if _is_inside(text, start, end):
            return found.group()
        source, target = ((subject, substitute), *pairs)[number]
        bare = found["bare"] or ""
        needs_s = bare and target[-1:] not in "sxz" and not _closes_quotation(text, start)
        return _as_written(text[start:end], source, target) + bare + ("s" if needs_s else "")

    return pattern.sub(put, text)


def mentions(text: str, name: str, *, parts: bool = False) -> bool:
    """Whether the name stands in the text as whole words, or, with `parts`, one of its telling parts.

    Example:
        >>> mentions("ana vasquez?", "Ana Vasquez"), mentions("Anabel", "Ana"), mentions("Vasquez?", "Ana Vasquez", parts=True)
        (True, False, True)
    """
    pattern = _pattern(name, telling_parts(name) if parts else ())
    return any(
        not _is_inside(text, found.start(), found.end() - len(found["bare"] or "")) for found in pattern.finditer(text)
    )


def _pairs(subject: str, substitute: str) -> list[tuple[str, str]]:
    """Parts of the one name that can stand alone, and their partners in the other."""
    ours, theirs = ([part for part in name_parts(name) if not is_fixed(part)] for name in (subject, substitute))
    if len(ours) < 2 or len(theirs) < 2:
        return []
    together = (
        list(zip(ours, theirs, strict=True))
        if len(ours) == len(theirs)
        else [(ours[0], theirs[0]), (ours[-1], theirs[-1])]
    )
    telling = telling_parts(subject)
    pairs = [(part, partner) for part, partner in together if part in telling and not is_initial(partner)]
    bare = [(part.split()[-1], partner.split()[-1]) for part, partner in pairs if " " in part]
    return pairs + [(part, partner) for part, partner in bare if part[:1].isupper()]


@lru_cache(maxsize=4096)
def _pattern(name: str, parts: tuple[str, ...]) -> re.Pattern[str]:
    """One group for the full name, one for each part, in order; the full name is tried first."""
    name, whole = name.strip(), _either_form(name)
    single = len(name.split()) == 1
    groups = [_bounded(name, f"{whole}|{_either_form(name.upper())}" if single else f"(?i:{whole})")]
    groups += [_bounded(part, f"{_either_form(part)}|{_either_form(part.upper())}") for part in parts]
    bare = rf"(?P<bare>(?<=[sxz])[{_APOSTROPHES}](?=\s\w))?"
    return re.compile(f"(?:{'|'.join(groups)}){bare}")


def _bounded(name: str, pattern: str) -> str:
    before = "" if re.match(f"[{UNSPACED}]", name[0]) else r"(?<!\w)"
    after = "" if re.match(f"[{UNSPACED}]", name[-1]) else r"(?!\w)"
    return f"{before}({pattern}){after}"


def _either_form(name: str) -> str:
    """Composed or decomposed, with any apostrophe, hyphen and white space."""
    forms = dict.fromkeys(unicodedata.normalize(form, name.strip()) for form in ("NFC", "NFD"))
    return "|".join(_loosely(form) for form in forms)


def _loosely(name: str) -> str:
    written = "".join(
        f"[{_APOSTROPHES}]" if letter in _APOSTROPHES else f"[{_HYPHENS}]" if letter in _HYPHENS else re.escape(letter)
        for letter in " ".join(name.split())
    )
    return written.replace(r"\ ", r"\s+")


def _is_inside(text: str, start: int, end: int) -> bool:
    """Whether a hyphen or apostrophe makes it part of another name: Anna in Anna-Lena, Brien in O'Brien; not in Anna-like or d'Anna."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    # Combining marks are no word characters to `re`, but the letter that they stand on is part of the word.
    if any(unicodedata.category(letter)[0] == "M" for letter in before[-1:] + after[:1]):
        return True
    if before[-1:] and before[-1] in _HYPHENS and re.split(r"[\s(]", text[:start])[-1][:1].isupper():
        return True
    if before[:-1].isupper() and before[-1] in _APOSTROPHES:
        return True
    return len(after) == 2 and after[0] in _HYPHENS and after[1].isupper()


def _as_written(found: str, source: str, target: str) -> str:
    if found == source or found.upper() == found.lower():
        return target
    if found == found.upper() and source != source.upper():
        return target.upper()
    if found == found.lower() and source != source.lower():
        return target.lower()
    return target


def _closes_quotation(text: str, start: int) -> bool:
    """Whether a quotation in single quotes is open where the name starts: then an apostrophe behind it ends that."""
    opened = [at.end() for at in re.finditer(rf"(?<!\w)[{_APOSTROPHES}](?=\w)", text[: start + 1])]
    closed = [at.end() for at in re.finditer(rf"(?<=[\w.,!?])[{_APOSTROPHES}](?!\w)", text[:start])]
    return max(opened, default=0) > max(closed, default=0)
