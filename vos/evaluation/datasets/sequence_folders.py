"""Find the folders of sequences, their predictions and images, and the objects of unseen categories."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vos.errors import InputError
from vos.evaluation.datasets.davis_layout import DavisTree, read_names
from vos.io.atomic_files import safe_name
from vos.io.json_file import read_json
from vos.io.natural_order import natural_order


def find_sequences(
    truth: Path,
    sequences: str | Sequence[str] | None = None,
    *,
    only: Sequence[str] = (),
    unsupervised: bool = False,
    object_folders: bool = False,
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Find the annotated sequences of a data set.

    Args:
        truth: a DAVIS or YouTube-VOS root, a folder of sequence folders, or one sequence's folder.
        sequences: names, a set's name or a text file of names; None for all.
        only: of these, only the sequences with these names; empty for all.
        unsupervised: take a DAVIS root's ``Annotations_unsupervised`` if it is there.
        object_folders: sequences hold one folder of PNG files for each object (SA-V).
    Returns:
        Folders of label maps by sequence, in order (``SEQUENCE/OBJECT`` with object folders); and notes,
        such as the names of folders that hold no PNG file and are no sequences.
    Raises:
        InputError: there are none, or requested sequences are missing or not among ``sequences``.
    """
    if not truth.is_dir():
        raise InputError(f"{truth}: no such folder of annotations.")
    roots = ("Annotations", *(("Annotations_unsupervised",) if unsupervised else ()))
    is_tree = any((truth / name).is_dir() for name in roots)
    tree = DavisTree(truth, unsupervised=unsupervised) if is_tree else None
    folder = truth if tree is None else tree.annotation_folder
    notes: tuple[str, ...] = ()
    if sequences is None:
        if not object_folders and png_files(folder):
            return {folder.resolve().name: folder}, ()
        names, notes = _sequences_in(folder, object_folders)
    elif isinstance(sequences, str):
        names = _names_of_set(truth, tree, sequences)
    else:
        names = list(sequences)
    outside = [sequence for sequence in only if sequence not in names]
    if outside:
        raise InputError(f"{sequences or folder} has no sequence {outside[0]}. It has: {_shown(names)}.")
    names = [sequence for sequence in names if not only or sequence in only]
    lost = [sequence for sequence in names if not (folder / sequence).is_dir()]
    if not names:
        raise InputError(f"{sequences or 'sequences'}: no sequence named.")
    if lost:
        raise InputError(f"{folder}: {len(lost)} of {len(names)} sequences asked for are not there, first {lost[0]}.")
    if object_folders:
        inner = [(name, path.name) for name in names for path in _folders(folder / name) if png_files(path)]
        for name, number in inner:
            if not number.isdecimal():
                raise InputError(f"{folder / name / number}: sa-v expects folders named by number, such as 000.")
        if not inner:
            raise InputError(f"{folder}: no SEQUENCE/OBJECT/FRAME.png in it, as the protocol expects.")
        return {f"{name}/{number}": folder / name / number for name, number in inner}, notes
    return {sequence: folder / sequence for sequence in names}, notes


def png_files(folder: Path) -> list[Path]:
    """List the PNG files of a folder in natural order: ``.png`` or ``.PNG``, no folders and no hidden files."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name[-4:].lower() == ".png" and not entry.name.startswith(".") and entry.is_file()
        ]
    return natural_order(folder / name for name in names)


def file_of_another_form(folder: Path) -> Path | None:
    """Find a file in a folder without PNG files, such as the ``masks.tar`` of ``vos batch --writer tar``.

    Args:
        folder: of a sequence's predictions; need not exist.
    Returns:
        The first file by name that is neither hidden nor the record of a run; None if there is none.
    """
    from vos.host.outputs.run_record import RECORD_NAME  # here: most folders hold PNG files, and need no plugins

    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((one for one in there if one.is_file() and one.name[0] != "." and one.name != RECORD_NAME), None)


def is_folder_of_label_maps(predictions: Path, truth: Path) -> bool:
    """Test whether a folder surely holds label maps, so that no format of another tool need be asked.

    Args:
        predictions: a folder.
        truth: as for ``find_sequences``.
    Returns:
        True if folders named as the truth's sequences are in it and hold PNG files; of one sequence, its own folder
        fits too if it begins with a palette PNG.
    """
    try:
        names, _ = find_sequences(truth)
    except InputError:
        return False
    if any(png_files(predictions / name) for name in names):
        return True
    own = png_files(predictions) if len(names) == 1 else []
    return bool(own) and _is_palette_png(own[0])


def _is_palette_png(path: Path) -> bool:
    """True if a file is a PNG of colour type 3 (PNG specification, 11.2.1)."""
    try:
        with path.open("rb") as file:
            header = file.read(26)
    except OSError:
        return False
    return header.startswith(b"\x89PNG\r\n\x1a\n") and header[25:] == b"\x03"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _sequences_in(folder: Path, object_folders: bool) -> tuple[list[str], tuple[str, ...]]:
    """The folders that hold PNG files, and a note that names the others."""
    inside = _folders(folder)
    held = [
        path.name
        for path in inside
        if (any(map(png_files, _folders(path))) if object_folders else bool(png_files(path)))
    ]
    others = [path.name for path in inside if path.name not in set(held)]
    if not held:
        there = f" Folders without one: {', '.join(others[:5])}." if others else ""
        raise InputError(f"{folder}: no sequences in it. Expected a folder of PNG label maps for each sequence.{there}")
    left_out = f"{folder}: left out as no sequences, since they hold no PNG file: {_shown(others)}"
    return held, ((left_out,) if others else ())


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _names_of_set(truth: Path, tree: DavisTree | None, name: str) -> list[str]:
    if Path(name).is_file():
        return read_names(Path(name))
    if tree is None:
        raise InputError(
            f"set {name}: {truth} has no ImageSets. Give the root of a DAVIS tree, or a text file of sequence names."
        )
    return tree.sequences(name)


def seen_objects(meta: Path, seen_meta: Path | str | None = None) -> dict[tuple[str, int], bool]:
    """Tell objects of seen categories from those of unseen ones.

    Args:
        meta: YouTube-VOS ``meta.json`` of the scored set.
        seen_meta: that of the training set; its categories are seen.
    Returns:
        By sequence and object id: True if the object's category is seen.
    Raises:
        InputError: not such a file, or objects that do not say whether they are seen.
    """
    objects = _meta_objects(meta)
    if seen_meta is not None:
        known = {entry.get("category") for _, _, entry in _meta_objects(Path(seen_meta))}
        return {(video, i): entry.get("category") in known for video, i, entry in objects}
    if any("seen" not in entry for _, _, entry in objects):
        raise InputError(
            f'{meta}: its objects do not say "seen": true or false. '
            "Give the training set's meta.json too, whose categories are the seen ones (--seen-meta)."
        )
    return {(video, i): bool(entry["seen"]) for video, i, entry in objects}


def _meta_objects(path: Path) -> list[tuple[str, int, dict[str, object]]]:
    try:
        videos = read_json(path)["videos"]
        found = [
            (video, int(object_id), dict(entry))
            for video, content in videos.items()
            for object_id, entry in content["objects"].items()
        ]
        for video, object_id, entry in found:
            if not isinstance(entry.get("category", ""), (str, int)):
                raise TypeError(f"object {object_id} of {video[:80]} has no category by name")
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(f"{path}: not a YouTube-VOS meta.json ({reason}).") from None


def prediction_folder(predictions: Path, sequence: str, *, alone: bool) -> Path:
    """Find the folder of a sequence's predictions.

    Args:
        predictions: the folder of all predictions; for a single sequence its own folder fits too.
        sequence: the sequence's name; ``vos track`` names folders by its safe form (``a,b_c`` for ``a,b"c``),
            which is found too, as is a name that differs by case alone.
        alone: only this sequence is scored.
    Returns:
        The folder, which need not exist.
    """
    inner = predictions / sequence
    if inner.is_dir():
        return inner
    safe = predictions / _safe_path(sequence)
    if safe.is_dir():
        return safe
    if alone and png_files(predictions):
        return predictions
    alike = [path for path in _folders(predictions) if path.name.casefold() == sequence.casefold()]
    return alike[0] if len(alike) == 1 else inner


def stray_folders(
    predictions: Path, used: Mapping[str, Path], truths: Mapping[str, Path], *, object_folders: bool = False
) -> list[str]:
    """List the folders of masks that belong to no sequence of the truth, whichever sequences are scored.

    Args:
        predictions: the folder of all predictions.
        used: the folder of each scored sequence's predictions.
        truths: the folder of each scored sequence's annotations.
        object_folders: sequences hold a folder for each object; those that belong to no object are listed.
    Returns:
        Names of folders with PNG files (``SEQUENCE/OBJECT`` with object folders), sorted; none where one sequence's
        own folder was given.
    """
    if predictions in used.values():
        return []
    roots = {folder.parents[1 if object_folders else 0] for folder in truths.values()}
    beside = [name for root in roots for name in _folders_by_name(root, object_folders)]
    known = {name.casefold() for name in beside} | {_safe_path(name).casefold() for name in beside}
    taken = set(used.values())
    held = _folders_by_name(predictions, object_folders)
    others = {name: path for name, path in held.items() if path not in taken and name.casefold() not in known}
    return [name for name, path in others.items() if png_files(path)]


def _folders_by_name(root: Path, object_folders: bool) -> dict[str, Path]:
    """Folders in ``root`` by name, or with object folders those in its folders, as ``SEQUENCE/OBJECT``."""
    inside = [path for folder in _folders(root) for path in (_folders(folder) if object_folders else [folder])]
    return {path.relative_to(root).as_posix(): path for path in inside}


def _safe_path(name: str) -> str:
    """The name of a sequence's folder, or ``SEQUENCE/OBJECT``, as ``vos track`` writes it."""
    return "/".join(map(safe_name, name.split("/")))


def frames_beside(truth_folder: Path) -> Path | None:
    """The images of a sequence in a DAVIS-like tree: ``Annotations`` in its path becomes ``JPEGImages``."""
    for parent in truth_folder.parents:
        if parent.name.startswith("Annotations"):
            frames = parent.parent / "JPEGImages" / truth_folder.relative_to(parent)
            return frames if frames.is_dir() else None
    return None
