"""vos.initialize: any initializer, by name or ready, and objects chosen where wanted."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import vos
from vos import Frame, ObjectSelection, PluginError, SourceError
from vos.plugin import EmptyMaskError, InitializerSpec, OptionError, hookimpl, option
from vos.registry.offers import Origin
from vos.testing import tiny_sequence


class Stripes:
    """Divides a frame into columns of equal width; the options say how many."""

    def __init__(self, count=4):
        self.count = count

    def initialize(self, frame):
        height, width = frame.size
        columns = np.arange(width) * self.count // width + 1
        return np.tile(columns.astype(np.uint8), (height, 1))


@dataclass(frozen=True)
class StripesOptions:
    count: int = option(4, "How many.")


@pytest.fixture
def plugins():
    specs = [
        InitializerSpec("stripes", "Stripes.", lambda o, r: Stripes(o.count), StripesOptions),
        InitializerSpec("segments", "Stripes.", lambda o, r: Stripes(o.count), StripesOptions, segments=True),
    ]
    loaded = vos.load_plugins(autoload=False)
    plugin = SimpleNamespace(vos_initializers=hookimpl(specname="vos_initializers")(lambda: specs))
    loaded.register(plugin, Origin("test", "test", "test"))
    return loaded


@pytest.fixture
def image():
    return np.zeros((20, 40, 3), dtype=np.uint8)


def test_a_named_initializer_runs_with_its_options(plugins, image):
    label_map = vos.initialize(image, "stripes", {"count": "5"}, plugins=plugins)
    assert label_map.shape == (20, 40)
    assert vos.object_ids(label_map) == (1, 2, 3, 4, 5)


def test_a_ready_initializer_runs_on_a_frame(image):
    label_map = vos.initialize(Frame(3, image, "3"), Stripes(2))
    assert vos.object_ids(label_map) == (1, 2)
    with pytest.raises(OptionError, match="options are {'count': 5}, but the initializer is made already"):
        vos.initialize(image, Stripes(2), {"count": 5})


def test_segments_of_the_whole_frame_are_chosen_from_unless_told_not_to(plugins, image):
    wide = ObjectSelection(max_border=1, max_objects=2)
    assert vos.object_ids(vos.initialize(image, "segments", plugins=plugins, select=False)) == (1, 2, 3, 4)
    assert vos.object_ids(vos.initialize(image, "segments", plugins=plugins, select=wide)) == (1, 2)
    assert vos.object_ids(vos.initialize(image, "stripes", plugins=plugins, select=wide)) == (1, 2)
    with pytest.raises(EmptyMaskError, match="all look like background"):
        vos.initialize(image, "segments", plugins=plugins)


def test_what_finds_objects_is_chosen_from_by_the_numbers_that_it_gave(plugins, image):
    def chosen(**rules):
        return vos.initialize(image, "stripes", plugins=plugins, select=ObjectSelection(**rules))

    columns = vos.initialize(image, "stripes", plugins=plugins)
    assert np.array_equal(chosen(keep=(3,)), columns == 3)
    assert np.array_equal(chosen(keep=(4,), at=((1, 1),)), np.where(columns == 4, 1, np.where(columns == 1, 2, 0)))
    with pytest.raises(OptionError, match="keep names object 5, the objects are 1, 2, 3, 4"):
        chosen(keep=(5,))


def test_a_frame_of_a_source_is_read(tmp_path, plugins):
    for index in range(3):
        Image.fromarray(np.full((8, 12, 3), index * 10, dtype=np.uint8)).save(tmp_path / f"{index}.png")
    assert vos.read_frame(tmp_path, 2, plugins).image.max() == 20
    assert vos.initialize(tmp_path, "stripes", plugins=plugins, frame_index=1).shape == (8, 12)
    source = vos.open_source(tmp_path, plugins)
    assert vos.initialize(source, "stripes", plugins=plugins).shape == (8, 12)
    assert vos.read_frame(source, 0).image.max() == 0
    with pytest.raises(SourceError, match="no frame 3, the last one is 2"):
        vos.read_frame(tmp_path, 3, plugins)
    for index in (1.5, "1", None):
        with pytest.raises(SourceError, match=f"frame index is {index!r}, expected a whole number"):
            vos.read_frame(tmp_path, index, plugins)
        with pytest.raises(SourceError, match=f"frame index is {index!r}, expected a whole number"):
            vos.initialize(tmp_path, "stripes", plugins=plugins, frame_index=index)


def test_a_label_map_that_breaks_the_contract_is_the_plugins_error(image):
    class Wrong:
        def __init__(self, label_map):
            self.label_map = label_map

        def initialize(self, frame):
            return self.label_map

    for label_map, message in [
        (
            np.zeros((20, 40), dtype=int),
            r'"Wrong" returned int64 \(20, 40\) for frame 00000, expected uint8 \(20, 40\)',
        ),
        (np.zeros((20, 41), dtype=np.uint8), r"returned uint8 \(20, 41\)"),
        (np.full((20, 40), 255, dtype=np.uint8), r"returned void \(255\)"),
        (None, "returned a NoneType for frame"),
    ]:
        with pytest.raises(PluginError, match=message):
            vos.initialize(image, Wrong(label_map))


def test_a_frame_without_objects_is_no_mask(image):
    class Blind:
        def initialize(self, frame):
            return np.zeros(frame.size, np.uint8)

    with pytest.raises(EmptyMaskError, match='initializer "Blind" found no object in frame 00000'):
        vos.initialize(image, Blind())


def test_frames_are_counted_from_0(tmp_path):
    frames, _ = tiny_sequence("still").save(tmp_path / "clip")
    with pytest.raises(SourceError, match="no frame -1, frames are counted from 0"):
        vos.initialize(frames, Stripes(), frame_index=-1)


def test_unknown_names_and_options_are_errors(plugins, image):
    with pytest.raises(PluginError, match='no initializer named "strips".*Did you mean "stripes"'):
        vos.initialize(image, "strips", plugins=plugins)
    with pytest.raises(OptionError, match='initializer "stripes" has no option "number"'):
        vos.initialize(image, "stripes", {"number": 3}, plugins=plugins)
