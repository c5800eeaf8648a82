"""An export whose process is killed goes on where it was, and touches no file that it did not write."""

import os
import shutil

import pytest
from click.testing import CliRunner

import vos
from vos.cli import cli
from vos.testing import StubTracker, tiny_sequence

DYING = '''
import os, signal
from pathlib import Path
from vos.plugin import WriterSpec, hookimpl
from vos_formats.folders import PngWriter
from vos_formats.options import FileOptions

LOG = Path(__file__).with_name("kills")

class DyingWriter(PngWriter):
    """Writes PNG files; its process is killed in the middle the first two times."""

    def add(self, frame, label_map, prediction):
        super().add(frame, label_map, prediction)
        kills = LOG.read_text() if LOG.exists() else ""
        if frame.index == 2 and len(kills) < 2:
            (self.path / ".partial-0123456789ab-00003_001.png").touch()  # as a kill within a write leaves
            LOG.write_text(kills + "x")
            os.kill(os.getpid(), signal.SIGKILL)

@hookimpl
def vos_writers():
    return [WriterSpec("dying", "Dies.", DyingWriter, FileOptions)]
'''


@pytest.fixture
def export(tmp_path):
    """Export with the plugin; the result of the command."""
    plugin = tmp_path / "dying_writer.py"
    plugin.write_text(DYING)
    sequence = tiny_sequence("moving", object_ids=(1, 2), length=5)
    frames, _ = sequence.save(tmp_path / "clip")
    done = vos.track(frames, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path / "out").run

    def run(output, *words, to="dying"):
        words = ["-p", plugin, "export", done.output, "--to", to, "-o", tmp_path / output, *words]
        return CliRunner().invoke(cli, [str(word) for word in words])

    return run


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_export_goes_on_when_it_is_retried_and_when_it_is_run_again(export, tmp_path):
    assert export("whole", to="png").exit_code == 0
    killed = export("half", "-E", "workers=1", "-E", "retries=1")
    assert "its worker died 2 times" in str(killed.exception)  # the second attempt did not refuse the first one's files
    half = tmp_path / "half"
    before = contents(half)
    assert 0 < len(before) < len(contents(tmp_path / "whole"))

    (half / "mine.png").write_bytes(b"of the user")
    os.utime(half / "mine.png", ns=(1, 1))  # before the export began
    refused = export("half")
    assert f"{half / 'mine.png'}: lies in the output of an export that was stopped" in str(refused.exception)
    assert contents(half) == before | {"mine.png": b"of the user"}
    (half / "mine.png").unlink()

    other = export("half", to="png")
    assert "holds files already" in str(other.exception)  # another format is another export
    assert contents(half) == before

    done = export("half")
    assert (done.exit_code, done.stdout) == (0, f"{half}\n"), done.output
    assert contents(half) == contents(tmp_path / "whole")
    assert not list(tmp_path.glob(".partial-*"))
    assert "holds files already" in str(export("half").exception)  # it is finished


def test_an_export_that_fails_before_it_writes_leaves_nothing(export, tmp_path):
    shutil.rmtree(tmp_path / "clip")
    (mask, *_) = sorted((tmp_path / "out").rglob("*.png"))
    mask.write_bytes(b"no picture")
    assert export("none", to="png").exit_code == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
