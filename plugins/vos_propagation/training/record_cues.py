"""Record cues: track training clips and keep the decoder's input around each object, with the truth.

    python -m vos_propagation.training.record_cues --davis DAVIS --photos PHOTOS --out RECORDS --clips 400

The decoder's masks become the tracker's memory and so change its later cues. Each clip is therefore tracked with one
of four memories: the decoder's own masks, the votes, the truth, or a mixture of truth and own masks. Records are
written in files of about 60. A second run goes on after the last file; a clip depends on its seed alone.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import Frame, InputError, Runtime, object_ids
from vos_propagation.config import PropagationOptions
from vos_propagation.frame_state import FrameState
from vos_propagation.memory.readout_memory import centre_of
from vos_propagation.ops.boxes import Box
from vos_propagation.pipeline import PropagationTracker
from vos_propagation.stages.decoder import Decoder
from vos_propagation.stages.decoder_network import LOGIT_LIMIT, load_decoder
from vos_propagation.training.clips import Clip, ClipMaker, PhotoFolder, VideoFolder

# Rows and columns of a record, cells of 16 px.
RECORDED = (24, 28)
# Short sides that clips are tracked at, pixels, and the frames of a clip.
SIDES, LENGTH = (352, 416, 480, 544), 20
MEMORIES = ("own", "truth", "votes", "mixed")
DAGGER = ("own", "own", "own", "mixed")
"""Memories of a later round: the decoder learns from its own mistakes (Ross et al., arXiv:1011.0686)."""
# The share of the records that is kept, of several objects and of one alone.
KEPT, KEPT_ALONE = 0.25, 0.4
SHARD = 60
STRIDES = {"coarse": 8, "fine": 4, "s4": 4, "s8": 8, "s16": 16, "s32": 32, "truth": 4}
"""The stride of each part of a record: ``coarse`` (11, h8, w8) and ``fine`` (3, h4, w4) cues and the backbone's levels,
float16, and ``truth`` uint8 (1, h4, w4) in 0..255."""
REMEMBERED = 4
MEMORY_STRIDES = {"memory_s16": 16, "memory_s8": 8, "memory_masks": 4, "memory_inside": 16}
"""The same of the parts that show the ``REMEMBERED`` memory frames, in an axis before the others: the annotated one,
the last one and two at random; the backbone's levels, float16, the masks that the tracker remembers of the object
and of all others, uint8 (4, 2, h4, w4) in 0..255, and which cells lie inside the frame, uint8. A record also has
``centres``, float32 (5, 2): (y, x) of the object's warped mask and of those masks, cells from the part's corner."""


class RecordingDecoder:
    """Stands in for ``Decoder.decode``: keeps the cues, and answers what shall be remembered."""

    def __init__(self, decoder: Decoder) -> None:
        """Record what this decoder is asked."""
        self._decode = decoder.decode
        self.memory, self.truth = "own", torch.zeros(0)
        self.seen: tuple[FrameState, Tensor, Tensor] | None = None

    def __call__(self, frame: FrameState, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return logits, float32 (K, h4, w4)."""
        self.seen = frame, coarse, fine
        truth = LOGIT_LIMIT * (2 * self.truth - 1)
        if self.memory == "truth":
            return truth
        if self.memory == "votes":
            return LOGIT_LIMIT * (2 * fine[:, 2].float() - 1)
        own = self._decode(frame, coarse, fine)
        return 0.6 * truth + 0.4 * own if self.memory == "mixed" else own


class Recorder:
    """A tracker of one working size that keeps what its decoder sees."""

    def __init__(self, side: int, weights: Path | None, memories: Sequence[str] = MEMORIES) -> None:
        """Track at a short side, pixels, with the shipped weights or those of a file, and one of these memories."""
        self._memories = memories
        options = PropagationOptions(side=side, stages="-edges")
        self._tracker = PropagationTracker(options, Runtime(device="cpu"))
        decoder = next(stage for stage in self._tracker.stages if isinstance(stage, Decoder))
        if weights is not None:
            dtype = next(decoder.network.parameters()).dtype
            decoder.network = load_decoder(weights).to(dtype).to(memory_format=torch.channels_last)
        self._tracker.keep_levels = True
        self._past: list[tuple[dict[int, Tensor], Tensor]] = []
        self._recording = RecordingDecoder(decoder)
        decoder.decode = self._recording  # type: ignore[method-assign]

    def record(self, clip: Clip, rng: random.Random) -> list[dict[str, Tensor]]:
        """Track a clip and cut a record around each object out of each frame but the first."""
        self._recording.memory = rng.choice(self._memories)
        ids = object_ids(clip.label_maps[0])
        records: list[dict[str, Tensor]] = []
        self._past = []
        for index, (image, label_map) in enumerate(zip(clip.images, clip.label_maps, strict=True)):
            frame = Frame(index, image, str(index))
            (encoding,) = self._tracker.encode([frame])
            size_wh = encoding.grey.shape[::-1]
            masks = [(label_map == object_id).astype(np.float32) for object_id in ids]
            shares = [cv2.resize(mask, size_wh, interpolation=cv2.INTER_AREA) for mask in masks]
            self._recording.truth = torch.from_numpy(np.stack(shares))
            if index == 0:
                self._tracker.start(frame, label_map, encoding)
                self._remember()
                continue
            self._recording.seen = None
            self._tracker.step(frame, encoding)
            records += self._cut(rng)
            self._remember()
        return records

    def _remember(self) -> None:
        sequence = self._tracker.sequence
        levels = sequence.features.levels
        self._past.append(({stride: levels[stride][0].half() for stride in (8, 16)}, sequence.prob.clone()))

    def _cut(self, rng: random.Random) -> list[dict[str, Tensor]]:
        if self._recording.seen is None:
            return []
        frame, coarse, fine = self._recording.seen
        records = []
        for row, box in enumerate(frame.boxes_s8):
            if box is None or rng.random() > (KEPT if len(coarse) > 1 else KEPT_ALONE):
                continue
            place = _place(box, coarse.shape[2:], rng)
            planes = {"coarse": coarse[row], "fine": fine[row]}
            planes |= {f"s{stride}": level[0] for stride, level in frame.features.levels.items()}
            record = {name: _window(plane, place, STRIDES[name]).half() for name, plane in planes.items()}
            truth = _window(self._recording.truth[row : row + 1], place, 4)
            memory = self._memory_parts(row, rng)
            warped = fine[row, 0].float()
            memory["centres"] = torch.cat([(centre_of(warped) - torch.tensor(place))[None], memory["centres"]])
            records.append({**record, **memory, "truth": (255 * truth).round().byte()})
        return records

    def _memory_parts(self, row: int, rng: random.Random) -> dict[str, Tensor]:
        """Cut the object and its surroundings out of the frames that a record remembers."""
        last = len(self._past) - 1
        shown = []
        for index in (0, last, *(rng.randint(0, last) for _ in range(REMEMBERED - 2))):
            levels, prob = self._past[index]
            masks = torch.stack([prob[row + 1], 1 - prob[0] - prob[row + 1]]).clamp(0, 1)
            centre, size = centre_of(masks[0]), levels[16].shape[1:]
            place = _place_around(centre, size, rng)
            planes = {
                "memory_s16": levels[16],
                "memory_s8": levels[8],
                "memory_masks": (255 * masks).round().byte(),
                "memory_inside": torch.ones(size, dtype=torch.uint8),
            }
            parts = {name: _window(plane, place, MEMORY_STRIDES[name]) for name, plane in planes.items()}
            shown.append({**parts, "centres": centre - torch.tensor(place)})
        return {name: torch.stack([parts[name] for parts in shown]) for name in shown[0]}


def _place_around(centre: Tensor, size: Sequence[int], rng: random.Random) -> tuple[int, int]:
    """Choose where a part of a memory frame begins, cells of 16 px: about around the object's centre."""
    y, x = (
        int(min(max(float(middle) - side / 2 + rng.uniform(-3, 3), 0), max(0, length - side)))
        for middle, side, length in zip(centre, RECORDED, size, strict=True)
    )
    return y, x


def _place(box: Box, size: Sequence[int], rng: random.Random) -> tuple[int, int]:
    """Choose where a record begins, cells of 16 px, even: around the box's middle, or any point of it."""
    starts = []
    for part, length, side in zip(box, size, RECORDED, strict=True):
        middle = rng.uniform(part.start, part.stop) / 2 if rng.random() < 0.5 else (part.start + part.stop) / 4
        start = middle - side / 2 + rng.uniform(-3, 3)
        starts.append(int(min(max(start, 0), max(0, length // 2 - side))) // 2 * 2)
    return starts[0], starts[1]


def _window(plane: Tensor, place: tuple[int, int], stride: int) -> Tensor:
    """Cut a record out of a plane (..., H / stride, W / stride); beyond the frame it is 0."""
    (y, x), (height, width) = ([16 * length // stride for length in lengths] for lengths in (place, RECORDED))
    part = plane[..., y : y + height, x : x + width]
    return F.pad(part, (0, width - part.shape[-1], 0, height - part.shape[-2])).clone()


def record_clips(
    maker: ClipMaker,
    seeds: range,
    out: Path,
    *,
    weights: Path | None,
    memories: Sequence[str],
    sides: Sequence[int] = SIDES,
) -> None:
    """Record clips into a folder, after those that it already holds.

    Args:
        maker: draws the clips.
        seeds: of the clips.
        out: a folder; its files are called FIRST-LAST.pt, by seed.
        weights: of the decoder whose own masks are remembered; None means the shipped ones.
        memories: which of ``MEMORIES`` a clip may be tracked with; one that is named twice is drawn twice as often.
        sides: short sides that clips are tracked at, pixels.
    """
    out.mkdir(parents=True, exist_ok=True)
    recorders = {side: Recorder(side, weights, memories) for side in sides}
    done = [int(path.stem.split("-")[1]) + 1 for path in out.glob(f"{seeds.start:06d}-*.pt")]
    records: list[dict[str, Tensor]] = []
    for seed in range(max(done, default=seeds.start), seeds.stop):
        clip, rng = maker.draw(seed), random.Random(seed)
        if clip is not None:
            records += recorders[rng.choice(list(sides))].record(clip, rng)
        print(f"clip {seed}: {len(records)} records", file=sys.stderr, flush=True)
        if records and (len(records) >= SHARD or seed == seeds.stop - 1):
            path = out / f"{seeds.start:06d}-{seed:06d}.pt"
            together = {name: torch.stack([record[name] for record in records]) for name in records[0]}
            torch.save(together, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").rename(path)
            records = []


def main() -> None:
    """Record, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True, help="a DAVIS tree; label 1 is learnt from")
    parser.add_argument("--split", default="2016/train")
    parser.add_argument("--photos", type=Path, help="photographs with instance masks")
    parser.add_argument("--weights", type=Path, help="decoder in place of the shipped one")
    parser.add_argument("--memories", nargs="+", choices=MEMORIES, default=MEMORIES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="seed of the first clip")
    parser.add_argument("--clips", type=int, default=400)
    arguments = parser.parse_args()
    try:
        photos = PhotoFolder(arguments.photos) if arguments.photos else None
        maker = ClipMaker(VideoFolder(arguments.davis, arguments.split), photos, LENGTH)
    except InputError as error:
        parser.error(str(error))
    seeds = range(arguments.first, arguments.first + arguments.clips)
    record_clips(maker, seeds, arguments.out, weights=arguments.weights, memories=arguments.memories)


if __name__ == "__main__":
    main()
