"""The writer protocol: write the label maps of a run to files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.prediction import Prediction
from vos.types.run import Run


@runtime_checkable
class Writer(Protocol):
    """Receives every frame of a run, in a thread of its own (one for all writers).

    A file at its final path is complete: write under a temporary name and rename (``vos.plugin.atomic_write``).

    An optional attribute ``per_frame`` is True where a frame's files depend on that frame alone and are complete after
    ``write``. A run that was stopped goes on in the middle only if all of its writers are of that kind. Such a writer
    gets frames in the order of tracking, those of a backward pass first and descending; any other writer gets all
    frames in ascending order: frames of a backward pass wait on disk until that pass is done, without their images if
    the writer has an attribute ``needs_images`` that is False (it gets black ones).
    """

    def open(self, run: Run) -> None:
        """Prepare the outputs of a run; its first call."""
        ...

    def write(self, frame: Frame, label_map: LabelMap, prediction: Prediction) -> None:
        """Write one frame.

        Args:
            frame: the frame, at the source's own size.
            label_map: uint8 (H, W), the frame's size: 0 and ids 1..254; read-only.
            prediction: the tracker's output for the frame (for the first annotated frame, the annotation).
        """
        ...

    def close(self) -> None:
        """Finish the outputs of a run that went well; its last call."""
        ...

    def abort(self, error: BaseException) -> None:
        """End a failed run with each output complete or removed; the last call, in place of ``close``."""
        ...


@runtime_checkable
class NamingWriter(Protocol):
    """Capability: lists its output paths before a run, so that the host refuses to replace an input.

    For a writer without it, the host checks the option ``path``, if there is one, and the run's own folder.
    """

    def outputs(self, folder: Path | None) -> Iterable[Path]:
        """List the files and folders that will be written to; called before ``open``.

        Args:
            folder: the run's own folder, or None.
        Returns:
            Paths; nothing is there yet, or something that may be replaced.
        """
        ...
