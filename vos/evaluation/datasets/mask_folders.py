"""Score folders of masks: pair the files, list every fault in one error, and share the work among processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from vos.errors import InputError, OptionError
from vos.evaluation.datasets.faults import FaultsError
from vos.evaluation.datasets.frame_chunks import PlannedSequence, score_frames
from vos.evaluation.datasets.frame_pairs import pair_by_name
from vos.evaluation.datasets.sequence_folders import (
    file_of_another_form,
    find_sequences,
    frames_beside,
    png_files,
    prediction_folder,
    seen_objects,
    stray_folders,
)
from vos.evaluation.metrics.boundary_accuracy import TOLERANCE, tolerance_in_pixels
from vos.evaluation.video.black_and_white import (
    annotated_in_black_and_white,
    one_object,
    refuse_equal_steps,
    unclear_object,
)
from vos.evaluation.video.object_scores import ObjectScores, SequenceScores
from vos.evaluation.video.protocol import Protocol, protocol_named, protocol_of_set
from vos.evaluation.video.scores import Scores, SequenceFiles
from vos.evaluation.video.sequence_scores import SequenceScorer, describe_stray, no_first_object
from vos.io.masks.mask_file import read_stored_label_map
from vos.io.masks.sequence_masks import refuse_mixed_palettes
from vos.types.label_map import object_ids

Missing = Literal["error", "zero"]

_ALL_FRAMES = (
    "the frames at both ends count too, and a tracker is given the first one's masks: these scores are higher than "
    "those by the rules of {}, and no published ones compare with them"
)

NAME_THE_OTHERS = "(--sequence or --set names the others)"
"""Options that vos eval and vos davis share."""


def evaluate(
    truth: Path | str,
    predictions: Path | str,
    *,
    protocol: str | Protocol | None = None,
    sequences: str | Sequence[str] | None = None,
    only: Sequence[str] = (),
    name: str | None = None,
    tolerance: float = TOLERANCE,
    all_frames: bool = False,
    official: bool = False,
    boundary_iou: bool = False,
    missing: Missing = "error",
    meta: Path | str | None = None,
    seen_meta: Path | str | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a folder of predicted label maps against the truth.

    Args:
        truth: a DAVIS or YouTube-VOS root, a folder of one folder of PNG label maps for each
            sequence, or one sequence's own folder of PNG files.
        predictions: a folder of one folder for each sequence, files named as the truth's; or, for one
            sequence, its own folder.
        protocol: a key of ``PROTOCOLS``, or a protocol of your own; None for ``"davis-2016"`` with a set of
            that year, else ``"davis-2017"``.
        sequences: names, a set of a DAVIS root (``"2017/val"``) or a text file of names; None for all
            that the truth has.
        only: of these sequences, only those with these names; the protocol stays that of the set. Empty for all.
        name: name of the predictions in reports; by default their folder's name.
        tolerance: of the boundary F: a share of the image's diagonal below 1, or whole pixels.
        all_frames: also score the frames at both ends that the protocol leaves out.
        official: reproduce known faults of the official tool; for the protocols of DAVIS.
        boundary_iou: measure the boundary IoU too (Cheng et al., CVPR 2021).
        missing: ``"zero"`` scores frames and sequences without a prediction as empty.
        meta: YouTube-VOS ``meta.json`` with the objects' categories, for scores by seen and unseen.
        seen_meta: the training set's ``meta.json``: its categories are the seen ones. Without it,
            the objects in ``meta`` say ``"seen": true`` or ``false`` themselves.
        workers: processes. More than one may be started with ``spawn``, so a script that asks for them needs the usual
            ``if __name__ == "__main__":``.
        progress: called from time to time with the number of frames done and of all frames.
    Returns:
        The scores.
    Raises:
        FaultsError: files that cannot be scored, all listed in one error.
        InputError: there is nothing to score, or an argument is out of its range.
        OptionError: categories that a protocol of DAVIS has no use for, or seen ones alone.
    """
    if protocol is None:
        protocol = protocol_of_set(sequences if isinstance(sequences, str) else None)
    named = protocol_named(protocol)
    rules = protocol_named(protocol, all_frames=all_frames, official=official, boundary_iou=boundary_iou)
    tolerance_in_pixels(tolerance, (1, 1))
    if missing not in get_args(Missing):
        raise InputError(f'missing is "{missing}", expected {" or ".join(get_args(Missing))}.')
    if workers < 1:
        raise InputError(f"workers is {workers}, expected 1 or more.")
    predictions = Path(predictions)
    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder of predictions.")
    seen = _seen(meta, seen_meta, rules)
    unsupervised = rules.max_proposals is not None
    truth_folders, remarks = find_sequences(
        Path(truth), sequences, only=only, unsupervised=unsupervised, object_folders=rules.object_folders
    )
    if named.skip_first and not rules.skip_first:
        remarks = (*remarks, _ALL_FRAMES.format(named.name))
    run = _FolderScoring(predictions, truth_folders, rules, tolerance, missing)
    scored = run.score(workers, progress)
    scores = Scores(name or predictions.resolve().name, rules, tolerance, scored, None, run.files(), remarks)
    return scores if seen is None else replace(scores, unseen=_unseen(scores, seen, str(meta)))


def _seen(meta: Path | str | None, seen_meta: Path | str | None, rules: Protocol) -> dict[tuple[str, int], bool] | None:
    """True for each object of a seen category; None without categories. Refuses what they have no effect on."""
    if meta is None:
        if seen_meta is not None:
            raise OptionError(f"--seen-meta {seen_meta} names the seen categories, and no --meta those of the objects.")
        return None
    if rules.name.startswith("davis-"):
        raise OptionError(
            f"--meta {meta} is for YouTube-VOS, and {rules.name} scores other objects and frames. "
            "Add --protocol youtube-vos, or leave out --meta."
        )
    return seen_objects(Path(meta), seen_meta)


def _unseen(scores: Scores, seen: Mapping[tuple[str, int], bool], meta: str) -> frozenset[tuple[str, int]]:
    """Sequences and ids of objects of unseen categories; refuses scored objects whose category is not known."""
    scored = [(sequence, one.object_id) for sequence, one in scores.objects if len(one.j)]
    unknown = [
        f"object {object_id} of {sequence}" for sequence, object_id in scored if (sequence, object_id) not in seen
    ]
    if unknown:
        raise InputError(
            f"{meta}: lacks {len(unknown)} of {len(scored)} scored objects, first {', '.join(unknown[:5])}. Give the "
            "meta.json of the scored set."
        )
    return frozenset(found for found, is_seen in seen.items() if not is_seen)


class _FolderScoring:
    """Scores the sequences of one folder of predictions.

    Attributes:
        faults: one line for each file or folder that cannot be scored.
    """

    def __init__(
        self,
        predictions: Path,
        truth_folders: Mapping[str, Path],
        rules: Protocol,
        tolerance: float,
        missing: Missing,
    ) -> None:
        """Find each sequence's folder of predictions."""
        self._predictions, self._truth_folders = predictions, truth_folders
        self._rules, self._tolerance, self._missing = rules, tolerance, missing
        self.faults: list[str] = []
        self._folders, self._strays = _prediction_folders(predictions, truth_folders, rules, missing, self.faults)

    def score(self, workers: int, progress: Callable[[int, int], None] | None) -> tuple[SequenceScores, ...]:
        """Score all sequences with a number of processes; raises ``FaultsError`` if there is a fault."""
        planned = [
            _plan(sequence, folder, self._folders[sequence], self._rules, self._tolerance, self._missing, self.faults)
            for sequence, folder in self._truth_folders.items()
        ]
        plans = [plan for plan in planned if plan is not None]
        score_frames(plans, workers, progress)
        finished = [_finish(plan, self.faults) for plan in plans]
        if self.faults:
            advice = _advice(plans, self.faults, self._missing, self._strays)
            raise FaultsError(str(self._predictions), self.faults, advice)
        return _joined([scores for scores in finished if scores is not None], self._rules)

    def files(self) -> dict[str, SequenceFiles]:
        """List the folders of each sequence, or of each object: truth, predictions and frames."""
        found = {}
        for name, folder in self._truth_folders.items():
            key, images = name, folder
            if self._rules.object_folders:
                sequence, _, number = name.rpartition("/")
                key, images = f"{sequence}/{int(number)}", folder.parent
            found[key] = SequenceFiles(folder, self._folders[name], frames_beside(images))
        return found


def _prediction_folders(
    predictions: Path, truth_folders: Mapping[str, Path], rules: Protocol, missing: Missing, faults: list[str]
) -> tuple[dict[str, Path], list[str]]:
    """Find each sequence's predictions; and, where some have none, the folders of masks that belong to no sequence."""
    found = {
        sequence: prediction_folder(predictions, sequence, alone=len(truth_folders) == 1) for sequence in truth_folders
    }
    lost = [sequence for sequence, folder in found.items() if not folder.is_dir()]
    if missing == "error" and len(lost) == len(found):
        held = ", ".join(sorted(path.name for path in predictions.iterdir())[:5]) or "nothing"
        raise InputError(
            f"{predictions}: none of the {len(found)} sequences is in it, first {next(iter(found))}. It holds: {held}."
        )
    strays = stray_folders(predictions, found, truth_folders, object_folders=rules.object_folders) if lost else []
    # Sequences under other names are missing because of their names: they are never scored as empty.
    if missing == "zero" and lost and len(strays) >= len(lost):
        faults.append(f"{predictions}: no {lost[0]}{_and_more(lost)}, but it holds {strays[0]}{_and_more(strays)}")
    return found, strays


def _joined(finished: list[SequenceScores], rules: Protocol) -> tuple[SequenceScores, ...]:
    """Join the objects of a sequence if each has a folder of its own; the folder's number is the object's id."""
    if not rules.object_folders:
        return tuple(finished)
    joined: dict[str, list[ObjectScores]] = {}
    notes: dict[str, tuple[str, ...]] = {}
    for scores in finished:
        sequence, _, number = scores.name.rpartition("/")
        renamed = [replace(one, object_id=int(number), label=int(number)) for one in scores.objects]
        joined.setdefault(sequence, []).extend(renamed)
        notes[sequence] = (*notes.get(sequence, ()), *(f"object {number}: {note}" for note in scores.notes))
    return tuple(SequenceScores(name, tuple(objects), notes[name]) for name, objects in joined.items())


def _advice(plans: Sequence[PlannedSequence], faults: Sequence[str], missing: Missing, strays: Sequence[str]) -> str:
    """Suggest the user's next step after faults; ``--missing zero`` only where no mask has another name."""
    if strays:
        return (
            f"Rename the folders as those of the truth are named (there is {strays[0]}{_and_more(strays)}), or leave "
            "sequences out with --set FILE: masks under another name would be scored as missing."
        )
    if any(plan.unused for plan in plans):
        return "Rename the masks as the annotations are named: a mask under another name would be scored as missing."
    if missing == "error" and any("no such f" in fault for fault in faults):
        return "vos eval --missing zero scores missing frames and sequences as empty."
    if any("leaves none of them to score" in fault for fault in faults):
        return "vos eval --all-frames scores first and last frames too, so also the masks that a tracker was given."
    return ""


def _plan(
    name: str,
    truth_folder: Path,
    prediction_folder: Path,
    protocol: Protocol,
    tolerance: float,
    missing: Missing,
    faults: list[str],
) -> PlannedSequence | None:
    """Pair a sequence's files; None, with its faults listed, if it cannot be scored."""
    annotated = png_files(truth_folder)
    scored = annotated[int(protocol.skip_first) : len(annotated) - int(protocol.skip_last)]
    if not scored:
        faults.append(
            f"{truth_folder}: {len(annotated)} PNG files, and {protocol.name} leaves none of them to score. "
            f"Leave the sequence out {NAME_THE_OTHERS}"
        )
        return None
    try:
        first = read_stored_label_map(annotated[0])
        if first.grey and not first.binary:
            refuse_equal_steps(annotated)
    except InputError as error:
        faults.append(f"{annotated[0]}: {error}")
        return None
    binary = first.binary or (not first.label_map.any() and annotated_in_black_and_white(annotated[1:]))
    first_truth = one_object(first.label_map) if binary else first.label_map
    if not object_ids(first_truth) and protocol.of_first_frame:
        faults.append(f"{annotated[0]}: {no_first_object(protocol)} {NAME_THE_OTHERS}")
        return None
    if not prediction_folder.is_dir() and missing == "error":
        faults.append(f"{prediction_folder}: no such folder ({len(scored)} frames to score)")
        return None
    predicted = png_files(prediction_folder)
    other = None if predicted else file_of_another_form(prediction_folder)
    if other is not None:  # masks in it would be scored as missing
        faults.append(f"{other}: no PNG file beside it, as masks are scored (vos import makes them of other formats)")
        return None
    pairs = pair_by_name(scored, predicted, annotated)
    scorer = SequenceScorer(name, first_truth, protocol, tolerance=tolerance)
    plan = PlannedSequence(name, scored, pairs.predictions, scorer, binary, notes=pairs.notes, unused=pairs.unused)
    absent = [path.name for path, found in zip(scored, pairs.predictions, strict=True) if found is None]
    # Masks under other names are missing because of their names: they are never scored as empty.
    if absent and (missing == "error" or len(pairs.unused) >= len(absent)):
        if pairs.unused:
            faults.append(
                f"{prediction_folder}: no {absent[0]}{_and_more(absent)}, "
                f"but it holds {pairs.unused[0]}{_and_more(pairs.unused)}{pairs.hint}"
            )
        else:
            faults.extend(f"{prediction_folder / lost}: no such file" for lost in absent)
    return plan


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _mixed_palettes(masks: Iterable[Path]) -> list[str]:
    try:
        refuse_mixed_palettes(masks)
    except InputError as error:
        return [str(error).removesuffix(".")]
    return []


def _finish(plan: PlannedSequence, faults: list[str]) -> SequenceScores | None:
    """Combine the scores of a sequence's frames; None, with its faults listed, if a frame has no score."""
    scorer, broken = plan.scorer, []
    for index, result in sorted(plan.results.items()):
        if isinstance(result, str):
            broken.append(result)
        else:
            scorer.add(result, plan.truths[index].stem)
    pairs = zip(plan.truths, plan.predictions, strict=True)
    files = {truth.stem: path for truth, path in pairs if path is not None}
    if plan.palettes and not scorer.protocol.merge:
        broken += _mixed_palettes(png_files(plan.truths[0].parent)) + _mixed_palettes(files.values())
    broken += [f"{files[frame]}: {unclear_object(scorer.scored_ids)}" for frame in scorer.unclear_frames()]
    broken += [
        f"{files[frame]}: {describe_stray(ids, scorer.protocol, scorer.first_ids)}" for frame, ids in scorer.stray_ids()
    ]
    if broken:
        faults += broken
        return None
    scores = scorer.scores()
    absent = plan.predictions.count(None)
    notes = (*scores.notes, *plan.notes, *(f"{path}: {note}" for note, path in plan.palettes.items()))
    if absent:
        notes += (f"{absent} of {len(plan.predictions)} frames have no prediction and were scored as empty",)
    return replace(scores, notes=notes)
