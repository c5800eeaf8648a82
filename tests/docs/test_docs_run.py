"""Every command block and Python block of README and docs runs as a user types it, page by page.

A page runs in a folder with the files that it speaks of, small ones. A Python block with a title is written to the file
of that name. `propagation` is a stand-in that keeps objects where they are, since what is tested is what the page says.
Tiny seeded weights lie in the cache folders under the published names; a server here stands for a bucket.
"""

import dataclasses
import importlib.util
import json
import logging
import os
import re
import shlex
import shutil
import sys
import urllib.request
import webbrowser
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Thread

import av
import fsspec
import huggingface_hub
import numpy as np
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

import vos
import vos_propagation
from vos.cli import cli
from vos.example_clip import CLIP
from vos.plugin import option
from vos.testing import StubTracker, check_all
from vos.weights import sha256_of
from vos_diffseg.options import DiffSegOptions
from vos_grounded.options import GroundedSamOptions
from vos_sam.known_weights import CHECKPOINTS
from vos_web.server import serving

ROOT = Path(__file__).parents[2]
GENERATED = ("api.md", "cli.md", "options.md", "contract.md", "hooks.md")
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.name not in GENERATED and re.search(r"^```(sh|bash|console|python)\n", page.read_text(), re.M)
]
BLOCK = re.compile(
    r"^```(?P<language>sh|bash|console|python)"
    r'(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```',
    re.S | re.M,
)
OTHER_PROGRAMS = ("pip", "pytest", "ffmpeg", "make", "git")


def blocks(page):
    return [match.groupdict() for match in BLOCK.finditer(page.read_text())]


class Stay(StubTracker):
    """Objects stay where they are."""

    def __init__(self, options, runtime):
        super().__init__()


def write_video(path, size, frames):
    height, width = size
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        picture = np.full((height, width, 3), 60, np.uint8)
        picture[height // 4 : height // 2, width // 4 : width // 2] = (220, 180, 40)
        for _ in range(frames):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


@lru_cache(maxsize=1)
def material(folder):
    """The files that pages speak of, made once: a video of 64x48 and one of 1280x720, masks, a DAVIS tree, results."""
    for name, size, frames in (("dog.mp4", (48, 64), 210), ("large.mp4", (720, 1280), 89)):
        write_video(folder / name, size, frames)
    label_map = np.zeros((48, 64), np.uint8)
    label_map[12:24, 16:32] = 1
    for name, object_id in (
        ("first", 1),
        ("later", 1),
        ("mended", 1),
        ("dog", 1),
        ("second-dog", 2),
        ("ball", 1),
        ("FIRST", 1),
    ):
        vos.write_label_map(folder / f"{name}.png", label_map * np.uint8(object_id))
    vos.write_label_map(folder / "ball.png", np.roll(label_map, 20, axis=0))
    two = label_map.copy()
    two[30:40, 40:50] = 2
    vos.write_label_map(folder / "two.png", two)
    painted = np.kron(label_map, np.ones((15, 20), np.uint8))
    vos.write_label_map(folder / "painted.png", painted)
    tree = folder / "DAVIS"
    for part in ("JPEGImages", "Annotations"):
        (tree / part / "480p" / "bear").mkdir(parents=True)
    (tree / "ImageSets" / "2017").mkdir(parents=True)
    (tree / "ImageSets" / "2017" / "val.txt").write_text("bear\n")
    (folder / "frames").mkdir()
    (folder / "VIDEO").mkdir()
    for index in range(42):
        image = np.full((48, 64, 3), 90, np.uint8)
        image[label_map > 0] = 200
        for place in (folder / "frames", folder / "VIDEO", *([tree / "JPEGImages/480p/bear"] if index < 4 else [])):
            av.VideoFrame.from_ndarray(image, format="rgb24").to_image().save(place / f"{index:05d}.jpg")
        if index < 4:
            vos.write_label_map(tree / f"Annotations/480p/bear/{index:05d}.png", label_map)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return material(tmp_path_factory.mktemp("material"))


SAM_SHAPES = ROOT / "tests/data/sam_shapes/sam_shapes.pth"
NEED_HUB = ("no-mask.md", "davis.md")
NEED_SAM = ("no-mask.md", "track.md")
TINY = {
    "--diffseg": "-O image_size=256 -O points=8 -O threshold=1e-5",
    "--everything": "-O predicted_iou=0 -O stability=0 -O points_per_side=8",
    "--init diffseg": "-I image_size=256 -I points=8 -I threshold=1e-5",
    "-o clips -j 4": f"-O checkpoint={SAM_SHAPES}",
}
"""Options with which tiny weights find something, for lines with these words."""
STANDINS = {
    "--executor slurm": "--executor slurm -E cluster=local",
    "dog.mp4 --primary": f"{CLIP} --primary",
}
"""Words of the pages, and what stands for them here: another computer, and a video in which something moves."""
PROGRAM = '#!/bin/sh\nwhile [ "$1" != python ]; do shift; done\nshift\nexec "{python}" "$@"\n'
"""Stands for `conda run` and `ssh`: runs the Python program here."""


@pytest.fixture
def weights(page, tmp_path_factory, monkeypatch):
    """Tiny weights under the published names, for the pages that need some."""
    if page.name in NEED_SAM:
        cache = tmp_path_factory.mktemp("cache")
        monkeypatch.setenv("VOS_CACHE", str(cache))
        published = CHECKPOINTS["vit_b"]
        tiny = dataclasses.replace(published, size=SAM_SHAPES.stat().st_size, sha256=sha256_of(SAM_SHAPES))
        monkeypatch.setitem(CHECKPOINTS, "vit_b", tiny)
        shutil.copy(SAM_SHAPES, cache / published.file_name)


def load_module(path):
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The cache folder of the Hugging Face hub, with tiny weights under the published names."""
    cache = tmp_path_factory.mktemp("hub")
    tests = ROOT / "tests/plugins"
    sd, dino = (load_module(tests / plugin / "conftest.py") for plugin in ("vos_diffseg", "vos_grounded"))
    for name, save in (
        (DiffSegOptions().model, partial(sd.save_stable_diffusion, version=1)),
        (GroundedSamOptions(text="dog").model, dino.save_grounding_dino),
    ):
        model = cache / f"models--{name.replace('/', '--')}"
        snapshot = model / "snapshots/0"
        snapshot.mkdir(parents=True)
        (model / "refs").mkdir()
        (model / "refs/main").write_text("0")
        save(snapshot)
    return cache


@pytest.fixture
def hub_weights(page, request, monkeypatch):
    """Make the hub's weights known to this process and its workers, for the pages that need some."""
    if page.name in NEED_HUB:
        cache = str(request.getfixturevalue("hub"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", cache)
        monkeypatch.setenv("HF_HUB_CACHE", cache)


@pytest.fixture
def place(made, weights, hub_weights, tmp_path, monkeypatch):
    """A folder with the files, in which the page's lines run."""
    monkeypatch.setattr(vos_propagation, "_make_propagation", Stay)
    for path in made.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):  # the page's plugins would be taken for installed ones
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def browser(monkeypatch):
    """Stand for the user of ``vos web``: opens the page, then ends the server. Yields the statuses of the pages."""
    servers, statuses = [], []
    start = serving._Server.startup

    async def startup(server, sockets=None):
        servers.append(server)
        await start(server, sockets)

    def load(address):
        with urllib.request.urlopen(address, timeout=30) as answer:
            statuses.append(answer.status)
        servers[-1].should_exit = True

    monkeypatch.setattr(serving._Server, "startup", startup)
    monkeypatch.setattr(webbrowser, "open", lambda address: Thread(target=load, args=(address,)).start())
    return statuses


@pytest.fixture
def bucket(page, place, monkeypatch):
    """A bucket of a server on this computer, with the files that the page on addresses speaks of."""
    if page.name != "addresses.md":
        yield
        return
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("VOS_CACHE", str(place / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.mkdir("bucket")
    for name in ("dog.mp4", "first.png"):
        files.put_file(name, f"bucket/{name}", ACL="public-read")
    monkeypatch.setitem(STANDINS, "https://example.org", f"{endpoint}/bucket")
    yield
    server.stop()


def prepare(page, folder):
    """Make the files that a page's commands read and that it does not create itself."""
    if page.name in ("no-mask.md", "clicks.md"):
        shutil.copy("large.mp4", "dog.mp4")
    elif page.name == "exec.md":
        shutil.copy(ROOT / "examples/exec-tracker/my_tracker.py", "my_tracker.py")
        for program in ("conda", "ssh"):
            (folder / program).write_text(PROGRAM.format(python=sys.executable))
            (folder / program).chmod(0o755)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    elif page.name == "track.md":
        shutil.copy(SAM_SHAPES, "sam_vit_b_01ec64.pth")
    if page.name == "no-mask.md":
        found = [{"image_id": 1, "category_id": 1, "bbox": [320, 180, 320, 180], "score": 0.9}]
        Path("coco.json").write_text(json.dumps(found))
        (folder / "clips").mkdir()
        write_video(folder / "clips/dog.mp4", (240, 320), 2)
    for copy in {"resume.md": ["match.mp4"], "bad-videos.md": ["broken.mp4"]}.get(page.name, []):
        shutil.copy("dog.mp4", copy)
    masks = folder / "masks"
    if page.name == "several-objects.md":
        for name, mask in (("puppy", "dog.png"), ("ball", "ball.png")):
            (masks / name).mkdir(parents=True)
            shutil.copy(mask, masks / name / "00000.png")
    elif page.name == "later-objects.md":
        masks.mkdir()
        shutil.copy("first.png", masks / "00000.png")
        shutil.copy("two.png", "first.png")
    if page.name in ("batch.md", "addresses.md"):
        (folder / "clips").mkdir()
        write_video(folder / "clips/dog.mp4", (48, 64), 2)  # the workers are processes, with the real tracker
        shutil.copy("first.png", folder / "clips/dog.png")
        (folder / "jobs.jsonl").write_text('{"video": "frames", "masks": "first.png", "stop": 2}\n')
    if page.name in ("export.md", "faq.md", "correct.md", "davis.md", "evaluation.md"):
        stop = 90 if page.name == "correct.md" else 3
        vos.track("dog.mp4", "first.png", output="vos-out", stop=stop, writers=["davis"])
        vos.export("vos-out/dog", "cvat", "annotations.xml")
        one = vos.track("dog.mp4", "first.png", output="one", stop=1).run.output
        vos.export(one, "coco", "first.json")
        vos.export(one, "coco", "later.json")
    if page.name == "export.md":
        bear = vos.track("DAVIS/JPEGImages/480p/bear", "first.png", output="bear")
        vos.export(bear.run.output, "coco", "results.json")
    if page.name in ("davis.md", "evaluation.md", "README.md"):
        for output in ("out", "results/mine", "results/theirs", "my-masks"):
            shutil.copytree(folder / "DAVIS/Annotations/480p", folder / output)


def names_of(page):
    """Names that a page's Python takes as given."""
    if page.name == "export.md":
        shutil.rmtree("masks", ignore_errors=True)
        frame, label_map = next(vos.stream("dog.mp4", "first.png"))
        return {"frame": frame, "label_map": label_map}
    return {"make": Stay, "ClickOptions": ClickOptions} if page.name == "plugin-author-guide.md" else {}


@dataclass(frozen=True)
class ClickOptions:
    clicks: str = option("", "Where to click.")


def limited(words):
    """End a run soon after the last frame that its words name."""
    if words[0] != "track" or "--stop" in words:
        return words
    named = [int(number) for word in words for number in re.findall(r"^(?:\d+(?=:\w)|\d{2,3}$)|(?<=@)\d+", word)]
    return [*words, "--stop", str(max([*named, 0]) + 3)]


def run_line(line, page):
    for words, stand_in in STANDINS.items():
        line = line.replace(words, stand_in)
    line = " ".join([line.partition(" #")[0], *(options for words, options in TINY.items() if words in line)])
    words = shlex.split(line.removeprefix("$ "), comments=True)
    if not words or words[0] in OTHER_PROGRAMS:
        return
    if words[0] == "cd":
        os.chdir(words[1])
        return
    assert words[0] == "vos", f"{page.name}: {line}: run by nobody; mark the block or name the program"
    words = words[1 : words.index("2>")] if "2>" in words else words[1:]
    if words[0] == "demo":  # run by tests/examples
        return
    if words[0] == "track" and not {"--overwrite", "--resume", "--from"} & set(words):
        if page.name in ("export.md", "faq.md"):  # lines of a page are alternatives
            words.append("--overwrite")
        else:
            shutil.rmtree("vos-out", ignore_errors=True)
    if words[0] == "init" and "-o" in words:  # and so are those that make a mask
        mask = Path(words[words.index("-o") + 1])
        if mask.is_file():
            mask.unlink()
        words = [str(path) for word in words for path in (Path().glob(word) if "*.mp4" in word else [word])]
    if "my-tracker" in words and words[0] != "plugin":  # in place of the installation, from outside its folder
        if Path("src").is_dir():
            os.chdir("..")
        words += ["-p", str(next(Path("vos-my-tracker/src").rglob("*my_tracker.py")))]
    result = CliRunner().invoke(cli, limited(words))
    assert result.exit_code == 0, f"{page.name}: {line}\n{result.output}\n{result.exception!r}"


def run_checks(page):
    """Run the checks of plugins that a page names, on its files in place of installed plugins."""
    plugins = vos.load_plugins([block["title"] for block in blocks(page) if block["title"]])
    for kind, name, more in re.findall(r"`pytest --vos-(\w+) ([\w.-]+)([^`]*)`", page.read_text()):
        words = dict(zip(*[iter(more.split())] * 2, strict=True))
        settings = {"plugins": plugins}
        if "--vos-option" in words:
            settings["options"] = dict([words["--vos-option"].split("=")])
        if "--vos-min-iou" in words:
            settings["min_iou"] = float(words["--vos-min-iou"])
        assert check_all(getattr(vos.testing, f"{kind}_checks")(name, **settings))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_as_it_is_typed(page, place, bucket, browser):
    prepare(page, place)
    names = None
    for block in blocks(page):
        if block["title"]:
            if not block["text"].startswith("--8<--"):  # else a file of the project is shown
                Path(block["title"]).write_text(block["text"])
        elif block["language"] == "python":
            names = names_of(page) if names is None else names
            exec(compile(block["text"], str(page), "exec"), names)
        else:
            for line in re.sub(r"\\\n", " ", block["text"]).splitlines():
                run_line(line, page)
    assert browser == [200] * (page.name == "web.md")
    if page.parent.name == "plugins":
        run_checks(page)
