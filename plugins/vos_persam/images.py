"""Personalised segmentation from files to files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vos.plugin import (
    InputError,
    OutputError,
    Runtime,
    read_image,
    read_label_map,
    refuse_existing,
    refuse_replacing,
    safe_name,
    write_label_map,
)
from vos_persam.personal import PersonalOptions, PersonalSegmenter
from vos_sam.model import SegmentAnything

REFERENCE_MASK_VALUE = 128
"""The red of the official annotations; it decides which cells the official code counts as the object's."""


@dataclass(frozen=True)
class PersonalizeSettings:
    """The model that segments the images, and how it is used.

    Attributes:
        learnt: learn two mask weights from the reference image (PerSAM-F).
        compat: reproduce the official code, for one object in an annotation painted (128, 0, 0).
        checkpoint: file of a Segment Anything model; None takes ``model`` from the cache.
        model: name of a known model.
        runtime: device, precision and cache.
    """

    learnt: bool = False
    compat: bool = False
    checkpoint: Path | None = None
    model: str = "vit_b"
    runtime: Runtime = field(default_factory=Runtime)


def personalize(
    reference: Path,
    mask: Path,
    images: Sequence[Path],
    output: Path,
    settings: PersonalizeSettings | None = None,
    *,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Segment the objects of a reference image in other images.

    Args:
        reference: image file that shows the objects.
        mask: its label map file.
        images: image files.
        output: folder for the label maps; made if missing.
        settings: the model, and how it is used; None for the defaults.
        overwrite: replace existing label maps.
    Yields:
        Each label map's path, once it is whole.
    Raises:
        InputError: an image that cannot be read, two images with one name, or a label map that would replace an input.
        OutputExistsError: a label map is there already, and ``overwrite`` is False.
        WeightsError: no usable checkpoint.
    """
    settings = settings or PersonalizeSettings()
    paths = _outputs(images, output)
    checkpoints = [] if settings.checkpoint is None else [settings.checkpoint]
    refuse_replacing(paths, [reference, mask, *images, *checkpoints])
    refuse_existing(paths, overwrite=overwrite)
    for path in images:
        if not path.is_file():
            raise InputError(f"{path}: is no file, expected an image.")
    image = read_image(reference)
    label_map = read_label_map(mask, (int(image.shape[0]), int(image.shape[1])))
    sam = SegmentAnything.load(settings.runtime, checkpoint=settings.checkpoint, model=settings.model)
    value = REFERENCE_MASK_VALUE if settings.compat else None
    options = PersonalOptions(learnt=settings.learnt, reference_mask_value=value)
    segmenter = PersonalSegmenter(sam, image, label_map, options)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made ({error.strerror}). Choose another folder with -o.") from error
    for source, path in zip(images, paths, strict=True):
        write_label_map(path, segmenter.segment(read_image(source)))
        yield path


def _outputs(images: Sequence[Path], output: Path) -> list[Path]:
    names = [safe_name(path.stem) for path in images]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'two images are named "{name}"; their label maps would overwrite each other. Rename one.')
    return [output / f"{name}.png" for name in names]
