"""vos: plugin-based video object segmentation.

This module is the public API: all that a plugin may import, with ``vos.testing``, ``vos.weights``
and ``vos.evaluation``.
"""

from vos.annotation import Annotation
from vos.arrays import AnyArray, BoolArray, FloatArray, Image, LabelMap, Size
from vos.drawing import draw_objects
from vos.errors import (
    AnnotationError,
    EmptyMaskError,
    ExtraMissingError,
    InputError,
    OptionError,
    OutputError,
    OutputExistsError,
    PluginError,
    PluginFailedError,
    SourceError,
    TrackerError,
    TruncatedSourceError,
    VosError,
    WeightsError,
    WriterError,
)
from vos.evaluation import evaluate
from vos.files import atomic_write, replacing, safe_name
from vos.frame import Frame
from vos.hookspecs import API_VERSION, hookimpl
from vos.hub import hub_folder
from vos.image_file import read_image
from vos.initialize import initialize, read_frame
from vos.initializer import Initializer
from vos.inputs import refuse_replacing
from vos.label_map import object_ids, read_label_map, write_label_map
from vos.objects import ObjectSelection, select_objects
from vos.options import NoOptions, option
from vos.palette import PALETTE
from vos.plugins import Plugins, load_plugins
from vos.prediction import Prediction
from vos.pretrained import load_network, load_part
from vos.run import Run, RunSummary
from vos.runner import open_source, stream, track
from vos.runtime import Runtime, cache_folder
from vos.source import Source, SourceInfo
from vos.specs import CommandSpec, InitializerSpec, TrackerSpec, WriterSpec
from vos.tracker import (
    AnnotatingTracker,
    ClosingTracker,
    Encoding,
    EncodingAheadTracker,
    EncodingTracker,
    ForgettingTracker,
    Tracker,
)
from vos.version import __version__
from vos.writer import NamingWriter, Writer

__all__ = [
    "__version__",
    "API_VERSION",
    # run
    "stream",
    "track",
    "open_source",
    "read_frame",
    # scores
    "evaluate",
    # first label maps
    "initialize",
    "ObjectSelection",
    "select_objects",
    # types
    "Frame",
    "Annotation",
    "Prediction",
    "Run",
    "RunSummary",
    "SourceInfo",
    "Runtime",
    "LabelMap",
    "Image",
    "BoolArray",
    "FloatArray",
    "AnyArray",
    "Size",
    "Encoding",
    # protocols
    "Tracker",
    "EncodingTracker",
    "EncodingAheadTracker",
    "AnnotatingTracker",
    "ForgettingTracker",
    "ClosingTracker",
    "Initializer",
    "Source",
    "Writer",
    "NamingWriter",
    # plugins
    "hookimpl",
    "option",
    "NoOptions",
    "TrackerSpec",
    "InitializerSpec",
    "WriterSpec",
    "CommandSpec",
    "Plugins",
    "load_plugins",
    # label maps, pictures and files
    "draw_objects",
    "PALETTE",
    "object_ids",
    "read_image",
    "read_label_map",
    "write_label_map",
    "atomic_write",
    "replacing",
    "refuse_replacing",
    "safe_name",
    "cache_folder",
    "hub_folder",
    "load_network",
    "load_part",
    # errors
    "VosError",
    "InputError",
    "OptionError",
    "SourceError",
    "TruncatedSourceError",
    "AnnotationError",
    "EmptyMaskError",
    "OutputError",
    "OutputExistsError",
    "PluginError",
    "PluginFailedError",
    "TrackerError",
    "WriterError",
    "WeightsError",
    "ExtraMissingError",
]
