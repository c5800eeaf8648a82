"""First masks of many videos: read a frame, find the objects, write a mask and a preview of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vos.drawing import draw_objects
from vos.errors import OutputError
from vos.host.opening import open_source
from vos.host.outputs.input_protection import files_in_options, files_of_run, refuse_replacing
from vos.host.outputs.output_protection import refuse_existing
from vos.initialization.initialize import find_objects, make_initializer, read_clip
from vos.initialization.object_selection import ObjectSelection, choose_objects
from vos.io.atomic_files import replacing
from vos.io.masks.mask_file import write_label_map
from vos.protocols.executor import ReportFrame
from vos.protocols.initializer import Initializer
from vos.registry.discovery import Plugins, load_plugins
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.label_map import object_ids
from vos.types.runtime import Runtime

MASK_WORKER = "vos.initialization.mask_worker:worker_of"


@dataclass(frozen=True)
class MaskSettings:
    """Settings of the jobs that make first masks.

    Attributes:
        initializer: its name.
        options: its options by name.
        runtime: device, precision, threads and seed of its model.
        select: the choice of objects among segments, as for ``initialize``.
        frame_index: index of the frame in a video.
        overwrite: replace existing masks and previews.
    """

    initializer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    select: ObjectSelection | Literal[False] | None = None
    frame_index: int = 0
    overwrite: bool = False

    def to_plain(self) -> dict[str, Any]:
        """The settings as JSON data, without the cache folder, which differs between machines."""
        runtime = {name: value for name, value in asdict(self.runtime).items() if name != "cache"}
        select = asdict(self.select) if isinstance(self.select, ObjectSelection) else self.select
        return {**asdict(self), "options": dict(self.options), "runtime": runtime, "select": select}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> MaskSettings:
        """Rebuild settings from the data of ``to_plain``."""
        select = data["select"]
        if isinstance(select, Mapping):
            at = tuple((int(x), int(y)) for x, y in select["at"])
            select = ObjectSelection(**{**select, "keep": tuple(select["keep"]), "at": at})
        return cls(**{**data, "runtime": Runtime(**data["runtime"]), "select": select})


@dataclass(frozen=True)
class MaskFiles:
    """A video and the files to write for it.

    Attributes:
        source: a video, an image, a folder of images, a camera or an address.
        mask: palette PNG with object ids.
        preview: picture with numbered contours, or None.
    """

    source: str
    mask: Path
    preview: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """Paths of the files that the job writes."""
        return [path for path in (self.mask, self.preview) if path is not None]


def worker_of(settings: Mapping[str, Any], plugin_modules: Sequence[str], blocked: Sequence[str]) -> MaskWorker:
    """Make a worker from plain data, as a ``WorkerPlan`` needs it.

    Args:
        settings: ``MaskSettings.to_plain``.
        plugin_modules: as ``-p``.
        blocked: as ``--no-plugin``.
    """
    return MaskWorker(MaskSettings.from_plain(settings), load_plugins(plugin_modules, blocked))


class MaskWorker:
    """Makes one first mask after another with one initializer, which is made for the first of them."""

    def __init__(self, settings: MaskSettings, plugins: Plugins) -> None:
        """Begin.

        Args:
            settings: how masks are made.
            plugins: where the initializer and sources are looked up.
        """
        self.settings = settings
        self._plugins = plugins
        self._made: tuple[Initializer, bool] | None = None

    def __call__(self, work: Mapping[str, Any], report: ReportFrame) -> dict[str, Any]:
        """Make a mask in a worker process.

        Args:
            work: ``source``, ``mask`` and ``preview``, as in ``MaskFiles``.
            report: called when it is made.
        Returns:
            ``line``, for people.
        """
        preview = None if work["preview"] is None else Path(work["preview"])
        line = self.run(MaskFiles(work["source"], Path(work["mask"]), preview))
        report(1, 1)
        return {"line": line}

    def run(self, files: MaskFiles) -> str:
        """Make a mask and write it.

        Args:
            files: the video, and what is written.
        Returns:
            A line that says what was found.
        Raises:
            InputError: the frame cannot be read, nothing was found, or a file is there already.
        """
        frame, label_map = self.make(files)
        _write(frame, label_map, files)
        shares = np.bincount(label_map.ravel(), minlength=256) / label_map.size
        ids = object_ids(label_map)
        listed = ", ".join(f"{i} ({shares[i]:.1%})" for i in ids)
        return f"{files.mask}: frame {frame.name}, {len(ids)} object{'s' * (len(ids) != 1)}: {listed}"

    def make(self, files: MaskFiles) -> tuple[Frame, LabelMap]:
        """Find the objects of a frame, after checking that no output is an input or is there already.

        Returns:
            The frame, and its label map, uint8 (H, W).
        """
        settings = self.settings
        opened = open_source(files.source, self._plugins)
        try:
            refuse_replacing(files.outputs, [*files_of_run(opened.info, {}), *files_in_options(settings.options)])
            refuse_existing(files.outputs, overwrite=settings.overwrite)
            initializer, segments = self._initializer()
            frame, others = read_clip(opened, settings.frame_index, initializer)
        finally:
            opened.close()
        label_map = find_objects(frame, initializer, settings.initializer, self._plugins, others)
        if settings.select is False or (settings.select is None and not segments):
            return frame, label_map
        return frame, choose_objects(label_map, settings.select or ObjectSelection(), segments=segments)

    def _initializer(self) -> tuple[Initializer, bool]:
        """The initializer, made once, and whether it gives segments of the whole frame."""
        if self._made is None:
            settings = self.settings
            made, spec = make_initializer(settings.initializer, settings.options, settings.runtime, self._plugins)
            self._made = made, spec.segments
        return self._made


def _write(frame: Frame, label_map: LabelMap, files: MaskFiles) -> None:
    from PIL import Image

    for path in files.outputs:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be made ({error.strerror}).") from error
    write_label_map(files.mask, label_map)
    if files.preview is not None:
        drawn = Image.fromarray(draw_objects(frame.image, label_map, opacity=0.35))
        try:
            with replacing(files.preview) as partial:
                drawn.save(partial)
        except ValueError as error:  # WebP takes no more than 16383 pixels a side
            raise OutputError(f"{files.preview}: cannot be written ({error}). Write a PNG.") from error
