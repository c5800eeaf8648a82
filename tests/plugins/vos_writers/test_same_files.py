"""The same pictures give the same file, whatever lies in memory that nothing has written."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
import vos
from vos.testing import StubTracker, TinySequence, tiny_sequence
tiny = tiny_sequence("moving", length=7, object_ids=(3, 9))
images = tuple(np.full((48, 64, 3), 30 * (k + 1), np.uint8) for k in range(7))
sequence = TinySequence("brightens", images, tiny.label_maps, ())
writer = (sys.argv[1], {"path": sys.argv[2]})
class Oracle(StubTracker):
    def step(self, frame):
        return vos.Prediction.from_label_map(tiny.label_maps[frame.index], (3, 9))
vos.track(sequence, tiny.label_maps[0], tracker=Oracle(), writers=[writer])
"""


@pytest.mark.parametrize(("writer", "suffix"), [("overlay", "mp4"), ("overlay", "webm"), ("matte", "mp4")])
def test_a_video_does_not_depend_on_what_memory_held_before(tmp_path, writer, suffix):
    files = []
    for fill in ("1", "255"):
        path = tmp_path / f"{fill}.{suffix}"
        # glibc fills memory with this byte when it is given out; other systems ignore it.
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        subprocess.run([sys.executable, "-c", PROGRAM, writer, str(path)], check=True, env=environment)
        files.append(path.read_bytes())
    assert files[0] == files[1]
