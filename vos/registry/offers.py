"""Specs of all plugins by name, each with the plugin that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from vos.errors import PluginError
from vos.registry.specs import CommandSpec, ExecutorSpec, FormatSpec, InitializerSpec, TrackerSpec, WriterSpec
from vos.suggestions import did_you_mean
from vos.types.checkpoint import Checkpoint

Spec = TypeVar("Spec", TrackerSpec, InitializerSpec, WriterSpec, FormatSpec, CommandSpec, ExecutorSpec, Checkpoint)


@dataclass(frozen=True)
class Origin:
    """Entry point, module and distribution of a plugin.

    Attributes:
        plugin: its entry point's name, or the module's for one given with ``-p``.
        module: the module that holds its hooks.
        distribution: the installed distribution, or ``"-p"``.
        version: the distribution's version, or None.
    """

    plugin: str
    module: str
    distribution: str
    version: str | None = None

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.plugin} ({self.distribution}{version})"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that was skipped.

    Attributes:
        origin: which one.
        error: one line: what is wrong.
        cause: the exception, whose traceback ``--debug`` shows.
    """

    origin: Origin
    error: str
    cause: BaseException


class Offers(Generic[Spec]):
    """The specs of one kind that plugins offer, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._offers: dict[str, list[tuple[Spec, Origin]]] = {}

    def add(self, spec: Spec, origin: Origin) -> None:
        """Add a spec; a second one of the same name makes that name an error when used."""
        self._offers.setdefault(spec.name, []).append((spec, origin))

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._offers)

    def all(self) -> list[tuple[Spec, Origin]]:
        """Every spec with its origin, sorted by name; clashing names appear once for each plugin."""
        return [offer for name in self.names() for offer in self._offers[name]]

    def in_order(self) -> list[tuple[Spec, Origin]]:
        """Every spec with its origin, in the order in which plugins offered them, the shipped ones first."""
        return [offer for offers in self._offers.values() for offer in offers]

    def origin(self, name: str) -> Origin:
        """The origin of the plugin that offers a spec; the name must be one that ``get`` finds."""
        return self._offers[name][0][1]

    def get(self, name: str) -> Spec:
        """Find a spec.

        Args:
            name: as the user typed it.
        Returns:
            The spec.
        Raises:
            PluginError: nobody offers the name, or two plugins do.
        """
        offers = self._offers.get(name, [])
        if len({origin for _, origin in offers}) == 1 < len(offers):
            raise PluginError(f'plugin {offers[0][1]} offers {len(offers)} {self.kind}s named "{name}". Rename one.')
        if len(offers) > 1:
            origins = " and ".join(f"plugin {origin}" for _, origin in offers)
            # Modules, since two distributions may call their plugins alike.
            blocks = " or ".join(f"--no-plugin {origin.module}" for _, origin in offers)
            raise PluginError(f'two plugins offer a {self.kind} named "{name}": {origins}. Block one: {blocks}.')
        if not offers:
            installed = ", ".join(self.names()) or "none"
            hint = did_you_mean(name, self._offers)
            raise PluginError(f'no {self.kind} named "{name}". Installed: {installed}.{hint}')
        return offers[0][0]
