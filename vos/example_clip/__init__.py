"""The example clip: 3 seconds, two objects that cross, exact masks; made by ``examples/make_clip.py``."""

from __future__ import annotations

from pathlib import Path

from vos.evaluation import SequenceScores, score_sequence
from vos.io.masks.mask_file import read_label_map

_FOLDER = Path(__file__).parent

CLIP = _FOLDER / "clip.mp4"
MASKS = _FOLDER / "masks"
FIRST_MASK = MASKS / "00000.png"


def score(folder: Path) -> SequenceScores:
    """Score masks of the clip against the exact ones, by DAVIS-2017's rules.

    Args:
        folder: masks named as the clip's frames.
    Returns:
        J and F for both objects; the first and the last frame are left out.
    Raises:
        AnnotationError: a mask is missing or unreadable.
    """
    names = sorted(path.name for path in MASKS.glob("*.png"))
    truths = (read_label_map(MASKS / name) for name in names)
    predictions = (read_label_map(folder / name, allow_empty=True) for name in names)
    return score_sequence(truths, predictions, name="demo")
