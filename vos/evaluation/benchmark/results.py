"""A benchmark's job and its results: sequences with their times and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vos.evaluation.datasets.davis_layout import DavisTree
from vos.evaluation.reports.environment import environment
from vos.evaluation.reports.tables import percent, table
from vos.evaluation.video.protocol import Protocol, protocol_named, protocol_of_set
from vos.evaluation.video.scores import Scores
from vos.types.runtime import Runtime


@dataclass(frozen=True)
class BenchmarkJob:
    """The settings of a benchmark; plain data, so that they reach worker processes.

    Attributes:
        root: root of a DAVIS-like tree.
        output: folder; masks go to ``output/SEQUENCE``, results beside them.
        set_name: a set of the tree (``"2017/val"``); None for all annotated sequences.
        tracker: a tracker's name.
        options: its options by name.
        protocol: a protocol's name; None for what fits the set.
        resolution: folder of the tree (``"480p"``); None for the first that is there.
        sequences: only these of the set; empty for all.
        max_side: the tracker sees frames at most this long, pixels.
        runtime: device, precision, threads, seed; threads are those of each worker.
        overwrite: replace what an earlier run left.
        plugin_modules: as ``-p``.
        blocked: as ``--no-plugin``.
    """

    root: Path
    output: Path
    set_name: str | None
    tracker: str
    options: Mapping[str, Any]
    protocol: str | None = None
    resolution: str | None = None
    sequences: tuple[str, ...] = ()
    max_side: int | None = None
    runtime: Runtime = field(default_factory=Runtime)
    overwrite: bool = False
    plugin_modules: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @property
    def rules(self) -> Protocol:
        """The protocol: ``protocol`` if set, else DAVIS-2016 for its sets, YouTube-VOS for a tree without sets."""
        if self.protocol is not None:
            return protocol_named(self.protocol)
        if self.set_name is None and not self.tree.sets():
            return protocol_named("youtube-vos")
        return protocol_named(protocol_of_set(self.set_name))

    @property
    def tree(self) -> DavisTree:
        """The data set."""
        return DavisTree(self.root, self.resolution)


@dataclass(frozen=True)
class SequenceResult:
    """One sequence, tracked and scored.

    Attributes:
        sequence: its name.
        frames: how many frames were tracked.
        seconds: wall time of tracking them, reading and writing included.
        skipped: an earlier run had finished it; the time is that run's.
        details: the tracker's ``details`` attribute.
        scores: of this sequence alone.
    """

    sequence: str
    frames: int
    seconds: float
    skipped: bool
    details: Mapping[str, Any]
    scores: Scores

    @property
    def fps(self) -> float:
        """Frames per second; 0 if the time is not known."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def line(self) -> str:
        """The result as one line of text for the terminal."""
        sequence = self.scores.sequences[0]
        before = ", finished before" if self.skipped else ""
        return (
            f"{self.sequence}: J&F {percent(sequence.j_and_f)}, J {percent(sequence.j.mean)}, "
            f"F {percent(sequence.f.mean)}; {self.frames} frames, {self.fps:.1f} frames/s{before}"
        )


@dataclass(frozen=True)
class BenchmarkResult:
    """The results of all sequences of a set, with the settings and versions that produced them.

    Attributes:
        job: the settings of the benchmark.
        options: the tracker's options, defaults included.
        versions: of the toolkit and the libraries that decide masks.
        workers: processes.
        sequences: results in the order of the set.
        scores: of the whole set.
    """

    job: BenchmarkJob
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    workers: int
    sequences: tuple[SequenceResult, ...]
    scores: Scores

    @property
    def fps(self) -> float:
        """Frames per second of one worker: all frames over the sum of the sequences' times."""
        seconds = sum(result.seconds for result in self.sequences)
        return sum(result.frames for result in self.sequences) / seconds if seconds else 0.0

    def table(self) -> str:
        """The final table: tracker, options, versions, and the scores times 100."""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items()) or "none"
        details = {key: value for result in self.sequences[:1] for key, value in result.details.items()}
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        threads = self.job.runtime.threads
        facts = [
            f"set:      {self.job.set_name or 'all'} of {self.job.root} ({self.scores.protocol.name})",
            f"tracker:  {self.job.tracker}" + "".join(f", {key} {value}" for key, value in details.items()),
            f"options:  {options}",
            f"versions: {versions}",
            f"speed:    {self.fps:.2f} frames/s in each of {self.workers} process{'es' if self.workers > 1 else ''}"
            + (f" of {threads} thread{'s' if threads > 1 else ''}" if threads else ""),
        ]
        rows = [["Sequence", "J&F", "J", "F", "frames/s"]]
        for result in self.sequences:
            scores = result.scores.sequences[0]
            numbers = (scores.j_and_f, scores.j.mean, scores.f.mean)
            rows.append([result.sequence, *map(percent, numbers), f"{result.fps:.1f}"])
        whole = self.scores
        rows.append(["All objects", *map(percent, (whole.j_and_f, whole.j.mean, whole.f.mean)), f"{self.fps:.1f}"])
        more = (
            f"J recall {percent(whole.j.recall)}, J decay {percent(whole.j.decay)}, "
            f"F recall {percent(whole.f.recall)}, F decay {percent(whole.f.decay)}"
        )
        return "\n".join([*facts, "", table(rows), "", more])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "set": self.job.set_name,
            "tracker": self.job.tracker,
            "options": json.loads(json.dumps(dict(self.options), default=str)),
            "details": dict(self.sequences[0].details) if self.sequences else {},
            "versions": dict(self.versions),
            **environment(),
            "device": self.job.runtime.device,
            "precision": self.job.runtime.precision,
            "threads": self.job.runtime.threads,
            "seed": self.job.runtime.seed,
            "max_side": self.job.max_side,
            "workers": self.workers,
            "fps": self.fps,
            "timing": [
                {"sequence": r.sequence, "frames": r.frames, "seconds": r.seconds, "skipped": r.skipped}
                for r in self.sequences
            ],
            **self.scores.to_json(),
        }
