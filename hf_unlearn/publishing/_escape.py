"""Text from outside on its way into Markdown, HTML and a terminal: shown as it is, never obeyed. Knows no card."""

import html
import re
import unicodedata


_SPECIAL = re.compile(r"[\\`*_{}\[\]|~$@]|(?<=:)/(?=/)|(?<=www)\.|(?<=mailto):|(?<=xmpp):", re.IGNORECASE)
_OPENING = re.compile(r"^(?:[#+\-=!](?!\d)|\d+[.)](?=\s|$))")


_HIDDEN = ("Cc", "Cf", "Co", "Cs", "Cn")


class Safe(str):
    """Markdown that this library wrote itself."""


def printable(text: object) -> str:
    """Text of several lines without what a terminal would obey.

    Example:
        >>> printable("a\\x1b[2J\\n\\tb")
        'a[2J\\n\\tb'
    """
    return "".join(char for char in str(text) if char in "\n\t" or unicodedata.category(char) not in _HIDDEN)


def one_line(text: object) -> str:
    """Text without control characters, direction marks and line breaks, so that it cannot move a cursor or hide what follows.

    Example:
        >>> one_line("a\\x1b[31mred\\n| b")
        'a[31mred | b'
    """
    spaced = re.sub(r"\s+", " ", str(text))
    return "".join(char for char in spaced if unicodedata.category(char) not in _HIDDEN).strip()


def markdown(text: object) -> str:
    """One line that a Markdown renderer, with or without HTML, shows literally; no link, mention, table cell or comment can arise.

    Entities, not backslashes: a backslash is not an escape in every place where Markdown is shown.

    Example:
        >>> markdown("<!-- [x](http://e.vil) | @me")
        '&lt;!-- &#91;x&#93;(http:&#47;/e.vil) &#124; &#64;me'
        >>> markdown("# no heading"), markdown("1. no list")
        ('&#35; no heading', '1&#46; no list')
    """
    if isinstance(text, Safe):
        return text
    plain = html.escape(one_line(text), quote=False)
    plain = _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", plain)
    return _OPENING.sub(lambda match: f"{match[0][:-1]}&#{ord(match[0][-1])};", plain)
