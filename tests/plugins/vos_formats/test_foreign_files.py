"""Files as other tools write them: read as they mean it, or refused in a line that names the file."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

import vos
from vos.plugin import PALETTE
from vos.testing import StubTracker, tiny_sequence

SQUARE = [[2, 2], [10, 2], [10, 10], [2, 10]]


def label_map(shift=0):
    """Two objects in a frame of 24 x 32 pixels."""
    drawn = np.zeros((24, 32), np.uint8)
    drawn[2:12, 2 + shift : 12 + shift] = 1
    drawn[14:22, 16:28] = 2
    return drawn


def image_of(pixels, palette=PALETTE):
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette is not None:
        image.putpalette(palette.tobytes())
    return image


def imported(path, tmp_path):
    (folder,) = vos.import_masks(path, tmp_path / "imported")
    return {file.stem: vos.read_label_map(file, allow_empty=True) for file in sorted(folder.glob("*.png"))}


def coco(tmp_path, **changed):
    images = [{"id": k, "file_name": f"{k:05d}.jpg", "width": 32, "height": 24} for k in (1, 2)]
    masks = [
        {"id": k, "image_id": k, "category_id": 1, "segmentation": [np.ravel(SQUARE).tolist()], **changed}
        for k in (1, 2)
    ]
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"images": images, "annotations": masks, "categories": [{"id": 1, "name": "dog"}]}))
    return path


def test_coco_masks_of_images_that_are_not_listed_are_refused(tmp_path):
    with pytest.raises(vos.InputError, match=r"c\.json: 2 of 2 masks are of images .*, first image_id '1'"):
        imported(coco(tmp_path, image_id="1"), tmp_path)


def yolo(tmp_path, line):
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("height: 24\nwidth: 32\nnames: [dog]\n")
    (tmp_path / "labels" / "00000.txt").write_text(line)
    return tmp_path / "data.yaml"


WRONG_VALUES = {
    "coco": lambda folder: coco(folder, track_id="first"),
    "yolo": lambda folder: yolo(folder, "dog 0.1 0.1 0.5 0.1 0.5 0.5"),
    "labelme": lambda folder: written(folder / "l.json", {"shapes": None, "imageHeight": 24}),
    "label-studio": lambda folder: written(folder / "s.json", [{"data": {}, "annotations": [{"result": None}]}]),
    "cvat": lambda folder: written(
        folder / "c.xml",
        '<annotations><original_size><height>24</height><width>32</width></original_size><track id="0" label="dog">'
        '<polygon frame="one" points="1,1;5,1;5,5"/></track></annotations>',
    ),
}


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_file_with_a_wrong_value_is_bad_input_and_no_fault_of_the_plugin(name, tmp_path):
    path = WRONG_VALUES[name](tmp_path)
    with pytest.raises(vos.InputError, match=rf"{path.name}: not {name} as expected"):
        imported(path, tmp_path)


def test_a_file_that_is_gone_is_called_so(tmp_path):
    path = yolo(tmp_path, "0 0.1 0.1 0.5 0.1 0.5 0.5")
    (tmp_path / "labels" / "00001.txt").symlink_to("gone.txt")
    with pytest.raises(vos.InputError, match=r"00001\.txt: cannot be read \(No such file or directory\)"):
        imported(path, tmp_path)


@pytest.mark.parametrize("error", [NameError("name 'x' is not defined"), MemoryError()])
def test_a_mistake_of_the_plugin_and_a_lack_of_memory_are_not_called_bad_input(error, tmp_path, monkeypatch):
    def fail(path):
        raise error

    monkeypatch.setattr("vos_formats.coco.read_coco", fail)
    with pytest.raises(vos.VosError, match=f"coco.*failed to read .*: {type(error).__name__}") as caught:
        imported(coco(tmp_path), tmp_path)
    assert not isinstance(caught.value, vos.InputError)


def test_yolo_points_in_pixels_are_refused(tmp_path):
    path = yolo(tmp_path, "0 2 2 10 2 10 10")
    with pytest.raises(vos.InputError, match=r"00000\.txt: a point outside the image\. Points are shares"):
        imported(path, tmp_path)


def test_label_maps_in_fortran_order_are_refused(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, label_maps=np.asfortranarray([label_map(), label_map(1)]))
    with pytest.raises(vos.InputError, match=r"m\.npz: label_maps are in Fortran order.*ascontiguousarray"):
        imported(path, tmp_path)


@pytest.mark.parametrize("front", ["dog", "cat"])
def test_the_object_on_the_upper_layer_of_a_cvat_track_is_in_front(front, tmp_path):
    tracks = "".join(
        f'<track id="{k}" label="{label}">'
        f'<polygon frame="0" z_order="{int(label == front)}" points="{points}"/></track>'
        for k, (label, points) in enumerate({"dog": "2,2;12,2;12,12;2,12", "cat": "8,8;20,8;20,20;8,20"}.items())
    )
    size = "<original_size><height>24</height><width>32</width></original_size>"
    path = written(tmp_path / "c.xml", f"<annotations><meta>{size}</meta>{tracks}</annotations>")
    found = imported(path, tmp_path)["00000"]
    assert found[10, 10] == {"dog": 1, "cat": 2}[front]


def test_lines_and_points_of_labelme_are_left_out_and_counted(tmp_path, caplog):
    shapes = [
        {"label": "dog", "points": SQUARE, "shape_type": None},  # as LabelMe reads it: a polygon
        {"label": "tail", "points": [[1, 1], [5, 5]], "shape_type": "line"},
        {"label": "nose", "points": [[1, 1]], "shape_type": "point"},
    ]
    content = {"shapes": shapes, "imagePath": "0.jpg", "imageHeight": 24, "imageWidth": 32}
    assert vos.object_ids(imported(written(tmp_path / "0.json", content), tmp_path)["0"]) == (1,)
    assert "shapes that are no masks are left out: 1 line, 1 point." in caplog.text


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, image in files.items():
            content = io.BytesIO()
            image.save(content, format="PNG")
            entry = tarfile.TarInfo(name)
            entry.size = content.tell()
            content.seek(0)
            tar.addfile(entry, content)
    return path


def test_a_tar_file_of_the_current_folder_names_its_sequence_and_hidden_files_are_left_out(tmp_path):
    files = {"./clip/00000.png": image_of(label_map()), "./clip/._00000.png": image_of(label_map())}
    (folder,) = vos.import_masks(tar_of(tmp_path / "m.tar", files), tmp_path / "imported")
    assert folder.name == "clip"
    assert [file.name for file in folder.iterdir()] == ["00000.png"]


def test_a_tar_file_of_masks_is_read_as_mask_files_are(tmp_path, caplog):
    caplog.set_level("INFO", logger="vos")
    order = np.array([3, 0, 1, 2])
    reordered = image_of(np.argsort(order)[label_map()], PALETTE[order])
    files = {"clip/00000.png": reordered, "clip/00001.png": image_of(label_map())}
    read = imported(tar_of(tmp_path / "m.tar", files), tmp_path)
    assert all(np.array_equal(mask, label_map()) for mask in read.values())
    assert "another order" not in caplog.text  # a line for each of its files would be as many as it has frames
    soft = Image.fromarray(label_map() * np.uint8(127)).resize((64, 48), Image.Resampling.BILINEAR)
    with pytest.raises(vos.InputError, match=r"m\.tar: clip/00000\.png: .* different grey values"):
        imported(tar_of(tmp_path / "m.tar", {"clip/00000.png": soft}), tmp_path / "soft")
    white = image_of([[0, 255]], None)
    for first in (image_of([[0, 127]], None), image_of([[1, 2]])):
        files = {"clip/00000.png": first, "clip/00001.png": white}
        with pytest.raises(
            vos.InputError, match=r"m\.tar: clip/00001\.png: its grey masks hold 255 beside other values"
        ):
            imported(tar_of(tmp_path / "m.tar", files), tmp_path / "grey")
    path = tar_of(tmp_path / "m.tar", {"clip/00000.png": image_of(label_map())})
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 12] ^= 1
    path.write_bytes(content)
    with pytest.raises(vos.InputError, match=r"m\.tar: clip/00000\.png: a damaged PNG file"):
        imported(path, tmp_path / "damaged")


@pytest.mark.parametrize("to", ["sa-v", "mots", "png"])
def test_pngs_whose_checksum_does_not_fit_are_refused(to, tmp_path):
    sequence = tiny_sequence("moving", length=2)
    frames, _ = sequence.save(tmp_path / "clip")
    run = vos.track(frames, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path / "out").run
    (folder,) = vos.export(run.output, to, tmp_path / to)
    path = max(folder.rglob("*.png"))
    content = bytearray(path.read_bytes())
    content[content.index(b"IEND") - 5] ^= 1  # of the last data's checksum
    path.write_bytes(content)
    with pytest.raises(vos.InputError, match=f"{path.name}: cannot be read as a mask"):
        imported(folder, tmp_path)


@pytest.mark.parametrize("kind", ["ids", "black and white", "one"])
def test_label_maps_of_frames_called_frame_000_are_no_objects_of_one_frame(kind, tmp_path):
    video, masks = tmp_path / "video", tmp_path / "masks"
    video.mkdir()
    masks.mkdir()
    for k, image in enumerate(tiny_sequence("moving", length=3).images):
        Image.fromarray(image).save(video / f"frame_{k:03d}.png")
        drawn = np.zeros(image.shape[:2], np.uint8)
        drawn[2:12, 2 + k : 12 + k] = 1
        if kind == "ids":
            drawn[14:18, 2:6] = 2
        if kind != "one" or k == 2:
            image_of(drawn if kind == "ids" else drawn * 255, None).save(masks / f"frame_{k:03d}.png")
    run = vos.track(video, masks, tracker=StubTracker()).run
    assert run.annotated == ((2,) if kind == "one" else (0, 1, 2))


@pytest.mark.parametrize(
    ("name", "boxes", "are_objects"),
    [
        ("00000", [(2, 12), (11, 20)], True),  # neighbours that share a column
        ("00000", [(2, 20), (6, 12)], True),  # a part of another object
        ("00000", [(2, 12), (3, 13)], False),
        ("frame", [(2, 12), (14, 20)], True),
        ("frame", [(2, 12), (11, 20)], False),
        ("frame", [(2, 12), (0, 0)], False),  # the object has left
    ],
)
def test_masks_of_one_name_are_objects_of_a_frame_or_frames_of_a_video(name, boxes, are_objects, tmp_path):
    for k, (left, right) in enumerate(boxes, 1):
        drawn = np.zeros((24, 32), np.uint8)
        drawn[2:12, left:right] = 255
        image_of(drawn, None).save(tmp_path / f"{name}_{k:03d}.png")
    if are_objects:
        found = imported(tmp_path, tmp_path)
        assert {stem: vos.object_ids(read) for stem, read in found.items()} == {name: (1, 2)}
    else:
        with pytest.raises(vos.InputError, match="no format reads this"):
            imported(tmp_path, tmp_path)


def save_binary(folder, pixels):
    (folder / "001").mkdir(parents=True)
    image_of(pixels, None).save(folder / "001" / "00000.png")
    (folder / "001" / "._00000.png").write_bytes(b"of macOS")
    return folder


@pytest.mark.parametrize("under", [0, 255])
@pytest.mark.parametrize("colour", [0, 255])
def test_the_opaque_part_of_a_layer_is_the_object(under, colour, tmp_path):
    drawn = label_map() == 1
    layer = np.dstack([np.where(drawn, colour, under)] * 3 + [drawn * 255])
    assert np.array_equal(imported(save_binary(tmp_path / "m", layer), tmp_path)["00000"], drawn)


def test_binary_masks_of_several_values_are_refused(tmp_path):
    soft = label_map() * 100
    white = np.full((24, 32), 255)
    in_davis_colours = PALETTE[label_map()]
    for number, pixels in enumerate((soft, np.dstack([white] * 3 + [soft]), in_davis_colours)):
        with pytest.raises(vos.InputError, match=r"00000\.png: several values besides 0.* Save it with hard edges"):
            imported(save_binary(tmp_path / str(number), pixels), tmp_path)
