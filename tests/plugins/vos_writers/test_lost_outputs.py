"""A disk that fills up and a folder that is removed during a run: an error line, and no unfinished file."""

import contextlib
import logging
import resource
import shutil
import tempfile
import time

import pytest

import vos
from vos.io.atomic_files import PARTIAL_PREFIX
from vos.plugin import OptionError, OutputError, OutputFolder, hookimpl
from vos.testing import StubTracker, tiny_sequence

WRITERS = vos.load_plugins().writers.names()
SUFFIXES = {"overlay": ".mp4", "prores": ".mov", "webm-alpha": ".webm", "matte": ".mp4", "report": ".csv"}
SUFFIXES |= {"coco": ".json", "coco-rle": ".json", "cvat": ".xml", "label-studio": ".json", "youtube-vis": ".json"}
SUFFIXES |= {"npz": ".npz", "tar": ".tar"}
FOLDERS = [name for name in WRITERS if name not in SUFFIXES]


@contextlib.contextmanager
def files_of_at_most(size):
    """Fail every write beyond so many bytes of a file, as a full disk does (EFBIG in place of ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    logging.disable(logging.CRITICAL)  # stderr is a file too, where pytest captures it
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def track(sequence, writer, path, **more):
    options = {} if writer == "davis" else {"path": str(path)}
    output = path if writer == "davis" else None
    return vos.track(
        sequence, sequence.label_maps[0], tracker=StubTracker(), output=output, writers=[(writer, options)], **more
    )


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_no_unfinished_file(writer, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    sequence = tiny_sequence("moving", length=12)
    path = tmp_path / f"out{SUFFIXES.get(writer, '')}"
    with files_of_at_most(64), pytest.raises(vos.VosError, match=r"cannot be written \(File too large\)") as caught:
        track(sequence, writer, path)
    assert "\n" not in str(caught.value)
    assert ".partial-" not in str(caught.value)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("writer", sorted(SUFFIXES))
def test_a_folder_in_place_of_the_file_is_refused_before_anything_is_made(writer, tmp_path):
    path = tmp_path / f"there{SUFFIXES[writer]}"
    path.mkdir()
    sequence = tiny_sequence("moving", length=2)
    with pytest.raises(OptionError, match="is a folder, expected a file to write"):
        vos.track(
            sequence,
            sequence.label_maps[0],
            tracker=StubTracker(),
            output=tmp_path / "out",
            writers=["davis", (writer, {"path": str(path)})],
        )
    assert list(tmp_path.rglob("*")) == [path]


def test_a_disk_without_space_for_the_record_is_reported_once(tmp_path, monkeypatch, caplog):
    def full(path, *_):
        raise OutputError(f"{path}: cannot be written (No space left on device).")

    monkeypatch.setattr("vos.host.outputs.run_record.atomic_write", full)
    with pytest.raises(OutputError, match=r"run.json: cannot be written \(No space"):
        track(tiny_sequence("moving", length=2), "davis", tmp_path / "out")
    assert "vos_run_failed" not in caplog.text
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


class Remover:
    """Removes a folder after a frame, as a person or another program does."""

    def __init__(self, folder, after):
        self.folder, self.after = folder, after

    @hookimpl
    def vos_frame_done(self, frame):
        if frame.index != self.after:
            return
        patience = time.monotonic() + 10  # the writer is up to eight frames behind
        while not any(map(is_whole, self.folder.rglob("*"))) and time.monotonic() < patience:
            time.sleep(0.01)
        while self.folder.exists() and time.monotonic() < patience:  # the writer may add a file meanwhile
            shutil.rmtree(self.folder, ignore_errors=True)


def is_whole(path):
    return path.is_file() and not path.name.startswith(PARTIAL_PREFIX)


@pytest.mark.parametrize(("writer", "after"), [*((name, 4) for name in FOLDERS), ("cutouts", 11), ("davis", 11)])
def test_a_folder_that_is_removed_during_the_run_is_an_error(writer, after, tmp_path):
    sequence = tiny_sequence("moving", length=12)
    with pytest.raises(vos.VosError, match=r"removed|No such file"):
        track(sequence, writer, tmp_path / "out", observers=[Remover(tmp_path / "out", after)])


def test_files_that_are_removed_during_the_run_are_counted(tmp_path):
    folder = OutputFolder(tmp_path)
    for name in ("a.png", "b.png"):
        folder.write(name, b"x", "1")
    folder.check()
    (tmp_path / "1" / "a.png").unlink()
    with pytest.raises(OutputError, match=r"1 of the 2 files .* gone: something removed .*, or two frames have one"):
        folder.check()
