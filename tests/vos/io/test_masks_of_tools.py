"""Masks as other programs save them: palettes, grey levels, smoothing, dithering, transparency, damage."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import vos
import vos.plugin
from vos.io.images.png_file import MAX_PIXELS
from vos.io.masks.mask_edges import is_dithered, ramp_share
from vos.io.masks.mask_file import read_stored_label_map
from vos.plugin import AnnotationError, EmptyMaskError

GREY, RGB, PALETTE_TYPE = 0, 2, 3


def discs(*values: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """uint8 (H, W): a disc of each value on 0."""
    y, x = np.mgrid[: size[0], : size[1]]
    label_map = np.zeros(size, dtype=np.uint8)
    for n, value in enumerate(values):
        centre = size[1] * (n + 0.5) / len(values)
        label_map[(y - size[0] / 2) ** 2 + (x - centre) ** 2 < (0.4 * size[1] / len(values)) ** 2] = value
    return label_map


def save_palette(path: Path, indices: np.ndarray, colours: list[tuple[int, int, int]]) -> Path:
    image = Image.fromarray(indices)
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(path)
    return path


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def davis(*ids: int) -> list[tuple[int, int, int]]:
    return [tuple(int(v) for v in vos.plugin.PALETTE[i]) for i in ids]  # type: ignore[misc]


def refusal(path: Path) -> str:
    with pytest.raises(AnnotationError) as caught:
        vos.read_label_map(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count("\n") == 0
    return str(caught.value)


# Palettes


@pytest.mark.parametrize("ids", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 1, 7), (254, 0, 9), (0, 7, 56)])
def test_davis_colours_in_any_order_give_the_ids(
    tmp_path: Path, ids: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    truth = discs(*(i for i in ids if i))
    indices = np.zeros_like(truth)
    for index, object_id in enumerate(ids):
        indices[truth == object_id] = index
    path = save_palette(tmp_path / "m.png", indices, davis(*ids))
    with caplog.at_level(logging.INFO, logger="vos"):
        assert np.array_equal(vos.read_label_map(path), truth)
    assert np.array_equal(read_stored_label_map(path).label_map, truth)
    reordered = ids != tuple(range(len(ids)))
    assert ("DAVIS colours in another order" in caplog.text) == reordered
    assert (read_stored_label_map(path).note is not None) == reordered


def test_another_palette_gives_indices_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = discs(1, 3)
    path = save_palette(tmp_path / "m.png", truth, [(0, 0, 0), (255, 0, 0), (9, 9, 9), (0, 200, 255)])
    with caplog.at_level(logging.INFO, logger="vos"):
        assert np.array_equal(vos.read_label_map(path), truth)
    assert "its palette is not DAVIS's, so indices are the ids 1, 3" in caplog.text
    assert "not DAVIS's" in str(read_stored_label_map(path).note)


def test_another_palette_with_black_elsewhere_is_refused(tmp_path: Path) -> None:
    path = save_palette(tmp_path / "m.png", discs(0, 1) + np.uint8(0), [(255, 0, 0), (0, 0, 255), (0, 0, 0)])
    assert vos.object_ids(vos.read_label_map(path)) == (1,)  # black is not used
    indices = np.where(discs(1, 2) == 0, 2, discs(1, 2) - 1).astype(np.uint8)
    path = save_palette(tmp_path / "m.png", indices, [(255, 0, 0), (0, 0, 255), (0, 0, 0)])
    assert "black as index 2, and index 0, the background of a mask, is an object in #ff0000" in refusal(path)


@pytest.mark.parametrize("colours", [[(0, 0, 0), (255, 255, 255)], [(255, 255, 255), (0, 0, 0)]])
def test_a_palette_of_black_and_white_is_one_object(tmp_path: Path, colours: list[tuple[int, int, int]]) -> None:
    truth = discs(1)
    path = save_palette(tmp_path / "m.png", truth if colours[0] == (0, 0, 0) else 1 - truth, colours)
    assert np.array_equal(vos.read_label_map(path), truth)


def test_a_palette_of_greys_is_a_grey_picture(tmp_path: Path) -> None:
    truth = discs(64, 128)
    path = save_palette(tmp_path / "m.png", truth, [(i, i, i) for i in range(256)])
    assert np.array_equal(vos.read_label_map(path), truth)


@pytest.mark.parametrize("colour", [(200, 60, 40), (90, 90, 90), (20, 120, 230)])
@pytest.mark.parametrize("how", ["web", "quantize"])
def test_dithered_palettes_are_refused(tmp_path: Path, colour: tuple[int, int, int], how: str) -> None:
    pixels = np.where(discs(1)[..., None] > 0, np.array(colour, dtype=np.uint8), 0).astype(np.uint8)
    image = Image.fromarray(pixels)
    if how == "web":
        image.convert("P").save(tmp_path / "m.png")
    else:
        few = Image.new("P", (1, 1))
        few.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
        image.quantize(palette=few).save(tmp_path / "m.png")
    assert "a dithered palette picture" in refusal(tmp_path / "m.png")
    with pytest.raises(AnnotationError, match="dithered"):
        read_stored_label_map(tmp_path / "m.png")


@pytest.mark.parametrize("grey", [60, 128, 190])
def test_dithered_black_and_white_is_refused(tmp_path: Path, grey: int) -> None:
    Image.fromarray(discs(1) * np.uint8(grey)).convert("1").save(tmp_path / "m.png")
    assert "a dithered black and white picture" in refusal(tmp_path / "m.png")


def test_anti_aliased_palettes_are_refused(tmp_path: Path) -> None:
    large = Image.fromarray(discs(1, size=(480, 640)) * np.uint8(200))
    soft = large.resize((160, 120), Image.Resampling.BOX).convert("RGB")
    soft.quantize(16, dither=Image.Dither.NONE).save(tmp_path / "m.png")
    assert "only at edges, as anti-aliasing leaves them" in refusal(tmp_path / "m.png")


@pytest.mark.parametrize("count", [70, 254])
@pytest.mark.parametrize("kind", ["palette", "grey"])
def test_many_objects_are_read(tmp_path: Path, count: int, kind: str) -> None:
    tiles = np.arange(15 * 17, dtype=np.int64).reshape(15, 17) + 1
    label_map = np.where(tiles <= count, tiles, 0).astype(np.uint8).repeat(8, axis=0).repeat(12, axis=1)
    path = tmp_path / "m.png"
    if kind == "palette":
        vos.write_label_map(path, label_map)
    else:
        save(path, label_map)
    assert np.array_equal(vos.read_label_map(path), label_map)


# Grey values


@pytest.mark.parametrize(
    "values", [(85, 170, 255), (127, 255), (128, 255), (51, 102, 153, 204, 255), (63, 127, 191, 255)]
)
def test_equal_steps_up_to_white_are_objects(
    tmp_path: Path, values: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    pixels = discs(*values)
    with caplog.at_level(logging.INFO, logger="vos"):
        label_map = vos.read_label_map(save(tmp_path / "m.png", pixels))
    for object_id, value in enumerate(values, start=1):
        assert np.array_equal(label_map == object_id, pixels == value)
    assert f"read as objects 1 to {len(values)}" in caplog.text


def test_void_beside_ids_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = discs(1, 2)
    pixels[:3] = 255
    with caplog.at_level(logging.INFO, logger="vos"):
        assert np.array_equal(vos.read_label_map(save(tmp_path / "m.png", pixels)), pixels)
    assert "255 is void beside ids, so 480 pixels belong to no object" in caplog.text


@pytest.mark.parametrize("values", [(100, 200), (3,), (1, 2, 3), (255,), (85, 170, 255), (40,)])
@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX])
def test_smoothed_values_are_refused(tmp_path: Path, values: tuple[int, ...], how: Image.Resampling) -> None:
    factor = 2 if how is Image.Resampling.BOX else 0.5
    small = discs(*values, size=(int(120 * factor), int(160 * factor)))
    path = save(tmp_path / "m.png", np.asarray(Image.fromarray(small).resize((160, 120), how)))
    assert "Save it as PNG without smoothing" in refusal(path)


def test_drawn_with_anti_aliasing_is_refused_and_without_is_read(tmp_path: Path) -> None:
    hard = Image.new("L", (160, 120))
    ImageDraw.Draw(hard).polygon([(20, 20), (140, 30), (120, 100), (30, 90)], fill=3)
    ImageDraw.Draw(hard).line([(0, 0), (159, 119)], fill=7)  # one pixel wide
    hard.save(tmp_path / "hard.png")
    assert vos.object_ids(vos.read_label_map(tmp_path / "hard.png")) == (3, 7)
    soft = hard.point(lambda v: 60 * (v > 0)).resize((640, 480)).resize((150, 110), Image.Resampling.LANCZOS)
    soft.save(tmp_path / "soft.png")
    refusal(tmp_path / "soft.png")


def test_ramps_are_counted_where_values_change() -> None:
    assert ramp_share(discs(1, 2, 3)) == 0
    assert ramp_share(np.tile(np.uint8([0, 0, 100, 200, 200]), (9, 1))) == pytest.approx(1 / 3)
    assert not is_dithered(discs(1, 2), 0)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_wide_files_of_ids_are_read(tmp_path: Path, dtype: type) -> None:
    truth = discs(1, 254)
    path = tmp_path / "m.tif"
    Image.fromarray(truth.astype(dtype)).save(path)
    assert np.array_equal(vos.read_label_map(path), truth)


def test_sixteen_bits_of_black_and_white_are_one_object(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", discs(1).astype(np.uint16) * 65535)
    assert np.array_equal(vos.read_label_map(path), discs(1))


# Colours and transparency


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)


def test_a_cutout_gives_its_opaque_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = discs(1)
    path = save(tmp_path / "m.png", np.dstack([photo(), truth * np.uint8(255)]))
    with caplog.at_level(logging.INFO, logger="vos"):
        assert np.array_equal(vos.read_label_map(path), truth)
    assert "a cut-out: what is opaque" in caplog.text
    grey = np.dstack([photo()[..., 0], truth * np.uint8(255)])
    assert np.array_equal(vos.read_label_map(save(tmp_path / "grey.png", grey)), truth)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
@pytest.mark.parametrize("opacity", [255, 128])
def test_a_layer_in_one_colour_is_one_object(tmp_path: Path, colour: tuple[int, int, int], opacity: int) -> None:
    truth = discs(1)
    layer = np.dstack([np.broadcast_to(np.uint8(colour), (120, 160, 3)), truth * np.uint8(opacity)])
    assert np.array_equal(vos.read_label_map(save(tmp_path / "m.png", layer)), truth)


def test_a_layer_in_davis_colours_gives_ids(tmp_path: Path) -> None:
    truth = discs(2, 5)
    layer = np.dstack([vos.plugin.PALETTE[truth], (truth > 0) * np.uint8(255)])
    assert np.array_equal(vos.read_label_map(save(tmp_path / "m.png", layer)), truth)


def test_soft_transparency_is_refused(tmp_path: Path) -> None:
    alpha = np.asarray(Image.fromarray(discs(1) * np.uint8(255)).resize((80, 60)).resize((160, 120)))
    path = save(tmp_path / "m.png", np.dstack([photo(), alpha]))
    assert "its transparency has" in refusal(path)
    nothing = save(tmp_path / "none.png", np.dstack([photo(), alpha * np.uint8(0)]))
    assert "all of it is transparent" in refusal(nothing)


def test_one_colour_on_black_is_one_object_and_several_are_not(tmp_path: Path) -> None:
    truth = discs(1, 2)
    red = np.where(truth[..., None] > 0, np.uint8([255, 0, 0]), np.uint8(0))
    assert np.array_equal(vos.read_label_map(save(tmp_path / "red.png", red)), (truth > 0).astype(np.uint8))
    both = np.uint8([[0, 0, 0], [255, 0, 0], [0, 0, 255]])[truth]
    assert "--mask 1=FILE --mask 2=FILE" in refusal(save(tmp_path / "both.png", both))
    assert "as a photo, soft edges" in refusal(save(tmp_path / "photo.png", photo()))


def test_a_transparent_background_of_a_palette_changes_nothing(tmp_path: Path) -> None:
    truth = discs(1, 2)
    image = Image.fromarray(truth)
    image.putpalette(vos.plugin.PALETTE.tobytes())
    image.save(tmp_path / "m.png", transparency=0)
    assert np.array_equal(vos.read_label_map(tmp_path / "m.png"), truth)


def test_a_turned_mask_is_read_as_it_is_shown(tmp_path: Path) -> None:
    truth = discs(1, 2)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    Image.fromarray(truth).save(tmp_path / "m.png", exif=exif)
    assert np.array_equal(vos.read_label_map(tmp_path / "m.png"), np.rot90(truth, -1))


# Damage


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    framed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def header(width: int, height: int, depth: int = 8, colour_type: int = GREY, interlaced: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)


def png_with_rows(
    rows: int, *, height: int = 40, channels: int = 1, colour_type: int = GREY, filtered: int = 0
) -> bytes:
    raw = bytes([filtered]) + bytes([1]) * 20 * channels
    data = zlib.compress(raw * rows)
    return png([(b"IHDR", header(20, height, 8, colour_type)), (b"IDAT", data), (b"IEND", b"")])


@pytest.mark.parametrize("kind", ["plain", "filtered", "rgb"])
def test_half_of_the_rows_are_refused(tmp_path: Path, kind: str) -> None:
    more = {"plain": {}, "filtered": {"filtered": 2}, "rgb": {"channels": 3, "colour_type": RGB}}[kind]
    path = tmp_path / "m.png"
    path.write_bytes(png_with_rows(20, **more))  # type: ignore[arg-type]
    assert "a damaged PNG file: it holds 20 of 40 rows" in refusal(path)
    with pytest.raises(AnnotationError, match="20 of 40 rows"):
        read_stored_label_map(path, painted=True)
    path.write_bytes(png_with_rows(40, **more))  # type: ignore[arg-type]
    read_stored_label_map(path, painted=True)


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "RGBA", "1", "I;16"])
@pytest.mark.parametrize("damage", ["checksum", "pixels", "cut", "header"])
def test_damaged_files_of_every_kind_are_refused(tmp_path: Path, mode: str, damage: str) -> None:
    path = tmp_path / "m.png"
    truth = discs(1, 2)
    if mode == "P":
        vos.write_label_map(path, truth)
    elif mode == "I;16":
        save(path, truth.astype(np.uint16))
    else:
        Image.fromarray(truth * np.uint8(85)).convert(mode).save(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT")
    length = int.from_bytes(content[at - 4 : at], "big")
    if damage == "checksum":
        content[at + 4 + length] ^= 1
    elif damage == "pixels":
        content[at + 4 + length // 2] ^= 255
    elif damage == "header":
        content[18] ^= 1
    else:
        del content[at + length // 2 :]
    path.write_bytes(content)
    assert "PNG file" in refusal(path)
    with pytest.raises(AnnotationError, match="PNG file"):
        read_stored_label_map(path)


def test_data_without_their_end_are_refused(tmp_path: Path) -> None:
    raw = (bytes([0]) + bytes(20)) * 40
    data = zlib.compress(raw)[:-4]  # all rows, and no checksum of them
    (tmp_path / "m.png").write_bytes(png([(b"IHDR", header(20, 40)), (b"IDAT", data), (b"IEND", b"")]))
    assert "a damaged PNG file" in refusal(tmp_path / "m.png")


def test_interlaced_files_are_whole_or_refused(tmp_path: Path) -> None:
    for size in ((1, 1), (3, 9), (40, 23)):
        label_map = np.random.default_rng(0).integers(0, 3, size).astype(np.uint8)
        height, width = size
        passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        raw = b""
        for x, y, dx, dy in passes:
            part = label_map[y::dy, x::dx]
            raw += b"".join(bytes([0]) + row.tobytes() for row in part if part.size)
        chunks = [(b"IHDR", header(width, height, 8, PALETTE_TYPE, 1)), (b"PLTE", vos.plugin.PALETTE.tobytes())]
        path = tmp_path / "m.png"
        path.write_bytes(png([*chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]))
        assert np.array_equal(vos.read_label_map(path, allow_empty=True), label_map)
        path.write_bytes(png([*chunks, (b"IDAT", zlib.compress(raw[: len(raw) // 2])), (b"IEND", b"")]))
        assert "not all rows" in refusal(path)


def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    path.write_bytes(png([(b"IHDR", header(100_000, 100_000)), (b"IDAT", b"x"), (b"IEND", b"")]))
    assert f"10,000,000,000 pixels, more than the {MAX_PIXELS:,} that are read" in refusal(path)
    data = zlib.compress(bytes(50_000_000), 9)  # far more rows than the header states
    path.write_bytes(png([(b"IHDR", header(4, 4)), (b"IDAT", data), (b"IEND", b"")]))
    with pytest.raises(EmptyMaskError):
        vos.read_label_map(path)
    bitmap = b"BM" + struct.pack("<IIIIiiHHIIiiII", 1000, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0)
    path.write_bytes(bitmap + bytes(1000))
    assert "pixels" in refusal(path)


def test_the_wrong_size_is_said_before_anything_else(tmp_path: Path) -> None:
    soft = np.asarray(Image.fromarray(discs(1) * np.uint8(255)).resize((80, 60)))
    with pytest.raises(AnnotationError, match="mask is 80x60, the frame is 160x120"):
        vos.read_label_map(save(tmp_path / "m.png", soft), (120, 160))


def test_several_pictures_in_a_file_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(discs(n)) for n in (1, 2)]
    for name in ("m.tif", "m.gif", "m.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        assert "it holds 2 pictures, a mask is one" in refusal(tmp_path / name)


def test_a_program_is_never_started_for_a_mask(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    assert "not a picture" in refusal(tmp_path / "m.png")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "cannot be read (it is a fifo, expected a file)" in refusal(tmp_path / "pipe.png")
    assert "it is a folder" in refusal(tmp_path)
    assert "it is a device" in refusal(Path("/dev/zero"))
    with pytest.raises(AnnotationError, match="a fifo"):
        read_stored_label_map(tmp_path / "pipe.png")
