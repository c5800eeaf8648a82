"""Files that are whole or absent, random temporary names, and the lock of an output folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from vos.errors import InputError, OutputError
from vos.io.atomic_files import (
    PARTIAL_PREFIX,
    atomic_write,
    create_partial,
    discard_partial,
    finish_partial,
    replacing,
)
from vos.io.output_lock import output_lock
from vos.io.regular_files import read_regular_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_whole_and_alone(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a.txt", "á")
    atomic_write(tmp_path / "a.txt", b"second")
    with replacing(tmp_path / "b.txt") as partial:
        assert partial.suffix == ".txt"
        assert partial.name.startswith(PARTIAL_PREFIX)
        partial.write_text("b")
    assert names(tmp_path) == ["a.txt", "b.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"second"
    atomic_write(tmp_path / "b.txt", os.fsdecode(b"d\xe9.mp4"))
    assert (tmp_path / "b.txt").read_bytes() == b"d\xe9.mp4", "a report on files whose names are no UTF-8"


def test_an_error_leaves_the_earlier_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("earlier")

    def interrupted() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "earlier")
    with pytest.raises(OutputError, match=r"none/a.txt: cannot be written \(No such file"):
        atomic_write(tmp_path / "none" / "a.txt", "x")


def test_without_locks_no_file_is_open_when_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where an open file cannot be renamed; the lowest free descriptor is the next."""

    def next_descriptor() -> int:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        os.close(descriptor)
        return descriptor

    monkeypatch.setitem(sys.modules, "fcntl", None)
    free = next_descriptor()
    with replacing(tmp_path / "a.txt") as partial:
        assert next_descriptor() == free
        partial.write_text("a")
    assert names(tmp_path) == ["a.txt"]


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    atomic_write(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_under_a_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    tokens = iter(["aaaaaaaaaaaa", "bbbbbbbbbbbb"] * 2)
    monkeypatch.setattr("vos.io.atomic_files.secrets.token_hex", lambda size: next(tokens))
    (tmp_path / f"{PARTIAL_PREFIX}aaaaaaaaaaaa-out.json").symlink_to(victim)
    atomic_write(tmp_path / "out.json", "new")
    with replacing(tmp_path / "out.json") as partial:
        assert not partial.is_symlink()
        partial.write_text("newer")
    assert (victim.read_text(), (tmp_path / "out.json").read_text()) == ("mine", "newer")


def test_an_output_that_is_a_link_becomes_a_file_and_its_target_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").symlink_to(victim)
    atomic_write(tmp_path / "out", "new")
    assert victim.read_text() == "mine"


def test_a_name_of_the_longest_length_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".json")
    atomic_write(path, "x")
    assert path.read_text() == "x"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with pytest.raises(OutputError, match="cannot be written"):  # nobody reads: an error, not a wait
        atomic_write(fifo, "x")
    received: list[bytes] = []
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    other_writer = os.open(fifo, os.O_WRONLY)  # until it closes, the reader waits
    thread = threading.Thread(target=lambda: received.append(os.fdopen(reader, "rb").read()))
    content = b"x" * 300_000  # more than a pipe holds
    thread.start()
    atomic_write(fifo, content)
    os.close(other_writer)
    thread.join()
    assert received == [content]
    assert fifo.is_fifo()
    with pytest.raises(OutputError, match="it is a fifo"), replacing(fifo):
        pass
    assert names(tmp_path) == ["pipe"]


def test_devices_are_written_to_or_refused_and_never_replaced() -> None:
    atomic_write(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="it is a device"):
        create_partial(Path("/dev/null"))


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        atomic_write(tmp_path, "x")


def test_the_temporary_file_of_a_killed_run_is_removed_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    context = multiprocessing.get_context("fork")
    there, here = context.Pipe()

    def write_and_hang() -> None:
        create_partial(path)
        there.send(None)
        signal.pause()

    killed = context.Process(target=write_and_hang)
    killed.start()
    here.recv()
    with replacing(path) as partial:
        partial.write_text("whole")
        assert len(names(tmp_path)) == 2  # the other's is in use
    killed.kill()
    killed.join()
    with replacing(path) as partial:
        assert names(tmp_path) == [partial.name, "out.json"]


def test_a_partial_file_in_steps(tmp_path: Path) -> None:
    first, second = create_partial(tmp_path / "a.mp4"), create_partial(tmp_path / "a.mp4")
    assert first != second
    first.write_text("one")
    finish_partial(first, tmp_path / "a.mp4")
    discard_partial(second)
    discard_partial(second)
    assert names(tmp_path) == ["a.mp4"]


def test_a_folder_is_locked_for_one_run_at_a_time(tmp_path: Path) -> None:
    with output_lock(tmp_path):
        with pytest.raises(InputError, match="another run is writing to this folder"), output_lock(tmp_path):
            pass
        assert names(tmp_path) == []
    with output_lock(tmp_path):
        pass


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file(tmp_path / "link") == b"12345"
    for path, reason in ((tmp_path / "pipe", "a fifo"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(OSError, match=f"it is {reason}, expected a file"):
            read_regular_file(path)
    with pytest.raises(OSError, match="5 bytes, more than the 4"):
        read_regular_file(tmp_path / "file", max_bytes=4)


@pytest.mark.parametrize("before", [None, "earlier"])
def test_a_file_that_another_run_wrote_meanwhile_is_not_replaced(before, tmp_path):
    path = tmp_path / "a.csv"
    if before is not None:
        path.write_text(before)
    partial = create_partial(path)
    partial.write_text("mine")
    atomic_write(path, "theirs")
    with pytest.raises(OutputError, match="another program wrote this file during the run"):
        finish_partial(partial, path)
    assert path.read_text() == "theirs"
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
