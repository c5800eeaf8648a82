"""The checks of a tracker: one function for each clause, on tiny sequences."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from vos.host.merging import merge_objects
from vos.host.threads import map_ahead
from vos.testing.contract import ContractError
from vos.testing.kits.methods import offers
from vos.testing.kits.tracker_driver import Driver, check_tracker_methods
from vos.testing.sequences import TinySequence, tiny_sequence
from vos.types.arrays import LabelMap, Size
from vos.types.label_map import object_ids
from vos.types.prediction import Prediction

TrackerFactory: TypeAlias = Callable[[], Any]
"""Makes a new tracker, the same one each time."""

GROWTH_PER_FRAME = 2048
"""Bytes a frame that a tracker may keep: numbers and boxes, no mask of the smallest frame."""


@dataclass(frozen=True)
class Settings:
    """Tracker factory, frame size and thresholds of the checks.

    Attributes:
        factory: makes the tracker.
        size: (H, W) of most frames, pixels.
        warm_up: number of frames after which memory must be steady.
        min_iou: mean overlap that the ``accuracy`` clause asks for, in [0, 1]; None leaves it out.
    """

    factory: TrackerFactory
    size: Size = (48, 64)
    warm_up: int = 20
    min_iou: float | None = None

    @contextmanager
    def tracker(self, clause: str) -> Iterator[Driver]:
        """Make a tracker for a check and close it afterwards."""
        driver = Driver(self.factory(), clause)
        try:
            yield driver
        finally:
            driver.close()


def _methods(settings: Settings) -> None:
    with settings.tracker("methods") as driver:
        check_tracker_methods(driver.tracker)


def _prediction(settings: Settings) -> None:
    with settings.tracker("prediction") as driver:
        driver.run(tiny_sequence("moving", size=settings.size, length=4))


def _ids(settings: Settings) -> None:
    with settings.tracker("ids") as driver:
        driver.run(tiny_sequence("moving", size=settings.size, length=4, object_ids=(200, 3, 254)))


def _vanishing(settings: Settings) -> None:
    with settings.tracker("vanishing") as driver:
        driver.run(tiny_sequence("vanishing", size=settings.size, length=9, object_ids=(2, 7)))


def _later_objects(settings: Settings) -> None:
    with settings.tracker("later-objects") as driver:
        driver.run(tiny_sequence("later", size=settings.size, length=6, object_ids=(9, 4, 12)))


def _corrections(settings: Settings) -> None:
    sequence = tiny_sequence("still", size=settings.size, length=4)
    moved = np.where(sequence.label_maps[0] == 1, 1, 0).astype(np.uint8)[::-1].copy()
    last = []
    for corrected in (True, False):
        with settings.tracker("corrections") as driver:
            driver.start(sequence.frame(0), sequence.label_maps[0])
            driver.step(sequence.frame(1))
            if corrected:
                driver.annotate(sequence.frame(1), moved)
            driver.step(sequence.frame(2))
            last.append(driver.step(sequence.frame(3)))
    if _same_answer(*last):
        raise ContractError("corrections", "annotate with object 1 at another place changed nothing in later frames.")


def _same_answer(first: Prediction, second: Prediction) -> bool:
    order = [second.object_ids.index(i) for i in first.object_ids]
    return bool(np.array_equal(first.logits, second.logits[order]))


def _forgetting(settings: Settings) -> None:
    sequence = tiny_sequence("moving", size=settings.size, length=8, object_ids=(5, 6, 8))
    with settings.tracker("forgetting") as driver:
        driver.start(sequence.frame(0), sequence.label_maps[0])
        driver.step(sequence.frame(1))
        driver.forget(6)
        driver.step(sequence.frame(2))
        frame = sequence.frame(3)
        driver.step(frame)
        if offers(driver.tracker, "annotate"):
            driver.annotate(frame, np.where(sequence.label_maps[3] == 6, 6, 0).astype(np.uint8))
            driver.step(sequence.frame(4))
        driver.forget(5)
        driver.step(sequence.frame(5))
        for object_id in driver.known:
            driver.forget(object_id)
        driver.step(sequence.frame(6))
        if offers(driver.tracker, "annotate"):
            driver.annotate(sequence.frame(6), np.where(sequence.label_maps[6] == 8, 8, 0).astype(np.uint8))
            driver.step(sequence.frame(7))


def _repeatable(settings: Settings) -> None:
    sequence = tiny_sequence("crossing", size=settings.size, length=6)
    runs = []
    for _ in range(2):
        with settings.tracker("repeatable") as driver:
            runs.append(driver.run(sequence))
    _check_same("repeatable", sequence, runs[0], runs[1], "two new trackers gave different masks")


def _fresh_start(settings: Settings) -> None:
    height, width = settings.size
    earlier = tiny_sequence("later", size=(width, height), length=6, object_ids=(30, 1, 2), seed=7)
    sequence = tiny_sequence("moving", size=settings.size, length=5, object_ids=(1, 4))
    with settings.tracker("fresh-start") as driver:
        alone = driver.run(sequence)
    with settings.tracker("fresh-start") as driver:
        driver.run(earlier)
        after = driver.run(sequence)
        driver.start(earlier.frame(0), earlier.label_maps[0])
        abandoned = driver.run(sequence)
    _check_same("fresh-start", sequence, alone, after, "after another sequence the masks are different")
    _check_same("fresh-start", sequence, alone, abandoned, "after a sequence left in the middle they are different")


def _check_same(
    clause: str, sequence: TinySequence, expected: list[LabelMap], found: list[LabelMap], what: str
) -> None:
    for position, (a, b) in enumerate(zip(expected, found, strict=True)):
        if not np.array_equal(a, b):
            frame = sequence.frame(position)
            raise ContractError(
                clause, f"{what}: {int((a != b).sum())} pixels of frame {frame.name} ({sequence.name})."
            )


def _kept_predictions(settings: Settings) -> None:
    sequence = tiny_sequence("moving", size=settings.size, length=6)
    with settings.tracker("kept-predictions") as driver:
        driver.start(sequence.frame(0), sequence.label_maps[0])
        kept = []
        for position in range(1, 6):
            prediction = driver.step(sequence.frame(position))
            arrays = [prediction.logits, prediction.scores, prediction.present, prediction.label_map]
            kept += [(position, array, array.copy()) for array in arrays if array is not None]
        for position, array, before in kept:
            if not np.array_equal(array, before):
                raise ContractError(
                    "kept-predictions", f"the prediction of frame {sequence.frame(position).name} changed afterwards."
                )


def _read_only(settings: Settings) -> None:
    with settings.tracker("read-only") as driver:
        driver.run(tiny_sequence("later", size=settings.size, length=5))


def _memory(settings: Settings) -> None:
    sequence = tiny_sequence("moving", size=(72, 96), length=4)
    measured = 12
    with settings.tracker("memory") as driver:
        gc.collect()
        tracing = tracemalloc.is_tracing()
        tracemalloc.start()
        try:
            driver.start(sequence.frame(0), sequence.label_maps[0])
            held = []
            for t in range(settings.warm_up + measured + 1):
                if t in (settings.warm_up, settings.warm_up + measured):
                    held.append(_live_bytes())
                driver.step(sequence.frame(1 + t % 3))
        finally:
            if not tracing:
                tracemalloc.stop()
    growth = (held[1] - held[0]) / measured
    if growth > GROWTH_PER_FRAME:
        raise ContractError(
            "memory",
            f"memory grows by {growth / 1024:.1f} KiB a frame (72x96 frames, "
            f"frames {settings.warm_up} to {settings.warm_up + measured}), expected none.",
        )


def _live_bytes() -> int:
    """Bytes of Python objects, numpy arrays and torch tensors that are alive."""
    gc.collect()
    storages: dict[int, int] = {}
    if (torch := sys.modules.get("torch")) is not None:
        for candidate in gc.get_objects():
            if type(candidate) in (torch.Tensor, torch.nn.Parameter) and candidate.layout == torch.strided:
                storage = candidate.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    # After the loop: the first look at a tensor's storage makes a Python object that the tensor keeps.
    return tracemalloc.get_traced_memory()[0] + sum(storages.values())


def _encoding(settings: Settings) -> None:
    sequence = tiny_sequence("moving", size=settings.size, length=7)
    frames = list(sequence.frames())

    def track(driver: Driver, encodings: Iterable[Any]) -> list[LabelMap]:
        pairs = zip(frames, encodings, strict=True)
        driver.start(frames[0], sequence.label_maps[0], next(pairs)[1])
        return [merge_objects(driver.step(frame, encoding), frame.size) for frame, encoding in pairs]

    runs: dict[str, list[LabelMap]] = {}
    for way, batch in (("one at a time", 1), ("three at a time", 3)):
        with settings.tracker("encoding") as driver:
            batches = [driver.encode(frames[first : first + batch]) for first in range(0, len(frames), batch)]
            runs[way] = track(driver, chain.from_iterable(batches))
    with settings.tracker("encoding") as driver:
        if offers(driver.tracker, "encode_ahead"):
            with closing(map_ahead(lambda frame: driver.encode([frame], "encode_ahead")[0], frames, 2)) as encodings:
                runs["by encode_ahead"] = track(driver, encodings)
    expected = runs.pop("one at a time")
    for way, masks in runs.items():
        different = max(float((a != b).mean()) for a, b in zip(expected, masks, strict=True))
        if different > 0.01:  # rounding may move a border pixel
            raise ContractError("encoding", f"encoded {way}, {100 * different:.1f} % of a frame's mask is different.")


def _frame_index(settings: Settings) -> None:
    for first_index, index_step in ((1000, 7), (90, -1)):
        with settings.tracker("frame-index") as driver:
            driver.run(
                tiny_sequence("moving", size=settings.size, length=5, first_index=first_index, index_step=index_step)
            )


def _sizes(settings: Settings) -> None:
    with settings.tracker("sizes") as driver:
        for size in ((33, 47), (64, 9), (5, 7)):
            driver.run(tiny_sequence("moving", size=size, length=4))


def _small_objects(settings: Settings) -> None:
    height, width = settings.size
    sequence = tiny_sequence("still", size=settings.size, length=4)
    one_pixel = sequence.label_maps[0].copy()
    one_pixel[0, 0] = 7
    one_pixel[height - 1, width // 2] = 9
    everything = np.full(settings.size, 4, dtype=np.uint8)
    with settings.tracker("small-objects") as driver:
        for label_map in (one_pixel, everything):
            driver.start(sequence.frame(0), label_map)
            for position in range(1, 4):
                driver.step(sequence.frame(position))


def _errors(settings: Settings) -> None:
    sequence = tiny_sequence("moving", size=settings.size, length=3)
    with settings.tracker("errors") as driver:
        frame = sequence.frame(0)
        encoding = driver.encode([frame]) if driver.encodes else []
        try:
            answer = driver.tracker.step(frame, *encoding)
        except Exception:
            driver.run(sequence)
        else:
            raise ContractError("errors", f"step before start returned a {type(answer).__name__}, expected an error.")


def _saving(settings: Settings) -> None:
    sequence = tiny_sequence("vanishing", size=settings.size, length=14)
    with TemporaryDirectory() as folder, settings.tracker("saving") as first, settings.tracker("saving") as second:
        state, damaged = Path(folder) / "state", Path(folder) / "damaged"
        first.start(sequence.frame(0), sequence.label_maps[0])
        sizes, masks = [], []
        for position in range(1, 14):
            frame = sequence.frame(position)
            masks.append(merge_objects(first.step(frame), frame.size))
            if position in (5, 11):
                state.touch()
                first.save(state)
                sizes.append(state.stat().st_size)
                if position == 5:
                    known = first.known
                    state.rename(damaged)
                    loaded = Path(folder) / "copy"
                    loaded.write_bytes(damaged.read_bytes())
        if not sizes[0] or sizes[1] > 2 * sizes[0] + (1 << 16):
            raise ContractError("saving", f"the state has {sizes[0]} bytes after 6 frames and {sizes[1]} after 12.")
        content = damaged.read_bytes()
        damaged.write_bytes(content[: len(content) // 2])
        try:
            second.tracker.load(damaged)
        except Exception:
            second.start(sequence.frame(0), sequence.label_maps[0])
        else:
            raise ContractError("saving", "load of a file cut in half raised nothing.")
        second.load(loaded, known)
        for position in range(6, 14):
            frame = sequence.frame(position)
            if not np.array_equal(merge_objects(second.step(frame), frame.size), masks[position - 1]):
                raise ContractError("saving", f"after load, the mask of frame {frame.name} is another.")


def _accuracy(settings: Settings) -> None:
    assert settings.min_iou is not None, "checked by the caller"
    sequence = tiny_sequence("moving", size=settings.size)
    with settings.tracker("accuracy") as driver:
        label_maps = driver.run(sequence)
    for object_id in sequence.object_ids:
        ious = [
            (((a == object_id) & (b == object_id)).sum() / ((a == object_id) | (b == object_id)).sum())
            for a, b in zip(sequence.label_maps[1:], label_maps[1:], strict=True)
        ]
        if float(np.mean(ious)) < settings.min_iou:
            raise ContractError(
                "accuracy",
                f"object {object_id} of {sequence.name} has a mean overlap (IoU) of {np.mean(ious):.2f}, "
                f"expected {settings.min_iou:.2f} or more.",
            )


def _stream(settings: Settings) -> None:
    from vos.host.tracking import stream

    sequence = tiny_sequence("later", size=settings.size, length=5)
    tracker = settings.factory()
    annotations = list(sequence.annotations) if offers(tracker, "annotate") else sequence.annotations[0]
    try:
        results = list(stream(sequence, annotations, tracker=tracker))
    except Exception as error:
        raise ContractError("stream", f"the frame loop stopped: {error}") from error
    for frame, label_map in results:
        if label_map.dtype != np.uint8 or label_map.shape != frame.size:
            raise ContractError("stream", f"frame {frame.name}: label map is {label_map.dtype} {label_map.shape}.")
        if not set(object_ids(label_map)) <= set(sequence.object_ids):
            raise ContractError("stream", f"frame {frame.name}: label map has ids {object_ids(label_map)}.")
    if len(results) != len(sequence.images):
        raise ContractError("stream", f"{len(results)} label maps for {len(sequence.images)} frames.")


CHECKS: dict[str, tuple[Callable[[Settings], None], str | None]] = {
    "methods": (_methods, None),
    "prediction": (_prediction, None),
    "ids": (_ids, None),
    "vanishing": (_vanishing, None),
    "later-objects": (_later_objects, "annotate"),
    "corrections": (_corrections, "annotate"),
    "forgetting": (_forgetting, "forget"),
    "repeatable": (_repeatable, None),
    "fresh-start": (_fresh_start, None),
    "kept-predictions": (_kept_predictions, None),
    "read-only": (_read_only, None),
    "memory": (_memory, None),
    "encoding": (_encoding, "encode"),
    "frame-index": (_frame_index, None),
    "sizes": (_sizes, None),
    "small-objects": (_small_objects, None),
    "errors": (_errors, None),
    "saving": (_saving, "save"),
    "stream": (_stream, None),
    "accuracy": (_accuracy, None),
}
"""The check of each clause, and the method that a tracker must have for it to apply."""
