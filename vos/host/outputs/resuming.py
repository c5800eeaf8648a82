"""Finding what of a run was done before (``--resume``): all of it, or its first frames."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vos.errors import OutputExistsError, VosError
from vos.host.doubts import DoubtEntry
from vos.host.loop.resume_point import ResumePoint
from vos.host.outputs.doubt_log import DoubtLog
from vos.host.outputs.run_record import identity_of, recorded_doubts
from vos.host.outputs.saved_states import STATE_FOLDER, find_state, refuse_state, whole_file_writer
from vos.io.masks.mask_file import read_stored_label_map
from vos.protocols.writer import Writer
from vos.registry.plugin_errors import is_stop
from vos.types.label_map import object_ids
from vos.types.run import Run, RunSummary

LONGEST_SHOWN = 200
"""Characters of a record's value that a message shows."""

SOURCE_FACTS = ("source", "source_path", "source_content")
"""Facts of a run that say together what is tracked."""

MASKS_TRIED = 1000
"""Masks that are read, from the last one back, for one that shows every object."""

if TYPE_CHECKING:
    from vos.host.loop.frame_loop import FrameLoop

logger = logging.getLogger(__name__)


def finished_summary(
    run: Run, record: Mapping[str, Any], outputs: Sequence[tuple[Mapping[str, str], bool]], masks: int
) -> RunSummary | None:
    """Compare a run with the record in its folder.

    Args:
        run: what is asked for, with its output folder.
        record: of the earlier run, as ``read_record`` gives it.
        outputs: what is asked for: ``writer``, its name, and its options as text; and whether its files are there.
        masks: how many masks are there.
    Returns:
        A summary of the earlier run if it is finished and has all outputs; None if it is to be tracked again.
    Raises:
        OutputExistsError: the earlier run was another one; the message names the first difference.
    """
    folder = run.output
    assert folder is not None, "a record lies in an output folder"
    other = first_difference(record, run)
    if other is not None:
        raise OutputExistsError(
            f"{folder}: holds a run with another {other}. Use --overwrite, or -o for another folder."
        )
    # More masks are those of an earlier run with other writers, which a run at an address does not fetch and count.
    if not record.get("finished") or masks < record.get("mask_files", math.inf):
        return None
    missing = _missing_outputs(record, outputs)
    if missing:
        logger.info("%s: finished, but without %s: tracked again.", run.address or folder, " and ".join(missing))
        return None
    logger.info("%s: finished, skipped.", run.address or folder)
    return RunSummary(
        dataclasses.replace(run, frames_before=_frames_before(record)),
        int(record.get("frames", 0)),
        tuple(record.get("object_ids", ())),
        float(record.get("seconds", 0.0)),
        truncated=record.get("truncated"),
        skipped=True,
        doubts=recorded_doubts(record),
    )


def _frames_before(record: Mapping[str, Any]) -> int:
    """Frames of a recorded run that were tracked before its last resumption, and are not in its ``seconds``."""
    last = (record.get("resumed") or [None])[-1]
    before = last.get("frames_before") if isinstance(last, dict) else None
    return before if isinstance(before, int) else 0


def resume_stopped_run(
    run: Run, loop: FrameLoop, writers: Sequence[Writer], masks: Mapping[int, str], *, exact: bool
) -> tuple[Run, ResumePoint | None]:
    """Resume the loop after the last frame that a stopped run completed, if it completed any.

    Args:
        run: what is asked for, with its output folder.
        loop: tracks it.
        writers: of the run.
        masks: file names of the masks that are there, by frame index.
        exact: resume only from a saved state, which gives the masks of an uninterrupted run.
    Returns:
        The run with its ``frames_before``; and where it resumes, or None if it starts from its first frame.
    """
    place = run.address or run.output
    whole = whole_file_writer(writers)
    if whole is not None:
        logger.info("%s: tracked anew: %s writes one file of all frames.", place, type(whole).__name__)
        return run, None
    if not run.source.seekable or not loop.can_resume:
        return run, None
    assert run.output is not None, "masks lie in a run's folder"
    log = DoubtLog(run.output / STATE_FOLDER)
    entries = log.read()
    if loop.tracker.saves:
        point = _from_state(run, loop, masks, entries)
    else:
        point = None if exact else _from_mask(run, loop, masks, entries)
    if point is None:
        return run, None
    log.rewrite(point.entries)
    logger.info("%s: goes on after frame %d.", place, point.frame_index)
    if point.state is None:
        logger.warning(
            '%s: tracker "%s" cannot save its state and starts again from the mask of frame %d: '
            "later masks can differ from those of an unbroken run.",
            place,
            run.tracker,
            point.frame_index,
        )
    before = sum(1 for _ in loop.up_to(point.frame_index))
    return dataclasses.replace(run, frames_before=before), point


def _from_state(
    run: Run, loop: FrameLoop, masks: Mapping[int, str], entries: Sequence[DoubtEntry]
) -> ResumePoint | None:
    """Load the newest state, if the masks and entries up to its frame are there."""
    found = find_state(run)
    if found is None:
        return None
    index, state = found
    try:
        missing = next((index for index in loop.up_to(index) if index not in masks), None)
        if missing is not None:
            raise ValueError(f"the mask of frame {missing} is missing")
        point = _point(run, index, masks, entries, state)
        if point is None:
            raise ValueError("what was doubtful up to its frame is missing")
        loop.resume(point)
    except BaseException as error:  # a tracker that exits would end the run without a word
        if is_stop(error):
            raise
        refuse_state(state, error)
        return None
    return point


def _from_mask(
    run: Run, loop: FrameLoop, masks: Mapping[int, str], entries: Sequence[DoubtEntry]
) -> ResumePoint | None:
    """Find the last frame, of those whole without a gap, whose mask holds all objects that are tracked then."""
    before, forward = loop.passes
    if not all(index in masks for index in before):
        return None
    whole = list(takewhile(masks.__contains__, forward))
    for index in whole[: -MASKS_TRIED - 1 : -1]:
        try:
            point = _point(run, index, masks, entries)
        except VosError:
            continue
        if point is None or (not before and index == whole[0]):
            continue
        if set(object_ids(point.label_map)) == loop.known_after(index):
            loop.resume(point)
            return point
    return None


def _point(
    run: Run, index: int, masks: Mapping[int, str], entries: Sequence[DoubtEntry], state: Path | None = None
) -> ResumePoint | None:
    """The point after a frame whose mask is there; None if it has no entry.

    Raises:
        AnnotationError: the mask is damaged.
    """
    assert run.output is not None, "masks lie in a run's folder"
    at = next((position for position, entry in enumerate(entries) if entry.frame == index), None)
    if at is None:
        return None
    label_map = read_stored_label_map(run.output / masks[index]).label_map
    return ResumePoint(index, label_map, entries[: at + 1], state)


def first_difference(record: Mapping[str, Any], run: Run, leaving: Collection[str] = ()) -> str | None:
    """Name the first value in which a recorded run differs from a new one.

    Args:
        record: of the earlier run.
        run: the new run.
        leaving: values that may differ: names in the record, or in one of its dicts.
    Returns:
        The fact with both values, for a message; None where there is no difference.
    """
    identity = identity_of(run)
    other = _source_difference(record, identity)
    if other is not None:
        return other
    for name, wanted in identity.items():
        if name in leaving or name in SOURCE_FACTS:
            continue
        found = record.get(name)
        if isinstance(found, dict) and isinstance(wanted, dict):
            for key in (*wanted, *found):
                if key not in leaving and found.get(key) != wanted.get(key):
                    return f"{key} in its {name} ({_short(found.get(key))}, now {_short(wanted.get(key))})"
        elif found != wanted:
            fact = "set of masks, by its digest" if name == "annotation_digest" else name.replace("_", " ")
            return f"{fact} ({_short(found)}, now {_short(wanted)})"
    return None


def _source_difference(record: Mapping[str, Any], identity: Mapping[str, Any]) -> str | None:
    """Compare two runs' sources: another spelling of a path is the same source, a file with other content is not."""
    earlier, now = (str(one.get("source_path") or one.get("source")) for one in (record, identity))
    same_place = earlier == now or (
        identity["source_path"] is not None and os.path.realpath(earlier) == os.path.realpath(now)
    )
    if not same_place and record.get("source") != identity["source"]:  # a folder that moved has the same relative path
        return f"source ({_short(record.get('source'))}, now {_short(identity['source'])})"
    before, content = record.get("source_content"), identity["source_content"]
    if before is None or content is None or before == content:  # records of before have no content
        return None
    stops = [one.get("selection", {}).get("stop") for one in (record, identity)]
    if "frames" in content and stops[0] != stops[1]:  # they bound the number of frames, and are compared by themselves
        return None
    if not same_place:
        return f"source ({_short(earlier)}, now {_short(now)})"
    return (
        f"video: the content of {identity['source']} has changed since "
        f"({_short_content(before)}, now {_short_content(content)})"
    )


def _short_content(content: Mapping[str, Any]) -> str:
    if "bytes" in content:
        return f"{content['bytes']} bytes with hash {str(content.get('sha256_of_ends'))[:8]}"[:LONGEST_SHOWN]
    return f"{content.get('frames')} frames"[:LONGEST_SHOWN]


def _short(value: Any) -> str:
    """A value for a message, which stays one line whatever the record holds."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _missing_outputs(record: Mapping[str, Any], outputs: Sequence[tuple[Mapping[str, str], bool]]) -> list[str]:
    """Name the outputs that a recorded run did not write, or whose files are gone."""
    recorded = record.get("outputs", [])
    return [
        output["writer"]
        for output, is_there in outputs
        if dict(output) not in recorded or not is_there or ("path" in output and not Path(output["path"]).exists())
    ]
