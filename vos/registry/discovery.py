"""Finding, checking, listing and blocking plugins.

Plugins come from the entry point group ``vos``, shipped and third-party alike, and from ``-p
MODULE`` or ``-p FILE.py``. One that fails to import, or whose hooks do not fit, is kept in a list with its error and
never takes the host down. Each ``load_plugins`` makes a manager of its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from vos.errors import PluginError
from vos.registry import hookspecs
from vos.registry.module_files import import_file, is_file, module_name
from vos.registry.offers import BrokenPlugin, Offers, Origin
from vos.registry.plugin_errors import blaming, in_words
from vos.registry.spec_checks import (
    check_api_version,
    check_has_hooks,
    check_hook_names,
    check_source,
    checked_specs,
    writer_of,
)
from vos.registry.specs import CommandSpec, ExecutorSpec, FormatSpec, InitializerSpec, TrackerSpec, WriterSpec
from vos.types.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

GROUP = "vos"
SHIPPED_DISTRIBUTION = "vos-toolkit"
OBSERVATIONS = ("vos_run_started", "vos_frame_done", "vos_run_finished", "vos_run_failed")

_import_lock = threading.RLock()
"""``sys.stdout`` and ``sys.modules`` are process-wide: one thread at a time redirects the one and fills the other."""
if hasattr(os, "register_at_fork"):  # another thread may hold the lock when a process forks
    os.register_at_fork(after_in_child=lambda: globals().__setitem__("_import_lock", threading.RLock()))


class Plugins:
    """The loaded plugins: what they offer, their hooks, and those that are broken or blocked."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("vos")
        self.manager.add_hookspecs(hookspecs)
        self.origins: list[Origin] = []
        self.broken: list[BrokenPlugin] = []
        self.blocked: list[str] = []
        self.trackers: Offers[TrackerSpec] = Offers("tracker")
        self.initializers: Offers[InitializerSpec] = Offers("initializer")
        self.writers: Offers[WriterSpec] = Offers("writer")
        self.formats: Offers[FormatSpec] = Offers("format")
        self.commands: Offers[CommandSpec] = Offers("command")
        self.executors: Offers[ExecutorSpec] = Offers("executor")
        self.checkpoints: Offers[Checkpoint] = Offers("checkpoint")

    @property
    def hook(self) -> Any:
        """The hook callers, as pluggy gives them (``plugins.hook.vos_open_source(location=...)``)."""
        return self.manager.hook

    def register(self, plugin: object, origin: Origin, *, required: bool = False) -> None:
        """Check a plugin's hooks and take its offers, or list it as broken.

        Args:
            plugin: a module, or any object with hook implementations as attributes.
            origin: where it came from.
            required: a user named it: it is broken also if it has no hook, and the caller says so, not the log.
        """
        if self.manager.is_registered(plugin):
            self._skip(origin, PluginError(f"{origin.module} is loaded already, under another name."), log=not required)
            return
        try:
            check_api_version(plugin)
            check_hook_names(plugin)
            if required:
                check_has_hooks(plugin)
            self.add_hooks(plugin, f"plugin {origin.plugin}", name=str(origin))
            offers = self._collect(plugin)
        except Exception as error:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            self._skip(origin, error, log=not required)
            return
        self.origins.append(origin)
        for holder, specs in offers:
            for spec in specs:
                holder.add(spec, origin)

    def add_hooks(self, plugin: object, who: str, name: str | None = None) -> None:
        """Register hooks so that what goes wrong in one names its owner; nothing else is checked.

        Args:
            plugin: a module, or any object with hook implementations as attributes.
            who: its name for messages.
            name: its name for pluggy; None for one of pluggy's making.
        """
        self.manager.register(plugin, name=name)
        for caller in self.manager.get_hookcallers(plugin) or ():
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin:
                    # Final in pluggy's types; it has no hook of its own that tells which plugin failed.
                    naming = _named_wrapper if implementation.hookwrapper or implementation.wrapper else _named
                    named = naming(implementation.function, caller.name, who)
                    implementation.function = named  # type: ignore[misc]

    def load(self, origin: Origin, *, required: bool = False, file: str | None = None) -> None:
        """Import a plugin's module and register it.

        Args:
            origin: where it is.
            required: raise where a broken plugin would be listed (one that the user named).
            file: its file, for one that is loaded by path.
        Raises:
            PluginError: it is broken and required.
        """
        # What a plugin prints is not a result: those who read JSON from stdout must not find it there.
        with _import_lock, contextlib.redirect_stdout(sys.stderr):
            try:
                plugin = importlib.import_module(origin.module) if file is None else import_file(file)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                self._skip(origin, error, log=not required)
            else:
                self.register(plugin, origin, required=required)
        if required and self.broken and self.broken[-1].origin == origin:
            broken = self.broken[-1]
            raise PluginError(f"plugin {origin.plugin} cannot be loaded: {broken.error}") from broken.cause

    def _collect(self, plugin: object) -> list[tuple[Offers[Any], list[Any]]]:
        """Call the registration hooks of one plugin and check what they return."""
        kinds: list[tuple[str, Offers[Any], type]] = [
            ("vos_trackers", self.trackers, TrackerSpec),
            ("vos_initializers", self.initializers, InitializerSpec),
            ("vos_writers", self.writers, WriterSpec),
            ("vos_formats", self.formats, FormatSpec),
            ("vos_commands", self.commands, CommandSpec),
            ("vos_executors", self.executors, ExecutorSpec),
            ("vos_checkpoints", self.checkpoints, Checkpoint),
        ]
        collected = []
        for hook_name, holder, spec_type in kinds:
            implementations = getattr(self.manager.hook, hook_name).get_hookimpls()
            for implementation in implementations:
                if implementation.plugin is not plugin:
                    continue
                specs = checked_specs(implementation.function(), spec_type, hook_name, holder.kind)
                collected.append((holder, specs))
                if spec_type is FormatSpec:
                    collected.append((self.writers, [writer for spec in specs if (writer := writer_of(spec))]))
        return collected

    def _skip(self, origin: Origin, error: BaseException, *, log: bool = True) -> None:
        line = " ".join(in_words(error).removeprefix(f"plugin {origin.plugin}: ").split())
        self.broken.append(BrokenPlugin(origin, line, error))
        if log:
            logger.warning("plugin %s is broken and was skipped: %s", origin, line)
            logger.debug("%s", "".join(traceback.format_exception(error)).rstrip())


def load_plugins(
    modules: Sequence[str | Path] = (), blocked: Iterable[str] = (), *, autoload: bool | None = None
) -> Plugins:
    """Find and register plugins.

    Args:
        modules: importable names, or paths of ``.py`` files, to load besides the installed ones (``-p``).
        blocked: entry point names, or modules, to leave out (``--no-plugin``).
        autoload: False takes only the shipped plugins and ``modules``; None asks the environment
            (``VOS_PLUGINS_AUTOLOAD=0`` is False).
    Returns:
        A set of plugins of its own.
    Raises:
        PluginError: a module of ``modules`` cannot be loaded, or a blocked name is not there.
    """
    if autoload is None:
        autoload = os.environ.get("VOS_PLUGINS_AUTOLOAD", "1") != "0"
    for name, given in (("modules", modules), ("blocked", blocked)):
        if isinstance(given, str):
            raise PluginError(f"{name} is {given!r}, expected a list: [{given!r}].")
    named = [os.fspath(module) for module in modules]
    plugins = Plugins()
    unwanted = set(blocked)
    found = _entry_points()
    known = {name for origin in found for name in (origin.plugin, origin.module)} | {*named, *map(module_name, named)}
    for name in sorted(unwanted - known):
        raise PluginError(f'--no-plugin: no plugin named "{name}". Installed: {", ".join(o.plugin for o in found)}.')
    for origin in found:
        if {origin.plugin, origin.module} & unwanted:
            plugins.blocked.append(origin.plugin)
        elif autoload or origin.distribution == SHIPPED_DISTRIBUTION:
            plugins.load(origin)
    loaded = {origin.module for origin in plugins.origins}
    for module in named:
        name = module_name(module)
        if {module, name} & unwanted:
            continue
        if name in loaded:
            if is_file(module):
                import_file(module)  # refuses another module of this name
        else:
            plugins.load(Origin(name, name, "-p"), required=True, file=module if is_file(module) else None)
    return plugins


def observing_hooks(observers: Iterable[object]) -> Plugins:
    """The hooks of a run's observers, apart from those of plugins, which other runs may use at the same time.

    Raises:
        PluginError: an observer has no observation hook, or a hook that does not fit.
    """
    plugins = Plugins()
    for observer in observers:
        who = f"observer {type(observer).__name__}"
        try:
            check_hook_names(observer)
            plugins.add_hooks(observer, who)
            check_has_hooks(observer)
            names = [caller.name for caller in plugins.manager.get_hookcallers(observer) or ()]
            if not set(names) & set(OBSERVATIONS):
                raise PluginError(
                    f"of an observer only {', '.join(OBSERVATIONS)} are called; it has {', '.join(names)}. "
                    "Load it as a plugin: load_plugins([MODULE])."
                )
        except Exception as error:
            raise PluginError(f"{who}: {' '.join(in_words(error).split())}") from error
    return plugins


def _entry_points() -> list[Origin]:
    """All entry points of the group, the shipped ones first (pluggy asks the last registered first)."""
    return list(_entry_points_in(tuple((folder, _time_of_change(folder)) for folder in sys.path)))


def _time_of_change(folder: str) -> int | None:
    """Modification time of a folder, which changes when a package is installed or removed there; None if it is none."""
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return None


@functools.lru_cache(maxsize=4)
def _entry_points_in(path: tuple[tuple[str, int | None], ...]) -> tuple[Origin, ...]:
    """Entry points by ``sys.path`` and its folders' times: reading the metadata of 200 packages takes 15 ms."""
    origins: dict[tuple[str, str], Origin] = {}
    of_distribution: dict[int, tuple[str, str | None]] = {}
    for entry in metadata.entry_points(group=GROUP):
        if id(entry.dist) not in of_distribution:  # each of name and version parses the distribution's metadata
            of_distribution[id(entry.dist)] = (entry.dist.name, entry.dist.version) if entry.dist else ("?", None)
        distribution, version = of_distribution[id(entry.dist)]
        origin = Origin(entry.name, entry.value, distribution, version)
        origins.setdefault((distribution, entry.name), origin)
    return tuple(sorted(origins.values(), key=lambda o: (o.distribution != SHIPPED_DISTRIBUTION, o.distribution)))


def _named(function: Callable[..., Any], hook_name: str, who: str) -> Callable[..., Any]:
    """A hook implementation that names its owner in what goes wrong."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        if hook_name == "vos_run_failed":  # keep the run's own error, and call the other plugins' hooks too
            try:
                return function(*arguments)
            except BaseException as error:
                logger.warning("%s: vos_run_failed failed: %s", who, in_words(error))
                return None
        with blaming(f"{who}: {hook_name} failed"):
            answer = function(*arguments)
            if hook_name == "vos_open_source":
                check_source(answer, who)
        return answer

    return call


def _named_wrapper(function: Callable[..., Any], hook_name: str, who: str) -> Callable[..., Any]:
    """As ``_named``, for a hook that wraps those of other plugins."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Generator[None, Any, Any]:
        with blaming(f"{who}: {hook_name} failed", leaving=True):
            answer = yield from function(*arguments)
            if hook_name == "vos_open_source":
                check_source(answer, who)
        return answer

    return call
