"""The settings of one command line: which plugins are loaded, and whether tracebacks are shown."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import click

from vos.registry.discovery import Plugins, load_plugins
from vos.registry.module_files import absolute

logger = logging.getLogger(__name__)


@dataclass
class Settings:
    """Settings from ``-p``, ``--no-plugin`` and ``--debug``; ``ctx.obj`` of every command.

    Attributes:
        plugin_modules: modules to load besides the installed plugins (``-p``).
        blocked: plugins to leave out (``--no-plugin``).
        debug: show tracebacks.
        reserved_verbs: verbs that no plugin can replace.
    """

    plugin_modules: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    debug: bool = False
    reserved_verbs: frozenset[str] = frozenset()
    _plugins: Plugins | None = field(default=None, repr=False)

    @property
    def plugins(self) -> Plugins:
        """The plugins, loaded at the first use."""
        if self._plugins is None:
            self._plugins = load_plugins(self.plugin_modules, self.blocked)
            for spec, origin in self._plugins.commands.all():
                if spec.name in self.reserved_verbs:
                    logger.warning(
                        'plugin %s offers a command "%s", which vos has itself; it is left out.', origin, spec.name
                    )
        return self._plugins

    def add_plugins(self, modules: tuple[str, ...] = (), blocked: tuple[str, ...] = ()) -> None:
        """Load more plugins, or leave more out, from the next use on.

        Args:
            modules: modules or files to load too; those that are named already are ignored.
            blocked: plugins to leave out too; likewise.
        """
        modules = tuple(name for name in dict.fromkeys(map(absolute, modules)) if name not in self.plugin_modules)
        blocked = tuple(name for name in dict.fromkeys(blocked) if name not in self.blocked)
        if modules or blocked:
            self.plugin_modules += modules
            self.blocked += blocked
            self._plugins = None


def settings(ctx: click.Context) -> Settings:
    """Find the settings of this command line; made with the defaults if there are none."""
    found: Settings = ctx.ensure_object(Settings)
    return found


def command_plugins(ctx: click.Context) -> Plugins:
    """Load the plugins that this command line asks for (``-p``, ``--no-plugin``); loaded once.

    Args:
        ctx: the command's context (``@click.pass_context``).
    Returns:
        The plugins.
    Raises:
        PluginError: a module of ``-p`` cannot be loaded, or a name of ``--no-plugin`` is not there.
    """
    return settings(ctx).plugins
