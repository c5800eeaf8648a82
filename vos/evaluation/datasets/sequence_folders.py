"""Find the folders of sequences, their predictions and images, and the objects of unseen categories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vos.errors import InputError
from vos.evaluation.datasets.davis_layout import DavisTree, read_names


def find_sequences(
    truth: Path, sequences: str | Sequence[str] | None = None, *, unsupervised: bool = False
) -> dict[str, Path]:
    """Find the annotated sequences of a data set.

    Args:
        truth: a DAVIS or YouTube-VOS root, a folder of sequence folders, or one sequence's folder.
        sequences: names, a set's name or a text file of names; None for all.
        unsupervised: take a DAVIS root's ``Annotations_unsupervised`` if it is there.
    Returns:
        Folders of label maps by sequence, in order.
    Raises:
        InputError: there are none, or some that were asked for are not there.
    """
    if not truth.is_dir():
        raise InputError(f"{truth}: no such folder of annotations.")
    tree = DavisTree(truth, unsupervised=unsupervised) if (truth / "Annotations").is_dir() else None
    folder = truth if tree is None else tree.annotation_folder
    if sequences is None:
        if any(path.suffix == ".png" for path in folder.iterdir()):
            return {folder.resolve().name: folder}
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not names:
            raise InputError(f"{folder}: no sequences in it. Expected a folder of PNG label maps for each sequence.")
    elif isinstance(sequences, str):
        names = _names_of_set(truth, tree, sequences)
    else:
        names = list(sequences)
    lost = [sequence for sequence in names if not (folder / sequence).is_dir()]
    if not names:
        raise InputError(f"{sequences or 'sequences'}: no sequence named.")
    if lost:
        raise InputError(f"{folder}: {len(lost)} of {len(names)} sequences asked for are not there, first {lost[0]}.")
    return {sequence: folder / sequence for sequence in names}


def _names_of_set(truth: Path, tree: DavisTree | None, name: str) -> list[str]:
    if Path(name).is_file():
        return read_names(Path(name))
    if tree is None:
        raise InputError(
            f"set {name}: {truth} has no ImageSets. Give the root of a DAVIS tree, or a text file of sequence names."
        )
    return tree.sequences(name)


def unseen_objects(meta: Path, seen_meta: Path | str | None = None) -> frozenset[tuple[str, int]]:
    """List the objects of unseen categories.

    Args:
        meta: YouTube-VOS ``meta.json`` of the scored set.
        seen_meta: that of the training set; its categories are seen.
    Returns:
        Pairs of sequence and object id.
    Raises:
        InputError: not such a file, or objects that do not say whether they are seen.
    """
    objects = _meta_objects(meta)
    if seen_meta is not None:
        known = {entry.get("category") for _, _, entry in _meta_objects(Path(seen_meta))}
        return frozenset((video, i) for video, i, entry in objects if entry.get("category") not in known)
    if any("seen" not in entry for _, _, entry in objects):
        raise InputError(
            f'{meta}: its objects do not say "seen": true or false. '
            "Give the training set's meta.json too, whose categories are the seen ones (--seen-meta)."
        )
    return frozenset((video, i) for video, i, entry in objects if not entry["seen"])


def _meta_objects(path: Path) -> list[tuple[str, int, dict[str, object]]]:
    try:
        videos = json.loads(path.read_text())["videos"]
        return [
            (video, int(object_id), entry)
            for video, content in videos.items()
            for object_id, entry in content["objects"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a YouTube-VOS meta.json ({type(error).__name__}: {error}).") from None


def prediction_folder(predictions: Path, sequence: str, *, alone: bool) -> Path:
    """The folder of a sequence's predictions; for a single sequence that may be the folder given."""
    inner = predictions / sequence
    return predictions if alone and not inner.is_dir() and any(predictions.glob("*.png")) else inner


def frames_beside(truth_folder: Path) -> Path | None:
    """The images of a sequence in a DAVIS-like tree: ``Annotations`` in its path becomes ``JPEGImages``."""
    for parent in truth_folder.parents:
        if parent.name.startswith("Annotations"):
            frames = parent.parent / "JPEGImages" / truth_folder.relative_to(parent)
            return frames if frames.is_dir() else None
    return None
