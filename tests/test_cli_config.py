"""A config as options of a command: one declaration gives names, types, defaults, help, checks and what a file may say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from hf_unlearn._arguments import one_of, real_number, switch, texts, whole_number, whole_numbers
from hf_unlearn.cli._config import Config as FileOption
from hf_unlearn.cli._options import with_options
from hf_unlearn.config import Config, option


@dataclass(frozen=True, kw_only=True)
class Baking(Config):
    """Every kind of option that a command line knows, and one that it does not."""

    loaves: int = option(2, "How many.", check=partial(whole_number, minimum=1))
    hours: float = option(1.5, "In the oven.", check=real_number, cli=("--time",))
    flour: str = option("rye", "Rye or wheat.", check=partial(one_of, choices=("rye", "wheat")))
    racks: Sequence[int] | None = option(None, "Which.", check=partial(whole_numbers, minimum=0))
    seeds: str | Sequence[str] = option(("flax",), "Which.", check=texts, cli=("--seed",))
    recipe: Mapping[str, Any] | None = option(None, "What else.")
    steam: bool = option(False, "Water on the ground.", check=switch)
    fan: bool | None = option(None, "By default as it was.", check=switch)
    resume: bool | str = option(False, "From where.", cli=None)
    starter: str | Any | None = option(None, "Name of the sourdough.")
    baker: Any = option(None, "An object of Python.", cli=None)


@pytest.fixture
def bake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command that notes what it was handed."""
    monkeypatch.setenv("COLUMNS", "300")
    app, noted = typer.Typer(), {}

    @app.command()
    @with_options(Baking)
    def command(
        oven: Annotated[str, typer.Option(help="Which oven.")],
        config: FileOption = None,
        racks: Annotated[int, typer.Option(help="In its own way.")] = 0,
        *,
        options: Baking,
    ) -> None:
        """Bake."""
        noted.update(oven=oven, options=replace(options, racks=[racks] if racks else None))

    def run(*arguments: object, oven: str | None = "stone"):
        noted.clear()
        given = [] if oven is None else ["--oven", oven]
        result = CliRunner().invoke(app, [*given, *map(str, arguments)])
        return noted.get("options"), result.exit_code, " ".join((result.output + str(result.exception or "")).split())

    return run


def test_without_options_all_defaults_hold(bake):
    options, code, output = bake()
    assert code == 0 and options == Baking(), output


CHOSEN = Baking(
    loaves=3, hours=0.25, flour="wheat", racks=[4], seeds=["sesame", "poppy"], recipe={"salt": 0.5, "note": "a, b"},
    steam=True, fan=False, starter="levain",
)  # fmt: skip


@pytest.mark.parametrize("seeds", [("--seeds", "sesame,poppy"), ("--seeds", "sesame", "--seed", "poppy")])
@pytest.mark.parametrize("hours", ["--time", "--hours"])
def test_every_kind_arrives(bake, seeds: tuple[str, ...], hours: str):
    given = ("--loaves", 3, hours, 0.25, "--flour", "wheat", "--racks", 4, *seeds, "--recipe", "salt=0.5", "--recipe", "note=a, b",
             "--steam", "--no-fan", "--starter", "levain")  # fmt: skip
    options, code, output = bake(*given)
    assert code == 0 and options == CHOSEN, output


@pytest.mark.parametrize("hours", ["time", "hours"])
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_every_kind_arrives_from_a_file(bake, tmp_path: Path, suffix: str, hours: str):
    path = tmp_path / f"bread.{suffix}"  # JSON is YAML, too
    path.write_text(json.dumps({"loaves": 3, hours: 0.25, "flour": "wheat", "racks": 4, "seeds": ["sesame", "poppy"],
                                "recipe": {"salt": 0.5, "note": "a, b"}, "steam": True, "fan": False, "starter": "levain"}))  # fmt: skip
    options, code, output = bake("--config", path)
    assert code == 0 and options == CHOSEN, output
    assert bake("--config", path, "--loaves", 9)[0] == replace(CHOSEN, loaves=9)


def test_one_option_under_two_names_in_a_file_is_refused(bake, tmp_path: Path):
    (tmp_path / "twice.yaml").write_text("time: 1\nhours: 2\n")
    _, code, output = bake("--config", tmp_path / "twice.yaml")
    assert code == 2 and "gives one option twice, as time and as hours" in output


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("--loaves", 0), 1, "loaves must be at least 1, got 0"),
        (("--loaves", 1.5), 2, "Invalid value for '--loaves'"),
        (("--hours", "nan"), 1, "hours must be finite"),
        (("--flour", "oat"), 1, "unknown flour 'oat'; choose one of rye, wheat"),
        (("--seeds", "a,a"), 1, "seeds names 'a' twice"),
        (("--recipe", "salt"), 1, "--recipe must be given as name=value"),
        (("--baker", "me"), 2, "No such option"),
        (("--resume",), 2, "No such option"),
    ],
)
def test_what_cannot_be_is_refused_in_words(bake, given: tuple, code: int, message: str):
    options, found, output = bake(*given)
    assert options is None and found == code and message in output.replace("│ ", "")


def test_help_is_that_of_the_fields(bake):
    output = bake("--help", oven=None)[2].replace("│ ", "")
    for text in ("How many. [default: 2]", "In the oven. [default: 1.5]", "Rye or wheat. [default: rye]", "In its own way.", "Water on the ground.",
                 "Which. Separated by commas, or repeated. [default: flax]", "What else. As name=value; may be repeated.", "Name of the sourdough."):  # fmt: skip
        assert text in output, output
    assert "--time" in output and "--hours" in output and "An object of Python" not in output
