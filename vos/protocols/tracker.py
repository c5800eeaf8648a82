"""The tracker protocol: two methods, and optional capabilities that the host detects by their presence.

A tracker keeps its own state. The host calls it from one thread, in this order, once per run:
``start`` on the first annotated frame, then ``step`` on every later frame. ``start`` begins a new
sequence: it forgets everything before it, so one tracker serves many sequences in a row. Only
``encode_ahead``, for trackers that have it, is called from other threads.

An optional ``details`` attribute (a mapping of plain values: checkpoint, its SHA-256) goes into
``run.json``; two runs are the same only if it is equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.prediction import Prediction

Encoding: TypeAlias = Any
"""What a tracker computes from a frame's image alone; opaque to the host."""


@runtime_checkable
class Tracker(Protocol):
    """Follows the objects of the first label map through the frames that come after."""

    def start(self, frame: Frame, label_map: LabelMap) -> None:
        """Start a new sequence at an annotated frame and forget any earlier one.

        Args:
            frame: the annotated frame; its image is read-only.
            label_map: uint8 (H, W), the frame's size: 0 and ids 1..254 (void already 0).
        """
        ...

    def step(self, frame: Frame) -> Prediction:
        """Segment the next frame.

        Args:
            frame: the frame after the one of the last call, forward or backward in time.
        Returns:
            One row of logits for each object that the tracker knows, in any fixed order. An object
            that is not in the frame keeps its row, with negative logits or ``present`` False.
        """
        ...


@runtime_checkable
class EncodingTracker(Protocol):
    """Capability: computes what depends on the image alone in ``encode``, which the host calls ahead in batches.

    A tracker with an ``encode`` method gets each frame's encoding as the last argument of ``start``
    and ``step``. An optional ``encode_batch`` attribute (int, default 1) sets the batch
    size; a live stream is always encoded frame by frame.
    """

    def encode(self, frames: Sequence[Frame]) -> list[Encoding]:
        """Encode frames; one encoding for each, in their order."""
        ...

    def start(self, frame: Frame, label_map: LabelMap, encoding: Encoding) -> None:
        """As ``Tracker.start``, with the frame's encoding."""
        ...

    def step(self, frame: Frame, encoding: Encoding) -> Prediction:
        """As ``Tracker.step``, with the frame's encoding."""
        ...


@runtime_checkable
class EncodingAheadTracker(EncodingTracker, Protocol):
    """Capability: encodes the next frames while it tracks, so that no core waits for another.

    Offer it where encoding changes nothing that tracking, or encoding another frame, reads; and give each
    thread a part of the cores. A live stream is encoded by ``encode``, between steps: there the next frame
    is not yet known.
    """

    def encode_ahead(self, frames: Sequence[Frame]) -> list[Encoding]:
        """As ``encode``, but called from other threads, two at most, while the other methods run."""
        ...


@runtime_checkable
class AnnotatingTracker(Protocol):
    """Capability: takes objects that appear later, and corrections."""

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add the label map's new ids as objects, and correct those already known.

        Called right after ``step`` on the same frame, so the frame's encoding is the last one seen.

        Args:
            frame: the frame just stepped.
            label_map: uint8 (H, W): 0 and the ids of this annotation only. Objects whose
                ids are absent are left unchanged.
        """
        ...


@runtime_checkable
class ForgettingTracker(Protocol):
    """Capability: drops one object for good."""

    def forget(self, object_id: int) -> None:
        """Stop tracking an object; its id is absent from later predictions."""
        ...


@runtime_checkable
class SavingTracker(Protocol):
    """Capability: saves its state, so that a run that was stopped goes on as if nothing had happened.

    A new tracker of the same options and weights that loads a state gives the masks that the first one would have
    given, bit for bit. The state's size is bounded: it does not grow with the number of frames.
    """

    def save(self, path: Path) -> None:
        """Write everything on which later predictions depend, beside options and weights.

        Called after ``step`` (and ``annotate``) on a frame. The host renames the file once it is whole.

        Args:
            path: an empty file to be overwritten, in a format whose reading runs no code: ``vos.plugin.write_state``,
                safetensors, or ``.npz`` without pickle.
        """
        ...

    def load(self, path: Path) -> None:
        """Restore the state at the call of ``save``; called in place of ``start``, and replaces any earlier state.

        Args:
            path: a file, which may be damaged or made by somebody else.
        Raises:
            Exception: of any kind: the state is damaged, or of other options, weights or another version. The host
                logs it and begins the run anew with ``start``.
        """
        ...


@runtime_checkable
class ClosingTracker(Protocol):
    """Capability: releases resources in ``close`` (a process, a file, device memory)."""

    def close(self) -> None:
        """Release what the tracker holds; called once, after the last frame or an error.

        An error that it raises is reported as a warning.
        """
        ...
