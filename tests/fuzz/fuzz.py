"""Feed damaged files to every reader: each must read them or refuse them in a line, and print nothing itself.

    python tests/fuzz/fuzz.py --seed 7 --seconds 60     # at any seed, about 1,000 files a minute
    python tests/fuzz/fuzz.py --seed 7 --case 123 --keep damaged/   # one case again, and its file

Cases run in child processes, so that a crash of a decoder is one more fault and not the end.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # mutations.py lies beside this file
from mutations import mutate

import vos
from vos.errors import VosError
from vos.evaluation.datasets.davis_layout import read_names
from vos.evaluation.datasets.sequence_folders import seen_objects
from vos.host.annotations.imported_annotations import read_imported
from vos.host.outputs.run_record import read_record
from vos.io.masks.mask_file import encode_label_map, read_stored_label_map
from vos.testing import StubTracker, tiny_sequence
from vos.types.palette import PALETTE

LONGEST_MESSAGE = 1500
MOST_SECONDS = 10.0
"""Processor time that reading a small file may take."""
BATCH = 400
MEMORY_BYTES = 12 << 30
PLUGINS = vos.load_plugins()


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: of its file, with the suffix that its reader needs.
        content: a file that is whole.
        read: reads a file at a path.
    """

    name: str
    content: bytes
    read: Callable[[Path], object]


# Readers.


def read_frames(path: Path) -> None:
    """Read a few frames forward, a few backward and one from the middle."""
    source = vos.open_source(path, PLUGINS)
    try:
        count = source.info.frame_count or 0
        for order in (
            range(min(count, 16)),
            range(count - 1, max(count - 4, -1), -1),
            range(count // 2, count // 2 + 1),
        ):
            try:
                for _ in source.frames(order):
                    pass
            except VosError:
                if order.start:  # each order is tried, whatever the one before said
                    raise
    finally:
        source.close()


def read_mask(path: Path) -> None:
    """Read a mask as a first mask and as one to be scored."""
    with suppress(VosError):
        vos.read_label_map(path)
    try:
        read_stored_label_map(path)
    except VosError as error:
        raise VosError(f"{path}: {error}") from error


def read_result(path: Path) -> None:
    """Read masks of another tool's file, all frames."""
    for masks in read_imported(path, PLUGINS) or ():
        for _ in masks.frames():
            pass


def read_run(path: Path) -> None:
    """Read a record, and resume the run that it is of."""
    read_record(path.parent)
    sequence = tiny_sequence("moving", length=2)
    vos.track(
        sequence, sequence.label_maps[0], tracker=StubTracker(), output=path.parent.parent,
        sequence=path.parent.name, resume=True, plugins=PLUGINS,
    )  # fmt: skip


def read_manifest(path: Path) -> None:
    """Find the jobs of ``vos batch`` in a manifest."""
    from vos_batch.jobs import TrackJob, find_jobs

    find_jobs(str(path), TrackJob("", None, "out", ""))


def read_session(path: Path) -> None:
    """Read the facts of a session of the web page."""
    from vos_web.sessions.session import read_facts

    read_facts(path.parent)


def read_weights(path: Path) -> None:
    """Read a checkpoint as the tracker dino and as Segment Anything do."""
    from vos_propagation.dino.vit import read_state
    from vos_sam.checkpoint import load_sam

    with suppress(VosError):
        read_state(path)
    if path.suffix != ".safetensors":
        load_sam(path)


def read_model_config(path: Path) -> None:
    """Read a model folder's configuration."""
    from vos.weights import architecture_arguments, read_config

    config = read_config(path)
    architecture_arguments(config.get("model_args", {}), str(path))


# Files that are whole.


def video(suffix: str, codec: str, pixels: str = "yuv420p", **options: str) -> bytes:
    """A clip of 12 frames of 96x64, with sound in none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options={"g": "4", **options})
            stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
            for number in range(12):
                picture = np.full((64, 96, 3), 10 * number, np.uint8)
                picture[8:40, 4 * number : 4 * number + 30] = 220
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()


def image(form: str, mode: str, **options: object) -> bytes:
    """A picture of 48x32 in a mode of Pillow."""
    buffer = io.BytesIO()
    label_map = np.zeros((32, 48), np.uint8)
    label_map[4:20, 5:30], label_map[10:28, 25:40] = 1, 2
    if mode == "P":
        picture = Image.fromarray(label_map)
        picture.putpalette(PALETTE.tobytes())
    elif mode == "I;16":
        picture = Image.fromarray(label_map.astype(np.uint16) * 256)
    elif mode == "1":
        picture = Image.fromarray(label_map > 0)
    elif mode == "L":
        picture = Image.fromarray(label_map)
    else:
        colours = np.dstack([PALETTE[label_map], np.where(label_map > 0, 255, 0).astype(np.uint8)])
        picture = Image.fromarray(colours).convert(mode)
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def result(form: str, name: str) -> bytes:
    """A file that a format's writer writes."""
    sequence = tiny_sequence("moving", size=(32, 48), length=3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        vos.track(
            sequence, sequence.label_maps[0], tracker=StubTracker(), writers=[(form, {"path": str(path)})],
            plugins=PLUGINS,
        )  # fmt: skip
        return path.read_bytes()


def record() -> bytes:
    """``run.json`` of a finished run."""
    sequence = tiny_sequence("moving", length=2)
    with tempfile.TemporaryDirectory() as folder:
        run = vos.track(
            sequence, sequence.label_maps[0], tracker=StubTracker(), output=folder, plugins=PLUGINS
        ).run  # fmt: skip
        assert run.output is not None
        return (run.output / "run.json").read_bytes()


def session() -> bytes:
    """``session.json`` of the web page."""
    from vos_web.sessions.session import SessionFacts

    return SessionFacts("a", "clip.mp4", "clip", 12, (64, 96), 25.0, pins={0: [1]}).to_json().encode()


def checkpoint(suffix: str) -> bytes:
    """A small state dict whose names are those of Segment Anything."""
    import torch
    from safetensors.torch import save

    state = {
        "image_encoder.patch_embed.proj.weight": torch.ones(4, 3, 2, 2),
        "image_encoder.pos_embed": torch.ones(1, 4, 4, 4),
        "prompt_encoder.not_a_point_embed.weight": torch.ones(1, 4),
        "mask_decoder.mask_tokens.weight": torch.ones(4, 4),
    }
    if suffix == ".safetensors":
        return bytes(save(state))
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


LABELME = {
    "version": "5", "imagePath": "00000.jpg", "imageHeight": 32, "imageWidth": 48,
    "shapes": [{"label": "dog", "points": [[1, 1], [20, 3], [10, 20]], "shape_type": "polygon"}],
}  # fmt: skip
META = {"videos": {"a": {"objects": {"1": {"category": "dog", "seen": True}}}}}
MODEL = {"architecture": "vit_small_patch16_224", "num_classes": 0, "model_args": {"img_size": 64, "depth": 2}}
MANIFEST = b"video,masks,tracker,options,start,stop\na.mp4,a.png,propagation,{},0,10\nb.mp4,b.png,,,,\n"
LINES = b'{"video": "a.mp4", "masks": {"0": "a.png"}, "options": {"quality": "fast"}, "start": 1}\n'


def as_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def all_kinds() -> list[Kind]:
    """Make a whole file of each kind; takes about a second."""
    videos = [
        ("a.mp4", video(".mp4", "libx264", bf="2")), ("b.mkv", video(".mkv", "libvpx-vp9", speed="8")),
        ("c.avi", video(".avi", "mpeg4")), ("d.ts", video(".ts", "libx264", bf="2")),
        ("e.gif", video(".gif", "gif", "rgb8")),
        ("f.webm", video(".webm", "libvpx", deadline="realtime")), ("g.flv", video(".flv", "flv")),
        ("h.wmv", video(".wmv", "wmv2")),
        ("i.mov", video(".mov", "mjpeg", "yuvj420p")), ("j.mpg", video(".mpg", "mpeg2video")),
        ("k.mp4", video(".mp4", "mpeg4")), ("l.h264", video(".h264", "libx264")),
    ]  # fmt: skip
    images = [
        ("a.jpg", image("JPEG", "RGB")), ("b.png", image("PNG", "RGB")), ("c.tif", image("TIFF", "RGB")),
        ("d.webp", image("WEBP", "RGB", lossless=True)), ("e.bmp", image("BMP", "RGB")),
        ("f.png", image("PNG", "I;16")),
        ("g.ppm", image("PPM", "RGB")), ("h.tif", image("TIFF", "L", compression="tiff_lzw")),
    ]  # fmt: skip
    masks = [
        ("a.png", image("PNG", "P")), ("b.png", image("PNG", "L")), ("c.png", image("PNG", "RGBA")),
        ("d.png", image("PNG", "1")), ("e.png", image("PNG", "RGB")), ("f.tif", image("TIFF", "P")),
        ("g.gif", image("GIF", "P")), ("h.webp", image("WEBP", "RGB", lossless=True)), ("i.bmp", image("BMP", "P")),
        ("j.png", encode_label_map(np.eye(20, dtype=np.uint8))), ("k.tga", image("TGA", "RGB")),
    ]  # fmt: skip
    results = [
        ("coco", "a.json"), ("youtube-vis", "b.json"), ("label-studio", "c.json"), ("cvat", "d.xml"), ("npz", "e.npz"),
        ("coco-rle", "f.json"),
    ]  # fmt: skip
    return [
        *(Kind(f"video-{name}", content, read_frames) for name, content in videos),
        *(Kind(f"image-{name}", content, read_frames) for name, content in images),
        *(Kind(f"mask-{name}", content, read_mask) for name, content in masks),
        *(Kind(f"result-{name}", result(form, name), read_result) for form, name in results),
        Kind("labelme.json", as_bytes(LABELME), read_result),
        Kind("run.json", record(), read_run),
        Kind("meta.json", as_bytes(META), partial(seen_objects, seen_meta=None)),
        Kind("val.txt", b"bear\ncamel\nblack swan\n", read_names),
        Kind("session.json", session(), read_session),
        Kind("manifest.csv", MANIFEST, read_manifest),
        Kind("manifest.jsonl", LINES, read_manifest),
        Kind("config.json", as_bytes(MODEL), read_model_config),
        Kind("weights.pth", checkpoint(".pth"), read_weights),
        Kind("weights.safetensors", checkpoint(".safetensors"), read_weights),
    ]


# Running.


def run_case(kinds: list[Kind], seed: int, number: int, folder: Path) -> tuple[str, str | None]:
    """Damage a file and read it.

    Args:
        kinds: of ``all_kinds``.
        seed: with ``number`` it decides which file and how.
        number: of the case.
        folder: empty; the damaged file stays in it.
    Returns:
        The kind's name, and what went wrong or None.
    """
    rng = random.Random(f"{seed} {number}")
    kind = kinds[number % len(kinds)]
    path = folder / "in" / kind.name
    path.parent.mkdir()
    path.write_bytes(mutate(kind.content, rng))
    began = time.process_time()
    with printed() as said:
        try:
            kind.read(path)
            fault = None
        except VosError as error:
            fault = wrong_message(str(error))
        except BaseException as error:
            fault = f"raised {type(error).__name__}: {str(error)[:300]}"
    taken = time.process_time() - began
    if fault is None and said:
        fault = f"printed {bytes(said)[:300]!r}"
    if fault is None and taken > MOST_SECONDS:
        fault = f"took {taken:.0f} s of processor time"
    return kind.name, fault


def wrong_message(text: str) -> str | None:
    """Describe the fault of a message for the user; None if it has none."""
    if len(text) > LONGEST_MESSAGE or text.count("\n") > 2:
        return f"a message of {len(text)} characters in {text.count(chr(10)) + 1} lines: {text[:200]!r}"
    if any(ord(character) < 32 and character != "\n" for character in text) or "\x7f" in text:
        return f"a message with control characters: {text[:200]!r}"
    return "an empty message" if not text.strip() else None


@contextmanager
def printed() -> Iterator[bytearray]:
    """Collect what anything in this process, C libraries too, writes to the standard streams."""
    said = bytearray()
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        kept = [os.dup(1), os.dup(2)]
        try:
            os.dup2(caught.fileno(), 1)
            os.dup2(caught.fileno(), 2)
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(kept, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            caught.seek(0)
            said += caught.read()


def run_cases(seed: int, numbers: range, report: Callable[[int, str, str | None], None]) -> None:
    """Run cases one after another in this process."""
    logging.getLogger("vos").addHandler(logging.NullHandler())
    kinds = all_kinds()
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="vos-fuzz-") as folder:
            report(number, *run_case(kinds, seed, number, Path(folder)))


def child(seed: int, first: int, count: int) -> None:
    """Run a batch and print a line before and after each case, for the parent."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    output = os.fdopen(os.dup(1), "w", buffering=1)
    run_cases(seed, range(first, first + count), lambda *line: output.write(json.dumps(line) + "\n"))


def main() -> None:
    """Read the options, run batches in child processes, and print the faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--case", type=int, help="run this case alone, in this process")
    parser.add_argument("--keep", type=Path, help="with --case: folder for the damaged file")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.seed, *options.child)
        return
    if options.case is not None:
        with tempfile.TemporaryDirectory() as folder:
            kept = options.keep or Path(folder)
            kept.mkdir(parents=True, exist_ok=True)
            print(run_case(all_kinds(), options.seed, options.case, kept))
        return
    counts: Counter[str] = Counter()
    faults: list[str] = []
    began, first = time.monotonic(), 0
    while time.monotonic() - began < options.seconds:
        first += run_batch(options.seed, first, counts, faults)
    seconds = time.monotonic() - began
    read = f"{sum(counts.values())} files of {len(counts)} kinds in {seconds:.0f} s"
    print(f"seed {options.seed}: {read}, {len(faults)} faults")
    sys.exit(bool(faults))


def run_batch(seed: int, first: int, counts: Counter[str], faults: list[str]) -> int:
    """Run a batch in a child process, print its faults, and return how many cases were run."""
    command = [sys.executable, __file__, "--seed", str(seed), "--child", str(first), str(BATCH)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        how = f"ended the process (exit code {ended.returncode}): {ended.stderr[-300:]!r}"
        lines = ended.stdout.splitlines()
    except subprocess.TimeoutExpired as late:
        how, lines = "hung", (late.stdout or b"").decode().splitlines()
    for line in lines:
        number, name, fault = json.loads(line)
        counts[name] += 1
        if fault:
            faults.append(fault)
            print(f"--seed {seed} --case {number} ({name}): {fault}", flush=True)
    if len(lines) < BATCH:
        faults.append(how)
        print(f"--seed {seed} --case {first + len(lines)}: {how}", flush=True)
        return len(lines) + 1
    return BATCH


if __name__ == "__main__":
    main()
