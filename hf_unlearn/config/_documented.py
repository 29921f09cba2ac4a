"""The options of a config as lines of a docstring, so that what is documented cannot go stale."""

import re
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

from hf_unlearn.config._option import Config, options_of


WIDTH = 119
DocumentedT = TypeVar("DocumentedT", bound=Callable[..., Any])  # a function or a class


def document(config: type[Config], *, indent: str = "        ") -> str:
    """Lines of a Google-style `Args:` section, one entry for each option.

    Args:
        config: Whose options.
        indent: Before each entry; what does not fit its line goes on four spaces further in.
    """
    wrapper = textwrap.TextWrapper(WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ")
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return "\n".join(wrapper.fill(f"{each.name}: {each.help}") for each in options_of(config))


def documented(config: type[Config]) -> Callable[[DocumentedT], DocumentedT]:
    """Decorator: the line `{NameOfTheConfig}` of a docstring becomes the lines of its options.

    Raises:
        ValueError: The docstring has no such line.
    """

    def fill(documented: DocumentedT) -> DocumentedT:
        if documented.__doc__ is None:  # python -OO
            return documented
        place = re.search(rf"^([ \t]*)\{{{config.__name__}\}}$", documented.__doc__, flags=re.MULTILINE)
        if place is None:
            raise ValueError(f"the docstring of {documented.__name__} has no line {{{config.__name__}}}.")
        before, after = documented.__doc__[: place.start()], documented.__doc__[place.end() :]
        documented.__doc__ = before + document(config, indent=place[1]) + after
        return documented

    return fill
