"""vos: plugin-based video object segmentation.

This module is what a user calls. Plugin authors import ``vos.plugin``.

A name is imported when it is first used: the command line and the workers of executors start in half of the time, as
each needs a part of the toolkit alone.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from vos.version import __version__

if TYPE_CHECKING:
    from vos.bridges import to_supervision, to_table
    from vos.conversion.exporting import export
    from vos.conversion.importing import import_masks
    from vos.drawing import draw_objects
    from vos.errors import InputError, PluginError, SourceError, TrackerError, VosError, WriterError
    from vos.evaluation import evaluate
    from vos.host.opening import open_source
    from vos.host.tracking import stream, track
    from vos.initialization.initialize import initialize, read_frame
    from vos.initialization.object_selection import ObjectSelection
    from vos.io.masks.mask_file import read_label_map, write_label_map
    from vos.registry.discovery import load_plugins
    from vos.types.annotation import Annotation
    from vos.types.arrays import LabelMap
    from vos.types.frame import Frame
    from vos.types.label_map import object_ids
    from vos.types.prediction import Prediction
    from vos.types.run import Run, RunSummary
    from vos.types.runtime import Runtime

__all__ = [
    "__version__",
    # run
    "stream",
    "track",
    "initialize",
    "evaluate",
    "open_source",
    "read_frame",
    "load_plugins",
    # types
    "Frame",
    "Annotation",
    "Prediction",
    "Run",
    "RunSummary",
    "Runtime",
    "LabelMap",
    "ObjectSelection",
    # label maps and pictures
    "object_ids",
    "read_label_map",
    "write_label_map",
    "draw_objects",
    # other tools
    "export",
    "import_masks",
    "to_supervision",
    "to_table",
    # errors
    "VosError",
    "InputError",
    "SourceError",
    "PluginError",
    "TrackerError",
    "WriterError",
]

_MODULES = {
    "to_supervision": "vos.bridges",
    "to_table": "vos.bridges",
    "export": "vos.conversion.exporting",
    "import_masks": "vos.conversion.importing",
    "draw_objects": "vos.drawing",
    "InputError": "vos.errors",
    "PluginError": "vos.errors",
    "SourceError": "vos.errors",
    "TrackerError": "vos.errors",
    "VosError": "vos.errors",
    "WriterError": "vos.errors",
    "evaluate": "vos.evaluation",
    "open_source": "vos.host.opening",
    "stream": "vos.host.tracking",
    "track": "vos.host.tracking",
    "initialize": "vos.initialization.initialize",
    "read_frame": "vos.initialization.initialize",
    "ObjectSelection": "vos.initialization.object_selection",
    "read_label_map": "vos.io.masks.mask_file",
    "write_label_map": "vos.io.masks.mask_file",
    "load_plugins": "vos.registry.discovery",
    "Annotation": "vos.types.annotation",
    "LabelMap": "vos.types.arrays",
    "Frame": "vos.types.frame",
    "object_ids": "vos.types.label_map",
    "Prediction": "vos.types.prediction",
    "Run": "vos.types.run",
    "RunSummary": "vos.types.run",
    "Runtime": "vos.types.runtime",
}
"""Module of each name above."""

_ROOMS = ("errors", "evaluation", "plugin", "testing", "weights")
"""Public modules that are attributes without an import of their own, such as ``vos.evaluation``."""

if not TYPE_CHECKING:  # a type checker would take any name for one of this module

    def __getattr__(name):
        """Import a name at its first use (PEP 562)."""
        if name in _ROOMS:
            return import_module(f"{__name__}.{name}")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]), name)
        setattr(sys.modules[__name__], name, value)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
