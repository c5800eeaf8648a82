"""DreamBooth helped by PerSAM: ``vos dreambooth`` teaches Stable Diffusion a subject without its background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vos.plugin import CommandSpec, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def vos_commands() -> Sequence[CommandSpec]:
    """Offer ``vos dreambooth``."""
    return [CommandSpec("dreambooth", "Teach Stable Diffusion a subject that PerSAM-F cuts out.", _command)]


def _command() -> click.Command:
    from vos_dreambooth.command import command

    return command
