"""Every format: tracked and exported alike, imported again without a pixel's difference."""

import json
import tempfile

import numpy as np
import pytest
from PIL import Image

import vos
from vos.conversion.exporting import export
from vos.conversion.importing import import_masks
from vos.plugin import AnnotationError, InputError, OptionError, read_image
from vos.testing import StubTracker, TinySequence

FORMATS = ["youtube-vis", "coco", "cvat", "yolo", "label-studio", "mots", "sa-v", "npz", "tar", "png"]
SIZE = (40, 56)


def label_maps():
    """Two objects with a hole, two parts, a diagonal neighbour and the frame's border; the second one vanishes."""
    maps = []
    for k in range(4):
        label_map = np.zeros(SIZE, np.uint8)
        label_map[2:20, 3 + k : 25 + k] = 3
        label_map[8:12, 9 + k : 15 + k] = 0
        label_map[20, 25 + k] = 3
        if k != 2:
            label_map[25:40, 30:56] = 9
            label_map[5:9, 40 + k : 44] = 9
            label_map[30, 35] = 0
        maps.append(label_map)
    return tuple(maps)


def sequence():
    maps = label_maps()
    images = tuple(np.full((*SIZE, 3), 30 * (k + 1), np.uint8) for k in range(len(maps)))
    return TinySequence("clip", images, maps, ())


class Oracle(StubTracker):
    def step(self, frame):
        return vos.Prediction.from_label_map(label_maps()[frame.index], (3, 9))


@pytest.fixture
def finished(tmp_path):
    return vos.track(sequence(), label_maps()[0], tracker=Oracle(), output=tmp_path / "out").run.output


def imported(path, tmp_path, name="clip"):
    (folder,) = import_masks(path, tmp_path / "imported")
    assert folder.name == name
    return [vos.read_label_map(file, allow_empty=True) for file in sorted(folder.glob("*.png"))]


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_exported_is_imported_again_exactly(finished, tmp_path, to):
    (path,) = export(finished, to)
    found = imported(path, tmp_path)
    assert len(found) == 4
    for truth, again in zip(label_maps(), found, strict=True):
        assert np.array_equal(truth, again)
    with pytest.raises(InputError, match="already.*--overwrite"):
        export(finished, to)


@pytest.mark.parametrize("to", FORMATS)
def test_a_frame_without_objects_is_a_mask_without_objects_where_the_format_has_it(tmp_path, to):
    class Vanishing(StubTracker):
        def step(self, frame):
            return vos.Prediction.from_label_map(label_maps()[frame.index] * np.uint8(frame.index != 2), (3, 9))

    run = vos.track(sequence(), label_maps()[0], tracker=Vanishing(), output=tmp_path / "out").run
    found = imported(export(run.output, to)[0], tmp_path)
    assert len(found) == (3 if to in ("cvat", "png") else 4)
    assert sum(not label_map.any() for label_map in found) == len(found) - 3


def test_tasks_that_nobody_annotated_are_no_masks(finished, tmp_path):
    (path,) = export(finished, "label-studio", tmp_path / "tasks.json")
    tasks = json.loads(path.read_text())
    tasks[1]["annotations"] = []
    tasks[2]["annotations"] = [{"was_cancelled": True, "result": []}]
    path.write_text(json.dumps(tasks))
    assert len(imported(path, tmp_path, "tasks")) == 2
    path.write_text(json.dumps([{**task, "annotations": [{"result": []}]} for task in tasks]))
    with pytest.raises(InputError, match=r"tasks\.json: no mask in it"):
        import_masks(path, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_file_without_a_suffix_gets_that_of_its_format(finished, tmp_path):
    (path,) = export(finished, "coco", tmp_path / "dog")
    assert path == tmp_path / "dog.json"
    assert len(imported(path, tmp_path, "clip")) == 4


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_that_is_killed_would_leave_nothing_in_the_temporary_folder(tmp_path, monkeypatch, to):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    held = []

    class Looking(Oracle):
        def step(self, frame):
            held.extend((tmp_path / "temporary").iterdir())
            return super().step(frame)

    vos.track(sequence(), label_maps()[0], tracker=Looking(), output=tmp_path / "out", writers=[to])
    assert held == []


@pytest.mark.parametrize("to", FORMATS)
def test_as_a_writer_of_a_run_a_format_writes_the_same(finished, tmp_path, to):
    (exported,) = export(finished, to)
    run = vos.track(sequence(), label_maps()[0], tracker=Oracle(), output=tmp_path / "again", writers=[to]).run
    tracked = run.output / exported.name

    def held(path):
        return {f.relative_to(path): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}

    if exported.is_dir():
        assert held(exported) == held(tracked)
    else:
        assert exported.read_bytes() == tracked.read_bytes()


@pytest.mark.parametrize("to", ["coco", "cvat"])
def test_polygons_are_exact_too(finished, tmp_path, to):
    (path,) = export(finished, to, options={"polygons": True})
    for truth, again in zip(label_maps(), imported(path, tmp_path), strict=True):
        assert np.array_equal(truth, again)
    assert "points" in path.read_text() if to == "cvat" else True


@pytest.mark.parametrize(("to", "more"), [("coco", {"polygons": True}), ("cvat", {"polygons": True}), ("yolo", {})])
def test_a_simplified_outline_keeps_small_parts_and_holes(finished, tmp_path, to, more):
    (path,) = export(finished, to, options={"simplify": 2, **more})
    last = imported(path, tmp_path)[-1]
    assert (last[5:9, 43] == 9).all()
    assert last[30, 35] == 0


@pytest.mark.parametrize("simplify", ["-1", "nan", "inf"])
@pytest.mark.parametrize("to", ["coco", "cvat", "yolo"])
def test_a_distance_that_is_none_is_refused(finished, tmp_path, to, simplify):
    with pytest.raises(OptionError, match="simplify is 0 or more"):
        export(finished, to, tmp_path / "new" / "file", options={"simplify": simplify})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("to", "polygons"), [("cvat", False), ("cvat", True), ("coco", False), ("youtube-vis", None)])
def test_objects_of_one_class_stay_apart(finished, tmp_path, to, polygons):
    options = {"label": "cell"} if polygons is None else {"label": "cell", "polygons": polygons}
    (path,) = export(finished, to, options=options)
    for truth, again in zip(label_maps(), imported(path, tmp_path), strict=True):
        assert np.array_equal(truth, again)


@pytest.mark.parametrize("to", ["youtube-vis", "coco", "yolo", "label-studio"])
def test_one_label_names_all_objects(finished, tmp_path, to):
    (path,) = export(finished, to, tmp_path / "one", options={"label": "cell"})
    file = path / "data.yaml" if path.is_dir() else path
    assert "cell" in file.read_text()
    assert "object 3" not in file.read_text()


def test_images_are_written_where_they_are_asked_for(finished, tmp_path):
    with pytest.raises(InputError, match="needs the frames"):
        export(finished, "coco", tmp_path / "a" / "coco.json", options={"images": True})
    export(finished, "coco", tmp_path / "a" / "coco.json", options={"images": True}, source=sequence())
    content = json.loads((tmp_path / "a" / "coco.json").read_text())
    for image in content["images"]:
        assert read_image(tmp_path / "a" / "images" / image["file_name"]).shape == (*SIZE, 3)


def test_imported_masks_are_annotations_of_a_run(finished, tmp_path):
    """A file is a first mask and later corrections; INDEX:FILE takes the frame's own label map."""
    (path,) = export(finished, "cvat", tmp_path / "masks.xml")
    summary = vos.track(sequence(), path, tracker=StubTracker())
    assert summary.run.annotated == (0, 1, 2, 3)
    summary = vos.track(sequence(), {1: path}, tracker=StubTracker(), output=tmp_path / "later")
    assert summary.run.annotated == (1,)
    assert np.array_equal(vos.read_label_map(tmp_path / "later" / "clip" / "00001.png"), label_maps()[1])


def test_a_file_of_no_format_names_the_formats(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(AnnotationError, match="no format reads this file. Formats that are read: coco, cvat, label"):
        vos.track(sequence(), tmp_path / "x.json", tracker=StubTracker())


def test_a_damaged_file_is_named(finished, tmp_path):
    (path,) = export(finished, "coco", tmp_path / "c.json")
    path.write_text(path.read_text()[:-40])
    with pytest.raises(AnnotationError, match="c.json: not whole JSON"):
        import_masks(path, tmp_path / "m")


def test_several_sequences_are_exported_into_a_folder_each(tmp_path):
    for name in ("a", "b"):
        vos.track(sequence(), label_maps()[0], tracker=Oracle(), output=tmp_path / "out", sequence=name)
    written = export(tmp_path / "out", "coco", tmp_path / "coco")
    assert [path.relative_to(tmp_path) for path in written] == [
        (tmp_path / "coco" / name / "coco.json").relative_to(tmp_path) for name in ("a", "b")
    ]


def test_an_unfinished_run_is_not_exported(tmp_path):
    with pytest.raises(vos.TrackerError):
        vos.track(sequence(), label_maps()[0], tracker=StubTracker(fail_at=2), output=tmp_path)
    with pytest.raises(InputError, match="not finished"):
        export(tmp_path / "clip", "coco")


def test_labelme_shapes_become_objects(tmp_path):
    square = [[10, 10], [20, 10], [20, 20], [10, 20]]
    shapes = [
        {"label": "cup", "points": square, "shape_type": "polygon", "group_id": None},
        {"label": "hand", "points": [[30, 5], [40, 15]], "shape_type": "rectangle"},
        {"label": "ball", "points": [[10, 30], [10, 34]], "shape_type": "circle"},
    ]
    file = tmp_path / "first.json"
    file.write_text(json.dumps({"shapes": shapes, "imagePath": "x.jpg", "imageHeight": 40, "imageWidth": 56}))
    (folder,) = import_masks(file, tmp_path / "m")
    label_map = vos.read_label_map(folder / "x.png")
    assert (label_map == 1).sum() == 100
    assert (label_map == 2).sum() == 100
    assert 40 < (label_map == 3).sum() < 60
    summary = vos.track(sequence(), file, tracker=StubTracker())
    assert (summary.run.annotated, summary.object_ids) == ((0,), (1, 2, 3))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), 1e308])
def test_a_polygon_with_a_point_that_is_no_number_is_bad_input(value, tmp_path):
    shape = {"label": "dog", "points": [[1, 1], [20, 3], [value, 20]], "shape_type": "polygon"}
    content = {"imagePath": "0.jpg", "imageHeight": 32, "imageWidth": 48, "shapes": [shape]}
    (tmp_path / "0.json").write_text(json.dumps(content))
    with pytest.raises(vos.InputError, match="a point that is no number, or far outside"):
        vos.import_masks(tmp_path / "0.json", tmp_path / "out")


@pytest.mark.parametrize("to", ["coco", "npz"])
def test_a_file_that_another_run_wrote_meanwhile_is_left(tmp_path, to):
    path = tmp_path / f"out.{'json' if to == 'coco' else to}"

    class Beside(Oracle):
        def step(self, frame):
            path.write_text("another run's")
            return super().step(frame)

    with pytest.raises(vos.VosError, match="another program wrote this file during the run"):
        vos.track(
            sequence(), label_maps()[0], tracker=Beside(), output=tmp_path / "o", writers=[(to, {"path": str(path)})]
        )
    assert path.read_text() == "another run's"


def two_cells(to, folder, images=1):
    """A file of two squares of one class in each image, without track ids; LabelMe has a file an image."""
    squares = [[[x, 10], [x + 10, 10], [x + 10, 20], [x, 20]] for x in (5, 30)]
    folder.mkdir()
    if to == "coco":
        content = {
            "images": [{"id": k, "file_name": f"{k:05d}.jpg", "width": 56, "height": 40} for k in range(images)],
            "categories": [{"id": 1, "name": "cell"}],
            "annotations": [
                {"id": k, "image_id": k, "category_id": 1, "segmentation": [np.ravel(square).tolist()]}
                for k in range(images)
                for square in squares
            ],
        }
        (folder / "c.json").write_text(json.dumps(content))
        return folder / "c.json"
    if to == "cvat":
        shapes = "".join(
            f'<polygon label="cell" points="{";".join(f"{x},{y}" for x, y in square)}"/>' for square in squares
        )
        frames = "".join(f'<image name="{k:05d}.png" width="56" height="40">{shapes}</image>' for k in range(images))
        (folder / "c.xml").write_text(f"<annotations>{frames}</annotations>")
        return folder / "c.xml"
    if to == "label-studio":
        results = [
            {
                "original_width": 56,
                "original_height": 40,
                "value": {"points": [[x / 0.56, y / 0.4] for x, y in square], "polygonlabels": ["cell"]},
            }
            for square in squares
        ]
        tasks = [{"data": {"image": f"{k:05d}.png"}, "annotations": [{"result": results}]} for k in range(images)]
        (folder / "c.json").write_text(json.dumps(tasks))
        return folder / "c.json"
    if to == "yolo":
        (folder / "labels").mkdir()
        (folder / "data.yaml").write_text("height: 40\nwidth: 56\nnames: [cell]\n")
        lines = "".join(f"0 {' '.join(f'{x / 56} {y / 40}' for x, y in square)}\n" for square in squares)
        for k in range(images):
            (folder / "labels" / f"{k:05d}.txt").write_text(lines)
        return folder / "data.yaml"
    for k in range(images):
        shapes = [{"label": "cell", "points": square} for square in squares]
        content = {"shapes": shapes, "imagePath": f"{k:05d}.jpg", "imageHeight": 40, "imageWidth": 56}
        (folder / f"{k:05d}.json").write_text(json.dumps(content))
    return folder / "00000.json" if images == 1 else folder


UNNUMBERED = ["coco", "cvat", "label-studio", "yolo", "labelme"]


@pytest.mark.parametrize("to", UNNUMBERED)
def test_two_of_a_class_in_one_image_are_two_objects_in_the_order_of_the_file(to, tmp_path, caplog):
    caplog.set_level("INFO")
    path = two_cells(to, tmp_path / "in")
    summary = vos.track(sequence(), path, tracker=StubTracker(), output=tmp_path / "out")
    label_map = vos.read_label_map(summary.run.output / "00000.png")
    assert summary.object_ids == (1, 2)
    assert (label_map[10:20, 5:15] == 1).all()
    assert (label_map[10:20, 30:40] == 2).all()
    assert "object ids 1 cell 1, 2 cell 2." in caplog.text


@pytest.mark.parametrize("to", UNNUMBERED)
def test_two_of_a_class_in_several_images_are_refused_as_masks_of_one_run(to, tmp_path):
    path = two_cells(to, tmp_path / "in", images=2)
    with pytest.raises(AnnotationError, match=r'2 images have "cell", some of them several, .*--mask INDEX:FILE'):
        vos.track(sequence(), path, tracker=StubTracker())
    if path.is_file():
        assert vos.track(sequence(), {1: path}, tracker=StubTracker()).object_ids == (1, 2)
    (folder,) = import_masks(path, tmp_path / "imported")
    assert vos.object_ids(vos.read_label_map(folder / "00001.png")) == (1, 2)


def test_a_class_with_one_object_an_image_is_one_object_in_all(tmp_path):
    path = two_cells("coco", tmp_path / "in", images=3)
    content = json.loads(path.read_text())
    del content["annotations"][::2]
    path.write_text(json.dumps(content))
    summary = vos.track(sequence(), path, tracker=StubTracker())
    assert (summary.object_ids, summary.run.annotated) == ((1,), (0, 1, 2))


def test_grouped_shapes_of_an_image_are_one_object(tmp_path):
    path = two_cells("cvat", tmp_path / "in")
    path.write_text(path.read_text().replace("<polygon", '<polygon group_id="3"'))
    assert vos.track(sequence(), path, tracker=StubTracker()).object_ids == (1,)


def test_a_numbered_instance_and_a_group_of_the_same_name_stay_apart(tmp_path):
    path = two_cells("labelme", tmp_path / "in")
    content = json.loads(path.read_text())
    content["shapes"].append({"label": "cell", "points": [[5, 25], [15, 25], [15, 35]], "group_id": 1})
    path.write_text(json.dumps(content))
    assert vos.track(sequence(), path, tracker=StubTracker()).object_ids == (1, 2, 3)


@pytest.mark.parametrize("to", ["coco", "coco-rle", "youtube-vis", "cvat", "label-studio", "npz", "tar", "report"])
def test_a_file_of_another_suffix_is_refused(tmp_path, to):
    with pytest.raises(OptionError, match=r"x\.xlsx"):
        vos.track(sequence(), label_maps()[0], tracker=Oracle(), writers=[(to, {"path": tmp_path / "x.xlsx"})])
    assert list(tmp_path.iterdir()) == []


def test_a_yolo_folder_says_which_sequence_it_is_of(finished, tmp_path):
    (path,) = export(finished, "yolo", tmp_path / "elsewhere" / "yolo")
    assert len(imported(path, tmp_path, "clip")) == 4


def test_a_file_whose_frames_are_not_the_videos_says_what_to_do(tmp_path, caplog):
    path = two_cells("coco", tmp_path / "in", images=2)
    path.write_text(path.read_text().replace("0000", "shot_"))
    with pytest.raises(AnnotationError, match="2 frames with objects, the first one shot_0, .* `vos import`"):
        vos.track(sequence(), path, tracker=StubTracker())
    caplog.set_level("INFO")
    path = two_cells("coco", tmp_path / "one")
    path.write_text(path.read_text().replace("0000", "shot_"))
    assert vos.track(sequence(), path, tracker=StubTracker()).run.annotated == (0,)
    assert "its one frame with objects, shot_0, is taken for frame 0." in caplog.text


@pytest.mark.parametrize("name", ["00400", "shot"])
def test_frames_that_the_video_does_not_have_are_said_to_be_left_out(tmp_path, caplog, name):
    path = two_cells("coco", tmp_path / "in", images=2)
    path.write_text(path.read_text().replace("00001", name))
    assert vos.track(sequence(), path, tracker=StubTracker()).run.annotated == (0,)
    assert f"1 of 2 frames with objects, the first one {name}, are no frames of clip, and left out." in caplog.text


def test_cvat_for_images_names_frames_of_a_video_by_their_index(tmp_path):
    path = two_cells("cvat", tmp_path / "in")
    path.write_text(path.read_text().replace('name="00000.png"', 'id="2" name="frame_000002"'))
    assert vos.track(sequence(), path, tracker=StubTracker()).run.annotated == (2,)


def test_names_of_the_sources_own_frames_come_before_cvats_numbers(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in (1, 2, 3):  # without the first one of the video
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(frames / f"frame_{number:06d}.png")
    path = two_cells("cvat", tmp_path / "in")
    path.write_text(path.read_text().replace('name="00000.png"', 'id="2" name="frame_000002"'))
    assert vos.track(frames, path, tracker=StubTracker()).run.annotated == (1,)


def test_a_cvat_image_needs_no_number(tmp_path):
    path = two_cells("cvat", tmp_path / "in")
    path.write_text(path.read_text().replace("00000.png", "frame_000000.png"))
    assert vos.track(sequence(), path, tracker=StubTracker()).run.annotated == (0,)


@pytest.mark.parametrize(
    ("to", "shape", "mask"),
    [
        ("cvat", "</image>", '<box label="cell" xtl="1" ytl="1" xbr="9" ybr="9"/></image>'),
        ("coco", '"annotations": [', '"annotations": [{"image_id": 0, "category_id": 1, "bbox": [1, 1, 8, 8]}, '),
        ("label-studio", '"result": [', '"result": [{"type": "rectanglelabels", "value": {"rectanglelabels": []}}, '),
    ],
)
def test_shapes_that_are_no_masks_are_said_to_be_left_out(tmp_path, caplog, to, shape, mask):
    path = two_cells(to, tmp_path / "in")
    path.write_text(path.read_text().replace(shape, mask, 1))
    assert vos.track(sequence(), path, tracker=StubTracker()).object_ids == (1, 2)
    kind = "rectangle" if to == "label-studio" else "box"
    assert f"shapes that are no masks are left out: 1 {kind}." in caplog.text
