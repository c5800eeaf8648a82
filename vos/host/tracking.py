"""Run a tracker over a source: ``stream`` yields label maps lazily, ``track`` drains them into writers."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from vos.errors import OptionError, PluginError, PluginFailedError, SourceError, TrackerError
from vos.host.annotation_loading import GivenAnnotations, gather_annotations
from vos.host.frame_loop import FrameLoop, TrackedFrame, checked_label_map
from vos.host.imported_annotations import with_imported
from vos.host.input_protection import files_in_options, files_of_run, refuse_replacing
from vos.host.memory_source import frames_in_memory
from vos.host.merging import merge_objects
from vos.host.output_writers import Outputs
from vos.host.run_record import RunRecord, prepare_output, replaceable
from vos.io.atomic_files import refuse_equal_names, safe_name
from vos.protocols.source import Source
from vos.protocols.tracker import ClosingTracker, EncodingTracker, Tracker
from vos.protocols.writer import NamingWriter, Writer
from vos.registry.discovery import Plugins, load_plugins
from vos.registry.options import make_options
from vos.registry.plugin_errors import blaming, close_or_warn
from vos.registry.specs import TrackerSpec
from vos.types.annotation import Annotation
from vos.types.arrays import AnyArray, LabelMap, Size
from vos.types.frame import Frame
from vos.types.prediction import Prediction
from vos.types.run import Run, RunSummary
from vos.types.runtime import Runtime

logger = logging.getLogger(__name__)

NO_END = 1 << 40
"""Stands for the length of a source that has none."""

GivenSource: TypeAlias = str | Path | Source | Sequence[Any] | Iterable[Any] | AnyArray


@dataclass(frozen=True)
class MadeTracker:
    """A tracker that was made by name and is kept for several runs; whoever made it closes it.

    Attributes:
        name: its spec's name, as ``run.json`` records it.
        options: its options by name, defaults included.
        tracker: the tracker.
    """

    name: str
    options: Mapping[str, Any]
    tracker: Tracker | EncodingTracker

    def close(self) -> None:
        """Close the tracker, if it has something to close."""
        if isinstance(self.tracker, ClosingTracker):
            close_or_warn(f'tracker "{self.name}"', self.tracker.close)


GivenTracker: TypeAlias = str | Tracker | EncodingTracker | MadeTracker
GivenWriter: TypeAlias = str | tuple[str, Mapping[str, Any]] | Writer


def open_source(location: GivenSource, plugins: Plugins | None = None) -> Source:
    """Open a source of frames.

    Args:
        location: a video, a folder of images, a camera index, an address; frames in memory (a list or iterator of uint8
            arrays (H, W, 3), Pillow images or image files; an array or tensor (T, H, W, 3) or (T, 3, H, W)); a ready
            source is returned.
        plugins: which plugins are asked; None loads the installed ones.
    Returns:
        An open source; close it when done.
    Raises:
        SourceError: nothing can read it.
    """
    if isinstance(location, Source):
        return location
    if not isinstance(location, (str, int, os.PathLike)):
        return frames_in_memory(location)
    source = (plugins or load_plugins()).hook.vos_open_source(location=str(location))
    if source is None:
        raise SourceError(f"{location}: no plugin can read this. `vos plugins` lists the sources.")
    assert isinstance(source, Source), "checked where the plugin answers"
    return source


def make_tracker(
    tracker: str, options: Mapping[str, Any] | Any | None, runtime: Runtime, plugins: Plugins
) -> MadeTracker:
    """Make a tracker by name.

    Args:
        tracker: a spec's name; ``NAME:TEXT`` gives TEXT to the tracker's first option.
        options: values by name, a ready options object, or None.
        runtime: device, precision, threads, seed.
        plugins: where to look.
    Returns:
        The tracker with its name and options; give it to ``track`` for one video after another.
    Raises:
        PluginError: no tracker of that name, or two.
        OptionError: an option that does not fit.
        PluginFailedError: the factory failed.
    """
    spec, made = tracker_options(tracker, options, plugins)
    with blaming(f'tracker "{spec.name}" cannot be made'):
        return MadeTracker(tracker, dataclasses.asdict(made), spec.factory(made, runtime))


def tracker_options(tracker: str, options: Mapping[str, Any] | Any | None, plugins: Plugins) -> tuple[TrackerSpec, Any]:
    """Check a tracker's name and options without making it.

    Args:
        tracker: as for ``make_tracker``, and so are the others.
        options: values by name, a ready options object, or None.
        plugins: where to look.
    Returns:
        The spec, and the options object with defaults.
    Raises:
        PluginError: no tracker of that name, or two.
        OptionError: an option that does not fit.
    """
    name, colon, text = tracker.partition(":")
    spec = plugins.trackers.get(name)
    if colon:
        first = next((f.name for f in dataclasses.fields(spec.options)), None)
        if first is None:
            raise OptionError(f'tracker "{name}" has no options, so nothing can follow "{name}:".')
        options = {first: text, **(options or {})}
    made = make_options(spec.options, options, f'tracker "{name}"')
    return spec, made


def refuse_outputs(
    source: Source,
    annotations: GivenAnnotations,
    output: str | Path | None,
    writers: Sequence[GivenWriter],
    *named: Any,
    sequence: str | None = None,
    plugins: Plugins,
) -> None:
    """Refuse a run whose outputs are among its inputs.

    ``track`` does it itself; who has other work to do before it calls this first.

    Args:
        source: what will be tracked.
        annotations: as for ``track``, and so are ``output``, ``writers`` and ``sequence``.
        output: as for ``track``.
        writers: as for ``track``.
        named: options and the like that may name files that are read.
        sequence: as for ``track``.
        plugins: where writers are looked up.
    Raises:
        InputError: an output is an input, or two outputs are one.
    """
    asked = [given for given in writers if output is not None or _has_path(given)]
    made = [_make_writer(given, plugins) for given in asked]
    _refuse_outputs(source, annotations, output, asked, made, named, sequence)


def _refuse_outputs(
    source: Source,
    annotations: GivenAnnotations,
    output: str | Path | None,
    asked: Sequence[GivenWriter],
    made: Sequence[Writer],
    named: Sequence[Any],
    sequence: str | None,
) -> None:
    """Do what ``refuse_outputs`` says, for writers that are made."""
    folder = None if output is None else Path(output) / safe_name(sequence or source.info.name)
    outputs = [] if folder is None else replaceable(folder)
    for given, writer in zip(asked, made, strict=True):
        outputs += _outputs_of(given, writer, folder)
    refuse_replacing(outputs, [*files_of_run(source.info, annotations), *files_in_options(*named)])


def _outputs_of(given: GivenWriter, writer: Writer, folder: Path | None) -> list[Path]:
    if isinstance(writer, NamingWriter):
        return list(writer.outputs(folder))
    path = given[1].get("path") if isinstance(given, tuple) else None
    return [] if path is None else [Path(path)]


def stream(
    source: GivenSource,
    annotations: GivenAnnotations = None,
    *,
    tracker: GivenTracker = "propagation",
    options: Mapping[str, Any] | Any | None = None,
    runtime: Runtime | None = None,
    both_ways: bool = False,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    max_side: int | None = None,
    allow_truncated: bool = False,
    plugins: Plugins | None = None,
) -> Generator[tuple[Frame, LabelMap]]:
    """Track objects lazily: a frame is read and tracked when it is asked for (a few are decoded ahead).

    Bad input is raised by the call, before the first frame. Leaving the loop early closes everything, and
    so does the generator's ``close``, also where no frame was asked for.

    Args:
        source: a video, a folder of images, a camera index, an address, frames in memory as for ``open_source``, or a
            ready ``Source``.
        annotations: a label map (uint8 (H, W)), a mask file or an ``Annotation`` for the first frame;
            a list of ``Annotation`` or a dict by frame index for several; None takes those that a
            DAVIS or YouTube-VOS layout puts beside the frames.
        tracker: a tracker's name, a tracker, or one of ``make_tracker`` that is kept for several runs.
        options: the tracker's options by name.
        runtime: device, precision, threads, seed; None for the defaults.
        both_ways: track backward too from the first annotation; those frames come first, descending.
        start: index of the first frame.
        stop: index after the last frame, or None for all.
        step: take every ``step``-th frame.
        max_side: the tracker sees frames at most this long, in pixels; label maps have full size.
        allow_truncated: end with a warning where a damaged source ends.
        plugins: which plugins to use; None loads the installed ones.
    Yields:
        Each frame with its label map: uint8 (H, W), 0 and object ids, read-only.
    Raises:
        InputError: bad source, annotation, name or option (subclasses say which).
        TrackerError: the tracker failed; the message names the frame.
    """
    job = _Job.prepare(
        source, annotations, tracker, options, runtime, both_ways, start, stop, step, max_side, allow_truncated, plugins
    )
    frames = _frames_of(job)
    next(frames)
    return frames


def track(
    source: GivenSource,
    annotations: GivenAnnotations = None,
    *,
    tracker: GivenTracker = "propagation",
    options: Mapping[str, Any] | Any | None = None,
    output: str | Path | None = None,
    writers: Sequence[GivenWriter] = ("davis",),
    runtime: Runtime | None = None,
    both_ways: bool = False,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    max_side: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    allow_truncated: bool = False,
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
        output: folder; masks and ``run.json`` go to ``output/<sequence>/``. None writes only what
            writers with paths of their own write.
        writers: names, pairs of a name and its options, or ready writers; a single name too.
        runtime: as in ``stream``.
        both_ways: as in ``stream``.
        start: as in ``stream``.
        stop: as in ``stream``.
        step: as in ``stream``.
        max_side: as in ``stream``.
        resume: skip if ``output`` holds the same run, finished, with all outputs asked for; else redo it.
        overwrite: replace an earlier run's output.
        allow_truncated: as in ``stream``.
        sequence: the folder's name; None for the source's name.
        plugins: as in ``stream``.
        observers: objects with observation hooks (``@hookimpl``) for this run alone.
    Returns:
        What was done.
    Raises:
        InputError: as ``stream``; also if ``output`` holds another run.
        TrackerError: the tracker failed; the message names the frame.
        WriterError: a writer failed; the message names the frame.
    """
    plugins = plugins or load_plugins()
    given = [writers] if isinstance(writers, str) else list(writers)
    given = [writer for writer in given if output is not None or _has_path(writer)]
    made = [_make_writer(writer, plugins) for writer in given]

    def check(opened: Source) -> None:
        _refuse_outputs(opened, annotations, output, given, made, (tracker, options), sequence)

    job = _Job.prepare(
        source, annotations, tracker, options, runtime, both_ways, start, stop, step, max_side, allow_truncated,
        plugins, check,
    )  # fmt: skip
    with job.closing_on_error():
        refuse_equal_names(job.source.info.frame_names or (), str(job.source.info.location))
        run = dataclasses.replace(job.run_facts, sequence=safe_name(sequence or job.source.info.name), output=None)
        job.writers = made
        if output is not None:
            run = dataclasses.replace(run, output=Path(output) / run.sequence)
            assert run.output is not None
            asked = [_described(writer) for writer in given]
            finished = prepare_output(run, asked, resume=resume, overwrite=overwrite)
            if finished is not None:
                job.close()
                return finished
            observers = [RunRecord(run.output, asked), *observers]
        job.run_facts = run
        job.observers = list(observers)
    for _ in job.run():
        pass
    assert job.summary is not None
    return job.summary


def _frames_of(job: _Job) -> Generator[tuple[Frame, LabelMap]]:
    """Run a job; the first item is empty, so that closing closes the job from the beginning."""
    with closing(job), closing(job.run()) as results:
        yield None  # type: ignore[misc]  # taken before anyone sees it
        for tracked in results:
            yield tracked.frame, tracked.label_map


@dataclass
class _Job:
    """One run, made ready: everything is open and checked, nothing is read."""

    source: Source
    loop: FrameLoop
    plugins: Plugins
    run_facts: Run
    owned: ExitStack
    writers: list[Writer] = field(default_factory=list)
    observers: list[object] = field(default_factory=list)
    summary: RunSummary | None = None
    ids: set[int] = field(default_factory=set)

    @classmethod
    def prepare(
        cls,
        source: GivenSource,
        annotations: GivenAnnotations,
        tracker: GivenTracker,
        options: Mapping[str, Any] | Any | None,
        runtime: Runtime | None,
        both_ways: bool,
        start: int,
        stop: int | None,
        step: int,
        max_side: int | None,
        allow_truncated: bool,
        plugins: Plugins | None,
        check: Callable[[Source], None] = lambda source: None,
    ) -> _Job:
        plugins = plugins or load_plugins()
        runtime = runtime or Runtime()
        if max_side is not None and max_side < 1:
            raise OptionError(f"--max-side is {max_side}, expected 1 pixel or more.")
        with ExitStack() as opened:
            ready_source = open_source(source, plugins)
            if not isinstance(source, Source):
                opened.callback(close_or_warn, f"source {ready_source.info.location}", ready_source.close)
            check(ready_source)
            info = ready_source.info
            indices = _frame_indices(info.frame_count, start, stop, step, str(info.location))
            found = gather_annotations(with_imported(annotations, info, indices, plugins), info, indices)
            if isinstance(tracker, str):
                made = make_tracker(tracker, options, runtime, plugins)
                opened.callback(made.close)
                name, ready_tracker, values = made.name, made.tracker, dict(made.options)
            elif isinstance(tracker, MadeTracker):
                name, ready_tracker, values = tracker.name, tracker.tracker, dict(tracker.options)
            elif isinstance(tracker, type) or not isinstance(tracker, (Tracker, EncodingTracker)):
                raise PluginError(
                    f"tracker is {tracker!r}, expected a tracker's name, or an object with the methods start and step."
                )
            else:
                name, ready_tracker, values = type(tracker).__name__, tracker, dict(options or {})
            loop = FrameLoop(
                ready_source,
                found,
                ready_tracker,
                name,
                _merge_with(plugins),
                indices=indices,
                both_ways=both_ways,
                max_side=max_side,
                allow_truncated=allow_truncated,
            )
            first = next(iter(found))
            if first > indices[0] and not both_ways:
                logger.info(
                    "frames %d to %d come before the first annotation and are left out; --both-ways tracks them.",
                    indices[0],
                    first - indices.step,
                )
            length = len(indices) if both_ways else len(indices[indices.index(first) :])
            facts = Run(
                sequence=safe_name(info.name),
                source=info,
                tracker=name,
                options=values,
                details=_details(ready_tracker, name),
                selection=_selection(start, stop, step, max_side),
                runtime={k: v for k, v in dataclasses.asdict(runtime).items() if k != "cache"},
                frame_count=length if info.frame_count is not None or stop is not None else None,
                annotated=tuple(found),
                annotation_digest=_digest(found),
                both_ways=both_ways,
            )
            ids = {i for annotation in found.values() for i in annotation.object_ids}
            return cls(ready_source, loop, plugins, facts, opened.pop_all(), ids=ids)

    def run(self) -> Generator[TrackedFrame]:
        """Do the run; everything is closed when the iterator ends, fails or is dropped.

        The writers begin first: where one cannot, nothing has started, and an earlier run's output stays.
        """
        hook = self.plugins.hook
        began = time.perf_counter()
        frames = 0
        with self.owned, ExitStack() as observed:
            for observer in self.observers:
                self.plugins.add_hooks(observer, f"observer {type(observer).__name__}")
                observed.callback(self.plugins.manager.unregister, observer)
            outputs = Outputs(self.writers)
            try:
                outputs.open(self.run_facts)
            except BaseException as error:
                outputs.abort(error)
                raise
            try:
                hook.vos_run_started(run=self.run_facts)
                for tracked in self.loop:
                    frames += 1
                    outputs.put(tracked)
                    hook.vos_frame_done(
                        run=self.run_facts,
                        frame=tracked.frame,
                        prediction=tracked.prediction,
                        label_map=tracked.label_map,
                    )
                    yield tracked
                if not frames:
                    raise SourceError(f"{self.source.info.location}: it gave no frame to track.")
                outputs.close()
            except BaseException as error:
                outputs.abort(error)
                self._tell_of(error)
                raise
            self.summary = RunSummary(
                self.run_facts,
                frames,
                tuple(sorted(self.ids)),
                time.perf_counter() - began,
                truncated=self.loop.truncated,
            )
            hook.vos_run_finished(run=self.run_facts, summary=self.summary)

    def _tell_of(self, error: BaseException) -> None:
        """Tell the observers what stopped the run; ``error`` stays the one that counts."""
        try:
            self.plugins.hook.vos_run_failed(run=self.run_facts, error=error)
        except Exception as later:
            logger.warning("while stopping: %s", later)

    def close(self) -> None:
        """Close what the job opened."""
        self.owned.close()

    def closing_on_error(self) -> ExitStack:
        """A context that closes the job if its block fails."""
        stack = ExitStack()

        def close(kind: type[BaseException] | None, *_: object) -> bool:
            if kind is not None:
                self.close()
            return False

        stack.push(close)
        return stack


def _make_writer(given: GivenWriter, plugins: Plugins) -> Writer:
    if isinstance(given, str):
        given = (given, {})
    if not isinstance(given, tuple):
        return given
    name, options = given
    spec = plugins.writers.get(name)
    made: Any = make_options(spec.options, options, f'writer "{name}"')
    with blaming(f'writer "{name}" cannot be made'):
        writer = spec.factory(made)
    for method in ("open", "write", "close", "abort"):
        if not callable(getattr(writer, method, None)):
            raise PluginFailedError(f'writer "{name}" is a {type(writer).__name__}, which has no method {method}.')
    return writer


def _details(tracker: object, name: str) -> dict[str, Any]:
    details = getattr(tracker, "details", {})
    if not isinstance(details, Mapping):
        raise TrackerError(f'tracker "{name}": details is a {type(details).__name__}, expected a dict of plain values.')
    return dict(details)


def _described(given: GivenWriter) -> dict[str, str]:
    """A writer and its options as they stand in ``run.json``."""
    if isinstance(given, str):
        given = (given, {})
    if not isinstance(given, tuple):
        return {"writer": type(given).__name__}
    name, options = given
    return {"writer": name, **{key: str(value) for key, value in options.items()}}


def _has_path(given: GivenWriter) -> bool:
    """Whether a writer can write without an output folder: it is ready made, or was given a path."""
    return not isinstance(given, str) and (not isinstance(given, tuple) or "path" in given[1])


def _merge_with(plugins: Plugins) -> Any:
    """The merge of the plugins, or the host's own where none has one."""
    implementations = plugins.hook.vos_merge_objects.get_hookimpls()
    if not implementations:
        return merge_objects
    who = "plugin " + " or ".join(implementation.plugin_name for implementation in implementations)

    def merge(prediction: Prediction, size: Size) -> LabelMap:
        label_map = plugins.hook.vos_merge_objects(prediction=prediction, size=size)
        if label_map is None:
            return merge_objects(prediction, size)
        return checked_label_map(label_map, prediction, size, who)

    return merge


def _frame_indices(count: int | None, start: int, stop: int | None, step: int, location: str) -> range:
    if step < 1 or start < 0:
        raise OptionError(f"--start is {start} and --step {step}, expected 0 or more and 1 or more.")
    end = NO_END if count is None else count
    if stop is not None:
        end = min(end, stop)
    if start >= end:
        has = "no known length" if count is None else f"{count} frames"
        part = f"from --start {start} on" if stop is None else f"between --start {start} and --stop {stop}"
        raise OptionError(f"{location}: no frame {part}; the source has {has}.")
    return range(start, end, step)


def _selection(start: int, stop: int | None, step: int, max_side: int | None) -> dict[str, int]:
    """Which frames, and how large; only what differs from the defaults."""
    given = {"start": (start, 0), "stop": (stop, None), "step": (step, 1), "max_side": (max_side, None)}
    return {name: value for name, (value, default) in given.items() if value is not None and value != default}


def _digest(annotations: Mapping[int, Annotation]) -> str:
    sha = hashlib.sha256()
    for index, annotation in annotations.items():
        sha.update(f"{index}:{annotation.size}".encode())
        sha.update(annotation.label_map.tobytes())
    return sha.hexdigest()
