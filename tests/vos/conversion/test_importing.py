"""Files of other tools: whole or not there, and formats that misbehave are named."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import vos
from vos.errors import PluginFailedError
from vos.plugin import FormatSpec, ImportedFrame, ImportedMasks, hookimpl
from vos.registry.offers import Origin
from vos.testing import StubTracker, tiny_sequence

WHOLE = np.ones((4, 6), np.uint8)


def test_of_a_damaged_file_nothing_is_left(tmp_path):
    path = coco_of_three_frames(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"][2]["segmentation"]["counts"] = "not a run"
    path.write_text(json.dumps(content))
    with pytest.raises(vos.InputError):
        vos.import_masks(path, tmp_path / "new" / "masks")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_images_of_one_name_are_not_written_over_each_other(tmp_path):
    path = coco_of_three_frames(tmp_path)
    content = json.loads(path.read_text())
    for image, name in zip(content["images"], ("a/00001.jpg", "b/00001.jpg", "b/00002.jpg"), strict=True):
        image["file_name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(vos.InputError, match=r"c\.json: two of its images would both be 00001\.png"):
        vos.import_masks(path, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()
    with pytest.raises(vos.InputError, match=r"c\.json: holds two images of frame 1 \(00001\)"):
        vos.track(tiny_sequence("moving", length=3), path, tracker=StubTracker())
    with pytest.raises(vos.InputError, match=r"c\.json: holds two images of frame 1 \(00001\)"):
        vos.track(tiny_sequence("moving", length=3), {1: path}, tracker=StubTracker())


def test_files_of_other_names_stay_when_masks_are_replaced(tmp_path):
    path = coco_of_three_frames(tmp_path)
    (folder,) = vos.import_masks(path, tmp_path / "masks")
    (folder / "notes.txt").write_text("mine")
    (folder / "00001.png").write_bytes(b"old")
    assert vos.import_masks(path, tmp_path / "masks", overwrite=True) == [folder]
    assert sorted(path.name for path in folder.iterdir()) == ["00000.png", "00001.png", "00002.png", "notes.txt"]
    assert vos.read_label_map(folder / "00001.png").any()
    assert [path.name for path in (tmp_path / "masks").iterdir()] == [folder.name]


def test_a_format_may_have_any_file_ending(tmp_path):
    (tmp_path / "first.boxes").write_text("anything")
    frames = [ImportedFrame("00000", WHOLE)]
    (folder,) = vos.import_masks(tmp_path / "first.boxes", tmp_path, plugins=plugins_of(lambda: iter(frames)))
    assert (vos.read_label_map(folder / "00000.png") == 1).all()


def raises():
    yield ImportedFrame("00000", WHOLE)
    raise RuntimeError("odd")


def exits():
    sys.exit(0)
    yield


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (raises, 'format "boxes" of plugin mine .test. failed to read .*first.boxes: RuntimeError: odd'),
        (exits, 'format "boxes" of plugin mine .test. failed to read .*: SystemExit: 0'),
        (lambda: None, "failed to read .*: TypeError"),
        (
            lambda: iter([ImportedFrame("0", WHOLE.astype(np.int64))]),
            "read int64 .4, 6. for frame 0 of ",
        ),
    ],
)
def test_a_format_that_fails_later_is_named(frames, message, tmp_path):
    (tmp_path / "first.boxes").write_text("anything")
    with pytest.raises(PluginFailedError, match=message):
        vos.import_masks(tmp_path / "first.boxes", tmp_path / "masks", plugins=plugins_of(frames))
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(("found", "message"), [(5, "TypeError"), ([5], "read a int from .*, expected ImportedMasks")])
def test_a_format_that_reads_no_masks_is_named(found, message, tmp_path):
    (tmp_path / "first.boxes").write_text("anything")
    plugins = plugins_of(None, importer=lambda path: found)
    with pytest.raises(PluginFailedError, match=f'format "boxes" of plugin mine .*{message}'):
        vos.import_masks(tmp_path / "first.boxes", tmp_path / "masks", plugins=plugins)


def coco_of_three_frames(tmp_path):
    sequence = tiny_sequence("moving", length=3)
    done = vos.track(sequence, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path / "out")
    (path,) = vos.export(done.run.output, "coco", tmp_path / "c.json")
    return path


def plugins_of(frames, importer=None):
    plugins = vos.load_plugins(autoload=False)
    read = importer or (lambda path: [ImportedMasks("one", frames)] if path.suffix == ".boxes" else None)
    specs = [FormatSpec("boxes", "For a test.", None, read)]
    plugins.register(
        SimpleNamespace(vos_formats=hookimpl(specname="vos_formats")(lambda: specs)), Origin("mine", "mine", "test")
    )
    return plugins
