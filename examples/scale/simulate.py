"""Simulate ``vos batch`` on 1 to 1,000 workers: what limits it, and what a failure costs.

A discrete-event simulation of one queue of clips, workers that start, read, track, write and die, and an object store
that takes a limited number of writes a second. docs/scale.md says where the parameters come from and what follows.

    python examples/scale/simulate.py                      # the table of docs/scale.md
    python examples/scale/simulate.py --clips 1000 --workers 10 100 --shards --order longest
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Parameters:
    """Parameters of the simulated fleet; times in seconds unless stated otherwise.

    Attributes:
        median_frames: median length of a clip; lengths are log-normal.
        spread: sigma of the logarithm of a clip's length.
        frame_seconds: time to track one frame (measured).
        start_seconds: time for a worker to make its tracker (measured).
        job_seconds: overhead of a job (measured).
        dispatch_seconds: time of the one dispatching process for a job (measured).
        slow_share: share of workers that are stragglers.
        slow_factor: factor of a straggler's times.
        hours_between_failures: mean time until a worker dies.
        replace_seconds: time until another machine replaces a dead one.
        state_frames: frames between two saved states of the tracker, from which a job resumes; 0 for none.
        state_seconds: time to save a state (measured) and to upload it.
        retries: number of retries of a job.
        request_seconds: latency of one write to the store.
        requests_per_second: limit of the store for all writes.
        shards: masks of a clip are one file, not one a frame.
        longest_first: dispatch long clips first; else in the given order.
    """

    median_frames: float = 240
    spread: float = 1.0
    frame_seconds: float = 1 / 17
    start_seconds: float = 4.0
    job_seconds: float = 0.05
    dispatch_seconds: float = 0.002
    slow_share: float = 0.02
    slow_factor: float = 3.0
    hours_between_failures: float = 24.0
    replace_seconds: float = 120.0
    state_frames: int = 256
    state_seconds: float = 0.9
    retries: int = 2
    request_seconds: float = 0.03
    requests_per_second: float = 3500.0
    shards: bool = False
    longest_first: bool = False


@dataclass
class Outcome:
    """Outcome of a simulated run.

    Attributes:
        workers: their number.
        hours: until the last clip was done.
        efficiency: share of the workers' time that is spent on tracking.
        lost: repeated work after failures, as a share of all tracking.
        waiting: seconds that workers waited for the store's limit, as a share of their time.
        tail: share of the time in which fewer than half of the workers have a clip.
        requests: writes to the store.
        failures: workers that died.
        failed_jobs: clips given up after the last retry.
    """

    workers: int
    hours: float = 0.0
    efficiency: float = 0.0
    lost: float = 0.0
    waiting: float = 0.0
    tail: float = 0.0
    requests: int = 0
    failures: int = 0
    failed_jobs: int = 0


@dataclass
class Clip:
    """A job: its frames, those that a saved state covers, and how often it was begun."""

    frames: int
    saved: int = 0
    attempts: int = 0


def simulate(clips: int, workers: int, parameters: Parameters, seed: int = 0) -> Outcome:
    """Run a manifest through a fleet.

    Args:
        clips: their number.
        workers: their number.
        parameters: of clips, workers and store.
        seed: of lengths, stragglers and failures.
    Returns:
        Times and shares.
    """
    chance = random.Random(seed)
    p = parameters
    lengths = [max(1, round(chance.lognormvariate(math.log(p.median_frames), p.spread))) for _ in range(clips)]
    if p.longest_first:
        lengths.sort(reverse=True)
    fleet = _Fleet(p, chance, [Clip(frames) for frames in reversed(lengths)], Outcome(workers))
    fleet.run()
    outcome, ends = fleet.outcome, sorted(fleet.ends)
    last = ends[-1] if ends else 0.0
    outcome.hours = last / 3600
    if last:
        outcome.efficiency = sum(lengths) * p.frame_seconds / (workers * last)
        outcome.lost = fleet.again / sum(lengths)
        outcome.waiting = fleet.waited / (workers * last)
        outcome.tail = (last - ends[-max(1, workers // 2)]) / last
    return outcome


class _Fleet:
    """Workers, the queue of clips and the store, with the events that are to come."""

    def __init__(self, parameters: Parameters, chance: random.Random, queue: list[Clip], outcome: Outcome) -> None:
        p = parameters
        self.p, self.chance, self.queue, self.outcome = p, chance, queue, outcome
        workers = range(outcome.workers)
        self.speed = [p.slow_factor if chance.random() < p.slow_share else 1.0 for _ in workers]
        self.dies_at = [self._life() for _ in workers]
        self.ends: list[float] = []
        self.store_free = self.dispatcher_free = self.waited = 0.0
        self.again = 0
        # (time, worker, the clip that it has tracked; None where it is free)
        self.events: list[tuple[float, int, Clip | None]] = [
            (p.start_seconds * self.speed[w], w, None) for w in workers
        ]

    def run(self) -> None:
        """Handle events in the order of their times until every clip is done or given up."""
        heapq.heapify(self.events)
        while self.events:
            now, worker, clip = heapq.heappop(self.events)
            if clip is not None:
                self._write(now, worker, clip)
            elif self.queue:
                self._track(now, worker, self.queue.pop())

    def _life(self) -> float:
        return self.chance.expovariate(1 / (3600 * self.p.hours_between_failures))

    def _track(self, now: float, worker: int, clip: Clip) -> None:
        p = self.p
        begin = max(now, self.dispatcher_free)
        self.dispatcher_free = begin + p.dispatch_seconds
        saving = p.state_seconds / p.state_frames if p.state_frames else 0.0
        frame_seconds = p.frame_seconds * self.speed[worker] + saving
        tracked = begin + p.job_seconds + (clip.frames - clip.saved) * frame_seconds
        if tracked <= self.dies_at[worker]:
            heapq.heappush(self.events, (tracked, worker, clip))
            return
        dead = max(self.dies_at[worker], begin)
        done = min(clip.frames, clip.saved + int((dead - begin) / frame_seconds))
        saved = max(clip.saved, done // p.state_frames * p.state_frames if p.state_frames else 0)
        self.again += done - saved
        clip.saved, clip.attempts = saved, clip.attempts + 1
        self.outcome.failures += 1
        if clip.attempts > p.retries:
            self.outcome.failed_jobs += 1
        else:
            self.queue.append(clip)
        back = dead + p.replace_seconds + p.start_seconds * self.speed[worker]
        self.dies_at[worker] = back + self._life()
        heapq.heappush(self.events, (back, worker, None))

    def _write(self, now: float, worker: int, clip: Clip) -> None:
        """The store takes so many writes a second of all workers together, each worker one after another."""
        files = 2 if self.p.shards else clip.frames + 1
        alone = now + files * self.p.request_seconds
        self.store_free = max(self.store_free, now) + files / self.p.requests_per_second
        end = max(alone, self.store_free)
        self.waited += end - alone
        self.outcome.requests += files
        self.ends.append(end)
        heapq.heappush(self.events, (end, worker, None))


def table(outcomes: Sequence[tuple[str, Outcome]]) -> str:
    """The outcomes as a table in Markdown."""
    lines = [
        "| workers | what | hours | efficiency | done again | waiting for the store | tail | writes/s | given up |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for what, one in outcomes:
        rate = one.requests / (3600 * one.hours) if one.hours else 0.0
        shares = f"{one.efficiency:.0%} | {one.lost:.2%} | {one.waiting:.0%} | {one.tail:.0%}"
        lines.append(f"| {one.workers:,} | {what} | {one.hours:,.2f} | {shares} | {rate:,.0f} | {one.failed_jobs} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", action="store_true", help="one file a clip in place of a PNG a frame")
    parser.add_argument("--order", choices=["manifest", "longest"], default="manifest")
    parser.add_argument("--frame-seconds", type=float, default=Parameters.frame_seconds)
    arguments = parser.parse_args()
    plain = Parameters(
        shards=arguments.shards, longest_first=arguments.order == "longest", frame_seconds=arguments.frame_seconds
    )
    outcomes = [("as asked", simulate(arguments.clips, count, plain, arguments.seed)) for count in arguments.workers]
    most = max(arguments.workers)
    shards = replace(plain, shards=True)
    dying = replace(shards, hours_between_failures=1.0)
    gpu = replace(plain, frame_seconds=1 / 120)
    for what, other in (
        ("shards", shards),
        ("shards, longest first", replace(shards, longest_first=True)),
        ("shards, a worker dies every hour", dying),
        ("the same, no states", replace(dying, state_frames=0)),
        ("a GPU each", gpu),
        ("a GPU each, shards, longest first", replace(gpu, shards=True, longest_first=True)),
    ):
        outcomes.append((what, simulate(arguments.clips, most, other, arguments.seed)))
    print(table(outcomes))


if __name__ == "__main__":
    main()
