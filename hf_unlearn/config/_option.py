"""An option is a field of a dataclass that carries its help, its check and its spelling on the command line. Knows no function that takes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_args, get_origin


Check = Callable[[str, Any], Any]
"""Takes name and value, gives the plain value or raises: those of `_arguments`."""
Plain = str | int | float | bool | None
ConfigT = TypeVar("ConfigT", bound="Config")


def option(
    default: Any, help: str, *, check: Check | None = None, cli: Sequence[str] | None = (), recorded: bool = True
) -> Any:
    """A field of a config.

    Args:
        default: Immutable. Where it is None, None is always accepted.
        help: Sentences, for docstring and command line alike; without the default, which both show.
        check: Gives the plain value or raises.
        cli: Further spellings on the command line, shown before the one made from the name; None: an object of Python that is no option
            there.
        recorded: Whether a report names it; what cannot change a result need not be the same when it is verified.
    """
    return field(default=default, metadata={"help": help, "check": check, "cli": cli, "recorded": recorded})


@dataclass(frozen=True)
class Option:
    """A field of a config, as documentation and command line read it.

    Attributes:
        name: In Python.
        type: Its annotation.
        default: What holds where nothing is said.
        help: Sentences.
        check: Gives the plain value or raises; None: anything goes.
        cli: Further spellings on the command line; None: not there.
        recorded: Whether a report names it.
    """

    name: str
    type: Any
    default: Any
    help: str
    check: Check | None
    cli: Sequence[str] | None
    recorded: bool

    @property
    def item_type(self) -> type | None:
        """Of what it is a sequence; None: it is not one."""
        kinds = (self.type, *get_args(self.type))
        return next((get_args(kind)[0] for kind in kinds if get_origin(kind) is Sequence), None)

    @property
    def is_mapping(self) -> bool:
        """Whether it holds values by name."""
        return any(get_origin(kind) is Mapping for kind in (self.type, *get_args(self.type)))

    def checked(self, value: object) -> Any:
        """The plain value.

        Raises:
            TypeError: Of another kind than the option has.
            ValueError: Of the right kind, but out of range.
        """
        if self.check is None or (value is None and self.default is None):
            return value
        return self.check(self.name, value)

    def items(self, text: str) -> list[Any]:
        """A sequence from text such as "3,7".

        Raises:
            ValueError: An item that is not of its type.
        """
        assert self.item_type is not None
        try:
            return [self.item_type(part.strip()) for part in text.split(",")] if text else []
        except ValueError as error:
            raise ValueError(f"{self.name} must be numbers separated by commas, got {text!r}.") from error


def options_of(config: "type[Config]") -> tuple[Option, ...]:
    """All options of a config, in the order of their declaration."""
    return tuple(Option(part.name, part.type, part.default, **part.metadata) for part in fields(config))


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options that belong together; making one checks them and leaves plain values (no NumPy scalars, tuples for lists).

    Raises:
        TypeError: An option of another kind.
        ValueError: One of the right kind, but out of range.
    """

    def __post_init__(self) -> None:
        for each in options_of(type(self)):
            object.__setattr__(self, each.name, each.checked(getattr(self, each.name)))

    @classmethod
    def of(cls: type[ConfigT], arguments: Mapping[str, Any]) -> ConfigT:
        """From the arguments of a function, of which it takes its own: `AuditConfig.of(locals())` as the first statement."""
        return cls(**{each.name: arguments[each.name] for each in options_of(cls)})

    @classmethod
    def read_back(cls: type[ConfigT], settings: Mapping[str, Any]) -> ConfigT:
        """From what `plain` left, for example in a report; what is not there has its default, what is no option is left alone.

        Raises:
            TypeError, ValueError: Values that the options cannot have.
        """
        known = {each.name: each for each in options_of(cls) if each.recorded and each.name in settings}
        return cls(
            **{
                name: known[name].items(value) if known[name].item_type and isinstance(value, str) else value
                for name, value in ((name, settings[name]) for name in known)
            }
        )

    def plain(self) -> dict[str, Plain]:
        """What a report records, as JSON holds it: sequences as "3,7", objects of Python by the name of their class."""
        return {each.name: _plain(getattr(self, each.name)) for each in options_of(type(self)) if each.recorded}


def _plain(value: object) -> Plain:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return ",".join(map(str, value)) if isinstance(value, Sequence) else type(value).__name__
