"""Calls a writer as the host does, and keeps what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vos.protocols.writer import NamingWriter
from vos.testing.contract import ContractError, breaking
from vos.testing.sequences import TinySequence
from vos.types.frame import Frame
from vos.types.label_map import object_ids
from vos.types.prediction import Prediction
from vos.types.run import Run

Files = dict[Path, bytes]
"""Contents by path, relative to the folder that the writer was given."""


@dataclass
class WriterDriver:
    """One writer under test, for one run.

    Attributes:
        writer: the writer.
        clause: the clause to name where a call raises.
        root: folder that holds all that the writer may write.
        seen: what was at each path after each call.
    """

    writer: Any
    clause: str
    root: Path
    seen: list[Files] = field(default_factory=list)

    def open(self, sequence: TinySequence, positions: Sequence[int]) -> Run:
        """Begin a run of some frames of a sequence."""
        folder = self.root / "out" / sequence.name
        folder.mkdir(parents=True)
        first = sequence.frame(positions[0]) if positions else sequence.frame(0)
        run = Run(
            sequence.name, sequence.info, "tiny", output=folder, frame_count=len(positions), annotated=(first.index,)
        )
        self._call("open", "the run", run)
        return run

    def write(self, sequence: TinySequence, position: int) -> None:
        """Write a frame; the prediction has logits of half the size, and scores."""
        frame, label_map = sequence.frame(position), sequence.label_maps[position].copy()
        label_map.flags.writeable = False
        prediction = prediction_of(frame, sequence, position)
        held = (frame.image.copy(), prediction.logits.copy())
        self._call("write", f"frame {frame.name}", frame, label_map, prediction)
        for what, now, before in (
            ("image", frame.image, held[0]),
            ("label map", label_map, sequence.label_maps[position]),
            ("prediction", prediction.logits, held[1]),
        ):
            if not np.array_equal(now, before):
                raise ContractError("writer-read-only", f"write on frame {frame.name} changed the {what}.")

    def end(self, error: BaseException | None = None) -> Files:
        """Close the writer, or abort it; returns what it left."""
        if error is None:
            self._call("close", "the run")
        else:
            self._call("abort", "the run", error)
        return self.seen[-1]

    def run(self, sequence: TinySequence, positions: Sequence[int] | None = None) -> Files:
        """Write a sequence, or the frames at ``positions`` in that order."""
        positions = range(len(sequence.images)) if positions is None else positions
        self.open(sequence, positions)
        for position in positions:
            self.write(sequence, position)
        return self.end()

    def outputs(self, folder: Path) -> list[Path]:
        """Paths that the writer announces for a run in ``folder``."""
        if not isinstance(self.writer, NamingWriter):
            return []
        with breaking(self.clause, "outputs"):
            return [Path(path) for path in self.writer.outputs(folder)]

    def _call(self, method: str, what: str, *arguments: Any) -> None:
        try:
            with breaking(self.clause, f"{method} on {what}"):
                getattr(self.writer, method)(*arguments)
        except ContractError as error:
            if "read-only" in str(error.__cause__):
                raise ContractError("writer-read-only", str(error).splitlines()[0]) from error.__cause__
            raise
        self.seen.append(files_under(self.root))


def files_under(root: Path) -> Files:
    """Read all files under a folder."""
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def prediction_of(frame: Frame, sequence: TinySequence, position: int) -> Prediction:
    """A prediction that fits a label map: logits of half the frame's size, and scores."""
    known = sorted({i for label_map in sequence.label_maps for i in object_ids(label_map)})
    height, width = frame.size
    half = max(1, width // 2), max(1, height // 2)
    masks = [(sequence.label_maps[position] == i).astype(np.float32) for i in known]
    logits = np.stack([cv2.resize(mask, half, interpolation=cv2.INTER_AREA) - 0.5 for mask in masks])
    return Prediction(known, logits, scores=np.linspace(0.5, 1, len(known)))
