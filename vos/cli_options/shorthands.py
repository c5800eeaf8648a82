"""Flags that plugins' specs declare (``Shorthand``), as options of the verbs that take them.

A verb of class ``ShorthandCommand`` marks with ``takes_shorthands`` where the flags of a kind stand in its
``--help``. The flags are read off the loaded plugins when the verb is parsed, so that the command line knows no
plugin by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from vos.cli_options.settings import command_plugins, settings
from vos.errors import OptionError
from vos.registry.specs import Shorthand
from vos.weights.model_configs import read_config

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

PATH_METAVARS = ("FILE", "DIR")
LIST_ENDING = ";..."
"""How the metavar of a flag ends whose value is a list, parted by semicolons."""


class ShorthandCommand(click.Command):
    """A command with the flags of the loaded plugins where ``takes_shorthands`` marks a place for them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; ``-p`` and ``--no-plugin`` first, since they decide which flags there are."""
        settings(ctx).add_plugins(_values_of(args, "-p"), _values_of(args, "--no-plugin"))
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """List the parameters, the plugins' flags among them; the same objects for one context."""
        key = f"vos.shorthands.{self.name}"
        if key not in ctx.meta:
            declared = super().get_params(ctx)
            taken = {flag for one in declared for flag in (*one.opts, *one.secondary_opts)}
            params: list[click.Parameter] = []
            for one in declared:
                params += _flags(ctx, self.name or "", one.kind, taken) if isinstance(one, _Place) else [one]
            ctx.meta[key] = params
        found: list[click.Parameter] = ctx.meta[key]
        return found


class _Place(click.Option):
    """Marks where the flags of a kind stand among a verb's options; it is never parsed."""

    def __init__(self, kind: str) -> None:
        super().__init__([f"--shorthands-of-{kind}"], expose_value=False, hidden=True)
        self.kind = kind


class _Flag(click.Option):
    """A flag of one or several specs of a kind.

    Attributes:
        kind: ``"initializers"``, ``"trackers"`` or ``"writers"``.
        offers: each spec's name and its shorthand.
    """

    def __init__(self, kind: str, offers: Sequence[tuple[str, Shorthand]]) -> None:
        shorthand = offers[0][1]
        super().__init__(
            [shorthand.flag],
            help=shorthand.help,
            metavar=shorthand.metavar,
            is_flag=shorthand.metavar is None or None,  # False would take the flag at the end without a value
            multiple=shorthand.metavar is not None,
            type=click.Path() if shorthand.metavar in PATH_METAVARS else None,
            expose_value=False,
            callback=self._keep,
        )
        self.kind = kind
        self.offers = offers
        self.flag = shorthand.flag

    def _keep(self, ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value not in (False, ()):
            ctx.meta.setdefault("vos.given", {})[self.kind, self.flag] = self._joined(value)

    def _joined(self, value: Any) -> Any:
        """Join the values of a list that is given in parts; any other value is given once."""
        if not isinstance(value, tuple):
            return value
        if len(value) > 1 and not (self.metavar or "").endswith(LIST_ENDING):
            raise OptionError(f"{self.flag} is given {len(value)} times, expected once.")
        return ";".join(value) if len(value) > 1 else value[0]

    def value(self, ctx: click.Context) -> Any:
        """The value that was given, or None."""
        return ctx.meta.get("vos.given", {}).get((self.kind, self.flag))


@dataclass(frozen=True)
class _Given:
    """A flag that was given, with the option values that it stands for, by the name of each spec that offers it."""

    flag: str
    options: dict[str, dict[str, Any]]


def takes_shorthands(kind: str) -> Callable[[F], F]:
    """Mark where the flags of a kind stand among a verb's options; the command's class is ``ShorthandCommand``.

    Args:
        kind: ``"initializers"``, ``"trackers"`` or ``"writers"``.
    Returns:
        A decorator; the function gets no argument of them.
    """

    def decorate(function: F) -> F:
        if not hasattr(function, "__click_params__"):
            function.__click_params__ = []  # type: ignore[attr-defined]
        function.__click_params__.append(_Place(kind))  # type: ignore[attr-defined]
        return function

    return decorate


def chosen_initializer(
    ctx: click.Context, named: str | None, name_flag: str, options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    """Find the one initializer that a name and the flags ask for.

    Where several offer the flags, the type of the model's folder decides, then the offer that is preferred.

    Args:
        ctx: of a verb that takes the shorthands of initializers.
        named: what ``name_flag`` gives, or None.
        name_flag: the verb's option that names an initializer, for messages.
        options: the initializer's other options.
    Returns:
        Its name, and all its options, those that the flags set included; None where nothing asks for one.
    Raises:
        OptionError: two are asked for, or several offer the flags.
    """
    given = list(_given(ctx, "initializers"))
    candidates = [[named]] if named is not None else []
    candidates += [list(one.options) for one in given]
    if not candidates:
        return None
    common = [name for name in candidates[0] if all(name in names for names in candidates)]
    if not common:
        asked = dict.fromkeys(" or ".join(names) for names in candidates)
        raise OptionError(f"{' and '.join(asked)} are both asked for; one initializer makes the mask.")
    if len(common) > 1:
        common = _of_model_type(ctx, common, options) or _preferred(ctx, common) or common
    if len(common) > 1:
        flags = " ".join(one.flag for one in given)
        raise OptionError(f"{flags} is offered by {' and '.join(common)}. Say which with {name_flag} NAME.")
    name = common[0]
    return name, {key: value for one in given for key, value in one.options[name].items()} | dict(options)


def _of_model_type(ctx: click.Context, names: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Those initializers whose kind of model is in the folder of the option ``model``; none without a folder."""
    file = Path(str(options.get("model", ""))).expanduser() / "config.json"
    if "model" not in options or not file.is_file():
        return []
    found = read_config(file).get("model_type")
    initializers = command_plugins(ctx).initializers
    return [name for name in names if found in initializers.get(name).model_types]


def _preferred(ctx: click.Context, names: Sequence[str]) -> list[str]:
    """Those initializers that are preferred where a flag that was given is offered by several."""
    return [
        name
        for name in names
        for param in ctx.command.get_params(ctx)
        if isinstance(param, _Flag) and param.kind == "initializers" and param.value(ctx) is not None
        for owner, shorthand in param.offers
        if owner == name and shorthand.preferred
    ]


def added_writers(ctx: click.Context) -> list[tuple[str, dict[str, Any]]]:
    """List the writers that flags add.

    Args:
        ctx: of a verb that takes the shorthands of writers.
    Returns:
        Each writer's name, and the options that the flags set.
    Raises:
        OptionError: several writers offer a flag.
    """
    added: dict[str, dict[str, Any]] = {}
    for one in _given(ctx, "writers"):
        if len(one.options) > 1:
            names = " and ".join(one.options)
            raise OptionError(f"{one.flag} is offered by {names}. Name the one with --writer.")
        ((name, options),) = one.options.items()
        added.setdefault(name, {}).update(options)
    return list(added.items())


def tracker_assignments(ctx: click.Context) -> dict[str, Any]:
    """Collect the options that flags set for the tracker, whichever tracker is named.

    Args:
        ctx: of a verb that takes the shorthands of trackers.
    Returns:
        Values by option.
    """
    return {
        key: value
        for one in _given(ctx, "trackers")
        for options in one.options.values()
        for key, value in options.items()
    }


def choosing_flags(ctx: click.Context) -> list[str]:
    """List the flags that choose an initializer by themselves: all but those that only switch an option on."""
    return [
        param.flag
        for param in ctx.command.get_params(ctx)
        if isinstance(param, _Flag)
        and param.kind == "initializers"
        and any(one.metavar is not None or one.option is None for _, one in param.offers)
    ]


def _given(ctx: click.Context, kind: str) -> Iterator[_Given]:
    for param in ctx.command.get_params(ctx):
        if isinstance(param, _Flag) and param.kind == kind and (value := param.value(ctx)) is not None:
            yield _Given(
                param.flag,
                {name: {} if one.option is None else {one.option: value} for name, one in param.offers},
            )


def _flags(ctx: click.Context, verb: str, kind: str, taken: set[str]) -> list[_Flag]:
    """Make the flags of a kind that a verb takes, in the order in which plugins offer them."""
    by_flag: dict[str, list[tuple[str, Shorthand]]] = {}
    for spec, origin in getattr(command_plugins(ctx), kind).in_order():
        for shorthand in spec.shorthands:
            if verb not in shorthand.verbs:
                continue
            if shorthand.flag in taken:
                logger.warning(
                    "plugin %s offers the flag %s, which `vos %s` has itself; it is left out.",
                    origin,
                    shorthand.flag,
                    verb,
                )
                continue
            by_flag.setdefault(shorthand.flag, []).append((spec.name, shorthand))
    taken |= set(by_flag)
    return [_Flag(kind, offers) for offers in by_flag.values()]


def _values_of(args: Sequence[str], flag: str) -> tuple[str, ...]:
    """The values of a repeatable option among unparsed arguments: ``-p NAME``, ``-pNAME`` or ``--no-plugin=NAME``."""
    values: list[str] = []
    joined = f"{flag}=" if flag.startswith("--") else flag
    until = args[: args.index("--")] if "--" in args else args
    for position, text in enumerate(until):
        if text == flag:
            values += until[position + 1 : position + 2]
        elif text.startswith(joined) and len(text) > len(joined):
            values.append(text[len(joined) :])
    return tuple(values)
