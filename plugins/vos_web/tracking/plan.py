"""Plan one tracking run of the page: frames, direction, annotations, and the objects that it may change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vos.plugin import InputError
from vos_web.sessions.session import Session

Direction = Literal["forward", "backward"]
Until = Literal["end", "pin"]

MAX_PRIOR_PINS = 4
"""Annotated frames before the start that the tracker sees first, so that it remembers those views too."""


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
        absent: ids that the annotation of ``start`` says are absent.
    """

    start: int
    stop: int
    step: int
    prior: tuple[int, ...] = ()
    annotated: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    kept_from: dict[int, int] = field(default_factory=dict)
    absent: tuple[int, ...] = ()

    @property
    def frames(self) -> range:
        """The frames that get label maps, without ``start``, in order."""
        return range(self.start + self.step, self.stop, self.step)


def plan_run(session: Session, frame: int, direction: Direction, until: Until) -> TrackingPlan:
    """Plan a run from a frame.

    Objects that the person annotated in the start frame are tracked, and so are those that have no masks yet. The
    others keep the masks that they have. An object's masks behind its next annotation are kept too.

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
    label_map = session.mask(start)
    ids = [] if label_map is None else sorted({int(i) for i in set(label_map.ravel().tolist())} - {0})
    if not ids:
        raise InputError(f"no object is marked in frame {start}. Mark one there first.")
    count = session.facts.frame_count
    ahead = [pin for pin in sorted(session.facts.pins)[::step] if (pin - start) * step > 0]
    end = count if step == 1 else -1
    stop = ahead[0] if until == "pin" and ahead else end
    if start + step == stop:
        raise InputError("there is no frame left to track in that direction.")
    live = set(session.live_ids())
    targets = _targets(session, start, step, ids)
    kept_from: dict[int, int] = {}
    for pin in reversed(ahead):
        kept_from.update(dict.fromkeys(set(session.facts.pins[pin]) & set(targets), pin))
    touched = set(session.facts.pins.get(start, []))
    return TrackingPlan(
        start=start,
        stop=_early_stop(session, stop, step, targets, kept_from),
        step=step,
        prior=_prior(session, start, step),
        annotated=tuple(pin for pin in ahead if set(session.facts.pins[pin]) & live),
        targets=tuple(targets),
        kept_from=kept_from,
        absent=tuple(sorted(touched - set(ids))),
    )


def _start(session: Session, frame: int, step: int) -> int:
    """The frame itself if it has a label map, else the nearest that has one, looking back along the direction."""
    session_frames = session.presence.known
    position = frame
    while 0 <= position < len(session_frames):
        if session_frames[position]:
            return position
        position -= step
    raise InputError("no object is marked yet. Mark one in this frame, or go to an annotated frame.")


def _targets(session: Session, start: int, step: int, ids: list[int]) -> list[int]:
    touched = set(session.facts.pins.get(start, []))
    beyond = start + step
    tracked_beyond = 0 <= beyond < session.facts.frame_count and session.presence.known[beyond]
    if not touched or not tracked_beyond:
        return ids
    return [i for i in ids if i in touched] or ids


def _early_stop(session: Session, stop: int, step: int, targets: list[int], kept_from: dict[int, int]) -> int:
    """End at the last object's next annotation where every frame from there on has its masks."""
    if not targets or set(targets) - set(kept_from):
        return stop
    last = max(kept_from.values()) if step == 1 else min(kept_from.values())
    rest = session.presence.known[last:stop] if step == 1 else session.presence.known[stop + 1 : last + 1]
    return last if (last - stop) * step < 0 and rest.all() else stop


def _prior(session: Session, start: int, step: int) -> tuple[int, ...]:
    behind = [pin for pin in sorted(session.facts.pins) if (pin - start) * step < 0][::step]
    with_objects = [pin for pin in behind if session.pin(pin) is not None and session.pin(pin).any()]  # type: ignore[union-attr]
    return tuple(with_objects[-MAX_PRIOR_PINS:])
