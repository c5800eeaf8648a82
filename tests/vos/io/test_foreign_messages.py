"""Lines that image libraries print themselves never reach the terminal; others do."""

import io
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import vos
import vos.plugin
from vos.io.images.foreign_messages import quietly


@pytest.fixture
def damaged(tmp_path):
    """A JPEG file whose pixels are damaged in their middle, which libjpeg fills in."""
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    content[len(content) // 2 : len(content) // 2 + 2] = b"\xff\xd3"
    path = tmp_path / "00003.jpg"
    path.write_bytes(content)
    return path


def test_a_jpeg_that_is_damaged_in_its_middle_is_a_warning_and_no_line_of_libjpeg(damaged, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        assert vos.plugin.read_image(damaged).shape == (48, 64, 3)
    assert all(line.startswith("vos: warning: ") for line in capfd.readouterr().err.splitlines())
    assert [
        record.getMessage().count("00003.jpg: the image is damaged (Corrupt JPEG") for record in caplog.records
    ] == [1]


def test_what_others_print_meanwhile_is_printed(capfd):
    def decode():
        os.write(2, b"vos: 5 frames\nlibpng error: bad\nValueError: bad\nEstimateStripByteCounts: bad\n")

    assert quietly(decode, alone=True) == (None, ["libpng error: bad", "EstimateStripByteCounts: bad"])
    assert capfd.readouterr().err == "vos: 5 frames\nValueError: bad\n"


def test_threads_get_their_own_messages(capfd):
    def decode(number):
        def print_and_return():
            if number % 2:
                os.write(2, f"libpng warning: {number}\n".encode())
            return number

        return quietly(print_and_return)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(decode, range(40)))
    assert answers == [(n, [f"libpng warning: {n}"] if n % 2 else []) for n in range(40)]
    assert capfd.readouterr().err == ""
