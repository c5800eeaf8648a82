"""Initializers that also look at frames around the one to annotate."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vos
from vos import cli
from vos.errors import PluginFailedError, SourceError
from vos.plugin import Frame, LabelMap, SourceInfo

PLUGIN = '''
import numpy as np
import vos.plugin


class Around:
    """Marks as many pixels as the sum of the other frames' levels; without others, one."""

    neighbours = (1, 3, -1, -3)

    def initialize(self, frame):
        return self.initialize_in_clip(frame, {})

    def initialize_in_clip(self, frame, others):
        found = np.zeros(frame.size, np.uint8)
        found.reshape(-1)[: 1 + sum(int(other.image.max()) for other in others.values())] = 1
        return found


class Still(vos.plugin.Tracker):
    def start(self, frame, label_map):
        self.label_map = label_map

    def step(self, frame):
        return vos.plugin.Prediction.from_label_map(self.label_map)


@vos.plugin.hookimpl
def vos_initializers():
    return [vos.plugin.InitializerSpec("around", "Looks around.", lambda options, runtime: Around())]


@vos.plugin.hookimpl
def vos_trackers():
    return [vos.plugin.TrackerSpec("still", "Nothing moves.", lambda options, runtime: Still())]
'''


class Around:
    """Tells by how many pixels which frames it was given."""

    neighbours = (1, 3, -1, -3)

    def __init__(self) -> None:
        self.seen: list[dict[int, int]] = []

    def initialize(self, frame: Frame) -> LabelMap:
        self.seen.append({})
        return np.ones(frame.size, dtype=np.uint8)

    def initialize_in_clip(self, frame: Frame, others: Mapping[int, Frame]) -> LabelMap:
        self.seen.append({distance: int(other.image.max()) for distance, other in others.items()})
        assert all(other.index == frame.index + distance for distance, other in others.items())
        return np.ones(frame.size, dtype=np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Make a folder of six frames, whose levels are 10 to 15."""
    folder = tmp_path / "JPEGImages" / "480p" / "clip"
    folder.mkdir(parents=True)
    for index in range(6):
        Image.fromarray(np.full((20, 30, 3), 10 + index, dtype=np.uint8)).save(folder / f"{index:05d}.png")
    return folder


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "looks_around.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    monkeypatch.delitem(sys.modules, "looks_around", raising=False)
    return "looks_around"


def test_the_frames_that_a_video_has_are_given_by_their_distance(clip: Path) -> None:
    initializer = Around()
    for index in (0, 2, 5):
        vos.initialize(clip, initializer, frame_index=index)
    assert initializer.seen == [{1: 11, 3: 13}, {1: 13, 3: 15, -1: 11}, {-1: 14, -3: 12}]


def test_a_frame_that_stands_alone_is_asked_for_alone(clip: Path) -> None:
    initializer = Around()
    frame = vos.read_frame(clip, 1)
    vos.initialize(frame, initializer)
    vos.initialize(frame.image, initializer)
    assert initializer.seen == [{}, {}]


def test_other_frames_that_cannot_be_read_are_left_out() -> None:
    class Damaged:
        """Ends with an error at frame 3."""

        def __init__(self, count: int | None, seekable: bool = True) -> None:
            self.info = SourceInfo("damaged", "test", "test", frame_count=count, size=(8, 8), seekable=seekable)

        def frames(self, indices: range | None = None) -> Iterator[Frame]:
            for index in indices or range(6):
                if index == 3:
                    raise SourceError("damaged: frame 3 cannot be read.")
                yield Frame(index, np.full((8, 8, 3), index, dtype=np.uint8), f"{index:05d}")

        def close(self) -> None:
            pass

    initializer = Around()
    for count in (6, None):
        vos.initialize(Damaged(count), initializer, frame_index=0)
    assert initializer.seen == [{1: 1}, {1: 1}]
    vos.initialize(Damaged(None, seekable=False), initializer, frame_index=0)
    assert initializer.seen[-1] == {}  # frames of a stream that are read here could not be tracked
    with pytest.raises(SourceError, match="frame 3 cannot be read"):
        vos.initialize(Damaged(6), initializer, frame_index=3)
    initializer.seen.clear()
    for index in (4, 5):  # their earlier frames cannot be read
        vos.initialize(Damaged(6), initializer, frame_index=index)
    assert initializer.seen == [{-3: 1, 1: 5}, {-3: 2}]


@pytest.mark.parametrize("neighbours", [3, None, ("1",), (1.5,)])
def test_neighbours_that_are_no_whole_numbers_are_the_initializers_fault(clip: Path, neighbours: object) -> None:
    initializer = Around()
    initializer.neighbours = neighbours  # type: ignore[assignment]
    with pytest.raises(PluginFailedError, match="^initializer Around: its neighbours cannot be read: TypeError"):
        vos.initialize(clip, initializer)


def test_every_command_that_makes_a_first_mask_gives_them(
    clip: Path, plugin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["-p", plugin, *map(str, arguments)])
        assert ended.value.code == 0, capsys.readouterr().err

    (tmp_path / "ImageSets" / "2016").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2016" / "val.txt").write_text("clip\n")
    truths = tmp_path / "Annotations" / "480p" / "clip"
    truths.mkdir(parents=True)
    for index in range(6):
        vos.write_label_map(truths / f"{index:05d}.png", np.eye(20, 30, dtype=np.uint8))
    run("init", clip, "--with", "around", "-o", tmp_path / "first.png")
    run("init", clip, "--with", "around", "--frame", 5, "-o", tmp_path / "last.png")
    run("track", clip, "--init", "around", "-t", "still", "-o", tmp_path / "out")
    run("davis", "--root", tmp_path, "--set", "2016/val", "--init", "around", "-t", "still", "-o", tmp_path / "davis")
    made = ("first.png", "last.png", "out/clip/00000.png", "davis/first-masks/clip/00000.png")
    areas = [int((vos.read_label_map(tmp_path / path) > 0).sum()) for path in made]
    assert areas == [1 + 11 + 13, 1 + 14 + 12, 1 + 11 + 13, 1 + 11 + 13]
