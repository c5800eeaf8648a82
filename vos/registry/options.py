"""Options of plugins: a dataclass whose fields carry type, default, help and choices.

The command line (``-O key=value``), ``vos plugins`` and the reference pages are made from it.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from vos.errors import OptionError, VosError
from vos.suggestions import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class NoOptions:
    """The options of a plugin that has none."""


@dataclass(frozen=True)
class OptionInfo:
    """One option, for people.

    Attributes:
        name: the key.
        type_name: its type in words (``"int"``, ``"fast|best"``).
        default: its default as text, or None where a value must be given.
        help: one sentence.
    """

    name: str
    type_name: str
    default: str | None
    help: str


def option(default: T, help: str) -> T:
    """Declare one option of a plugin, as the default of a dataclass field.

    Args:
        default: the value if the user gives none.
        help: one sentence: what it does, unit, when to change it.
    Returns:
        A dataclass field (typed as the default, so that type checkers agree with the annotation).
    """
    return dataclasses.field(default=default, metadata={"help": help})


def describe_options(options_type: type) -> list[OptionInfo]:
    """List an options dataclass's fields for people.

    Args:
        options_type: a dataclass.
    Returns:
        One entry for each field, in order.
    """
    return list(_option_infos(options_type))


@functools.lru_cache(maxsize=256)
def _option_infos(options_type: type) -> tuple[OptionInfo, ...]:
    hints = typing.get_type_hints(options_type)
    return tuple(
        OptionInfo(
            field.name,
            _type_name(hints[field.name]),
            None if field.default is dataclasses.MISSING else _text(field.default),
            str(field.metadata.get("help", "")),
        )
        for field in dataclasses.fields(options_type)
    )


def make_options(options_type: type[T], given: Mapping[str, Any] | T | None, owner: str) -> T:
    """Make an options object from what a user gave.

    Args:
        options_type: the spec's dataclass.
        given: values by name (text is parsed to the field's type), a ready object, or None.
        owner: whose options they are, for messages (``'tracker "persam"'``).
    Returns:
        An ``options_type`` object.
    Raises:
        OptionError: an unknown name, or a value that does not fit; the message lists what does.
    """
    if isinstance(given, options_type):
        return given
    if given is not None and not isinstance(given, Mapping):
        raise OptionError(f"{owner}: options are a {type(given).__name__}, expected names and values.")
    hints = typing.get_type_hints(options_type)
    names = [field.name for field in dataclasses.fields(options_type)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in (given or {}).items():
        name = str(key).replace("-", "_")
        if name not in names:
            raise OptionError(f'{owner} has no option "{key}". {_known(names, name)}')
        try:
            values[name] = _parse(value, hints[name])
        except ValueError as error:
            raise OptionError(
                f'{owner}: option "{name}" is {value!r}, expected {_type_name(hints[name])}'
                f"{f' ({error})' if str(error) else ''}."
            ) from None
    for name in required_options(options_type):
        if name not in values:
            raise OptionError(f'{owner}: option "{name}" is missing. Give it: -O {name}={_type_name(hints[name])}')
    try:
        return options_type(**values)
    except VosError:
        raise
    except (TypeError, ValueError) as error:
        raise OptionError(f"{owner}: {error}") from None
    except Exception as error:
        raise OptionError(f"{owner}: its options cannot be made: {type(error).__name__}: {error}") from error


def required_options(options_type: type) -> list[str]:
    """Names of the fields that have no default.

    Args:
        options_type: a dataclass.
    Returns:
        Names, in order.
    """
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(options_type)
        if field.init and field.default is missing and field.default_factory is missing
    ]


def check_option(options_type: type, name: str) -> None:
    """Check that an option can be given as text, and that its default is of its type.

    Args:
        options_type: a dataclass.
        name: one of its fields.
    Raises:
        ValueError: what does not fit.
    """
    hint = typing.get_type_hints(options_type)[name]
    if not _readable(hint):
        raise ValueError(
            f"its type is {_type_name(hint)}, expected int, float, bool, str, Path, Literal, a tuple of those, or None"
        )
    (field,) = (field for field in dataclasses.fields(options_type) if field.name == name)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if default is dataclasses.MISSING:
        return
    try:
        if isinstance(default, str) and hint is not str:
            _checked(default, hint)
        _parse(default, hint)
    except ValueError:
        raise ValueError(f"its default is {default!r}, expected {_type_name(hint)}") from None


def _readable(hint: Any) -> bool:
    """True if ``_parse`` can convert text to a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        others = [a for a in arguments if a is not type(None)]
        return len(others) == 1 and _readable(others[0])
    if origin is Literal:
        return True
    if origin is tuple:
        return bool(arguments) and all(_readable(a) for a in arguments if a is not Ellipsis)
    return hint in (int, float, bool, str, Path)


def parse_assignments(assignments: Sequence[str], flag: str = "-O") -> dict[str, str]:
    """Split ``key=value`` texts.

    Args:
        assignments: as they come from ``-O``.
        flag: what they come from, for the message.
    Returns:
        Values by key; a key given twice keeps its last value.
    Raises:
        OptionError: a text without ``=``.
    """
    values = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise OptionError(f'{flag} takes key=value, found "{text}".')
        values[key.strip()] = value
    return values


def _known(names: Sequence[str], wrong: str) -> str:
    if not names:
        return "It has no options."
    return f"It has: {', '.join(names)}.{did_you_mean(wrong, names)}"


def _parse(value: Any, hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            if type(None) in arguments:
                return None
            raise ValueError
        return _parse(value, next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        for choice in arguments:
            if value == choice or str(choice) == value:
                return choice
        raise ValueError
    if origin is tuple:
        if not isinstance(value, Iterable):
            raise ValueError
        items = [v for v in value.split(",") if v] if isinstance(value, str) else list(value)
        inner = arguments[0] if len(arguments) == 2 and arguments[1] is Ellipsis else None
        if inner is None and len(items) != len(arguments):
            raise ValueError(f"{len(arguments)} values, comma-separated")
        return tuple(_parse(v, inner or arguments[i]) for i, v in enumerate(items))
    if not isinstance(value, str):
        return _checked(value, hint)
    if hint is bool:
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off"):
            return False
        raise ValueError
    if hint in (int, float, str, Path):
        return hint(value)
    raise ValueError(f"options of type {hint} cannot be given as text")


def _checked(value: Any, hint: Any) -> Any:
    """Check the type of a Python value; an int is accepted as a float, a str as a Path."""
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, Path):
        return str(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ValueError
    return value


def _type_name(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join("none" if a is type(None) else _type_name(a) for a in arguments)
    if origin is Literal:
        return "|".join(str(a) for a in arguments)
    if origin is tuple:
        return ",".join("..." if a is Ellipsis else _type_name(a) for a in arguments)
    return {Path: "path", str: "text"}.get(hint, getattr(hint, "__name__", str(hint)))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(_text(v) for v in value)
    return str(value)
