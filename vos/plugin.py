"""Public API for plugin authors: hooks, specs, protocols, types, files, weights and errors.

Besides this module, a plugin may import ``vos.testing``, ``vos.weights`` and ``vos.evaluation``.

``__all__`` groups the names by purpose, those that every tracker needs first; ``docs/api.md`` has the same groups.
"""

from vos.cli_options.executor_options import chosen_executor, executor_options
from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options, option_assignments, progress_option, runtime_options
from vos.errors import (
    AnnotationError,
    EmptyMaskError,
    ExtraMissingError,
    InputError,
    OptionError,
    OutputError,
    OutputExistsError,
    SourceError,
    TrackerError,
    TruncatedSourceError,
    VosError,
    WeightsError,
)
from vos.host.jobs.job_progress import FrameReporter, JobProgress
from vos.host.jobs.running import JobSummary, run_jobs
from vos.host.opening import open_source
from vos.host.outputs.input_protection import refuse_replacing
from vos.host.outputs.output_protection import refuse_existing
from vos.host.outputs.remote_output import read_text, write_text
from vos.host.process_ends import end_with_parent, end_workers, ending_cleanly
from vos.host.progress import show_progress
from vos.host.tracker_making import MadeTracker, check_can_start, make_tracker
from vos.host.tracking import LabelMapStream, stream, track
from vos.initialization.initialize import initialize
from vos.initialization.object_selection import select_objects
from vos.initialization.phrases import split_phrases
from vos.io.atomic_files import (
    atomic_write,
    create_partial,
    discard_partial,
    finish_partial,
    output_errors,
    replacing,
    safe_name,
)
from vos.io.images.image_file import IMAGE_SUFFIXES, read_image
from vos.io.images.image_files import ImageFiles
from vos.io.images.image_pages import ImagePages
from vos.io.masks.mask_file import read_label_map, write_label_map
from vos.io.natural_order import natural_order
from vos.io.output_folder import OutputFolder
from vos.io.sequence_names import sequence_name
from vos.io.state_file import read_state, write_state
from vos.protocols.executor import Executor, Job, JobEvent, ReportFrame, Worker, WorkerPlan
from vos.protocols.initializer import Initializer
from vos.protocols.source import Source
from vos.protocols.tracker import (
    AnnotatingTracker,
    ClosingTracker,
    EncodingAheadTracker,
    EncodingTracker,
    ForgettingTracker,
    SavingTracker,
    Tracker,
)
from vos.protocols.writer import NamingWriter, Writer
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.hookspecs import API_VERSION, hookimpl
from vos.registry.options import option, parse_assignments
from vos.registry.specs import (
    CommandSpec,
    ExecutorSpec,
    FormatSpec,
    InitializerSpec,
    Shorthand,
    TrackerSpec,
    WriterSpec,
)
from vos.types.annotation import Annotation
from vos.types.arrays import AnyArray, BoolArray, FloatArray, Image, LabelMap, Size
from vos.types.checkpoint import Checkpoint
from vos.types.frame import Frame
from vos.types.imported_masks import ImportedFrame, ImportedMasks
from vos.types.label_map import object_ids
from vos.types.palette import PALETTE
from vos.types.prediction import Prediction
from vos.types.run import Run
from vos.types.runtime import Runtime, limit_threads
from vos.types.source_info import SourceInfo
from vos.weights.model_folders import hub_folder
from vos.weights.strict_loading import load_network, load_part

__all__ = [
    # Start here: what every tracker needs
    "hookimpl",
    "TrackerSpec",
    "option",
    "Runtime",
    "limit_threads",
    "Frame",
    "LabelMap",
    "Prediction",
    "object_ids",
    "VosError",
    "OptionError",
    # Other kinds of plugins: specs and their parts
    "InitializerSpec",
    "WriterSpec",
    "FormatSpec",
    "CommandSpec",
    "ExecutorSpec",
    "Shorthand",
    "Checkpoint",
    "API_VERSION",
    # Protocols: the methods of a tracker, an initializer, a source or a writer
    "Tracker",
    "EncodingTracker",
    "EncodingAheadTracker",
    "AnnotatingTracker",
    "ForgettingTracker",
    "SavingTracker",
    "ClosingTracker",
    "Initializer",
    "Source",
    "Writer",
    "NamingWriter",
    # Types of arguments and results
    "Annotation",
    "Run",
    "SourceInfo",
    "ImportedFrame",
    "ImportedMasks",
    "Image",
    "BoolArray",
    "FloatArray",
    "AnyArray",
    "Size",
    # Label maps and text prompts
    "PALETTE",
    "select_objects",
    "split_phrases",
    # Read files
    "read_image",
    "ImageFiles",
    "ImagePages",
    "IMAGE_SUFFIXES",
    "natural_order",
    "read_label_map",
    "read_text",
    "read_state",
    # Write files: complete or absent, never in place of an input
    "write_label_map",
    "atomic_write",
    "OutputFolder",
    "output_errors",
    "replacing",
    "write_text",
    "write_state",
    "create_partial",
    "finish_partial",
    "discard_partial",
    "refuse_replacing",
    "refuse_existing",
    "safe_name",
    "sequence_name",
    # Load weights of other libraries
    "hub_folder",
    "load_network",
    "load_part",
    # A command of its own: options that all commands share
    "runtime_options",
    "option_assignments",
    "parse_assignments",
    "general_options",
    "command_plugins",
    "progress_option",
    "show_progress",
    "executor_options",
    "chosen_executor",
    # Track, initialize and read from a plugin
    "stream",
    "LabelMapStream",
    "track",
    "check_can_start",
    "make_tracker",
    "MadeTracker",
    "initialize",
    "open_source",
    "Plugins",
    "load_plugins",
    # Run many jobs: executors
    "Executor",
    "Job",
    "JobEvent",
    "Worker",
    "WorkerPlan",
    "ReportFrame",
    "run_jobs",
    "JobSummary",
    "JobProgress",
    "FrameReporter",
    "end_with_parent",
    "ending_cleanly",
    "end_workers",
    # Further errors
    "InputError",
    "SourceError",
    "TruncatedSourceError",
    "AnnotationError",
    "EmptyMaskError",
    "OutputError",
    "OutputExistsError",
    "TrackerError",
    "WeightsError",
    "ExtraMissingError",
]
