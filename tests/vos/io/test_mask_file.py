import io
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import vos
from vos.io.masks.mask_file import encode_label_map
from vos.plugin import PALETTE, AnnotationError, EmptyMaskError
from vos.types.label_map import masks_of, without_void

label_maps = hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 254))


@pytest.fixture
def square():
    label_map = np.zeros((30, 40), dtype=np.uint8)
    label_map[5:15, 5:20] = 1
    label_map[15:25, 10:30] = 3
    return label_map


@given(label_maps)
def test_label_map_to_png_and_back_is_identity(tmp_path_factory, label_map):
    path = tmp_path_factory.mktemp("png") / "m.png"
    vos.write_label_map(path, label_map)
    assert np.array_equal(vos.read_label_map(path, allow_empty=True), label_map)


@given(label_maps)
def test_object_ids_are_the_values_without_background(label_map):
    assert vos.object_ids(label_map) == tuple(sorted(set(label_map.ravel().tolist()) - {0}))


def test_png_is_a_davis_palette_file(square):
    with Image.open(io.BytesIO(encode_label_map(square))) as image:
        assert image.mode == "P"
        assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
        assert image.getpalette()[-3:] == [224, 224, 192]
        assert len(image.getpalette()) == 768
        assert np.array_equal(np.asarray(image), square)


def test_void_is_no_object(square):
    square[0] = 255
    assert vos.object_ids(square) == (1, 3)
    assert vos.object_ids(without_void(square)) == (1, 3)
    assert without_void(square).max() == 3


def test_masks_of_keeps_the_order_of_ids(square):
    masks = masks_of(square, [3, 1, 9])
    assert masks.dtype == bool
    assert [int(m.sum()) for m in masks] == [200, 150, 0]


def save(tmp_path, pixels, mode=None, name="m.png", **options):
    path = tmp_path / name
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def test_greyscale_with_ids_is_read_as_ids(tmp_path, square):
    assert np.array_equal(vos.read_label_map(save(tmp_path, square)), square)


def test_sparse_ids_are_kept(tmp_path, square):
    square[square == 3] = 200
    assert vos.object_ids(vos.read_label_map(save(tmp_path, square))) == (1, 200)


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_black_and_white_is_one_object(tmp_path, square, mode, caplog):
    path = save(tmp_path, np.where(square > 0, 255, 0).astype(np.uint8), mode)
    with caplog.at_level(logging.INFO, logger="vos"):
        assert np.array_equal(vos.read_label_map(path), (square > 0).astype(np.uint8))
    assert "one object with id 1" in caplog.text


def test_palette_file_with_void_keeps_void(tmp_path, square):
    square[4] = 255
    path = tmp_path / "m.png"
    vos.write_label_map(path, square)
    assert np.array_equal(vos.read_label_map(path), square)


def test_rgb_in_palette_colours_is_mapped_and_logged(tmp_path, square, caplog):
    with caplog.at_level(logging.INFO, logger="vos"):
        assert np.array_equal(vos.read_label_map(save(tmp_path, PALETTE[square])), square)
    assert "mapped to ids (1, 3)" in caplog.text


def test_rgba_takes_transparent_as_background(tmp_path, square):
    alpha = np.where(square == 1, 0, 255).astype(np.uint8)
    path = save(tmp_path, np.dstack([PALETTE[square], alpha]))
    assert vos.object_ids(vos.read_label_map(path)) == (3,)


def test_foreign_colours_are_refused(tmp_path, square):
    pixels = PALETTE[square].copy()
    pixels[0, 0] = (1, 2, 3)
    with pytest.raises(AnnotationError, match=r"1 pixels in colours outside the DAVIS palette, first \(1, 2, 3\)"):
        vos.read_label_map(save(tmp_path, pixels))


def test_anti_aliased_is_refused(tmp_path, square):
    soft = Image.fromarray(np.where(square > 0, 255, 0).astype(np.uint8)).resize((97, 71), Image.Resampling.BICUBIC)
    with pytest.raises(AnnotationError, match=r"\d+ different grey values.*, as anti-aliased edges"):
        vos.read_label_map(save(tmp_path, np.asarray(soft)))


def test_a_photograph_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (50, 50)).astype(np.uint8)
    with pytest.raises(AnnotationError, match=r"\d+ different grey values.*, as anti-aliased edges"):
        vos.read_label_map(save(tmp_path, noise))


def test_jpeg_is_refused(tmp_path, square):
    with pytest.raises(AnnotationError, match="JPEG is lossy"):
        vos.read_label_map(save(tmp_path, square, name="m.jpg"))


def test_16_bit_is_refused_with_its_values(tmp_path, square):
    wide = square.astype(np.uint16)
    wide[square == 3] = 300
    with pytest.raises(AnnotationError, match="16 or more bits a pixel .values 0 to 300"):
        vos.read_label_map(save(tmp_path, wide))


def test_wrong_size_says_both_sizes(tmp_path, square):
    with pytest.raises(AnnotationError, match="mask is 40x30, the frame is 80x60"):
        vos.read_label_map(save(tmp_path, square), size=(60, 80))


def test_empty_mask_is_refused_unless_allowed(tmp_path):
    path = save(tmp_path, np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(EmptyMaskError, match="no object in the mask"):
        vos.read_label_map(path)
    assert not vos.read_label_map(path, allow_empty=True).any()


def test_missing_and_damaged_files_say_so(tmp_path, square):
    with pytest.raises(AnnotationError, match="no such mask file"):
        vos.read_label_map(tmp_path / "none.png")
    path = tmp_path / "cut.png"
    path.write_bytes(encode_label_map(square)[:60])
    with pytest.raises(AnnotationError, match="a truncated PNG file|not a picture"):
        vos.read_label_map(path)
    path.write_text("hello")
    with pytest.raises(AnnotationError, match="a truncated PNG file|not a picture"):
        vos.read_label_map(path)


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.float32])
def test_an_array_that_is_no_label_map_is_not_written(tmp_path, square, dtype):
    with pytest.raises(ValueError, match=rf"label map is {np.dtype(dtype)} \(.*\), expected uint8 \(H, W\)"):
        vos.write_label_map(tmp_path / "mask.png", square.astype(dtype))
    with pytest.raises(ValueError, match=r"label map is uint8 \(1, .*\), expected uint8"):
        vos.write_label_map(tmp_path / "mask.png", square[None])
    assert not list(tmp_path.iterdir())
