"""Plan one tracking run of the page: frames, direction, annotations, and the objects that it may change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from vos.plugin import InputError, object_ids
from vos_web.sessions.session import Session

Direction = Literal["forward", "backward"]
Until = Literal["end", "pin"]

MAX_PRIOR_PINS = 4
"""Annotated frames before the start that the tracker sees first, so that it remembers those views too. It sees more
where these show none of an object that the start frame does not show."""


@dataclass(frozen=True)
class TrackingPlan:
    """One run over a session's frames.

    Attributes:
        start: index of the frame whose label map the run begins from.
        stop: index after the last frame, in the run's direction.
        step: 1 forward, -1 backward.
        prior: annotated frames that the tracker sees before ``start``.
        annotated: frames after ``start`` with annotations that are taken on the way.
        targets: ids of the objects that the run tracks.
        kept_from: by id, the frame from which an object's earlier masks are kept: its next annotation.
        absent: by frame in the run's order, from ``start`` on: ids that are absent up to the next of these frames, as
            the person said there or last before it.
        until: the end, or the next annotated frame, whatever ``stop`` came of it.
    """

    start: int
    stop: int
    step: int
    prior: tuple[int, ...] = ()
    annotated: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    kept_from: dict[int, int] = field(default_factory=dict)
    absent: dict[int, tuple[int, ...]] = field(default_factory=dict)
    until: Until = "end"

    @property
    def frames(self) -> range:
        """The frames that get label maps, without ``start``, in order."""
        return range(self.start + self.step, self.stop, self.step)

    def absent_in(self, frame: int) -> tuple[int, ...]:
        """Ids that the person said are absent, in a frame of the run or last before it."""
        passed = [ids for first, ids in self.absent.items() if (frame - first) * self.step >= 0]
        return passed[-1] if passed else ()


def plan_run(session: Session, frame: int, direction: Direction, until: Until) -> TrackingPlan:
    """Plan a run from a frame.

    Objects that the person annotated in the start frame are tracked, and so are those that nobody annotated or tracked
    in the next one. The others keep the masks that they have. An object's masks behind its next annotation are kept
    too. An object that the start frame does not show is tracked on from its annotations before it. Where all objects
    are absent, the run ends before the next annotation that shows one.

    Args:
        session: the session.
        frame: where the person is.
        direction: which way.
        until: to the end, or to the next annotated frame.
    Returns:
        The plan.
    Raises:
        InputError: nothing to begin from, or no frame in that direction.
    """
    step = 1 if direction == "forward" else -1
    start = _start(session, frame, step)
    ids = set() if (label_map := session.mask(start)) is None else set(object_ids(label_map))
    absences = _absences(session, start, step, ids)
    absent = set(absences[start])
    prior = _prior(session, start, step, set(session.live_ids(start)) - ids - absent)
    remembered = {i for pin in prior for i in _shown(session, pin)} - absent
    if not ids | remembered | absent:
        raise InputError(f"no object is marked in frame {start}. Mark one there first.")
    ahead = [pin for pin in sorted(session.facts.pins)[::step] if (pin - start) * step > 0]
    end = session.facts.frame_count if step == 1 else -1
    shown_ahead = next((pin for pin in ahead if _shown(session, pin)), end)
    stop = ahead[0] if until == "pin" and ahead else end if ids | remembered else shown_ahead
    if start + step == stop:
        raise InputError("there is no frame left to track in that direction.")
    targets = _targets(session, start, step, ids | remembered | absent) or sorted(ids or remembered)
    kept_from: dict[int, int] = {}
    for pin in reversed(ahead):
        kept_from.update(dict.fromkeys(set(session.facts.pins[pin]) & set(targets), pin))
    return TrackingPlan(
        start=start,
        stop=_early_stop(session, stop, step, targets, kept_from),
        step=step,
        prior=prior,
        annotated=tuple(pin for pin in ahead if _shown(session, pin)) if ids | remembered else (),
        targets=tuple(targets),
        kept_from=kept_from,
        absent=absences,
        until=until,
    )


def plan_all(session: Session) -> list[TrackingPlan]:
    """Plan the runs over the whole video: forward from the first annotation that shows an object, then backward.

    They track every object anew, also behind its later annotations, but where the person said that it is absent.

    Raises:
        InputError: nothing to begin from, or the video has one frame.
    """
    first = next((pin for pin in sorted(session.facts.pins) if _shown(session, pin)), None)
    if first is None:
        raise InputError("no object is marked yet. Mark one first.")
    count = session.facts.frame_count
    plans = []
    if first + 1 < count:
        plans.append(replace(plan_run(session, first, "forward", "end"), stop=count))
    if first > 0:
        plans.append(replace(plan_run(session, first, "backward", "end"), stop=-1))
    if not plans:
        raise InputError("there is no frame left to track.")
    return [replace(plan, targets=tuple(session.live_ids()), kept_from={}) for plan in plans]


def _start(session: Session, frame: int, step: int) -> int:
    """The frame itself if it has a label map, else the nearest that has one, looking back along the direction."""
    session_frames = session.presence.known
    position = frame
    while 0 <= position < len(session_frames):
        if session_frames[position]:
            return position
        position -= step
    raise InputError("no object is marked yet. Mark one in this frame, or go to an annotated frame.")


def _targets(session: Session, start: int, step: int, ids: set[int]) -> list[int]:
    """Objects that were annotated in the start frame, and those that nobody annotated or tracked in the next one."""
    touched = set(session.facts.pins.get(start, []))
    return sorted(i for i in ids if i in touched or not session.presence.level(start + step, i))


def _early_stop(session: Session, stop: int, step: int, targets: list[int], kept_from: dict[int, int]) -> int:
    """End at the last object's next annotation where every frame from there on has their masks."""
    if not targets or set(targets) - set(kept_from):
        return stop
    last = max(kept_from.values()) if step == 1 else min(kept_from.values())
    rest = range(last, stop, step)
    return last if all(session.presence.level(frame, i) for frame in rest for i in targets) else stop


def _behind(session: Session, start: int, step: int) -> list[int]:
    """The annotated frames before the start, in the run's order."""
    return [pin for pin in sorted(session.facts.pins) if (pin - start) * step < 0][::step]


def _shown(session: Session, pin: int) -> set[int]:
    """Ids of the objects that an annotation shows."""
    found = session.pin(pin)
    return set() if found is None else set(object_ids(found))


def _absences(session: Session, start: int, step: int, ids: set[int]) -> dict[int, tuple[int, ...]]:
    """See ``TrackingPlan.absent``; ``ids`` are those of the objects that the start frame shows."""
    found: dict[int, tuple[int, ...]] = {}
    absent: set[int] = set()
    for pin in sorted({*session.facts.pins, start})[::step]:
        absent = (absent | set(session.facts.pins.get(pin, []))) - (ids if pin == start else _shown(session, pin))
        if (pin - start) * step >= 0:
            found[pin] = tuple(sorted(absent & set(session.live_ids(pin))))
    return found


def _prior(session: Session, start: int, step: int, unseen: set[int]) -> tuple[int, ...]:
    """The annotated frames before the start that the tracker sees first; each of the ``unseen`` objects is in one."""
    shown = {pin: ids for pin in _behind(session, start, step) if (ids := _shown(session, pin))}
    chosen = set(list(shown)[-MAX_PRIOR_PINS:])
    for object_id in unseen:
        views = [pin for pin, ids in shown.items() if object_id in ids]
        if not chosen & set(views):
            chosen.update(views[-1:])
    return tuple(pin for pin in shown if pin in chosen)
