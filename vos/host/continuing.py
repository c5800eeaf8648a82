"""Going on from an annotated frame in the folder of an earlier run (``--from``): what lies before it is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vos.errors import InputError, OutputExistsError
from vos.host.outputs.doubt_log import DoubtLog
from vos.host.outputs.resuming import first_difference
from vos.host.outputs.run_record import recorded_doubts
from vos.host.outputs.saved_states import STATE_FOLDER
from vos.io.atomic_files import safe_name
from vos.io.masks.mask_file import load_mask
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.run import DoubtfulSpan, Run


@dataclass
class Continuation:
    """Frame from which a run continues, and the masks of the earlier run before it.

    Attributes:
        index: the annotated frame; it and later frames are tracked again.
        replay: True passes all earlier frames and their masks to the writers; False only the frames that a backward
            pass changes.
        folder: output folder of the earlier run; set before the first frame is tracked.
        kept: indices of the earlier run's frames before ``index``; the folder may hold masks of other runs too.
    """

    index: int
    replay: bool = False
    folder: Path = Path()
    kept: range = range(0)

    def take_over(self, run: Run, record: Mapping[str, Any], first_tracked: int) -> Run:
        """Find the frames of an earlier run that are kept.

        Args:
            run: the new run, with its output folder.
            record: of the earlier run, which ``check_earlier_run`` has accepted.
            first_tracked: the lowest index of a frame that the new run tracks.
        Returns:
            The new run; it is one of both ways if either is, and frames before the first annotation have masks.
        """
        assert run.output is not None, "a run is continued in its folder"
        start, back = run.selection.get("start", 0), bool(record.get("both_ways"))
        first = start if back else min(record.get("annotated") or [self.index])
        self.folder, self.kept = run.output, range(first, self.index, run.selection.get("step", 1))
        both_ways = (run.both_ways or back) and start in (first, first_tracked)
        return dataclasses.replace(run, both_ways=both_ways)

    def mask(self, frame: Frame) -> LabelMap | None:
        """Read the earlier run's mask of a frame; None where it has none.

        Raises:
            AnnotationError: the file is not a mask of the frame's size.
        """
        return self.required_mask(frame) if frame.index in self.kept and self._path(frame).is_file() else None

    def required_mask(self, frame: Frame) -> LabelMap:
        """Read the earlier run's mask of a frame.

        Raises:
            AnnotationError: there is none, or the file is not a mask of the frame's size.
        """
        return load_mask(self._path(frame), frame.size, allow_empty=True).label_map

    def _path(self, frame: Frame) -> Path:
        return self.folder / f"{safe_name(frame.name)}.png"


def check_earlier_run(run: Run, record: Mapping[str, Any], index: int, masks: Mapping[int, str]) -> None:
    """Refuse to continue an earlier run with other settings.

    Args:
        run: the new run, with its output folder.
        record: of the earlier run, as ``read_record`` gives it; empty if there is none.
        index: the frame to continue from.
        masks: file names of the masks in the folder, by frame index.
    Raises:
        InputError: there is no run in the folder, one that ended before the frame, or one that continued from an
            earlier frame and was stopped; a mask that it has is not given, or one that it lacks is for a frame before.
        AnnotationError: its mask of the frame cannot be read.
        OutputExistsError: it differs in more than the annotations.
    """
    if not record:
        raise InputError(f"{run.output}: --from {index} goes on in the folder of an earlier run, and there is none.")
    other = first_difference(record, run, leaving={"annotated", "annotation_digest", "both_ways", "from"})
    if other is not None:
        raise OutputExistsError(
            f"{run.output}: --from {index} found a run with another {other}. Leave out --from, with --overwrite or -o."
        )
    before = record.get("selection", {}).get("from")
    if before is not None and before < index and not record.get("finished"):
        raise InputError(
            f"{run.output}: the run from frame {before} on was stopped, and later masks lack its correction. "
            f"Finish it first, with --from {before} and its masks."
        )
    missing = sorted(set(record.get("annotated", ())) - set(run.annotated))
    if missing:
        raise InputError(
            f"{run.output}: the earlier run has a mask of frame {missing[0]} too. Give it again, "
            f"with --mask {missing[0]}:FILE or another one."
        )
    added = sorted(set(run.annotated) - set(record.get("annotated", ())))
    if added and added[0] < index:
        raise InputError(
            f"{run.output}: the earlier run lacks the mask of frame {added[0]}, and frames before {index} would keep "
            f"theirs. Use --from {added[0]}."
        )
    if min(run.annotated) == index:
        _refuse_gap(run, record, index, masks)
        return
    if index not in masks:
        raise InputError(
            f"{run.output}: holds no mask of frame {index}, where --from goes on. "
            "The earlier run ended before it: use --resume or --overwrite."
        )
    assert run.output is not None, "a run is continued in its folder"
    load_mask(run.output / masks[index], run.source.size, allow_empty=True)


def _refuse_gap(run: Run, record: Mapping[str, Any], index: int, masks: Mapping[int, str]) -> None:
    """Refuse to go on forward alone where a run both ways was stopped before it had the frames before its masks."""
    wanted = range(run.selection.get("start", 0), index, run.selection.get("step", 1))
    lacking = [at for at in wanted if at not in masks and at not in run.source.left_out]
    if lacking and record.get("both_ways") and not (run.both_ways or record.get("finished")):
        raise InputError(
            f"{run.output}: the earlier run was stopped on its way backward and holds no mask of frame {lacking[0]}. "
            "Add --both-ways."
        )


def earlier_doubts(folder: Path, record: Mapping[str, Any], first: int, step: int) -> list[DoubtfulSpan]:
    """Return the doubtful spans of an earlier run in the frames that a continued run keeps.

    Args:
        folder: of the earlier run.
        record: of the earlier run, which lacks them if the run was killed; its log has them then.
        first: index of the first frame that is tracked again.
        step: difference between the indices of two consecutive frames.
    """
    logged = [span for entry in DoubtLog(folder / STATE_FOLDER).read() for span in entry.spans]
    spans = logged or recorded_doubts(record)
    return [dataclasses.replace(span, last=min(span.last, first - step)) for span in spans if span.first < first]
