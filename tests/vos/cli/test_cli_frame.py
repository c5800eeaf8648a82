"""``vos frame`` writes the frame that a mask of the same index meets."""

import numpy as np
from click.testing import CliRunner
from PIL import Image

import vos
from vos.cli import cli
from vos.example_clip import CLIP


def run(*arguments):
    return CliRunner().invoke(cli, ["frame", *map(str, arguments)])


def test_the_picture_is_the_frame_of_that_index(tmp_path):
    result = run(CLIP, "-k", 7, "-o", tmp_path / "new" / "f.png")
    assert result.exit_code == 0, result.output
    written = np.array(Image.open(tmp_path / "new" / "f.png"))
    assert np.array_equal(written, vos.read_frame(CLIP, 7).image)


def test_nothing_is_replaced_unless_asked(tmp_path):
    target = tmp_path / "f.png"
    target.write_bytes(b"mine")
    result = run(CLIP, "-o", target)
    assert isinstance(result.exception, vos.InputError)
    assert target.read_bytes() == b"mine"
    assert run(CLIP, "-o", target, "--overwrite").exit_code == 0
    assert Image.open(target).size[0] > 0


def test_a_lossy_name_and_a_missing_frame_are_said(tmp_path):
    assert "no pixel may change" in str(run(CLIP, "-o", tmp_path / "f.jpg").exception)
    assert "no frame 99999" in str(run(CLIP, "-k", 99999, "-o", tmp_path / "f.png").exception)
    assert not list(tmp_path.iterdir())
