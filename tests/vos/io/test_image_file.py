import os
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

import vos
from vos.io.images.image_file import IMAGE_SUFFIXES
from vos.io.images.value_scale import find_value_scale
from vos.plugin import read_image

RAMP = np.linspace(0, 1, 40 * 60).reshape(40, 60)


def colours(seed=0):
    small = np.random.default_rng(seed).integers(0, 255, (5, 6, 3)).astype(np.uint8)
    return small.repeat(8, 0).repeat(10, 1)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".dib", ".webp", ".tif", ".ppm", ".pnm", ".tga", ".sgi", ".pcx",
                                    ".jp2", ".qoi", ".avif", ".apng", ".gif"])  # fmt: skip
def test_suffixes_are_read_as_pillow_reads_them(tmp_path, suffix):
    assert suffix in IMAGE_SUFFIXES
    path = tmp_path / f"a{suffix}"
    Image.fromarray(colours()).save(path, **({"lossless": True} if suffix in (".webp", ".jp2") else {}))
    with Image.open(path) as image:
        assert np.array_equal(read_image(path), image.convert("RGB"))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"])
@pytest.mark.parametrize("trailer", [b"", bytes(70_000), b"\xff\xd8 a video follows" * 9000])
def test_bytes_after_a_jpeg_do_not_matter(tmp_path, suffix, trailer):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    path = tmp_path / f"b{suffix}"
    path.write_bytes(content + trailer)
    assert np.array_equal(read_image(path), read_image(tmp_path / "a.jpg"))
    path.write_bytes(content[: len(content) // 2] + bytes(len(trailer)))
    with pytest.raises(vos.SourceError, match=f"b{suffix}: the image is cut short"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tags_are_applied(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :16] = 255
    path = tmp_path / f"a{suffix}"
    Image.fromarray(image).save(path, exif=exif)
    transposed = image.transpose(1, 0, 2)
    views = [image, image[:, ::-1], image[::-1, ::-1], image[::-1], transposed, np.rot90(image, -1)]
    turned = [*views, transposed[::-1, ::-1], np.rot90(image)][orientation - 1]
    read = read_image(path)
    assert read.shape == turned.shape
    assert np.abs(read.astype(int) - turned).mean() < 6


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bits_that_are_used_are_scaled_to_eight(tmp_path, bits, suffix, channels):
    values = np.rint(RAMP * ((1 << bits) - 1)).astype(np.uint16)
    stored = values if channels == 1 else np.dstack([values, values // 2, values // 4])
    cv2.imwrite(str(tmp_path / f"a{suffix}"), stored if channels == 1 else stored[..., ::-1])
    read = read_image(tmp_path / f"a{suffix}")
    expected = stored if channels == 3 else np.dstack([values] * 3)
    assert np.array_equal(read, expected >> (bits - 8))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-5, 3000)])
def test_floating_point_tiff(tmp_path, low, high):
    Image.fromarray((low + RAMP * (high - low)).astype(np.float32)).save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif")[..., 1] - RAMP * 255).max() <= 0.51


def test_one_scale_for_dark_and_bright_frames():
    scale = find_value_scale([np.full((2, 2), 40, np.uint16), np.full((2, 2), 900, np.uint16)])
    assert (scale.low, scale.high) == (0, 1024)
    assert "10 of them used (values to 900)" in scale.text
    assert find_value_scale([np.zeros((2, 2), np.uint8)]) is None


def test_damage_is_one_line(tmp_path, capfd):
    Image.fromarray(colours()).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    at = content.index(b"IDAT") + 20
    content[at : at + 20] = bytes(20)
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "b.tif").write_bytes(b"II*\0" + struct.pack("<I", 1 << 30))
    (tmp_path / "c.png").mkdir()
    for name in ("a.png", "b.tif", "c.png", "d.png"):
        with pytest.raises(vos.SourceError, match=f"{name}: .*(damaged|a folder|No such file)") as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(vos.SourceError, match="not a regular file"):
        read_image(tmp_path / "a.png")


def write_tiff(path, planes, photometric):
    """Write uint16 (K, H, W) as a TIFF file of a strip a plane; Pillow writes neither planes nor white as 0."""
    count, height, width = planes.shape
    size = 2 * height * width
    at = 8 + count * size  # of the numbers that do not fit in a tag
    bits, offsets, counts = at, at + 2 * count, at + 6 * count
    tags = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, count, bits if count > 2 else 16), (259, 3, 1, 1)),
        *((262, 3, 1, photometric), (273, 4, count, offsets if count > 1 else 8), (277, 3, 1, count)),
        *((278, 3, 1, height), (279, 4, count, counts if count > 1 else size), (284, 3, 1, 2 if count > 1 else 1)),
    ]
    arrays = struct.pack(f"<{count}H", *[16] * count)
    arrays += struct.pack(f"<{2 * count}I", *(8 + plane * size for plane in range(count)), *[size] * count)
    head = struct.pack("<2sHI", b"II", 42, at + len(arrays))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(head + planes.astype("<u2").tobytes() + arrays + directory)


def test_white_as_zero_is_heeded_with_sixteen_bits(tmp_path):
    values = np.linspace(0, 65535, 12 * 20).reshape(12, 20).astype(np.uint16)
    for photometric in (0, 1):
        write_tiff(tmp_path / "x.tif", values[None], photometric)
        expected = (65535 - values if photometric == 0 else values) >> 8
        assert np.array_equal(read_image(tmp_path / "x.tif")[..., 1], expected)


def test_deep_colours_in_a_plane_each_are_refused(tmp_path):
    write_tiff(tmp_path / "x.tif", np.full((3, 12, 20), 40000, np.uint16), photometric=2)
    for read in (read_image, vos.open_source):
        with pytest.raises(vos.SourceError, match=r"x\.tif: colours of more than 8 bits in a plane each.*interleaved"):
            read(tmp_path / "x.tif")
