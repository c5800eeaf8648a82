import csv
import dataclasses
import json
import os
import re

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

import vos
from vos.drawing import choose_colours
from vos.plugin import OptionError
from vos.testing import StubTracker, tiny_sequence


class Oracle(StubTracker):
    def __init__(self, sequence):
        super().__init__()
        self.sequence = sequence

    def step(self, frame):
        return vos.Prediction.from_label_map(
            self.sequence.label_maps[frame.index], self.sequence.object_ids, scores=[0.25, 0.75]
        )


def track(sequence, output, writers, **more):
    return vos.track(
        sequence, sequence.label_maps[0], tracker=Oracle(sequence), output=output, writers=writers, **more
    ).run.output


def frames_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], stream.average_rate


@pytest.mark.parametrize("size", [(48, 64), (51, 71)])
def test_overlay_is_h264_with_the_objects_coloured(tmp_path, size):
    sequence = tiny_sequence("moving", size=size, length=6)
    folder = track(sequence, tmp_path, [("overlay", {"opacity": "1", "contours": "no", "ids": "no", "crf": "5"})])
    frames, rate = frames_of(folder / "overlay.mp4")
    assert len(frames) == 6
    assert rate == 24
    assert frames[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    colour = choose_colours(sequence.images[0], sequence.label_maps[0])[1]
    for frame, truth in zip(frames, sequence.label_maps, strict=True):
        inside = cv2.erode((truth == 1).astype(np.uint8), np.ones((5, 5))) > 0
        assert np.abs(frame[: size[0], : size[1]][inside].mean(axis=0) - colour).max() < 25
    assert not list(folder.glob(".partial*"))


def test_overlay_is_in_ascending_order_when_tracked_both_ways(tmp_path):
    sequence = tiny_sequence("still", length=9)
    images = tuple(np.full((48, 64, 3), 25 * i, np.uint8) for i in range(9))
    grey = vos.testing.TinySequence("grey", images, sequence.label_maps, ())
    path = tmp_path / "deep" / "o.mp4"
    vos.track(
        grey, {4: sequence.label_maps[4]}, tracker=StubTracker(), both_ways=True, writers=[("overlay", {"path": path})]
    )
    frames, _ = frames_of(path)
    levels = [float(frame[0, 0].mean()) for frame in frames]
    assert levels == sorted(levels)
    assert len(levels) == 9


def test_overlay_draws_contours_and_ids(tmp_path):
    label_map = np.zeros((120, 160), np.uint8)
    label_map[20:100, 20:100] = 7
    image = np.full((120, 160, 3), 90, np.uint8)
    plain = vos.draw_objects(image, label_map, contours=False, ids=False)
    assert np.array_equal(plain[0, 0], [90, 90, 90])
    assert np.abs(plain[50, 50] - (90 + np.array(choose_colours(image, label_map)[7])) / 2).max() <= 0.5
    contours = vos.draw_objects(image, label_map, ids=False)
    changed = (contours != plain).any(axis=2)
    assert changed[20, 20:100].all()
    assert np.array_equal(contours[20, 50], choose_colours(image, label_map)[7])
    assert not changed[40:80, 40:80].any()
    ids = vos.draw_objects(image, label_map, contours=False)
    written = (ids != plain).any(axis=2)
    assert written.any()
    assert not (written & (label_map > 0)).any()
    assert np.array_equal(vos.draw_objects(image, np.zeros_like(label_map)), image)


@pytest.mark.parametrize(
    ("image", "label_map", "message"),
    [
        (
            np.zeros((48, 64, 3), np.uint8),
            np.ones((48, 64), bool),
            "label map is bool (48, 64), expected uint8 (48, 64)",
        ),
        (np.zeros((48, 64, 3), np.uint8), np.ones((24, 64), np.uint8), "label map is uint8 (24, 64), expected uint8"),
        (np.zeros((48, 64, 3)), np.ones((48, 64), np.uint8), "image is float64 (48, 64, 3), expected uint8 (H, W, 3)"),
        (
            np.zeros((48, 64), np.uint8),
            np.ones((48, 64), np.uint8),
            "image is uint8 (48, 64), expected uint8 (H, W, 3)",
        ),
    ],
)
def test_arrays_that_cannot_be_drawn_are_refused(image, label_map, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        vos.draw_objects(image, label_map)


def test_a_label_is_beside_its_object_and_not_beside_a_speck():
    label_map = np.zeros((240, 320), np.uint8)
    label_map[120:200, 20:120] = 7
    image = np.full((240, 320, 3), 90, np.uint8)
    plain, labelled = (vos.draw_objects(image, label_map, opacity=0, ids=ids, contours=False) for ids in (False, True))
    label_map[2:4, 300] = 7
    speck = vos.draw_objects(image, label_map, opacity=0, contours=False)
    assert np.array_equal(speck, labelled)
    rows = np.flatnonzero((labelled != plain).any(axis=(1, 2)))
    assert 90 < rows[0] <= rows[-1] < 120, "just above the object"


def test_coco_rle_reads_back_with_pycocotools(tmp_path):
    sequence = tiny_sequence("vanishing", object_ids=(5, 9), length=9)
    folder = track(sequence, tmp_path, ["coco-rle"])
    told = json.loads((folder / "masks.json").read_text())
    assert [image["file_name"] for image in told["images"]] == [f"0000{i}.jpg" for i in range(9)]
    assert [category["id"] for category in told["categories"]] == [5, 9]
    found = {(a["image_id"], a["category_id"]): a for a in told["annotations"]}
    for index, truth in enumerate(sequence.label_maps):
        for object_id in (5, 9):
            entry = found.get((index, object_id))
            assert (entry is None) == (object_id not in vos.object_ids(truth))
            if entry is not None:
                assert np.array_equal(coco_mask.decode(entry["segmentation"]), truth == object_id)
                assert entry["area"] == (truth == object_id).sum()
                assert entry.get("score") == (None if index == 0 else {5: 0.25, 9: 0.75}[object_id])
    assert sorted(p.name for p in folder.iterdir()) == ["masks.json", "run.json"]


def test_report_tells_place_size_and_confidence(tmp_path):
    sequence = tiny_sequence("vanishing", object_ids=(5, 9), length=9)
    folder = track(sequence, tmp_path, ["report"])
    with (folder / "report.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 18
    for row in rows:
        index, object_id = int(row["frame_index"]), int(row["object_id"])
        mask = sequence.label_maps[index] == object_id
        assert (int(row["present"]), int(row["area"])) == (mask.any(), mask.sum())
        assert row["score"] == ("" if index == 0 else {5: "0.2500", 9: "0.7500"}[object_id])
        if mask.any():
            y, x = np.nonzero(mask)
            assert [int(row[c]) for c in ("x0", "y0", "x1", "y1")] == [x.min(), y.min(), x.max(), y.max()]
        else:
            assert row["x0"] == ""
    assert sorted(p.name for p in folder.iterdir()) == ["report.csv", "run.json"]


def test_overlay_shows_the_confidence(tmp_path):
    label_map = np.zeros((120, 160), np.uint8)
    label_map[20:100, 20:100] = 7
    image = np.full((120, 160, 3), 90, np.uint8)
    with_note = vos.draw_objects(image, label_map, notes={7: "93%"})
    assert (with_note != vos.draw_objects(image, label_map)).any()
    assert np.array_equal(vos.draw_objects(image, label_map, notes={8: "93%"}), vos.draw_objects(image, label_map))


def test_cutouts_hold_the_object_and_nothing_else(tmp_path):
    sequence = tiny_sequence("vanishing", object_ids=(5, 9), length=6)
    folder = track(sequence, tmp_path, ["cutouts"]) / "cutouts"
    for index, truth in enumerate(sequence.label_maps):
        path = folder / "5" / f"0000{index}.png"
        assert path.exists() == (5 in vos.object_ids(truth))
        if path.exists():
            bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(bgra[..., 3] > 0, truth == 5)
            assert np.array_equal(bgra[truth == 5][:, 2::-1], sequence.images[index][truth == 5])
            assert not bgra[truth != 5].any()


def test_cropped_cutouts_have_the_box_size(tmp_path):
    sequence = tiny_sequence("still", length=2)
    folder = track(sequence, tmp_path, [("cutouts", {"crop": True, "path": tmp_path / "c"})])
    assert folder.name == sequence.name
    rows, columns = np.nonzero(sequence.label_maps[0] == 1)
    cutout = cv2.imread(str(tmp_path / "c" / "1" / "00000.png"), cv2.IMREAD_UNCHANGED)
    assert cutout.shape[:2] == (np.ptp(rows) + 1, np.ptp(columns) + 1)


@pytest.mark.parametrize("writer", ["overlay", "coco-rle", "report"])
def test_a_failed_run_leaves_no_half_file(tmp_path, writer):
    sequence = tiny_sequence("still")
    with pytest.raises(vos.TrackerError):
        vos.track(
            sequence, sequence.label_maps[0], tracker=StubTracker(fail_at=4), output=tmp_path, writers=[writer, "davis"]
        )
    folder = tmp_path / sequence.name
    assert sorted(p.name for p in folder.iterdir()) == ["00000.png", "00001.png", "00002.png", "00003.png", "run.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opacity": "2"}, "opacity is 0 to 1"),
        ({"fps": "0"}, "fps 0.001 to 1000"),
        ({"fps": "nan"}, "fps 0.001 to 1000"),
        ({"fps": "inf"}, "fps 0.001 to 1000"),
        ({"path": "o.avi"}, 'path is "o.avi", expected a name that ends in .mp4'),
        ({"path": "overlay"}, 'path is "overlay", expected a name that ends in .mp4'),
        ({"x": 1}, "no option"),
    ],
)
def test_bad_options_are_told_before_anything_is_written(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    sequence = tiny_sequence("still")
    with pytest.raises(OptionError, match=message):
        track(sequence, tmp_path, [("overlay", options)])


def test_without_an_output_folder_only_writers_with_paths_write(tmp_path):
    sequence = tiny_sequence("still", length=2)
    summary = vos.track(
        sequence,
        sequence.label_maps[0],
        tracker=StubTracker(),
        writers=["davis", ("coco-rle", {"path": tmp_path / "m.json"})],
    )
    assert summary.run.output is None
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]


def test_overlay_with_a_colon_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    track(tiny_sequence("still", length=2), None, [("overlay", {"path": "12:30.mp4"})])
    assert len(frames_of(tmp_path / "12:30.mp4")[0]) == 2


def test_report_takes_frame_names_of_any_bytes(tmp_path):
    sequence = tiny_sequence("still", length=2)
    names = ("\u65e5", os.fsdecode(b"\xff"))

    class Named(vos.testing.TinySequence):
        def frames(self, indices=None):
            for frame in super().frames(indices):
                yield vos.Frame(frame.index, frame.image, names[frame.index])

    named = Named("named", sequence.images, sequence.label_maps, sequence.annotations)
    folder = track(named, tmp_path, ["report", "coco-rle"])
    lines = (folder / "report.csv").read_bytes().splitlines()
    assert [line.split(b",")[1] for line in lines[1::2]] == [os.fsencode(name) for name in names]
    assert [image["file_name"] for image in json.loads((folder / "masks.json").read_text())["images"]] == [
        f"{name}.jpg" for name in names
    ]


def test_coco_names_the_image_files_of_a_folder(tmp_path):
    sequence = tiny_sequence("still", length=2)
    files = ("a.png", "b.jfif")

    class Folder(vos.testing.TinySequence):
        @property
        def info(self):
            return dataclasses.replace(super().info, frame_files=files)

    of_files = Folder("still", sequence.images, sequence.label_maps, sequence.annotations)
    folder = track(of_files, tmp_path, ["coco-rle"])
    assert [image["file_name"] for image in json.loads((folder / "masks.json").read_text())["images"]] == list(files)


def test_links_where_temporary_files_used_to_lie_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("o.mp4", "m.json", "m.json.images", "m.json.annotations", "r.csv", "r.csv.lines"):
        (tmp_path / f".partial-{name}").symlink_to(victim)
    writers = [("overlay", {"path": tmp_path / "o.mp4"}), ("coco-rle", {"path": tmp_path / "m.json"})]
    writers.append(("report", {"path": tmp_path / "r.csv"}))
    track(tiny_sequence("still", length=2), None, writers)
    assert victim.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir() if not path.is_symlink()} == {"victim", "o.mp4", "m.json", "r.csv"}


@pytest.mark.parametrize(("name", "suffix"), [("overlay", "mp4"), ("coco-rle", "json"), ("report", "csv")])
def test_a_fifo_as_output_is_refused_and_stays(tmp_path, name, suffix):
    path = tmp_path / f"pipe.{suffix}"
    os.mkfifo(path)
    with pytest.raises(vos.VosError, match="it is a fifo"):
        track(tiny_sequence("still", length=2), None, [(name, {"path": path})])
    assert path.is_fifo()
