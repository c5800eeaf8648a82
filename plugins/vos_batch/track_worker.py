"""The worker of ``vos batch``: tracks one video after another and keeps its trackers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vos.plugin import FrameReporter, ReportFrame, Runtime, load_plugins, make_tracker, track


class TrackWorker:
    """Tracks jobs; a tracker is made once for each name, options and runtime."""

    def __init__(self, plugin_modules: Sequence[str] = (), blocked: Sequence[str] = ()) -> None:
        self._plugins = load_plugins(plugin_modules, blocked)
        self._made: dict[str, Any] = {}

    def __call__(self, work: Mapping[str, Any], report: ReportFrame) -> dict[str, Any]:
        """Track one video; a finished run of the same job is skipped.

        Args:
            work: a ``TrackJob`` as a dict, as ``TrackJob.to_job`` has it.
            report: called at each frame.
        Returns:
            Frames, seconds, object ids, the output folder, and whether an earlier run had finished it.
        """
        runtime = Runtime(**work["runtime"])
        summary = track(
            work["source"],
            _annotations(work["masks"]),
            tracker=self._tracker(work["tracker"], work["options"], runtime),
            output=work["output"],
            writers=[(name, dict(options)) for name, options in work["writers"]],
            runtime=runtime,
            resume=False if work["overwrite"] else "exact",
            overwrite=work["overwrite"],
            sequence=work["sequence"],
            plugins=self._plugins,
            observers=[FrameReporter(report)],
            **work["selection"],
        )
        return {
            "frames": summary.frames,
            "seconds": summary.seconds,
            "object_ids": list(summary.object_ids),
            "output": summary.run.address or str(summary.run.output),
            "skipped": summary.skipped,
        }

    def _tracker(self, name: str, options: Mapping[str, Any], runtime: Runtime) -> Any:
        key = json.dumps([name, options, repr(runtime)], sort_keys=True, default=str)
        if key not in self._made:
            self._made[key] = make_tracker(name, options, runtime, self._plugins)
        return self._made[key]


def _annotations(masks: Mapping[str, str] | str | None) -> Any:
    """JSON keys are text; frame indices are numbers."""
    if isinstance(masks, Mapping):
        return {int(index): path for index, path in masks.items()}
    return masks
