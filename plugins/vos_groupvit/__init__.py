"""GroupViT: objects of a frame from a text that names them, without pixel labels."""

from __future__ import annotations

from collections.abc import Sequence

from vos.plugin import Initializer, InitializerSpec, Runtime, Shorthand, hookimpl
from vos_groupvit.options import GroupVitOptions


def _make(options: GroupVitOptions, runtime: Runtime) -> Initializer:
    from vos_groupvit.initializer import TextInitializer

    return TextInitializer(options, runtime)


@hookimpl
def vos_initializers() -> Sequence[InitializerSpec]:
    """Offer "groupvit"."""
    summary = 'what a text names, such as "dog; person" (GroupViT, zero-shot)'
    flags = (
        Shorthand(
            "--text",
            'What a text names, such as "dog; person" (groupvit).',
            option="text",
            metavar="TEXT",
            verbs=("init", "track"),
        ),
        Shorthand(
            "--instances",
            "With --text: an object for each connected piece, not each phrase.",
            option="instances",
            verbs=("init", "track"),
        ),
    )
    return [InitializerSpec("groupvit", summary, _make, GroupVitOptions, shorthands=flags, model_types=("groupvit",))]
