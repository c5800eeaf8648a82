"""Do a tracking plan: stream label maps from the tracker, and write each one into the session.

Runs in the worker process. A run that is stopped stays suspended with the tracker's memory, so that going on from
there gives the masks that an unstopped run gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from vos.plugin import (
    AnnotatingTracker,
    Annotation,
    InputError,
    LabelMap,
    LabelMapStream,
    MadeTracker,
    Plugins,
    Prediction,
    Runtime,
    Source,
    make_tracker,
    object_ids,
    stream,
    write_label_map,
)
from vos_web import LastPrediction
from vos_web.sessions.presence import ABSENT, level_of
from vos_web.sessions.session import Session, keep_ids, read_facts
from vos_web.sessions.video import open_video
from vos_web.tracking.plan import TrackingPlan
from vos_web.tracking.reordered_source import ReorderedSource

Options = Mapping[str, str]
Emit = Callable[[dict[str, Any]], None]
ShouldStop = Callable[[], bool]


class ResumeKey(NamedTuple):
    """Values that a suspended run and a request must share for the run to resume."""

    session: str
    revision: int
    tracker: str
    quality: str
    step: int
    next_frame: int


@dataclass
class SuspendedRun:
    """A run that was stopped: its tracker, ready for its next frame, and the plan that it was begun with."""

    key: ResumeKey
    plan: TrackingPlan
    results: LabelMapStream
    source: Source
    order: list[int]
    last: LastPrediction

    def close(self) -> None:
        """Close the tracker and the source."""
        self.results.close()
        self.source.close()


class TrackingRunner:
    """Runs plans one after another, and keeps the last one that was stopped."""

    def __init__(self, plugins: Plugins, runtime: Runtime) -> None:
        self._plugins = plugins
        self._runtime = runtime
        self._last = LastPrediction()
        self._suspended: SuspendedRun | None = None
        self._made: tuple[tuple[str, str], MadeTracker] | None = None
        plugins.add_hooks(self._last, "vos web")

    def run(self, session: Session, plan: TrackingPlan, options: Options, emit: Emit, should_stop: ShouldStop) -> bool:
        """Track.

        Args:
            session: label maps are read from its folder and written there.
            plan: what to do.
            options: of the session's tracker, by name; the page's quality comes on top.
            emit: called with each frame's ``frame``, ``levels``, ``ids``, ``doubts``, ``fps``, ``done``, ``total``.
            should_stop: asked after each frame.
        Returns:
            True if the plan is done, False if it was stopped.
        Raises:
            VosError: the tracker or the source failed.
        """
        if plan.absent_in(plan.start) and not plan.annotated and not _annotations(session, plan):
            return _store_absence(session, plan, emit, should_stop)
        run = self._resume(session, plan) or self._begin(session, plan, options)
        # The frame at which a run was stopped need not show all of its objects.
        stop = run.plan.stop if plan.until == run.plan.until else plan.stop
        plan = replace(plan, stop=stop, targets=run.plan.targets, kept_from=run.plan.kept_from)
        finished = False
        try:
            finished = self._drain(run, session, plan, emit, should_stop)
        finally:
            if finished or self._suspended is not run:
                run.close()
                self._suspended = None
        return finished

    def close(self) -> None:
        """Close a suspended run and the tracker."""
        self._drop_suspended()
        if self._made is not None:
            self._made[1].close()
            self._made = None

    def _drop_suspended(self) -> None:
        if self._suspended is not None:
            self._suspended.close()
            self._suspended = None

    def _tracker(self, name: str, quality: str, given: Options) -> MadeTracker:
        """The tracker of the last run if it is the same one: its model is loaded already."""
        if self._made is None or self._made[0] != (name, quality):
            self.close()
            options = {**given, **({"quality": quality} if quality else {})}
            self._made = (name, quality), make_tracker(name, options, self._runtime, self._plugins)
        return self._made[1]

    def _begin(self, session: Session, plan: TrackingPlan, options: Options) -> SuspendedRun:
        self._drop_suspended()
        facts = session.facts
        made = self._tracker(facts.tracker, facts.quality, options)
        if not isinstance(made.tracker, AnnotatingTracker):
            plan = replace(plan, prior=(), annotated=())
        annotations = _annotations(session, plan)
        end = facts.frame_count if plan.step == 1 else -1
        order = [*(frame for frame in plan.prior if frame in annotations), *range(plan.start, end, plan.step)]
        if order[0] not in annotations:
            raise InputError(
                f"no object is in frame {plan.start}, and {facts.tracker} takes annotations of one frame alone. "
                "Track from a frame that shows the objects."
            )
        source = open_video(facts, self._plugins)
        try:
            results = stream(
                ReorderedSource(source, order),
                [Annotation(annotations[frame], place) for place, frame in enumerate(order) if frame in annotations],
                tracker=made,
                plugins=self._plugins,
            )
        except BaseException:
            source.close()
            raise
        for _ in range(order.index(plan.start) + 1):
            next(results)
        return SuspendedRun(_key(session, plan, plan.start + plan.step), plan, results, source, order, self._last)

    def _resume(self, session: Session, plan: TrackingPlan) -> SuspendedRun | None:
        found = self._suspended
        if found is not None and found.key == _key(session, plan, plan.start + plan.step):
            return found
        return None

    def _drain(
        self, run: SuspendedRun, session: Session, plan: TrackingPlan, emit: Emit, should_stop: ShouldStop
    ) -> bool:
        """Track the plan's frames; each is written and emitted while the tracker works on the next one."""
        began = time.perf_counter()
        frames = plan.frames

        def finish(done: int, frame_index: int, tracked: TrackedFrame) -> None:
            stored = _store(session, plan, frame_index, tracked)
            fps = done / (time.perf_counter() - began)
            emit({"frame": frame_index, **stored._asdict(), "fps": fps, "done": done, "total": len(frames)})

        with ThreadPoolExecutor(1, thread_name_prefix="vos-web-masks") as behind:
            unwritten: Future[None] = behind.submit(lambda: None)
            for done, frame_index in enumerate(frames, 1):
                _, label_map = next(run.results)
                unwritten.result()  # at most one frame is held, and an error of writing it comes up here
                tracked = TrackedFrame(label_map, run.last.prediction, run.results.doubts)
                unwritten = behind.submit(finish, done, frame_index, tracked)
                if done < len(frames) and should_stop():
                    unwritten.result()
                    run.key = _key(session, plan, frame_index + plan.step)
                    self._suspended = run
                    return False
            unwritten.result()
        return True


def _key(session: Session, plan: TrackingPlan, next_frame: int) -> ResumeKey:
    facts = session.facts
    return ResumeKey(facts.id, facts.revision, facts.tracker, facts.quality, plan.step, next_frame)


def _annotations(session: Session, plan: TrackingPlan) -> dict[int, LabelMap]:
    """The label maps that the tracker gets, by frame: those before and after the start, and its whole one."""
    maps = {frame: session.pin(frame) for frame in (*plan.prior, *plan.annotated)}
    for frame in plan.prior:
        found = maps[frame]
        maps[frame] = None if found is None else _without(found, plan.absent_in(plan.start))
    maps[plan.start] = session.mask(plan.start)
    return {frame: label_map for frame, label_map in maps.items() if label_map is not None and label_map.any()}


class StoredFrame(NamedTuple):
    """Result of tracking one frame, as the session stores it.

    Attributes:
        levels: levels of the changed objects, by id.
        ids: ids of the changed objects.
        doubts: reasons to check the mask, by id.
    """

    levels: dict[int, int]
    ids: list[int]
    doubts: dict[int, str]


class TrackedFrame(NamedTuple):
    """A frame's label map, prediction, and reasons to check masks by id, as the stream gives them."""

    label_map: LabelMap
    prediction: Prediction | None
    doubts: dict[int, str]


def _pinned(session: Session, frame: int) -> list[int] | None:
    """Ids annotated in a frame; None if the person has annotated another one since the run's session was read."""
    earlier = session.facts.pins.get(frame)
    if earlier is None:
        return None if session.pin_path(frame).exists() else []
    now = read_facts(session.folder).pins.get(frame, [])
    return now if set(now) <= set(earlier) else None


def _store(session: Session, plan: TrackingPlan, frame: int, tracked: TrackedFrame) -> StoredFrame:
    """Write one frame's label map, its presence and its doubts."""
    pinned = _pinned(session, frame)
    if pinned is None:
        return StoredFrame({}, [], {})
    earlier = session.mask(frame)
    live = session.live_ids(frame)
    kept = {i for i, first in plan.kept_from.items() if (frame - first) * plan.step >= 0}
    scores = _scores(tracked.prediction)
    absent = plan.absent_in(frame)
    answered = {*scores, *object_ids(tracked.label_map), *absent}
    kept.update(pinned)
    wanted = set(plan.targets) - kept | {i for i in answered if earlier is None or not session.presence.level(frame, i)}
    fresh = [i for i in live if i in wanted & answered]
    composed = keep_ids(tracked.label_map, set(fresh) - set(absent))
    if earlier is not None:
        taken = (composed > 0) & (keep_ids(earlier, pinned) == 0)
        composed = np.where(taken, composed, keep_ids(earlier, set(live) - set(fresh)))
    whole = session.with_left_out(frame, composed)
    write_label_map(session.mask_path(frame), whole)
    present = set(object_ids(composed))
    levels = {i: level_of(scores.get(i, 1.0)) if i in present else ABSENT for i in fresh}
    # What is now covered by others is absent: a deleted or ended object leaves nothing to bring back.
    covered = sorted(i for i in session.without_pixels(whole) - set(fresh) if session.presence.level(frame, i) > ABSENT)
    levels.update(dict.fromkeys(covered, ABSENT))
    doubts = {i: reason for i, reason in tracked.doubts.items() if i in fresh and i not in absent}
    session.presence.append(frame, levels, levels, doubts)
    return StoredFrame(levels, list(levels), doubts)


def _store_absence(session: Session, plan: TrackingPlan, emit: Emit, should_stop: ShouldStop) -> bool:
    """Store in every frame of a plan that its objects are absent: there is none to track."""
    nothing = TrackedFrame(np.zeros(session.facts.size, np.uint8), None, {})
    total = len(plan.frames)
    for done, frame in enumerate(plan.frames, 1):
        stored = _store(session, plan, frame, nothing)
        emit({"frame": frame, **stored._asdict(), "fps": None, "done": done, "total": total})
        if done < total and should_stop():
            return False
    return True


def _scores(prediction: Prediction | None) -> dict[int, float]:
    """Scores by id of the objects that the tracker knows; 1 where it gives none."""
    if prediction is None:
        return {}
    if prediction.scores is None:
        return dict.fromkeys(prediction.object_ids, 1.0)
    return {i: float(score) for i, score in zip(prediction.object_ids, prediction.scores, strict=True)}


def _without(label_map: LabelMap, ids: tuple[int, ...]) -> LabelMap:
    return keep_ids(label_map, set(range(1, 255)) - set(ids)) if ids else label_map
