"""Run a tracker over a source: ``stream`` gives label maps lazily, ``track`` drains them into writers."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

from vos.errors import OptionError
from vos.host.annotations.annotation_loading import GivenAnnotations
from vos.host.continuing import Continuation, check_earlier_run, earlier_doubts
from vos.host.opening import GivenSource
from vos.host.outputs.planned_outputs import PlannedOutputs, masks_by_index, stale_masks
from vos.host.outputs.remote_output import publishing
from vos.host.outputs.resuming import resume_stopped_run
from vos.host.outputs.run_record import RunRecord, read_record, remove_partials
from vos.host.outputs.saved_states import StateWriter
from vos.host.outputs.writer_making import GivenWriter
from vos.host.run import PreparedRun, prepare_run
from vos.host.run_config import DEFAULT_TRACKER, DEFAULT_WRITER, RunConfig
from vos.host.torch_settings import TorchSettings
from vos.host.tracker_making import GivenTracker
from vos.io.atomic_files import missing_folders, refuse_equal_names, remove_empty, safe_name
from vos.io.output_lock import output_lock
from vos.io.remote_files import shown
from vos.registry.discovery import Plugins, load_plugins, observing_hooks
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.run import RunSummary
from vos.types.runtime import Runtime


class LabelMapStream(Iterator[tuple[Frame, LabelMap]]):
    """Lazy iterator over the frames of a run and their label maps."""

    def __init__(self, run: PreparedRun, settings: TorchSettings) -> None:
        self._run = run
        self._settings = settings
        self._results = run.results()
        _open_streams.add(self)

    def __next__(self) -> tuple[Frame, LabelMap]:
        """Track the next frame."""
        with self._settings.active():
            tracked = next(self._results)
        return tracked.frame, tracked.label_map

    @property
    def doubts(self) -> dict[int, str]:
        """Reasons to check the latest frame's masks, by object id, in the words of ``DoubtfulSpan``."""
        return dict(self._run.frame_doubts)

    def close(self) -> None:
        """Stop, and close the source and the tracker; no frame is tracked after it."""
        self._results.close()
        self._run.close()

    def __del__(self) -> None:
        self.close()


_open_streams: WeakSet[LabelMapStream] = WeakSet()


@atexit.register
def _close_open_streams() -> None:
    """Close streams that a script left in the middle: threads that still encode would abort the ending process."""
    for left in list(_open_streams):
        # Another thread that steps through a stream closes it, or dies with the process.
        with contextlib.suppress(ValueError):
            left.close()


def stream(
    source: GivenSource,
    annotations: GivenAnnotations = None,
    *,
    tracker: GivenTracker = DEFAULT_TRACKER,
    options: Mapping[str, Any] | Any | None = None,
    runtime: Runtime | None = None,
    both_ways: bool = False,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    max_side: int | None = None,
    allow_truncated: bool = False,
    ends: Mapping[int, int] | None = None,
    plugins: Plugins | None = None,
) -> LabelMapStream:
    """Track objects lazily: each step of the iteration reads and tracks a frame (a few are decoded ahead).

    Bad input is raised by the call, before the first frame. Leaving the loop early closes everything, and
    so does the stream's ``close``, also before the first frame.

    Args:
        source: a video, a folder of images, a camera index, an address, frames in memory as for ``open_source``, or a
            ready ``Source``.
        annotations: a label map (uint8 (H, W)), a mask file or an ``Annotation`` for the first frame;
            a list of ``Annotation`` or a dict by frame index for several; None takes those that a
            DAVIS or YouTube-VOS layout puts beside the frames.
        tracker: a tracker's name, a tracker, or one of ``make_tracker``, kept for several runs in turn.
        options: by name, of a tracker that is given by its name.
        runtime: device, precision, threads, seed; None for the defaults.
        both_ways: track backward too: each object from its first annotation to the first frame, and between two of its
            annotations from the later one to the middle. Frames before the first annotation come first, descending.
        start: index of the first frame.
        stop: index after the last frame, or None for all.
        step: take every ``step``-th frame.
        max_side: the tracker sees frames at most this long, in pixels; label maps have full size.
        allow_truncated: end with a warning where a damaged source ends.
        ends: by object id, the index of the first frame without the object; its pixels become background, and a
            later annotation of the id starts it again.
        plugins: which plugins to use; None loads the installed ones.
    Returns:
        An iterator over each frame with its label map: uint8 (H, W), 0 and object ids, read-only.
    Raises:
        InputError: bad source, annotation, name or option (subclasses say which).
        TrackerError: the tracker failed; the message names the frame.
    """
    config = RunConfig(
        tracker, options, runtime or Runtime(), both_ways, start, stop, step, max_side, allow_truncated, ends or {}
    )
    settings = TorchSettings(runtime)
    with settings.active():
        return LabelMapStream(prepare_run(source, annotations, config, plugins or load_plugins()), settings)


def track(
    source: GivenSource,
    annotations: GivenAnnotations = None,
    *,
    tracker: GivenTracker = DEFAULT_TRACKER,
    options: Mapping[str, Any] | Any | None = None,
    output: str | Path | None = None,
    writers: Sequence[GivenWriter] = (DEFAULT_WRITER,),
    runtime: Runtime | None = None,
    both_ways: bool = False,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    max_side: int | None = None,
    resume: bool | Literal["exact"] = False,
    overwrite: bool = False,
    allow_truncated: bool = False,
    ends: Mapping[int, int] | None = None,
    from_frame: int | None = None,
    sequence: str | None = None,
    plugins: Plugins | None = None,
    observers: Sequence[object] = (),
) -> RunSummary:
    """Track objects through a source and write what the writers make of it.

    Args:
        source: as in ``stream``, and so are the arguments not named here.
        annotations: as in ``stream``.
        tracker: as in ``stream``.
        options: as in ``stream``.
        output: folder, or its address (``s3://bucket/out``); masks and ``run.json`` go to ``output/<sequence>/``. None
            writes only what
            writers with paths of their own write.
        writers: names, pairs of a name and its options, or ready writers; a single name too.
        runtime: as in ``stream``.
        both_ways: as in ``stream``.
        start: as in ``stream``.
        stop: as in ``stream``.
        step: as in ``stream``.
        max_side: as in ``stream``.
        resume: skip if ``output`` holds the same run, finished, with all requested outputs. Continue a stopped run:
            from the tracker's saved state, with the masks of an uninterrupted run; or, for a tracker that
            cannot save its state, from the last mask. With "exact" such a run starts again from its first frame.
        overwrite: replace files that this run writes, and an earlier run's masks of the same frames.
            Masks of other frames, and other files, stay.
        allow_truncated: as in ``stream``.
        ends: as in ``stream``.
        from_frame: index of an annotated frame from which to go on in the folder of an earlier run, which lacks this
            annotation: frames before it are not tracked again, and keep their masks. With ``both_ways``, the frames
            before it that are nearer to it than to the objects' annotations before are tracked backward from it.
        sequence: the folder's name; None for the source's name.
        plugins: as in ``stream``.
        observers: objects with observation hooks (``@hookimpl``) for this run alone.
    Returns:
        What was done.
    Raises:
        InputError: as ``stream``.
        OutputExistsError: an earlier run or an output is there (with ``from_frame``, another run), and neither
            ``resume`` nor ``overwrite`` allows it.
        TrackerError: the tracker failed; the message names the frame.
        WriterError: a writer failed; the message names the frame.
    """
    config = RunConfig(
        tracker, options, runtime or Runtime(), both_ways, start, stop, step, max_side, allow_truncated, ends or {}
    )
    config = dataclasses.replace(config, from_frame=from_frame)
    if from_frame is not None and (output is None or resume):
        raise OptionError("--from goes on in an earlier run's output folder, and without --resume.")
    plugins = plugins or load_plugins()
    observing = observing_hooks(observers)
    continues = from_frame is not None
    planned = PlannedOutputs.plan(
        writers, output, plugins, sequence, resume=bool(resume), overwrite=overwrite, continues=continues
    )
    # The davis writer needs only the masks that change; an overlay, say, needs every frame.
    replay = any(writer != DEFAULT_WRITER for writer in planned.asked)
    continuation = None if from_frame is None else Continuation(from_frame, replay)
    with publishing(planned), TorchSettings(runtime).active():
        run = prepare_run(
            source,
            annotations,
            config,
            plugins,
            lambda opened: planned.check(opened, annotations, tracker, options),
            continuation,
        )
        try:
            run.observing = observing
            finished = _begin_outputs(run, planned, continuation, exact=resume == "exact")
            if finished is not None:
                run.close()
                return finished
        except BaseException:
            run.close()
            raise
        for _ in run.results():
            pass
    assert run.summary is not None, "a run without a summary has raised"
    return run.summary


def _begin_outputs(
    run: PreparedRun,
    planned: PlannedOutputs,
    continuation: Continuation | None,
    *,
    exact: bool,
) -> RunSummary | None:
    """Name and prepare the run's folder; returns the summary of an earlier, finished run that is kept."""
    info = run.source.info
    refuse_equal_names(info.frame_names or (), str(info.location))
    name = safe_name(planned.sequence or info.name)
    folder = None if planned.output is None else planned.output / name
    address = "" if planned.remote is None else shown(planned.remote.address)
    run.facts = dataclasses.replace(run.facts, sequence=name, output=folder, address=address)
    # The masks come last: --resume takes a frame whose mask is there for done by every writer.
    order = sorted(range(len(planned.asked)), key=lambda at: planned.descriptions[at]["writer"] == DEFAULT_WRITER)
    run.writers, run.writer_names = [planned.writers[at] for at in order], tuple(planned.names[at] for at in order)
    if folder is None:
        return None
    if continuation is not None:
        record = read_record(folder) or {}
        check_earlier_run(run.facts, record, continuation.index, masks_by_index(folder, info))
        run.facts = continuation.take_over(run.facts, record, run.loop.first_tracked)
        run.doubts.keep(earlier_doubts(folder, record, run.loop.first_tracked, run.loop.passes[1].step))
    if planned.remote is None:
        run.opened.callback(remove_empty, missing_folders(folder))  # where a writer refuses to begin, nothing is left
    finished = planned.prepare(run.facts)
    if finished is None:
        run.opened.enter_context(output_lock(folder))
        remove_partials(folder)
        resumed = _go_on(run, planned, folder, exact=exact)
        if continuation is None:
            stale = [] if planned.adds_to_finished_run(folder) else stale_masks(folder, info, run.loop.passes)
            kept = run.facts.frames_before
        else:
            stale = []  # a continued run reads masks before it writes them again
            before = range(run.loop.passes[1].start)
            kept = sum(i in continuation.kept and i in before for i in masks_by_index(folder, info))
        record_keeper = RunRecord(planned.descriptions, run.doubts, stale, kept, resumed)
        run.observing.add_hooks(record_keeper, "run.json")
    return finished


def _go_on(run: PreparedRun, planned: PlannedOutputs, folder: Path, *, exact: bool) -> list[dict[str, Any]]:
    """Resume a stopped run, if there is one; returns all its resumptions so far."""
    on_saved = None if planned.remote is None else planned.remote.push
    run.states = StateWriter(run.facts, run.loop, run.writers, on_saved)
    record = planned.stopped_run(folder)
    if record is not None:
        masks = masks_by_index(folder, run.source.info)
        run.facts, point = resume_stopped_run(run.facts, run.loop, run.writers, masks, exact=exact)
        if point is not None:
            run.doubts.resume(point.entries, point.label_map)
            source = "mask" if point.state is None else "state"
            return [*record.get("resumed", ()), {"frames_before": run.facts.frames_before, "from": source}]
    return []
