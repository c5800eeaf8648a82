"""One plugin with every hook of the toolkit, each as small as it can be. Try it: vos -p every_hook plugins."""

import json
from dataclasses import dataclass

import click
import numpy as np

from vos.plugin import (
    Checkpoint,
    CommandSpec,
    EmptyMaskError,
    ExecutorSpec,
    FormatSpec,
    Frame,
    ImportedFrame,
    ImportedMasks,
    InitializerSpec,
    InputError,
    JobEvent,
    Prediction,
    SourceError,
    SourceInfo,
    TrackerSpec,
    WriterSpec,
    atomic_write,
    hookimpl,
    object_ids,
    option,
    read_label_map,
)

VOS_API = 1


# --8<-- [start:vos_trackers]
@dataclass(frozen=True)
class StillOptions:
    shift: int = option(0, "Pixels to the right that every object moves in a frame.")


class StillTracker:
    """Objects stay where they are, or drift."""

    def __init__(self, options, runtime):
        self.shift = options.shift

    def start(self, frame, label_map):
        self.label_map, self.ids = label_map, object_ids(label_map)

    def step(self, frame):
        self.label_map = np.roll(self.label_map, self.shift, axis=1)
        return Prediction.from_label_map(self.label_map, self.ids)


@hookimpl
def vos_trackers():
    return [TrackerSpec("still", "Objects stay where they are.", StillTracker, StillOptions)]


# --8<-- [end:vos_trackers]


# --8<-- [start:vos_initializers]
@dataclass(frozen=True)
class CentreOptions:
    share: float = option(0.5, "The object's height and width as a share of the frame's.")


class CentreInitializer:
    """One object in the middle of the frame."""

    def __init__(self, options, runtime):
        self.share = options.share

    def initialize(self, frame):
        label_map = np.zeros(frame.size, np.uint8)
        (top, left), (bottom, right) = ([round(n * (1 + s * self.share) / 2) for n in frame.size] for s in (-1, 1))
        label_map[top:bottom, left:right] = 1
        if not label_map.any():
            raise EmptyMaskError("centre: the object has no pixel. Give a larger share: -O share=0.5")
        return label_map


@hookimpl
def vos_initializers():
    return [InitializerSpec("centre", "One object in the middle.", CentreInitializer, CentreOptions)]


# --8<-- [end:vos_initializers]


# --8<-- [start:vos_executors]
class SerialExecutor:
    """One job after another, in this process."""

    def __init__(self, options):
        pass

    def run(self, plan, jobs):
        worker = plan.make()
        for job in jobs:
            yield JobEvent(job.job_id, "started")
            try:
                result = worker(job.work, lambda frame, frame_count: None)
            except Exception as error:
                yield JobEvent(job.job_id, "failed", message=str(error), bad_input=isinstance(error, InputError))
            else:
                yield JobEvent(job.job_id, "done", result=result)


@hookimpl
def vos_executors():
    return [ExecutorSpec("serial", "One job after another, in this process.", SerialExecutor)]


# --8<-- [end:vos_executors]


# --8<-- [start:vos_writers]
class AreaWriter:
    """A JSON file with the number of pixels of each object in each frame."""

    def __init__(self, options):
        self.areas = {}

    def outputs(self, folder):
        return [folder.parent / f"{folder.name}-areas.json"]

    def open(self, run):
        (self.path,) = self.outputs(run.output)

    def write(self, frame, label_map, prediction):
        self.areas[frame.name] = {i: int((label_map == i).sum()) for i in prediction.object_ids}

    def close(self):
        atomic_write(self.path, json.dumps(self.areas))

    def abort(self, error):
        pass  # nothing was written yet


@hookimpl
def vos_writers():
    return [WriterSpec("areas", "Pixels of each object in each frame, as JSON.", AreaWriter)]


# --8<-- [end:vos_writers]


# --8<-- [start:vos_formats]
class TextWriter:
    """A folder ``text`` of text files, one a frame: a digit for each pixel, for objects 1 to 9."""

    needs_images = False

    def __init__(self, options):
        pass

    def open(self, run):
        self.folder = run.output / "text"
        self.folder.mkdir(exist_ok=True)

    def write(self, frame, label_map, prediction):
        atomic_write(self.folder / f"{frame.name}.txt", "\n".join("".join(map(str, row)) for row in label_map))

    def close(self):
        pass

    def abort(self, error):
        pass  # each file is whole


def read_text_masks(path):
    files = sorted(path.glob("*.txt")) if path.name == "text" else []
    if not files:
        return None

    def frames():
        for file in files:
            yield ImportedFrame(file.stem, np.array([list(row) for row in file.read_text().split()], np.uint8))

    return [ImportedMasks(path.parent.name, frames)]


@hookimpl
def vos_formats():
    return [FormatSpec("text", "Digits in text files, one file a frame.", TextWriter, read_text_masks)]


# --8<-- [end:vos_formats]


# --8<-- [start:vos_commands]
@click.command()
@click.argument("mask")
def ids(mask):
    """Print the object ids in MASK."""
    click.echo(" ".join(map(str, object_ids(read_label_map(mask)))))


@hookimpl
def vos_commands():
    return [CommandSpec("ids", "Print the object ids in a mask.", lambda: ids)]


# --8<-- [end:vos_commands]


# --8<-- [start:vos_checkpoints]
@hookimpl
def vos_checkpoints():
    return [
        Checkpoint(
            name="tiny-still",
            file_name="tiny_still.pth",
            address="https://example.org/tiny_still.pth",
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            licence="MIT",
            model="Still, tiny",
            size=4,
        )
    ]


# --8<-- [end:vos_checkpoints]


# --8<-- [start:vos_open_source]
class NoiseSource:
    """Frames of noise, for tests: ``noise:WIDTHxHEIGHTxFRAMES``."""

    def __init__(self, location):
        try:
            self.width, self.height, self.count = map(int, location.removeprefix("noise:").split("x"))
        except ValueError:
            raise SourceError(f"{location}: expected noise:WIDTHxHEIGHTxFRAMES, as in noise:64x48x10.") from None
        self.info = SourceInfo(location, "noise", "noise", self.count, (self.height, self.width))

    def frames(self, indices=None):
        for index in indices or range(self.count):
            pixels = np.random.default_rng(index).integers(0, 256, (self.height, self.width, 3), np.uint8)
            yield Frame(index, pixels, f"{index:05d}")

    def close(self):
        pass


@hookimpl
def vos_open_source(location):
    return NoiseSource(location) if location.startswith("noise:") else None


# --8<-- [end:vos_open_source]


# --8<-- [start:vos_merge_objects]
@hookimpl
def vos_merge_objects(prediction, size):
    """Put the smaller of two overlapping objects in front; leave logits of another size to the host."""
    masks = prediction.logits > 0
    if len(masks) < 2 or masks.shape[1:] != size:
        return None
    label_map = np.zeros(size, np.uint8)
    for row in np.argsort(-masks.sum((1, 2)), kind="stable"):
        label_map[masks[row]] = prediction.object_ids[row]
    return label_map


# --8<-- [end:vos_merge_objects]


log = []


# --8<-- [start:vos_run_started]
@hookimpl
def vos_run_started(run):
    log.append(f"{run.sequence}: {run.tracker} begins at frame {run.annotated[0]}")


# --8<-- [end:vos_run_started]


# --8<-- [start:vos_frame_done]
@hookimpl
def vos_frame_done(frame, label_map):
    log.append(f"{frame.name}: {int((label_map > 0).sum())} pixels")


# --8<-- [end:vos_frame_done]


# --8<-- [start:vos_run_finished]
@hookimpl
def vos_run_finished(summary):
    log.append(f"done: {summary.frames} frames")


# --8<-- [end:vos_run_finished]


# --8<-- [start:vos_run_failed]
@hookimpl
def vos_run_failed(error):
    log.append(f"failed: {error}")


# --8<-- [end:vos_run_failed]
