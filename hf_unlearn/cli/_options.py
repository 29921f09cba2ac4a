"""The options of a config as options of a command: names, types, defaults and help come from its fields."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from hf_unlearn.cli._app import readable_errors
from hf_unlearn.cli._config import parse_options
from hf_unlearn.config import Config, Option, options_of


Command = Callable[..., None]


def with_options(config: type[Config]) -> Callable[[Command], Command]:
    """Decorator: in place of its parameter `options` a command has one option for each field of the config, and is handed the config.

    A parameter of the command that is called as a field wins: the command gives the field its value in its own way.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command).parameters
        taken = [each for each in options_of(config) if each.cli is not None and each.name not in own]
        parameters = [part for name, part in own.items() if name != "options"] + [_parameter(each) for each in taken]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            with readable_errors():
                chosen = {each.name: _value(each, given.pop(each.name)) for each in taken}
                options = config(**chosen)
            command(**given, options=options)

        read_by_typer: Any = run
        read_by_typer.__signature__ = inspect.Signature(parameters)
        read_by_typer.__annotations__ = {part.name: part.annotation for part in parameters}
        return run

    return decorate


def _parameter(option: Option) -> inspect.Parameter:
    spelling = f"--{option.name.replace('_', '-')}"
    kind, default = _command_line_type(option), option.default
    if option.item_type is not None and default is not None:
        default = [default] if isinstance(default, str) else list(default)
    # Named only where there is another one: switches get their --no-… from typer.
    names = (*option.cli, spelling) if option.cli else ()
    shown = typer.Option(default, *names, help=_help(option))
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=kind)


def _help(option: Option) -> str:
    if option.item_type is not None:
        return f"{option.help} Separated by commas, or repeated."
    return f"{option.help} As name=value; may be repeated." if option.is_mapping else option.help


def _command_line_type(option: Option) -> Any:
    if option.item_type is not None or option.is_mapping:
        return list[str] if option.default is not None else list[str] | None
    kinds = getattr(option.type, "__args__", (option.type,))
    if str in kinds:
        return str if option.default is not None else str | None
    return option.type


def _value(option: Option, given: Any) -> Any:
    """What the function takes, from what typer read."""
    if given is None or given == []:
        return option.default
    if option.is_mapping:
        return parse_options(given, f"--{option.name.replace('_', '-')}")
    return given if option.item_type is None else option.items(",".join(given))
