"""Settings and results of a benchmark: each sequence's time and scores, and the table of all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from vos.errors import OptionError
from vos.evaluation.benchmark import plain_scores
from vos.evaluation.datasets.davis_layout import DavisTree
from vos.evaluation.reports.environment import compute_facts
from vos.evaluation.reports.tables import percent, table
from vos.evaluation.video.protocol import Protocol, protocol_named, protocol_of_set
from vos.evaluation.video.scores import Scores
from vos.initialization.object_selection import ObjectSelection
from vos.io.json_file import plain_json
from vos.types.runtime import Runtime

NOTHING_FOUND = "the initializer found no object in the first frame; every frame was scored as empty"


@dataclass(frozen=True)
class BenchmarkJob:
    """The settings of a benchmark; plain data, so that they reach worker processes.

    Attributes:
        root: root of a DAVIS-like tree.
        output: folder; masks go to ``output/SEQUENCE``, results beside them.
        set_name: a set of the tree (``"2017/val"``); None for all annotated sequences.
        tracker: a tracker's name.
        options: its options by name.
        protocol: a protocol's name; None for the one that fits the set.
        resolution: folder of the tree (``"480p"``); None for the first one that exists.
        sequences: only these of the set; empty for all.
        max_side: the tracker sees frames at most this long, pixels.
        runtime: device, precision, threads, seed; threads are those of each worker.
        overwrite: replace the files of an earlier run.
        plugin_modules: plugins to load, as ``-p``.
        blocked: plugins to leave out, as ``--no-plugin``.
        initializer: name of the initializer that makes each sequence's first mask; None uses the data set's masks.
        init_options: its options by name.
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
    initializer: str | None = None
    init_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> Protocol:
        """The protocol: ``protocol`` if set, else DAVIS-2016 for its sets, YouTube-VOS for a tree without sets.

        With an initializer, other sets than those of DAVIS-2016 are scored as DAVIS-2017 unsupervised.
        """
        if self.protocol is not None:
            return protocol_named(self.protocol)
        of_set = protocol_of_set(self.set_name)
        if self.initializer is not None:
            return protocol_named(of_set if of_set == "davis-2016" else "davis-2017-unsupervised")
        if self.set_name is None and not DavisTree(self.root, self.resolution).sets():
            return protocol_named("youtube-vos")
        return protocol_named(of_set)

    @property
    def tree(self) -> DavisTree:
        """The data set."""
        return DavisTree(self.root, self.resolution, unsupervised=self.rules.max_proposals is not None)

    @property
    def most_objects(self) -> int:
        """Largest number of objects of an initializer: the protocol's limit, else that of ``ObjectSelection``."""
        return self.rules.max_proposals or ObjectSelection.max_objects

    def to_plain(self) -> dict[str, Any]:
        """Convert the job to JSON data.

        Raises:
            OptionError: an option of the tracker or the initializer is no JSON value.
        """
        try:
            here = {"root": self.root.absolute(), "output": self.output.absolute()}  # a worker may start elsewhere
            plain: dict[str, Any] = json.loads(json.dumps({**asdict(self), **here}, default=os.fspath))
        except TypeError as error:
            raise OptionError(f"an option cannot reach another process ({error}). Give plain values.") from error
        return plain

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> BenchmarkJob:
        """Make a job from the data of ``to_plain``."""
        runtime = Runtime(**{**data["runtime"], "cache": Path(data["runtime"]["cache"])})
        paths = {name: Path(data[name]) for name in ("root", "output")}
        tuples = {name: tuple(data[name]) for name in ("sequences", "plugin_modules", "blocked")}
        return cls(**{**data, **paths, **tuples, "runtime": runtime})

    def check(self) -> None:
        """Refuse a protocol that does not fit the tree or the origin of the first masks.

        Raises:
            OptionError: the protocol takes a folder of masks for each object, which a DAVIS tree does not have; it
                scores proposals and there is no initializer; or it compares objects by id and an initializer numbers
                them.
        """
        rules = self.rules
        if rules.object_folders:
            raise OptionError(
                f"{rules.name} takes a folder of masks for each object, and the tree has label maps. Track the videos "
                f"with `vos batch`, and score the masks with `vos eval --protocol {rules.name}`."
            )
        if self.initializer is None and rules.max_proposals is not None:
            raise OptionError(
                f"{rules.name} scores objects without a given first mask. Name the initializer that finds them: "
                "--init NAME (`vos plugins` lists the initializers)."
            )
        if self.initializer is not None and rules.max_proposals is None and (not rules.merge):
            raise OptionError(
                f"{rules.name} takes ids for those of the truth, and --init {self.initializer} numbers objects by "
                "itself. Use --protocol davis-2017-unsupervised, or davis-2016 for all objects as one."
            )


@dataclass(frozen=True)
class SequenceResult:
    """One sequence, tracked and scored.

    Attributes:
        sequence: its name.
        frames: number of frames.
        seconds: wall time of tracking, reading and writing included.
        skipped: whether an earlier run had finished the sequence; the time is that run's.
        details: the tracker's ``details`` attribute.
        scores: scores of this sequence alone.
        init_seconds: wall time of the initializer; None without one.
        compute: device, precision and threads of the tracking process, from ``compute_facts``.
        frames_before: how many of the frames a stopped run had tracked; ``seconds`` is the time of the others.
    """

    sequence: str
    frames: int
    seconds: float
    skipped: bool
    details: Mapping[str, Any]
    scores: Scores
    init_seconds: float | None = None
    compute: Mapping[str, Any] = field(default_factory=dict)
    frames_before: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Convert the result to JSON data, which a worker process sends."""
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "scores"}
        plain: dict[str, Any] = plain_json(kept)
        return {**plain, "scores": plain_scores.to_plain(self.scores)}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], protocol: Protocol) -> SequenceResult:
        """Make a result from the data of ``to_plain``.

        Args:
            data: from ``to_plain``.
            protocol: the rules of scoring.
        """
        return cls(**{**data, "scores": plain_scores.from_plain(data["scores"], protocol)})

    @property
    def fps(self) -> float:
        """Frames per second; 0 if the time is unknown."""
        return self.tracked / self.seconds if self.seconds > 0 else 0.0

    @property
    def tracked(self) -> int:
        """The number of frames that were tracked in ``seconds``."""
        return self.frames - self.frames_before

    def line(self) -> str:
        """Format the result as one line for the terminal."""
        sequence = self.scores.sequences[0]
        earlier = ", finished before" if self.skipped else ""
        return (
            f"{self.sequence}: J&F {percent(sequence.j_and_f)}, J {percent(sequence.j.mean)}, "
            f"F {percent(sequence.f.mean)}; {self.frames} frames, {self.fps:.1f} frames/s{earlier}{self._first_mask()}"
        )

    def _first_mask(self) -> str:
        if self.init_seconds is None:
            return ""
        found = "no object found" if NOTHING_FOUND in self.scores.sequences[0].notes else "first mask"
        return f"; {found} in {self.init_seconds:.1f} s"


@dataclass(frozen=True)
class BenchmarkResult:
    """The results of all sequences of a set, with the settings and versions that produced them.

    Attributes:
        job: the settings of the benchmark.
        options: the tracker's options, defaults included.
        versions: versions of the toolkit and of the libraries that influence masks.
        workers: number of processes.
        sequences: results in the order of the set.
        scores: scores of the whole set.
    """

    job: BenchmarkJob
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    workers: int
    sequences: tuple[SequenceResult, ...]
    scores: Scores

    @property
    def fps(self) -> float:
        """Frames per second of one worker: all frames over the sum of the sequences' times; 0 if none was tracked."""
        tracked = [result for result in self.sequences if result.seconds > 0]
        return sum(result.tracked for result in tracked) / sum(result.seconds for result in tracked) if tracked else 0.0

    def table(self) -> str:
        """Format the final table: tracker, options, versions, and the scores times 100."""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items()) or "none"
        details = {key: value for result in self.sequences[:1] for key, value in result.details.items()}
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        threads = self.job.runtime.threads
        facts = [
            f"set:      {self.job.set_name or 'all'} of {self.job.root} ({self.scores.protocol.name})",
            *self._init_facts(),
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
            rows.append([result.sequence, *map(percent, numbers), f"{result.fps:.1f}" if result.fps else "-"])
        whole = self.scores
        rows.append(["All objects", *map(percent, (whole.j_and_f, whole.j.mean, whole.f.mean)), f"{self.fps:.1f}"])
        more = (
            f"J recall {percent(whole.j.recall)}, J decay {percent(whole.j.decay)}, "
            f"F recall {percent(whole.f.recall)}, F decay {percent(whole.f.decay)}"
        )
        return "\n".join([*facts, "", table(rows), "", more])

    def _init_facts(self) -> list[str]:
        if self.job.initializer is None:
            return []
        named = ", ".join([self.job.initializer, *(f"{key}={value}" for key, value in self.job.init_options.items())])
        return [f"init:     {named}"]

    def run_facts(self) -> dict[str, Any]:
        """Describe how the masks were made, as JSON data: the key ``run`` of ``results.json``."""
        return {
            "set": self.job.set_name,
            "initializer": self.job.initializer,
            "init_options": plain_json(dict(self.job.init_options)),
            "tracker": self.job.tracker,
            "options": plain_json(dict(self.options)),
            "details": dict(self.sequences[0].details) if self.sequences else {},
            "versions": dict(self.versions),
            **(self.sequences[0].compute if self.sequences else compute_facts(self.job.runtime)),
            "seed": self.job.runtime.seed,
            "max_side": self.job.max_side,
            "fps": self.fps,
            "timing": [
                {
                    "sequence": r.sequence,
                    "frames": r.frames,
                    "frames_before": r.frames_before,
                    "seconds": r.seconds,
                    "init_seconds": r.init_seconds,
                    "skipped": r.skipped,
                }
                for r in self.sequences
            ],
        }
