"""vos: plugin-based video object segmentation.

This module is what a user calls. Plugin authors import ``vos.plugin``.
"""

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
from vos.version import __version__

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
