"""Options from a file: `--config settings.yaml`, which the command line overrides."""

import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def read_config(path: Path) -> dict[str, Any]:
    """The options of a file, by name with underscores.

    Args:
        path: YAML, JSON or TOML.

    Raises:
        ValueError: Another kind of file, one that cannot be parsed, or that holds no options by name.
        OSError: It cannot be read.
    """
    readers: dict[str, Callable[[str], object]] = {".yaml": _yaml, ".yml": _yaml, ".json": json.loads, ".toml": _toml}
    if path.suffix.lower() not in readers:
        raise ValueError(f"a configuration is a .yaml, .json or .toml file, got {str(path)!r}.")
    text = path.read_text(encoding="utf-8")
    try:
        found = readers[path.suffix.lower()](text)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{path} must hold options by name, such as `batch_size: 4`; it holds {type(found).__name__}."
        )
    return {_plain_name(str(name)): value for name, value in found.items()}


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's values where the command line gives none; called before the other options are read."""
    if path is None:
        return None
    known = {name: option for option in context.command.params if option.name != "config" for name in _names(option)}
    try:
        given = read_config(path)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    unknown = [name for name in given if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise typer.BadParameter(f"{path} names {unknown[0]!r}, which is no option here.{hint}")
    twice = [name for name in given if sum(known[other] is known[name] for other in given) > 1]
    if twice:
        raise typer.BadParameter(f"{path} gives one option twice, as {' and as '.join(twice)}.")
    defaults = {
        str(known[name].name): _as_typed(known[name], value, path)
        for name, value in given.items()
        if value is not None
    }
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _names(option: Any) -> list[str]:
    """All that an option may be called in a file: as in Python, and as on the command line."""
    return [str(option.name), *(_plain_name(spelling) for spelling in option.opts)]


def _plain_name(spelling: str) -> str:
    return spelling.lstrip("-").replace("-", "_")


Config = Annotated[
    Path | None,
    typer.Option(
        help="YAML, JSON or TOML file with options by name; the command line overrides it.",
        callback=use_config,
        is_eager=True,
    ),
]


def parse_options(given: list[str] | None, what: str) -> dict[str, Any]:
    """`name=value` as a mapping; values are read as numbers or JSON (true, null) where they are, else as text.

    Raises:
        ValueError: One without "=", or a name given twice.
    """
    found: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{what} must be given as name=value, for example beta=0.5; got {text!r}.")
        if name.strip() in found:
            raise ValueError(f"{what} gives {name.strip()!r} twice.")
        found[name.strip()] = _value(value)
    return found


def _value(text: str) -> Any:
    for read in (json.loads, float):  # JSON knows neither .5 nor 1.
        try:
            return read(text)
        except ValueError:
            pass
    return text


def _as_typed(option: Any, value: object, path: Path) -> object:
    """What one would have typed, as text, so that it is read as strictly: 1.5 is no whole number."""
    is_repeated = getattr(option, "multiple", False)
    if isinstance(value, Mapping):
        if not is_repeated:
            raise typer.BadParameter(f"{path} gives {option.name} several values by name; it takes one.")
        return [f"{name}={json.dumps(part)}" for name, part in value.items()]
    if isinstance(value, list):
        texts = [str(part) for part in value]
        return texts if is_repeated else ",".join(texts)
    return [str(value)] if is_repeated else str(value)


def _yaml(text: str) -> object:
    import yaml

    return yaml.safe_load(text)


def _toml(text: str) -> object:
    try:
        import tomllib
    except ImportError as error:  # Python 3.10
        raise ValueError("TOML needs Python 3.11; write YAML or JSON") from error
    return tomllib.loads(text)
