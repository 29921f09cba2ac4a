"""What is documented is what there is."""

from dataclasses import dataclass

import pytest

from hf_unlearn.config import Config, document, documented, option


@dataclass(frozen=True, kw_only=True)
class Tea(Config):
    """Two options."""

    minutes: int = option(3, "How long.")
    kind: str = option("green", " ".join(["Of the leaves."] * 12))


def test_a_docstring_gets_the_lines_of_the_options():
    @documented(Tea)
    def brew(water: float, *, minutes: int = 3, kind: str = "green") -> None:
        """Make tea {Tea} or not.

        Args:
            water: Litres.
            {Tea}

        Returns:
            Nothing.
        """

    lines = (brew.__doc__ or "").splitlines()
    start = lines.index("            water: Litres.")
    assert lines[start + 1] == "            minutes: How long."
    assert lines[start + 2].startswith("            kind: Of the leaves.")
    assert lines[start + 3].startswith("                ") and max(map(len, lines)) <= 119
    assert lines[start + 4 : start + 6] == ["", "        Returns:"]
    assert lines[0] == "Make tea {Tea} or not."  # only a line of its own


def test_a_class_is_documented_in_place():
    @documented(Tea)
    class Pot:
        """A pot.

        {Tea}
        """

    assert isinstance(Pot, type) and document(Tea) in (Pot.__doc__ or "")


def test_a_docstring_without_the_place_is_refused():
    with pytest.raises(ValueError, match=r"docstring of brew has no line \{Tea\}"):

        @documented(Tea)
        def brew() -> None:
            """Make tea."""
