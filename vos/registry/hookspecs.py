"""Every hook of the toolkit: the contract that a plugin author reads first.

A plugin is an importable module with functions of these names, each marked ``@hookimpl``; it
is found through the entry point group ``vos``. A hook takes any subset of the arguments shown, by
name. Three kinds of hooks:

- *registration* (``vos_trackers``, ``vos_initializers``, ``vos_writers``, ``vos_formats``, ``vos_commands``,
  ``vos_executors``, ``vos_checkpoints``): called once when plugins are loaded; every plugin's list is taken.
- *decision* (``vos_open_source``, ``vos_merge_objects``): plugins are asked in turn, the last
  registered first and the toolkit's own last, until one answers with something other than None.
- *observation* (``vos_run_started``, ``vos_frame_done``, ``vos_run_finished``, ``vos_run_failed``):
  called in every plugin; what is returned is ignored; an exception stops the run with the plugin's name.

A hook speaks to the user by raising a ``VosError``; any other exception is reported with the plugin's
and the hook's name.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from vos.protocols.source import Source
from vos.registry.specs import CommandSpec, ExecutorSpec, FormatSpec, InitializerSpec, TrackerSpec, WriterSpec
from vos.types.arrays import LabelMap, Size
from vos.types.checkpoint import Checkpoint
from vos.types.frame import Frame
from vos.types.prediction import Prediction
from vos.types.run import Run, RunSummary

API_VERSION = (1, 3)
"""Version (major, minor) of the plugin API: the hooks here, and the types and protocols they speak of.

The major number rises when a plugin that worked may stop working, the minor one when something is
added. A plugin's module may say which major version it was built for, ``VOS_API = 1``; one built
for another is refused by name.
"""

hookspec = pluggy.HookspecMarker("vos")
hookimpl = pluggy.HookimplMarker("vos")


@hookspec
def vos_trackers() -> Sequence[TrackerSpec]:  # type: ignore[empty-body]
    """Offer trackers.

    Called once, when plugins are loaded; so import nothing heavy here or at the top of the module:
    the spec's factory does that when the tracker is used.

    Returns:
        Specs; a name that another plugin also offers is an error when it is used, naming both.
    """


@hookspec
def vos_initializers() -> Sequence[InitializerSpec]:  # type: ignore[empty-body]
    """Offer initializers: ways to make the first label map. As ``vos_trackers``."""


@hookspec
def vos_writers() -> Sequence[WriterSpec]:  # type: ignore[empty-body]
    """Offer writers: ways to keep the results. As ``vos_trackers``."""


@hookspec
def vos_formats() -> Sequence[FormatSpec]:  # type: ignore[empty-body]
    """Offer file formats of other tools: to export results to, and to import masks from. As ``vos_trackers``.

    A format with an exporter is a writer of the same name too, so that ``vos track`` can write it.

    Returns:
        Specs; a name that another plugin also offers, as a format or as a writer, is an error when it is used.
    """


@hookspec
def vos_commands() -> Sequence[CommandSpec]:  # type: ignore[empty-body]
    """Offer verbs of the command line (``vos NAME``). As ``vos_trackers``."""


@hookspec
def vos_executors() -> Sequence[ExecutorSpec]:  # type: ignore[empty-body]
    """Offer executors: engines that run many jobs (``vos batch``). As ``vos_trackers``."""


@hookspec
def vos_checkpoints() -> Sequence[Checkpoint]:  # type: ignore[empty-body]
    """Offer published weights: ``vos weights`` lists, fetches and verifies them. As ``vos_trackers``.

    The plugin finds a fetched file with ``vos.weights.local_path``, which says how to get one that is missing.

    Returns:
        Checkpoints; a name that another plugin also offers is an error when it is used, naming both.
    """


@hookspec(firstresult=True)
def vos_open_source(location: str) -> Source | None:
    """Open a source of frames.

    Runs once per run. Stops at the first result that is not None; plugins registered later are
    asked earlier, the shipped sources last.

    Args:
        location: what the user gave: a path, a camera index as text, or an address.
    Returns:
        An open source; None if the location is not for this plugin.
    Raises:
        SourceError: the location is for this plugin, but cannot be read.
    """


@hookspec(firstresult=True)
def vos_merge_objects(prediction: Prediction, size: Size) -> LabelMap | None:
    """Turn one frame's logits into one label map.

    Runs once per frame, after the tracker and before the writers. Stops at the first result that is
    not None; plugins registered later are asked earlier, the host's own argmax last.

    Args:
        prediction: logits float32 (K, h, w), rows in the order of ``object_ids``; read-only.
        size: (H, W) of the frame, pixels.
    Returns:
        uint8 (H, W) of 0 and ids in ``object_ids``; None to leave the frame to others.
    Raises:
        VosError: shown to the user in a line; anything else is reported as the plugin's bug.
    """


@hookspec
def vos_run_started(run: Run) -> None:
    """Called once, when the writers have begun and before the first frame is read.

    Args:
        run: what will be done.
    """


@hookspec
def vos_frame_done(run: Run, frame: Frame, prediction: Prediction, label_map: LabelMap) -> None:
    """Called once per frame, in the order of tracking, in the thread of the frame loop: tracking waits for it.

    Args:
        run: the run.
        frame: the frame, at the source's own size.
        prediction: the tracker's answer; for the first annotated frame, made from the annotation.
        label_map: uint8 (H, W): 0 and ids; read-only.
    """


@hookspec
def vos_run_finished(run: Run, summary: RunSummary) -> None:
    """Called once, after the last writer has closed.

    An exception makes it a failed run, whose outputs stay: ``vos_run_failed`` follows in all plugins.

    Args:
        run: the run.
        summary: frames, objects and time.
    """


@hookspec
def vos_run_failed(run: Run, error: BaseException) -> None:
    """Called once if a run that has started stops early, after the writers have been aborted.

    What stopped the run is raised to the user in any case: an exception here is a warning.

    Args:
        run: the run.
        error: what stopped it; ``KeyboardInterrupt`` for Ctrl-C.
    """
