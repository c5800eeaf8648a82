"""Options that name images and their labels, of the verbs that score class maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vos.errors import InputError, OptionError

if TYPE_CHECKING:
    from vos.evaluation.images.labelled_images import LabelledImages


@dataclass(frozen=True)
class LabelledData:
    """Images and their labels, by the names of the options."""

    root: Path
    layout: str | None
    split: str
    labels: Path | None
    classes: int | None

    @property
    def folders(self) -> list[Path]:
        """The folders that are read."""
        return [self.root, *([self.labels] if self.labels else [])]

    def images(self) -> LabelledImages:
        """Find the images of the data set, or of the two folders."""
        from vos.evaluation.images.labelled_images import folders, labelled_images

        if self.layout is not None:
            if self.labels is not None or self.classes is not None:
                raise OptionError("--layout knows its labels and classes; leave out --labels and --classes.")
            return labelled_images(self.root, self.layout, self.split)
        if self.labels is None or self.classes is None:
            raise InputError("say where the labels are: --layout NAME, or --labels FOLDER with --classes N.")
        return folders(self.root, self.labels, self.classes)
