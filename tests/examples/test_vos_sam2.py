"""The tests of examples/vos-sam2 pass where transformers is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "vos-sam2"


def test_its_own_tests_pass():
    pytest.importorskip("transformers", reason="the example's own dependency")
    path = os.pathsep.join([str(EXAMPLE / "src"), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=EXAMPLE,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "32 passed" in result.stdout
