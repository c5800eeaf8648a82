"""Cameras and streams, with a stand-in for OpenCV's capture: it shows what is read, when, and when it is released."""

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import vos
from vos.testing import StubTracker

MASK = np.zeros((6, 8), np.uint8)
MASK[2:4, 2:5] = 1


class Capture:
    """Gives ``length`` pictures; the read after them waits for ``go_on`` first, and ends the stream."""

    def __init__(self, length, go_on=None):
        self.length, self.go_on = length, go_on
        self.stated = -9e18  # as OpenCV has it of a stream without a length
        self.reads = 0
        self.inside = False
        self.released_inside = False
        self.released = threading.Event()

    def isOpened(self):
        return True

    def get(self, what):
        return self.stated if what == cv2.CAP_PROP_FRAME_COUNT else 25.0

    def read(self):
        self.reads += 1
        if self.reads <= self.length:
            return True, np.full((6, 8, 3), self.reads, np.uint8)
        self.inside = True
        if self.go_on is not None:
            self.go_on.wait(20)
        self.inside = False
        return False, None

    def release(self):
        self.released_inside = self.released_inside or self.inside
        self.released.set()


@pytest.fixture
def live(monkeypatch):
    def make(*given):
        capture = Capture(*given)
        monkeypatch.setattr("cv2.VideoCapture", lambda address: capture)
        return capture

    return make


def test_records_names_and_messages_hold_no_password_and_no_token(live, tmp_path):
    live(2)
    address = "rtsp://user:secret@door:554/cam/main?token=secret"
    summary = vos.track(address, MASK, tracker=StubTracker(), output=tmp_path)
    assert summary.run.output == tmp_path / "main"
    record = (tmp_path / "main" / "run.json").read_text()
    assert '"source": "rtsp://door:554/cam/main"' in record
    assert "secret" not in record
    with pytest.raises(vos.SourceError, match="^rtsp://door:554/cam/main: opened, but gives no picture"):
        live(0) and vos.open_source(address)


def test_the_device_of_a_camera_is_named_by_its_index(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: True)
    with pytest.raises(vos.SourceError, match=r"^/dev/video2: not a regular file .* Name a camera by its index: 2\.$"):
        vos.open_source("/dev/video2")
    with pytest.raises(vos.SourceError, match=r"Copy its content to a file\.$"):
        vos.open_source("/dev/null")


def test_an_address_that_cannot_be_opened_is_not_told_what_a_camera_is(live, monkeypatch):
    monkeypatch.setattr(live(0), "isOpened", lambda: False)
    with pytest.raises(
        vos.SourceError, match=r"^https://host/watch: cannot be opened\. Is the address right.*\(\.mp4\)"
    ):
        vos.open_source("https://host/watch?v=1")
    with pytest.raises(vos.SourceError, match=r"^rtsp://door/cam: cannot be opened"):
        vos.open_source("rtsp://user:sec[ret@door/cam?token=secret")
    with pytest.raises(vos.SourceError, match=r"^camera 7: cannot be opened\. Is it connected"):
        vos.open_source("7")


def test_nothing_is_read_after_the_last_frame_that_is_wanted(live):
    capture = live(9)
    assert len(list(vos.stream("rtsp://door/cam", MASK, tracker=StubTracker(), stop=4))) == 4
    assert capture.reads == 4
    capture = live(9)
    assert list(vos.open_source("rtsp://door/cam").frames(range(0))) == []
    assert capture.reads == 1  # when it was opened


@pytest.mark.parametrize("start", [0, 2])
def test_the_first_mask_can_be_made_on_the_frame_where_tracking_begins(live, start):
    capture = live(6)
    source = vos.open_source("rtsp://door/cam")
    mask = vos.initialize(source, "polygon", {"polygons": "1:1,1 5,1 5,4 1,4"}, frame_index=start)
    tracked = [frame.index for frame, _ in vos.stream(source, mask, tracker=StubTracker(), start=start)]
    assert tracked == list(range(start, 6))
    assert capture.reads == 7
    with pytest.raises(vos.SourceError, match="can be read once"):
        next(source.frames())


def test_a_frame_has_the_time_at_which_it_came(live, monkeypatch):
    capture = live(4)
    clock = [100.0]
    monkeypatch.setattr("vos_sources.stream.time.monotonic", lambda: clock[0])
    read = capture.read

    def late():
        clock[0] += 2.0
        return read()

    monkeypatch.setattr(capture, "read", late)
    assert [frame.time for frame in vos.open_source("rtsp://door/cam").frames()] == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("address", "seconds", "message"),
    [
        ("rtsp://door/cam", 30.0, "rtsp://door/cam: gives no picture after frame 2 (30 s waited); the masks stop"),
        ("7", 0.0, "camera 7: gives no picture after frame 2 (0 s waited); the masks stop there"),
        ("rtsp://door/cam", 0.0, ""),
    ],
)
def test_a_stream_that_stalls_and_a_camera_that_ends_are_said(live, monkeypatch, caplog, address, seconds, message):
    clock = [0.0]
    monkeypatch.setattr("vos_sources.stream.time.monotonic", lambda: clock[0])
    capture = live(3)
    read = capture.read

    def waiting():
        good, image = read()
        clock[0] += 0.0 if good else seconds
        return good, image

    monkeypatch.setattr(capture, "read", waiting)
    assert len(list(vos.open_source(address).frames())) == 3
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)


def test_a_file_at_an_address_that_ends_before_its_stated_length_is_said(live, caplog):
    live(5).stated = 5.0  # read when it is opened
    assert len(list(vos.open_source("http://host/download").frames())) == 5
    assert not caplog.text
    live(5).stated = 72.0
    assert len(list(vos.open_source("http://host/download").frames())) == 5
    assert "http://host/download: gives no picture after frame 4 of 72 stated frames (0 s waited)" in caplog.text


def test_a_stream_closed_while_a_read_waits_is_released_by_that_read(live, monkeypatch):
    monkeypatch.setattr("vos.host.threads._JOIN_SECONDS", 0.1)
    monkeypatch.setattr("vos_sources.stream.CLOSING_SECONDS", 0.1)
    go_on = threading.Event()
    capture = live(3, go_on)
    results = vos.stream("rtsp://door/cam", MASK, tracker=StubTracker())
    assert [next(results)[0].index for _ in range(3)] == [0, 1, 2]
    while not capture.inside:
        time.sleep(0.01)
    results.close()
    go_on.set()
    assert capture.released.wait(10)
    assert not capture.released_inside


def test_a_stream_is_not_continued_and_its_earlier_run_stays_as_it_was(live, tmp_path):
    live(3)
    vos.track("rtsp://door/cam", MASK, tracker=StubTracker(), output=tmp_path)
    record = (tmp_path / "cam" / "run.json").read_text()
    live(3)
    with pytest.raises(vos.SourceError, match=r"a live stream cannot be read again\. Leave out --from"):
        vos.track(
            "rtsp://door/cam", {0: MASK, 2: MASK}, tracker=StubTracker(), output=tmp_path, from_frame=2
        )  # fmt: skip
    assert (tmp_path / "cam" / "run.json").read_text() == record


def test_a_mask_of_a_frame_that_a_stream_did_not_reach_is_said(live, caplog):
    live(3)
    assert len(list(vos.stream("rtsp://door/cam", {0: MASK, 1: MASK, 5: MASK}, tracker=StubTracker()))) == 3
    assert "rtsp://door/cam: ended after frame 2; the mask of frame 5 was not used." in caplog.text
