"""Workers end with their parent, and a script with the streams that it holds, however they end."""

import os
import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from vos.host.process_ends import end_with_parent

def work(_):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600)

if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context(sys.argv[1]), initializer=end_with_parent) as pool:
        list(pool.map(work, range(2)))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_end_with_a_parent_that_is_killed(method, tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "run.py"), method], stdout=subprocess.PIPE, text=True)
    assert all(int(parent.stdout.readline()) > 0 for _ in range(2))
    parent.send_signal(signal.SIGKILL)
    said, _ = parent.communicate(timeout=60)  # the workers hold the pipe: it ends when the last of them does
    assert said == ""
    assert parent.returncode == -signal.SIGKILL


LEFT_IN_THE_MIDDLE = """
import numpy as np, torch, vos
torch.set_num_threads(2)  # with one, nothing is encoded ahead
frames = list(np.random.default_rng(0).integers(0, 255, (12, 320, 480, 3), dtype=np.uint8))
mask = np.zeros((320, 480), np.uint8)
mask[100:200, 100:200] = 1
left = vos.stream(frames, mask)
for _ in range(3):
    next(left)
"""


def test_a_script_may_end_with_a_stream_left_in_the_middle() -> None:
    ended = subprocess.run([sys.executable, "-c", LEFT_IN_THE_MIDDLE], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
