"""One run: everything opened and checked first, then frames tracked, observed and written."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from vos.errors import OptionError, PluginError, SourceError, TrackerError
from vos.host.annotations.annotation_loading import GivenAnnotations, gather_annotations
from vos.host.annotations.imported_annotations import with_imported
from vos.host.continuing import Continuation
from vos.host.doubts import DoubtDetector
from vos.host.loop.frame_loop import FrameLoop, LoopSettings
from vos.host.loop.object_tracking import Merge
from vos.host.loop.tracked_frame import TrackedFrame
from vos.host.merging import checked_label_map, merge_objects
from vos.host.opening import GivenSource, open_source
from vos.host.outputs.output_writers import Outputs
from vos.host.outputs.saved_states import StateWriter
from vos.host.remote_inputs import local_annotations
from vos.host.run_config import RunConfig
from vos.host.tracker_making import MadeTracker, make_tracker
from vos.io.atomic_files import safe_name
from vos.io.json_file import plain_json
from vos.protocols.source import Source
from vos.protocols.tracker import EncodingTracker, Tracker
from vos.protocols.writer import Writer
from vos.registry.discovery import Plugins
from vos.registry.plugin_errors import blaming, close_or_warn
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap, Size
from vos.types.prediction import Prediction
from vos.types.run import Run, RunSummary

logger = logging.getLogger(__name__)


@dataclass
class PreparedRun:
    """A run made ready: source and tracker are open, annotations are read and checked, no frame is read.

    Attributes:
        source: where frames come from.
        loop: tracks them.
        plugins: whose observers are called.
        facts: what writers, observers and ``run.json`` learn of the run.
        opened: what the run opened and closes at its end.
        object_ids: all objects of the annotations, ascending.
        writers: write each frame.
        writer_names: what messages call each writer.
        observing: hooks of the observers of this run alone.
        doubts: collects the doubtful spans, after those of a continued or resumed run in frames that this run keeps.
        states: writes what a stopped run is resumed from, or None.
        summary: what was done, once the run has ended well.
        frame_doubts: reasons to check the latest frame's masks, by object id.
    """

    source: Source
    loop: FrameLoop
    plugins: Plugins
    facts: Run
    opened: ExitStack
    object_ids: tuple[int, ...]
    doubts: DoubtDetector
    writers: list[Writer] = field(default_factory=list)
    writer_names: tuple[str, ...] = ()
    observing: Plugins = field(default_factory=Plugins)
    states: StateWriter | None = None
    summary: RunSummary | None = None
    frame_doubts: Mapping[int, str] = field(default_factory=dict)

    def results(self) -> Generator[TrackedFrame]:
        """Track all frames; everything is closed when the iterator ends, fails or is dropped.

        The writers begin first: where one cannot, nothing has started, and an earlier run's output stays.
        """
        began = time.perf_counter()
        frames, last = self.facts.frames_before, -1
        with self.opened:
            outputs = Outputs(self.writers, self.writer_names, self.loop.passes[0])
            try:
                outputs.open(self.facts)
            except BaseException as error:
                outputs.abort(error)
                raise
            try:
                self._observe("vos_run_started")
                if self.states is not None and not self.facts.frames_before:
                    self.states.remove()
                for tracked in self.loop:
                    frames += 1
                    last = max(last, tracked.frame.index)
                    self._judge(tracked)
                    outputs.put(tracked)
                    self._observe_frame(tracked)
                    if self.states is not None:
                        self.states.frame_done(tracked.frame.index, outputs.flush)
                    yield tracked
                if not frames:
                    none = f"{self.source.info.location}: it gave no frame to track."
                    ways = "Give a whole copy, or the mask of a frame that can be read."
                    raise SourceError(f"{self.loop.truncated} {ways}" if self.loop.truncated else none)
                self._warn_of_unused_annotations(last)
                outputs.close()
                seconds = time.perf_counter() - began
                summary = RunSummary(
                    self.facts,
                    frames,
                    self.object_ids,
                    seconds,
                    truncated=self.loop.truncated,
                    doubts=self.doubts.spans,
                )
                self._observe("vos_run_finished", summary=summary)
            except BaseException as error:
                outputs.abort(error)
                self._report_failure(error)
                raise
            self.summary = summary
            if self.states is not None:
                self.states.remove()

    def _warn_of_unused_annotations(self, last: int) -> None:
        """Name the annotations after the last frame of a source that states no length, or that ended early."""
        unused = ", ".join(str(index) for index in self.facts.annotated if 0 <= last < index)
        if unused:
            where = self.source.info.location
            logger.warning("%s: ended after frame %d; the mask of frame %s was not used.", where, last, unused)

    def _judge(self, tracked: TrackedFrame) -> None:
        """Find what is doubtful in a frame that this run tracked; no mask is written before that is recorded."""
        index = tracked.frame.index
        if index < self.loop.first_tracked:
            return
        entry = self.doubts.add(index, tracked.label_map, tracked.prediction, self.loop.origins.annotated(index))
        self.frame_doubts = entry.reasons
        if self.states is not None:
            self.states.frame_tracked(entry)

    def _observe_frame(self, tracked: TrackedFrame) -> None:
        facts = {"frame": tracked.frame, "prediction": tracked.prediction, "label_map": tracked.label_map}
        self._observe("vos_frame_done", **facts)

    def _observe(self, hook_name: str, **facts: Any) -> None:
        """Call an observation hook of this run's observers, then of the plugins."""
        for plugins in (self.observing, self.plugins):
            getattr(plugins.hook, hook_name)(run=self.facts, **facts)

    def _report_failure(self, error: BaseException) -> None:
        """Call the observers' failure hook; ``error`` stays the one that is raised."""
        for plugins in (self.observing, self.plugins):
            try:
                plugins.hook.vos_run_failed(run=self.facts, error=error)
            except BaseException as later:
                logger.warning("while stopping: %s", later)

    def close(self) -> None:
        """Close what the run opened."""
        self.opened.close()


def prepare_run(
    source: GivenSource,
    annotations: GivenAnnotations,
    config: RunConfig,
    plugins: Plugins,
    check: Callable[[Source], None] = lambda source: None,
    continuation: Continuation | None = None,
) -> PreparedRun:
    """Open the source, read the annotations, make the tracker, and check that they fit together.

    Args:
        source: as for ``stream``.
        annotations: as for ``stream``.
        config: the settings.
        plugins: where names are looked up.
        check: called with the open source before anything slow; raises to refuse the run.
        continuation: of an earlier run, if this run continues one; its folder is set before the first frame.
    Returns:
        The run; ``results`` runs it, ``close`` drops it.
    Raises:
        InputError: bad source, annotation, name or option (subclasses say which).
    """
    with ExitStack() as opened:
        ready = open_source(source, plugins)
        if not isinstance(source, Source):
            opened.callback(close_or_warn, f"source {ready.info.location}", ready.close)
        check(ready)
        annotations = local_annotations(annotations, opened)
        indices = config.frame_indices(ready.info.frame_count, str(ready.info.location))
        found = gather_annotations(with_imported(annotations, ready.info, indices, plugins), ready.info, indices)
        first_frames = {i: index for index in sorted(found, reverse=True) for i in found[index].object_ids}
        ids = tuple(sorted(first_frames))
        config.check_ends(first_frames, ready.info.frame_count)
        made = _tracker_of(config, plugins, opened)
        if config.max_side is not None and made.own_size:
            logger.warning("--max-side %d makes %s no faster: %s.", config.max_side, made.name, made.own_size)
        loop = FrameLoop(
            ready,
            found,
            made.tracker,
            made.name,
            _merge_of(plugins),
            LoopSettings(
                indices=indices,
                both_ways=config.both_ways,
                max_side=config.max_side,
                allow_truncated=config.allow_truncated,
                ends=config.ends or {},
                continuation=continuation,
            ),
        )
        facts = _facts(ready, found, made, config, indices)
        if continuation is not None:
            facts = dataclasses.replace(facts, frame_count=sum(map(len, loop.passes)))
        doubts = DoubtDetector(indices.step)
        return PreparedRun(ready, loop, plugins, facts, opened.pop_all(), ids, doubts)


def _tracker_of(config: RunConfig, plugins: Plugins, opened: ExitStack) -> MadeTracker:
    """Make the tracker, or take one that is ready; only one that was made here is closed with the run."""
    tracker = config.tracker
    if isinstance(tracker, str):
        made = make_tracker(tracker, config.options, config.runtime, plugins)
        opened.callback(made.close)
        return made
    if config.options:
        raise OptionError(
            f"options are {config.options!r}, but the tracker is made already. Give its name, or make it with them."
        )
    if isinstance(tracker, MadeTracker):
        return tracker
    if isinstance(tracker, type) or not isinstance(tracker, (Tracker, EncodingTracker)):
        raise PluginError(
            f"tracker is {tracker!r}, expected a tracker's name, or an object with the methods start and step."
        )
    return MadeTracker(type(tracker).__name__, {}, tracker)


def _facts(
    source: Source, annotations: Mapping[int, Annotation], made: MadeTracker, config: RunConfig, indices: range
) -> Run:
    info = source.info
    first = next(iter(annotations))
    if first > indices[0] and not config.both_ways and config.from_frame is None:
        logger.info(
            "frames %d to %d come before the first annotation and are left out; --both-ways tracks them.",
            indices[0],
            first - indices.step,
        )
    wanted = indices if config.both_ways else indices[indices.index(first) :]
    length = len(wanted) - sum(index in wanted for index in info.left_out)
    return Run(
        sequence=safe_name(info.name),
        source=info,
        tracker=made.name,
        options=dict(made.options),
        details=_details(made.tracker, made.name),
        selection=config.selection(),
        runtime={k: v for k, v in dataclasses.asdict(config.runtime).items() if k != "cache"},
        frame_count=length if info.frame_count is not None or config.stop is not None else None,
        annotated=tuple(annotations),
        annotation_digest=_digest(annotations),
        both_ways=config.both_ways,
    )


def _details(tracker: object, name: str) -> dict[str, Any]:
    with blaming(f'tracker "{name}": its details cannot be recorded'):
        details = getattr(tracker, "details", {})
        if not isinstance(details, Mapping):
            found = type(details).__name__
            raise TrackerError(f'tracker "{name}": details is a {found}, expected a dict of plain values.')
        plain: dict[str, Any] = plain_json(dict(details))
    return plain


def _merge_of(plugins: Plugins) -> Merge:
    """Merge with the first plugin whose ``vos_merge_objects`` returns a label map, else with the host's argmax."""
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


def _digest(annotations: Mapping[int, Annotation]) -> str:
    sha = hashlib.sha256()
    for index, annotation in annotations.items():
        sha.update(f"{index}:{annotation.size}".encode())
        sha.update(annotation.label_map.tobytes())
    return sha.hexdigest()
