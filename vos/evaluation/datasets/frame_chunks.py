"""Score the frames of sequences in chunks, in this process or in several."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vos.errors import InputError, VosError
from vos.evaluation.metrics.frame_scores import FrameScores
from vos.evaluation.video.black_and_white import one_object, predicted_ids
from vos.evaluation.video.sequence_scores import SequenceScorer
from vos.io.masks.mask_file import StoredLabelMap, read_stored_label_map

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

CHUNK = 16
"""Frames that a process scores at a time."""


@dataclass
class PlannedSequence:
    """A sequence to be scored: its files, and the facts of its first annotated frame.

    Attributes:
        name: the sequence.
        truths: the annotations that count.
        predictions: the prediction of each; None where there is none.
        scorer: takes the frames' scores.
        binary: the annotations are 0 and 255, one object with id 1.
        results: by position in ``truths``: a frame's scores, or why it has none.
        notes: how files were paired.
        unused: names of predictions that belong to no annotation.
        palettes: notes on palettes, each with the first file that it is about.
    """

    name: str
    truths: list[Path]
    predictions: list[Path | None]
    scorer: SequenceScorer
    binary: bool
    results: dict[int, FrameScores | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    palettes: dict[str, Path] = field(default_factory=dict)

    def chunks(self) -> Iterator[_Chunk]:
        """Divide the frames into parts that one process scores."""
        for start in range(0, len(self.truths), CHUNK):
            part = slice(start, start + CHUNK)
            yield _Chunk(start, self.truths[part], self.predictions[part], self.scorer, self.binary)


@dataclass
class _ChunkResult:
    """A chunk's scores, a text where a frame cannot be scored; and notes on palettes, each with its first file."""

    frames: list[FrameScores | str] = field(default_factory=list)
    notes: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class _Chunk:
    """Some frames of a sequence, for one process."""

    start: int
    truths: list[Path]
    predictions: list[Path | None]
    scorer: SequenceScorer
    binary: bool


def score_frames(plans: Sequence[PlannedSequence], workers: int, progress: Callable[[int, int], None] | None) -> None:
    """Score every frame, in this process or in several; results go into the plans.

    Args:
        plans: the sequences.
        workers: processes.
        progress: called from time to time with the number of frames done and of all frames.
    Raises:
        VosError: a process died.
    """
    total = sum(len(plan.truths) for plan in plans)
    work = [(plan, chunk) for plan in plans for chunk in plan.chunks()]
    done = 0
    for (plan, chunk), result in _in_order(work, min(workers, len(work))):
        plan.results.update(enumerate(result.frames, start=chunk.start))
        plan.palettes = {**result.notes, **plan.palettes}
        done += len(result.frames)
        if progress is not None:
            progress(done, total)


def _in_order(
    work: Sequence[tuple[PlannedSequence, _Chunk]], workers: int
) -> Iterable[tuple[tuple[PlannedSequence, _Chunk], _ChunkResult]]:
    if workers <= 1:
        for item in work:
            yield item, _score_chunk(item[1])
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    with ProcessPoolExecutor(workers, process_context(), initializer=_prepare_worker) as pool:
        try:
            futures = [pool.submit(_score_chunk, chunk) for _, chunk in work]
            for item, future in zip(work, futures, strict=True):
                yield item, future.result()
        except BrokenProcessPool:
            raise VosError(
                "a scoring process died (out of memory, or killed). Run again with fewer processes (-j). A script "
                'needs if __name__ == "__main__": around what it runs.'
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _prepare_worker() -> None:
    """Ignore Ctrl-C, which the parent process handles by stopping its workers, and end with the parent."""
    from vos.host.process_ends import end_with_parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def process_context() -> BaseContext:
    """Choose how worker processes start: by fork where that is safe, which costs no imports, else by spawn."""
    import multiprocessing

    safe = sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules
    return multiprocessing.get_context("fork" if safe else "spawn")


def _score_chunk(chunk: _Chunk) -> _ChunkResult:
    """Score some frames; a frame that cannot be scored yields its fault as a text."""
    result = _ChunkResult()
    # An object in black and white may appear after the first annotated frame.
    objects = chunk.scorer.first_ids or ((1,) if chunk.binary else ())
    for truth_path, path in zip(chunk.truths, chunk.predictions, strict=True):
        try:
            truth = _read(truth_path, result.notes).label_map
            truth = one_object(truth) if chunk.binary else truth
        except InputError as error:
            result.frames.append(f"{truth_path}: {error}")
            continue
        try:
            stored = StoredLabelMap(np.zeros_like(truth)) if path is None else _read(path, result.notes)
            prediction = predicted_ids(stored.label_map, objects, chunk.scorer.protocol)
            scores = chunk.scorer.score(truth, prediction)
            result.frames.append(replace(scores, black_and_white=stored.binary))
        except InputError as error:
            result.frames.append(f"{path}: {error}")
    return result


def _read(path: Path, notes: dict[str, Path]) -> StoredLabelMap:
    """Read a mask; a note on its palette is kept once, whatever ids each file has."""
    mask = read_stored_label_map(path)
    if mask.note is not None:
        notes.setdefault(mask.note.partition(", so ")[0], path)
    return mask
