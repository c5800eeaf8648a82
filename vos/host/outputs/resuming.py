"""Finding that a run was done before (``--resume``)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from vos.errors import OutputExistsError
from vos.host.outputs.run_record import identity_of, masks_in
from vos.types.run import Run, RunSummary

LONGEST_SHOWN = 200
"""Characters of a record's value that a message shows."""

logger = logging.getLogger(__name__)


def finished_summary(run: Run, record: Mapping[str, Any], outputs: Sequence[Mapping[str, str]]) -> RunSummary | None:
    """Compare a run with the record in its folder.

    Args:
        run: what is asked for, with its output folder.
        record: of the earlier run, as ``read_record`` gives it.
        outputs: what is asked for: ``writer``, its name, and its options as text.
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
            f"{folder}: --resume found a run with another {other}. Use --overwrite, or -o for another folder."
        )
    if not record.get("finished") or len(masks_in(folder)) != record.get("mask_files"):
        return None
    missing = _missing_outputs(record, outputs)
    if missing:
        logger.info("%s: finished, but without %s: tracked again.", folder, " and ".join(missing))
        return None
    logger.info("%s: finished, skipped.", folder)
    return RunSummary(
        run,
        int(record.get("frames", 0)),
        tuple(record.get("object_ids", ())),
        float(record.get("seconds", 0.0)),
        truncated=record.get("truncated"),
        skipped=True,
    )


def first_difference(record: Mapping[str, Any], run: Run, leaving: Collection[str] = ()) -> str | None:
    """Name the first fact in which a recorded run differs from one that is asked for.

    Args:
        record: of the earlier run.
        run: what is asked for.
        leaving: facts that may differ: names in the record, or in one of its dicts.
    Returns:
        The fact with both values, for a message; None where there is no difference.
    """
    for name, wanted in identity_of(run).items():
        found = record.get(name)
        if name in leaving:
            continue
        if isinstance(found, dict) and isinstance(wanted, dict):
            for key in (*wanted, *found):
                if key not in leaving and found.get(key) != wanted.get(key):
                    return f"{key} in its {name} ({_short(found.get(key))}, now {_short(wanted.get(key))})"
        elif found != wanted:
            return f"{name.replace('_', ' ')} ({_short(found)}, now {_short(wanted)})"
    return None


def _short(value: Any) -> str:
    """A value for a message, which stays one line whatever the record holds."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _missing_outputs(record: Mapping[str, Any], outputs: Sequence[Mapping[str, str]]) -> list[str]:
    """Name the outputs that a recorded run did not write, or whose file is gone."""
    there = record.get("outputs", [])
    return [
        output["writer"]
        for output in outputs
        if dict(output) not in there or ("path" in output and not Path(output["path"]).exists())
    ]
