"""Personalised segmentation from files to files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def personalize(
    reference: Path,
    mask: Path,
    images: Sequence[Path],
    output: Path,
    *,
    learnt: bool = False,
    compat: bool = False,
    checkpoint: Path | None = None,
    model: str = "vit_b",
    runtime: Runtime | None = None,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Segment the objects of a reference image in other images.

    Args:
        reference: image file that shows the objects.
        mask: its label map file.
        images: image files.
        output: folder for the label maps; made if missing.
        learnt: PerSAM-F.
        compat: the official code's choices, for one object in an annotation painted (128, 0, 0).
        checkpoint: a model's file, or None to take ``model`` from the cache.
        model: a known model.
        runtime: device, precision and cache.
        overwrite: replace label maps that are there.
    Yields:
        Each label map's path, once it is whole.
    Raises:
        InputError: an image that cannot be read, two images with one name, or a label map that would replace an input.
        OutputExistsError: a label map is there already, and ``overwrite`` is False.
        WeightsError: no usable checkpoint.
    """
    paths = _outputs(images, output)
    refuse_replacing(paths, [reference, mask, *images, *([] if checkpoint is None else [checkpoint])])
    refuse_existing(paths, overwrite=overwrite)
    image = read_image(reference)
    label_map = read_label_map(mask, (int(image.shape[0]), int(image.shape[1])))
    sam = SegmentAnything.load(runtime or Runtime(), checkpoint=checkpoint, model=model)
    options = PersonalOptions(learnt=learnt, reference_mask_value=REFERENCE_MASK_VALUE if compat else None)
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
