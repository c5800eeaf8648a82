import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import vos
from vos.plugin import AnnotationError, TruncatedSourceError, read_image
from vos.testing import StubTracker, tiny_sequence


def write(path, value=0, size=(20, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path, **options)
    return path


def test_natural_order_and_names(tmp_path):
    for i in [1, 2, 10, 11, 100]:
        write(tmp_path / "clip" / f"frame{i}.png", i)
    (tmp_path / "clip" / "notes.txt").write_text("left out")
    (tmp_path / "clip" / ".hidden.png").write_text("left out")
    source = vos.open_source(tmp_path / "clip")
    assert source.info.name == "clip"
    assert source.info.frame_names == ("frame1", "frame2", "frame10", "frame11", "frame100")
    frames = list(source.frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10, 11, 100]
    assert [frame.index for frame in source.frames(range(4, -1, -2))] == [4, 2, 0]


def test_one_image(tmp_path):
    source = vos.open_source(write(tmp_path / "photo.png", 7))
    assert (source.info.name, source.info.kind, source.info.frame_count) == ("photo", "image", 1)
    assert next(source.frames()).image.max() == 7


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path, mode):
    path = tmp_path / "x.png"
    if mode == "I;16":
        Image.fromarray(np.full((4, 4), 51400, np.uint16)).save(path)
    else:
        Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).convert(mode).save(path)
    image = next(vos.open_source(path).frames()).image
    assert image.shape == (4, 4, 3)
    assert abs(int(image[0, 0, 0]) - (255 if mode == "1" else 200)) <= 4  # "P": the nearest web colour


def test_colours_are_rgb(tmp_path):
    Image.fromarray(np.full((4, 4, 3), (250, 100, 10), np.uint8)).save(tmp_path / "x.png")
    assert next(vos.open_source(tmp_path / "x.png").frames()).image[0, 0].tolist() == [250, 100, 10]


def test_orientation_tag_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "x.jpg", 9, size=(20, 30), exif=exif)
    assert vos.open_source(tmp_path / "x.jpg").info.size == (30, 20)


def test_jpeg_pixels_equal_pillows(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (33, 47, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.jpg", quality=90)
    with Image.open(tmp_path / "x.jpg") as image:
        assert (
            np.abs(np.asarray(image).astype(int) - next(vos.open_source(tmp_path / "x.jpg").frames()).image).max() <= 1
        )


def test_davis_layout_brings_its_annotations(tmp_path):
    sequence = tiny_sequence("later", object_ids=(1, 2, 3))
    images, masks = sequence.save(tmp_path / "tiny")
    (tmp_path / "JPEGImages" / "480p").mkdir(parents=True)
    (tmp_path / "Annotations" / "480p").mkdir(parents=True)
    images.rename(tmp_path / "JPEGImages" / "480p" / "clip")
    masks.rename(tmp_path / "Annotations" / "480p" / "clip")
    source = vos.open_source(tmp_path / "JPEGImages" / "480p" / "clip")
    assert source.info.annotation_folder == tmp_path / "Annotations" / "480p" / "clip"
    tracker = StubTracker()
    results = [lm for _, lm in vos.stream(source, tracker=tracker)]
    assert vos.object_ids(results[-1]) == (1, 2, 3)
    given = [call for call in tracker.calls if call[0] in ("start", "annotate")]
    assert given == [("start", 0)] + [("annotate", a.frame_index) for a in sequence.annotations[1:]]


def test_a_folder_of_masks_annotates_the_frames_named_in_it(tmp_path):
    sequence = tiny_sequence("still", object_ids=(1, 2))
    images, masks = sequence.save(tmp_path)
    for path in masks.glob("*.png"):
        if path.stem not in ("00000", "00004"):
            path.unlink()
    tracker = StubTracker()
    assert len(list(vos.stream(images, masks, tracker=tracker))) == 8
    assert ("annotate", 4) in tracker.calls
    for path in masks.glob("*.png"):
        path.rename(path.with_name(f"other-{path.name}"))
    with pytest.raises(AnnotationError, match="no PNG in it is named after a frame"):
        vos.stream(images, masks, tracker=tracker)


def test_bad_folders_are_told(tmp_path):
    write(tmp_path / "JPEGImages" / "bear" / "0.png")
    with pytest.raises(vos.SourceError, match='no image in this folder .* name one of them, such as "bear"'):
        vos.open_source(tmp_path / "JPEGImages")
    write(tmp_path / "twice" / "a.png")
    write(tmp_path / "twice" / "a.jpg")
    with pytest.raises(vos.SourceError, match=r'frame name "a" appears twice \(a.jpg, a.png\)'):
        vos.open_source(tmp_path / "twice")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_short_image_is_an_error_naming_it(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for i in range(3):
        Image.fromarray(noise).save(tmp_path / f"{i}{suffix}")
    path = tmp_path / f"2{suffix}"
    path.write_bytes(path.read_bytes()[:800])
    good = []
    with pytest.raises(TruncatedSourceError, match=rf"2\{suffix}: the image is cut short") as caught:
        good.extend(vos.open_source(tmp_path).frames())
    assert (len(good), caught.value.frames_read, caught.value.frames_declared) == (2, 2, 3)


@pytest.mark.parametrize("location", ["7", "rtsp://127.0.0.1:1/none", "text.tiff"])
def test_what_cannot_be_opened_is_told_in_our_line_alone(tmp_path, capfd, monkeypatch, location):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.tiff").write_text("no image")
    with pytest.raises(vos.SourceError, match=f"{location}: (cannot be opened|not an image)"):
        vos.open_source(location)
    assert capfd.readouterr() == ("", "")


def test_text_named_as_an_image(tmp_path):
    (tmp_path / "x.jpg").write_text("hello")
    with pytest.raises(vos.SourceError, match="not an image that can be read"):
        vos.open_source(tmp_path / "x.jpg")


def test_a_header_that_states_more_pixels_than_there_can_be(tmp_path):
    path = write(tmp_path / "x.png")
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(vos.SourceError, match="not an image that can be read, or damaged"):
        read_image(path)


@pytest.mark.parametrize("location", ["²", 20 * "9", 300 * "x"])
def test_what_is_neither_a_file_nor_a_camera_is_one_clear_line(location):
    with pytest.raises(vos.SourceError, match=f"^{location}: no such file or folder") as error:
        vos.open_source(location)
    assert "\n" not in str(error.value)


def test_a_mask_among_the_images_is_refused_instead_of_tracked(tmp_path):
    for name in ("0", "1", "first"):
        write(tmp_path / "clip" / f"{name}.png", 7)
    mask = tmp_path / "clip" / "first.png"
    vos.write_label_map(mask, np.ones((20, 30), np.uint8))
    with pytest.raises(AnnotationError, match=r"first.png: the mask lies among the images .* Move it"):
        vos.stream(tmp_path / "clip", mask, tracker=StubTracker())
    moved = mask.rename(tmp_path / "first.png")
    assert len(list(vos.stream(tmp_path / "clip", moved, tracker=StubTracker()))) == 2


def test_masks_of_a_folder_for_frames_that_are_not_tracked_are_left_out(tmp_path):
    for i in range(4):
        write(tmp_path / "clip" / f"{i}.png", i)
        (tmp_path / "masks").mkdir(exist_ok=True)
        vos.write_label_map(tmp_path / "masks" / f"{i}.png", np.full((20, 30), i + 1, np.uint8))
    results = vos.stream(tmp_path / "clip", tmp_path / "masks", tracker=StubTracker(), start=1, stop=3)
    assert [vos.object_ids(label_map) for _, label_map in results] == [(2,), (3,)]
    (tmp_path / "masks" / "3.png").rename(tmp_path / "3.png")
    with pytest.raises(AnnotationError, match="masks of frames 0, 1, 2: .* only 3 is tracked"):
        vos.stream(tmp_path / "clip", tmp_path / "masks", tracker=StubTracker(), start=3)


@pytest.mark.parametrize(
    ("location", "message"),
    [("", "the location is empty"), ("\u00b2", "no such file or folder"), ("9" * 20, "no such file or folder")],
)
def test_locations_that_are_none(location, message, tmp_path, monkeypatch):
    write(tmp_path / "0.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vos.SourceError, match=message):
        vos.open_source(location)


def pages(count=6, size=(20, 30), dtype=np.uint8, step=30):
    return [np.full(size, index * step + 7, dtype) for index in range(count)]


@pytest.mark.parametrize("name", ["a.tif", "a.tiff", "deep.tif", "a.webp", "a.png", "a.apng"])
def test_every_page_of_a_file_is_a_frame(tmp_path, name):
    deep = name.startswith("deep")
    values = pages(dtype=np.uint16, step=160) if deep else pages()
    images = [Image.fromarray(page) for page in values]
    timed = {} if ".tif" in name else {"duration": 200}
    lossless = {"lossless": True} if name == "a.webp" else {}
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], **timed, **lossless)
    source = vos.open_source(tmp_path / name)
    assert (source.info.kind, source.info.frame_count, source.info.size) == ("image stack", 6, (20, 30))
    assert source.info.fps == (pytest.approx(5) if timed else None)
    expected = [int(page[0, 0]) >> 2 if deep else int(page[0, 0]) for page in values]
    for indices in (None, range(5, -1, -1), range(1, 6, 3), range(4, 5)):
        frames = list(source.frames(indices))
        assert [frame.index for frame in frames] == list(range(6) if indices is None else indices)
        assert [int(frame.image[0, 0, 0]) for frame in frames] == [expected[frame.index] for frame in frames]
        assert [frame.time for frame in frames] == [pytest.approx(f.index / 5) if timed else None for f in frames]
    source.close()


def test_pages_of_several_sizes_are_an_error_and_thumbnails_are_none(tmp_path):
    large, small = Image.fromarray(np.zeros((40, 60), np.uint8)), Image.fromarray(np.zeros((20, 30), np.uint8))
    large.save(tmp_path / "a.tif", save_all=True, append_images=[large, small])
    with pytest.raises(vos.SourceError, match="page 2 of 3 is 30x20, the first one is 60x40"):
        list(vos.open_source(tmp_path / "a.tif").frames())
    small.encoderinfo = {"tiffinfo": {254: 1}}
    large.save(tmp_path / "b.tif", save_all=True, append_images=[small])
    assert vos.open_source(tmp_path / "b.tif").info.frame_count == 1


@pytest.mark.parametrize("name", ["a.tif", "a.apng", "a.webp"])
def test_a_cut_stack_names_its_page(tmp_path, name):
    images = [Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 60)).astype(np.uint8)) for i in range(4)]
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=40)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 7 // 10])
    with pytest.raises(vos.SourceError, match=f"{name}: (page . of 4|its pages cannot be counted|not an image)"):
        list(vos.open_source(tmp_path / name).frames())


def test_a_folder_of_stacks_says_how_many_images_a_file_holds(tmp_path):
    images = [Image.fromarray(page) for page in pages(3)]
    for name in ("a.tif", "b.tif"):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
    with pytest.raises(vos.SourceError, match="a.tif: this file holds 3 images"):
        vos.open_source(tmp_path)


def test_every_suffix_of_an_image_is_a_frame_and_others_are_named(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="vos.sources")
    for index, suffix in enumerate((".jpg", ".jfif", ".ppm", ".webp", ".tga", ".png")):
        write(tmp_path / "clip" / f"{index}.png", 7).rename(tmp_path / "clip" / f"{index}.tmp")
        with Image.open(tmp_path / "clip" / f"{index}.tmp") as image:
            image.save(tmp_path / "clip" / f"{index}{suffix}", format="JPEG" if suffix == ".jfif" else None)
        (tmp_path / "clip" / f"{index}.tmp").unlink()
    (tmp_path / "clip" / "6.raw").write_text("x")
    (tmp_path / "clip" / "notes.txt").write_text("x")
    source = vos.open_source(tmp_path / "clip")
    assert source.info.frame_names == tuple("012345")
    assert source.info.frame_files[:3] == ("0.jpg", "1.jfif", "2.ppm")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'clip'}: 2 files are no image and left out: 6.raw, notes.txt."
    ]


def test_frames_of_ten_bits_have_one_scale(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="vos.sources")
    for index, value in enumerate((40, 400, 1000)):
        Image.fromarray(np.full((20, 30), value, np.uint16)).save(tmp_path / f"{index}.png")
    frames = list(vos.open_source(tmp_path).frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [10, 100, 250]
    assert "16 bits a channel, 10 of them used (values to 1000)" in caplog.records[0].getMessage()


def test_names_that_are_seconds_are_in_order_of_time(tmp_path):
    for index in range(8):
        write(tmp_path / f"{index / 8:g}.png", index)
    frames = list(vos.open_source(tmp_path).frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(8))


def stack(path, description, count=12):
    """A TIFF file as microscopes write it: the axes of its pages are in the first one's description."""
    first, *others = [Image.fromarray(page) for page in pages(count, step=10)]
    first.save(path, save_all=True, append_images=others, description=description)
    return path


def imagej(**axes):
    return "ImageJ=1.54f\n" + "".join(f"{name}={value}\n" for name, value in axes.items()) + "hyperstack=true\n"


def ome(more="", **axes):
    sizes = " ".join(f'{name}="{value}"' for name, value in axes.items())
    return (
        f'<?xml version="1.0"?><OME xmlns="http://ome"><Image><Pixels {sizes} SizeX="30">{more}</Pixels></Image></OME>'
    )


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (imagej(images=12, channels=2, frames=6), "2 channels, 1 slices and 6 times, expected one channel. Save one"),
        (imagej(images=12, slices=2, frames=6), "1 channels, 2 slices and 6 times, expected slices or times. Save one"),
        (
            imagej(images=600, frames=600),
            "states 600 images, and 12 can be read: ImageJ writes more than 4 GB so. Save",
        ),
        (ome(SizeC=2, SizeZ=1, SizeT=6), "2 channels, 1 slices and 6 times"),
        (ome(SizeC=1, SizeZ=2, SizeT=6), "1 channels, 2 slices and 6 times"),
        (ome(SizeC=1, SizeZ=1, SizeT=13), "states 13 images, and 12 can be read"),
    ],
)
def test_a_stack_whose_pages_are_not_its_times_is_refused(tmp_path, description, message):
    with pytest.raises(vos.SourceError, match=message):
        vos.open_source(stack(tmp_path / "a.tif", description))


@pytest.mark.parametrize(
    "description",
    [
        imagej(images=12, frames=12),
        imagej(images=12, slices=12),
        imagej(images=12),
        ome(SizeC=1, SizeZ=1, SizeT=12),
        ome('<Channel SamplesPerPixel="3"/>', SizeC=3, SizeZ=12, SizeT=1),
        ome('<UUID FileName="a"/><UUID FileName="b"/>', SizeC=1, SizeZ=1, SizeT=24),
        "a comment with channels=2",
        "",
    ],
)
def test_a_stack_of_one_axis_is_read(tmp_path, description):
    assert vos.open_source(stack(tmp_path / "a.tif", description)).info.frame_count == 12


def test_one_image_of_a_set_of_files_is_read(tmp_path):
    description = ome('<UUID FileName="a"/><UUID FileName="b"/>', SizeC=2, SizeZ=3, SizeT=24)
    assert vos.open_source(stack(tmp_path / "a.tif", description, 1)).info.frame_count == 1
