"""A run's folder, read back: its record, its frames and its label maps, one at a time."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vos.errors import InputError
from vos.host.opening import frames_of
from vos.host.outputs.run_record import read_record
from vos.io.atomic_files import safe_name
from vos.io.masks.mask_file import load_mask
from vos.io.masks.sequence_masks import grey_values, refuse_mixed_palettes
from vos.io.natural_order import natural_order
from vos.io.source_identity import absolute_path, content_of
from vos.protocols.source import Source
from vos.types.frame import Frame
from vos.types.label_map import object_ids, without_void
from vos.types.prediction import Prediction
from vos.types.run import Run
from vos.types.source_info import SourceInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedRun:
    """A folder of label maps, with or without the record of the run that wrote them.

    Attributes:
        folder: the sequence's own folder.
        masks: its PNG files, in the order of their names.
        record: what ``run.json`` says, or empty.
    """

    folder: Path
    masks: tuple[Path, ...]
    record: dict[str, Any]

    @property
    def sequence(self) -> str:
        """The sequence's name."""
        return str(self.record.get("sequence") or self.folder.resolve().name)

    @property
    def frame_count(self) -> int:
        """Number of frames of the recorded run; of all masks where there is no record, or it counts more of them."""
        return min(len(self.masks), int(self.record.get("frames") or len(self.masks)))

    @property
    def location(self) -> str | None:
        """Location of the tracked source; None if the record has none.

        It is the absolute path that the record has. Where nothing is left there, what the user typed is taken if it is
        a file with the same content now: the project's folder has moved.
        """
        typed, path = self.record.get("source"), self.record.get("source_path")
        if typed is None or path is None:
            return None if typed is None else str(typed)
        if absolute_path(path) is None and self._is_unchanged(typed):
            return absolute_path(typed)
        return str(path)

    @property
    def source_has_changed(self) -> bool:
        """True if the tracked video is there, with other content than when it was tracked."""
        location = self.location
        return location is not None and absolute_path(location) is not None and self._is_unchanged(location) is False

    def _is_unchanged(self, location: str) -> bool | None:
        """Test whether a file has the content that the record has; None where the record has no file's content."""
        content = self.record.get("source_content") or {}
        return content_of(location) == content if "bytes" in content else None

    def run(self, source: Source | None, output: Path) -> Run:
        """Describe the run for a writer.

        Args:
            source: what was tracked, where it can be opened.
            output: the folder that a writer without a path of its own writes to.
        Returns:
            The run.
        Raises:
            InputError: masks that do not fit the source, or masks of other runs that nothing tells apart.
        """
        info = source.info if source is not None else self._info()
        own = self.masks_by_index(info)
        if source is not None:
            _check_fit(info, own)
        others = sorted(path.name for path in {*self.masks} - {*own.values()})
        if others:
            logger.info(
                "%s: %d masks of frames that the recorded run does not have (first %s) are left out.",
                self.folder,
                len(others),
                others[0],
            )
        recorded = int(self.record.get("frames") or 0)
        if recorded > len(own):
            logger.warning("%s: of the recorded run's %d masks, %d are here.", self.folder, recorded, len(own))
        indices = list(own)
        return Run(
            self.sequence,
            info,
            str(self.record.get("tracker", "")),
            options=self.record.get("options", {}),
            output=output,
            frame_count=len(indices),
            selection=self.record.get("selection", {}),
            annotated=tuple(self.record.get("annotated") or indices[:1]),
            both_ways=bool(self.record.get("both_ways")),
        )

    def masks_by_index(self, info: SourceInfo) -> dict[int, Path]:
        """List the recorded run's masks by ascending frame index; those that an earlier run left are left out.

        Args:
            info: as in the run.
        Raises:
            InputError: there are masks of other runs, and nothing tells them apart.
        """
        held = dict(sorted(zip(self.indices(info), self.masks, strict=True)))
        if len(held) == self.frame_count:
            return held
        selection = self.record.get("selection", {})
        start, step = (_whole(selection.get(name), least) for name, least in (("start", 0), ("step", 1)))
        first = start if self.record.get("both_ways") else next(iter(self.record.get("annotated", ())), 0)
        wanted = range(first, first + self.frame_count * step, step)
        own = {index: path for index, path in held.items() if index in wanted}
        if len(own) != self.frame_count:
            raise InputError(
                f"{self.folder}: holds {len(held)} masks, its run.json is of a run of {self.frame_count} frames, and "
                "which of them these are cannot be told. Move the masks of other runs to another folder."
            )
        return own

    def indices(self, info: SourceInfo) -> list[int]:
        """The frame index of each mask: by the source's names, else the number in its name, else its place."""
        stems = [path.stem for path in self.masks]
        if info.frame_names is not None:
            by_name = {safe_name(name): index for index, name in enumerate(info.frame_names)}
            if all(stem in by_name for stem in stems):
                return [by_name[stem] for stem in stems]
        if all(stem.isdecimal() for stem in stems):
            return [int(stem) for stem in stems]
        return list(range(len(stems)))

    def frames(self, source: Source | None, info: SourceInfo) -> Iterator[tuple[Frame, Prediction]]:
        """Read the label maps in order, with the frames' pictures where a source is given, else black ones.

        Args:
            source: what was tracked, or None.
            info: as in the run.
        Yields:
            Frames, and predictions made from their label maps.
        Raises:
            InputError: a mask of another size, or a frame that the source no longer has.
        """
        by_index = self.masks_by_index(info)
        known = tuple(self.record.get("object_ids") or ())
        size: tuple[int, int] | None = None
        refuse_mixed_palettes(by_index.values())
        values = grey_values(by_index.values())
        notes: set[str | None] = {None}
        black = np.zeros((1, 1, 3), np.uint8)
        pictures = None if source is None else self._pictures(source, list(by_index))
        for index, path in by_index.items():
            loaded = load_mask(path, size, allow_empty=True, sequence_values=values)
            if loaded.note not in notes:  # once for all masks that it is about
                logger.info("%s: %s.", path, loaded.note)
                notes.add(loaded.note)
            label_map = without_void(loaded.label_map)
            if pictures is None:
                if black.shape[:2] != label_map.shape:
                    black = np.zeros((*label_map.shape, 3), np.uint8)
                frame = Frame(index, black, path.stem)
            else:
                frame = next(pictures, None)  # type: ignore[assignment]
                if frame is None or frame.index != index:
                    raise InputError(f"{self.folder}: frame {index} of {path.name} is not in the source any more.")
                if frame.size != label_map.shape:
                    raise InputError(f"{path}: the mask is {label_map.shape}, the frame {frame.size} (rows, columns).")
            size = (label_map.shape[0], label_map.shape[1])
            held = object_ids(label_map)
            yield frame, Prediction.from_label_map(label_map, sorted({*known, *held}))

    def _pictures(self, source: Source, indices: list[int]) -> Iterator[Frame]:
        steps = {after - before for before, after in itertools.pairwise(indices)} or {1}
        step = steps.pop() if len(steps) == 1 else 1
        wanted = set(indices)
        frames = frames_of(source, range(indices[0], indices[-1] + 1, step))
        return (frame for frame in frames if frame.index in wanted)

    def _info(self) -> SourceInfo:
        height, width = load_mask(self.masks[0], allow_empty=True).label_map.shape
        return SourceInfo(self.location or str(self.folder), self.sequence, "finished run", size=(height, width))


def _check_fit(info: SourceInfo, masks: Mapping[int, Path]) -> None:
    """Refuse a source that is shorter than the masks, or of another size, before anything is written."""
    index, path = next(reversed(list(masks.items())))
    advice = "Give the video that was tracked with --source."
    if info.frame_count is not None and index >= info.frame_count:
        count = "1 frame" if info.frame_count == 1 else f"{info.frame_count} frames"
        raise InputError(f"{path}: is the mask of frame {index}, and {info.location} has {count}, from 0. {advice}")
    height, width = load_mask(path, allow_empty=True).label_map.shape
    if info.size is not None and info.size != (height, width):
        frame = f"{info.size[1]}x{info.size[0]}"
        raise InputError(f"{path}: the mask is {width}x{height}, the frames of {info.location} are {frame}. {advice}")


def _whole(value: object, least: int) -> int:
    """A record's whole number; the least one where it has none, or another value."""
    return value if isinstance(value, int) and value >= least else least


def find_results(folder: Path) -> list[FinishedRun]:
    """Find the finished runs in a folder.

    Args:
        folder: a sequence's own folder, or one of such folders (``OUT``).
    Returns:
        At least one run.
    Raises:
        InputError: no masks there, or a run that is not finished.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Expected the folder of a finished run, such as vos-out/dog.")
    own = _result(folder)
    found = [own] if own else [r for f in natural_order(folder.iterdir()) if f.is_dir() and (r := _result(f))]
    if not found:
        raise InputError(f"{folder}: no masks (PNG) in it. Expected the folder of a finished run, such as vos-out/dog.")
    for result in found:
        if result.record and not result.record.get("finished"):
            raise InputError(f"{result.folder}: the run is not finished. Finish it first: vos track ... --resume.")
    return found


def _result(folder: Path) -> FinishedRun | None:
    masks = tuple(natural_order(folder.glob("[!.]*.png")))
    return FinishedRun(folder, masks, read_record(folder) or {}) if masks else None
