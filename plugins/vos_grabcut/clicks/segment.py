"""One object's mask from its marks by the click decoder: the whole frame first, then the object's surroundings."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, BoolArray, FloatArray, Image
from vos_grabcut.clicks.network import ClickDecoder
from vos_grabcut.clicks.prompt_maps import PromptCells
from vos_grabcut.guided_filter import guided_filter
from vos_grabcut.prompts import ObjectPrompts
from vos_propagation.backbone.efficientnet_lite import EfficientNetLite, load_efficientnet_lite
from vos_propagation.ops.shipped_weights import load_shipped_weights

WEIGHTS = Path(__file__).parent / "decoder.pt"
MULTIPLE = 64
"""Sides of the working image are multiples of this, pixels."""
MAX_ENCODINGS = 6
MAX_TURNS = 6
"""The latest marks that are answered one after another; earlier ones are answered together."""

Region = tuple[slice, slice]
Levels = dict[int, Tensor]


@dataclass(frozen=True)
class ClickConfig:
    """Settings of the segmentation from clicks.

    Attributes:
        side: short side to which the frame or a crop of it is resized, pixels.
        longest: long side of the resized image at most, pixels; the short side of a narrow strip becomes less.
        zoom_margin: margin of the crop around the found object for the second pass, as a share of its longer side.
        most_scale: no crop is enlarged more, as in training.
        zoom_below: the second pass runs if the crop has less than this share of the frame's area.
        mark_radius: half the width of a mark, as a share of the frame's shorter side.
        fragment_share: a component without a mark is kept if its area is at least this share of the largest one's.
        smoothing_radius: radius of the guided filter, as a share of the frame's shorter side.
        least_probability: a pixel with a higher probability is the object's.
        least_in_box: the same for an object in a box, whose extent is known.
        anchors: points inside a mask under correction that the decoder gets as marks on the object.
    """

    side: int = 384
    longest: int = 2048
    zoom_margin: float = 0.35
    most_scale: float = 3.0
    zoom_below: float = 0.6
    mark_radius: float = 0.005
    fragment_share: float = 0.1
    smoothing_radius: float = 0.008
    least_probability: float = 0.5
    least_in_box: float = 0.4
    anchors: int = 3


class ClickSegmenter:
    """The two networks, and the latest encodings: the clicks of one frame encode it once."""

    def __init__(self, config: ClickConfig | None = None) -> None:
        """Load the networks.

        Raises:
            WeightsError: a file is missing or does not fit.
        """
        self._config = config or ClickConfig()
        self._network: EfficientNetLite = load_efficientnet_lite().to(memory_format=torch.channels_last)
        self._decoder = load_shipped_weights(ClickDecoder(), WEIGHTS)
        self._encodings: OrderedDict[tuple[object, ...], Levels] = OrderedDict()
        self._lock = threading.Lock()

    def segment(
        self, image: Image, prompts: ObjectPrompts, others: BoolArray | None = None, present: BoolArray | None = None
    ) -> BoolArray:
        """Find an object, or correct its mask.

        Args:
            image: uint8 (H, W, 3), RGB.
            prompts: the object's marks.
            others: bool (H, W), pixels that belong to other objects for sure, or None.
            present: bool (H, W), the object's mask, which the marks correct: only regions that a mark lies on change.
                None or without a pixel: there is none.
        Returns:
            bool (H, W); every mark on the object is in it, and no mark beside it.
        """
        config = self._config
        size = image.shape[:2]
        digest = hashlib.blake2b(image.tobytes()).digest()
        frame = np.s_[0 : size[0], 0 : size[1]]
        radius = max(1, round(config.mark_radius * min(size)))
        layers = [stroke.drawn(size, radius) for stroke in prompts.strokes]
        signs = [stroke.on_object for stroke in prompts.strokes]
        if others is not None and others.any():
            layers, signs = [others, *layers], [False, *signs]
        asked, box = _joined(size, layers, signs), _in_box(size, prompts)
        previous, first = np.zeros(size, dtype=np.float32), 1 if prompts.box_xyxy is None else 0
        corrects = present is not None and present.any()
        if present is not None and corrects:
            layers, signs = [_anchors(present, asked[1], config.anchors, radius), *layers], [True, *signs]
            previous, first = present.astype(np.float32), 2
        first_region = (_surroundings(box | asked[0], config) if box.any() else None) or frame
        for turn in _mark_counts(len(layers), first):
            marks = _joined(size, layers[:turn], signs[:turn])
            previous = self._answer(image, digest, first_region, marks, box, previous)
        marks = _joined(size, layers, signs)
        seen = (previous > 0.5) | marks[0] | box
        region = _surroundings(seen | marks[1] if corrects else seen, config)
        if region is not None and region != first_region:
            previous = self._answer(image, digest, region, marks, box, previous)
        radius = max(2, round(config.smoothing_radius * min(size)))
        least = config.least_in_box if box.any() else config.least_probability
        mask = np.asarray(guided_filter(image, previous, radius) > least)
        if present is not None and corrects:
            mask = merged_correction(present, mask, asked)
        else:
            mask = _without_fragments(mask, marks[0], config.fragment_share)
        mask[asked[1]] = False
        mask[asked[0]] = True
        return mask

    @torch.inference_mode()
    def _answer(
        self,
        image: Image,
        digest: bytes,
        region: Region,
        marks: tuple[BoolArray, BoolArray],
        box: BoolArray,
        previous: FloatArray,
    ) -> FloatArray:
        """Probabilities of the pixels: float32 (H, W), 0 outside of the region."""
        with self._lock:
            features = self._encode(image, digest, region)
        cells = (features[4].shape[2], features[4].shape[3])
        on_object, beside, in_box = (_to_cells(plane[region], cells) for plane in (*marks, box))
        before = cv2.resize(previous[region], cells[::-1], interpolation=cv2.INTER_AREA)
        cues = PromptCells(on_object, beside & ~on_object, in_box, np.asarray(before))
        similarities = cues.similarities({stride: level[0] for stride, level in features.items()})
        maps = torch.from_numpy(cues.maps())[None]
        logits = self._decoder(features, maps, {stride: planes[None] for stride, planes in similarities.items()})
        height, width = image[region].shape[:2]
        large = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        probabilities = np.zeros(image.shape[:2], dtype=np.float32)
        probabilities[region] = torch.sigmoid(large)[0, 0].numpy()
        return probabilities

    def _encode(self, image: Image, digest: bytes, region: Region) -> Levels:
        key = (digest, region[0].start, region[0].stop, region[1].start, region[1].stop)
        found = self._encodings.get(key)
        if found is None:
            part = image[region]
            height, width = part.shape[:2]
            scale = min(self._config.side / min(height, width), self._config.longest / max(height, width))
            size_wh = [max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE) for length in (width, height)]
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            pixels = torch.from_numpy(np.asarray(cv2.resize(part, size_wh, interpolation=way)))
            levels = self._network(pixels.permute(2, 0, 1)[None].float())
            found = {stride: levels[stride] for stride in (4, 8, 16, 32)}
            self._encodings[key] = found
            while len(self._encodings) > MAX_ENCODINGS:
                self._encodings.popitem(last=False)
        self._encodings.move_to_end(key)
        return found


@functools.lru_cache(maxsize=1)
def click_segmenter() -> ClickSegmenter:
    """The segmenter of this process, for all of its threads; it is made once."""
    return ClickSegmenter()


def _mark_counts(marks: int, first: int) -> list[int]:
    """Numbers of marks of successive predictions, in the order of the clicks: ``first``, then one more each time."""
    return list(range(max(first, marks - MAX_TURNS + 1), marks + 1)) or [marks]


def _in_box(size: tuple[int, int], prompts: ObjectPrompts) -> BoolArray:
    box = np.zeros(size, dtype=bool)
    if prompts.box_xyxy is not None:
        x0, y0, x1, y1 = np.round(prompts.box_xyxy).astype(int)
        box[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = True
    return box


def _joined(size: tuple[int, int], layers: list[BoolArray], signs: list[bool]) -> tuple[BoolArray, BoolArray]:
    """Pixels under marks on the object, and those under marks beside it; where both meet, the object's win."""
    on_object, beside = (np.zeros(size, dtype=bool) for _ in range(2))
    for layer, sign in zip(layers, signs, strict=True):
        (on_object if sign else beside)[layer] = True
    return on_object, beside & ~on_object


def _to_cells(plane: BoolArray, cells: tuple[int, int]) -> BoolArray:
    """Mark the cells that hold a marked pixel."""
    marked = np.zeros(cells, dtype=bool)
    rows, columns = np.nonzero(plane)
    marked[rows * cells[0] // plane.shape[0], columns * cells[1] // plane.shape[1]] = True
    return marked


def _surroundings(found: BoolArray, config: ClickConfig) -> Region | None:
    """Crop around all True pixels of (H, W), with a margin; None if it is a large part of the frame."""
    if not found.any():
        return None
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    height, width = found.shape
    margin = config.zoom_margin * max(rows[-1] - rows[0], columns[-1] - columns[0])
    least = config.side / config.most_scale
    y0, y1 = _widened(int(rows[0]), int(rows[-1]) + 1, margin, least, height)
    x0, x1 = _widened(int(columns[0]), int(columns[-1]) + 1, margin, least, width)
    if (y1 - y0) * (x1 - x0) >= config.zoom_below * found.size:
        return None
    return np.s_[y0:y1, x0:x1]


def _widened(low: int, high: int, margin: float, least: float, length: int) -> tuple[int, int]:
    """Add a margin to both ends of a range, or more up to the least size, within 0 and ``length``.

    Where one end meets 0 or ``length``, the other end is moved until the range has the least size.
    """
    margin, least = round(max(margin, (least - (high - low)) / 2)), round(least)
    return max(0, min(low - margin, length - least)), min(length, max(high + margin, least))


def _anchors(present: BoolArray, beside: BoolArray, count: int, radius: int) -> BoolArray:
    """Mark a mask's innermost points, far from marks beside the object: the decoder learnt with marks on the object.

    Args:
        present: bool (H, W), the mask, at least one pixel.
        beside: bool (H, W), pixels under marks beside the object.
        count: how many points.
        radius: half the width of a mark, pixels.
    Returns:
        bool (H, W).
    """
    drawn, left = np.zeros(present.shape, dtype=np.uint8), np.pad((present & ~beside).astype(np.uint8), 1)
    away = cv2.distanceTransform(np.pad((~beside).astype(np.uint8), 1, constant_values=1), cv2.DIST_L2, 3)
    for _ in range(count):
        depth = np.minimum(cv2.distanceTransform(left, cv2.DIST_L2, 3), away)
        y, x = (int(i) for i in np.unravel_index(int(depth.argmax()), depth.shape))
        if depth[y, x] <= 0:
            break
        cv2.circle(drawn, (x - 1, y - 1), radius, 1, -1)
        cv2.circle(left, (x, y), max(3, int(depth[y, x])), 0, -1)
    return np.asarray((drawn > 0) & present & ~beside)


def merged_correction(present: BoolArray, found: BoolArray, marks: tuple[BoolArray, BoolArray]) -> BoolArray:
    """Update a mask from a new one only in the regions of the marks, so that the rest of it stays.

    Args:
        present: bool (H, W), the mask before the marks.
        found: bool (H, W), the mask that answers them.
        marks: bool (H, W) under marks on the object, and under marks beside it.
    Returns:
        bool (H, W): ``present`` with the added regions that a mark on the object lies on, and without the removed
        ones that a mark beside it lies on.
    Source: progressive merge of FocalClick (Chen et al., arXiv:2204.02574).
    """
    merged = present.copy()
    for changed, asked, value in ((found & ~present, marks[0], True), (present & ~found, marks[1], False)):
        _, pieces = cv2.connectedComponents(changed.astype(np.uint8), connectivity=8)
        touched = np.unique(pieces[asked])
        merged[np.isin(pieces, touched[touched > 0])] = value
    return np.asarray(merged)


def _without_fragments(mask: BoolArray, marks: AnyArray, share: float) -> BoolArray:
    """Keep the components under a mark, and the larger ones of the others."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = np.concatenate([[False], areas >= share * areas.max()])
    kept[np.unique(pieces[marks & mask])] = True
    kept[0] = False
    return np.asarray(kept[pieces])
