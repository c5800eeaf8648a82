"""Video files of every kind, made here with PyAV; each frame carries its index as a bar code."""

import logging
import os
import struct
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition

import vos
from vos.plugin import TruncatedSourceError
from vos.testing import StubTracker
from vos_sources.display_matrix import display_matrix

sys.path.insert(0, str(Path(__file__).parents[2] / "sweeps"))
from scheduling import same_scheduling

HEIGHT, WIDTH = 48, 96


def picture(index, height=HEIGHT, width=WIDTH):
    """Eight columns, light where the index has a 1; the top row of blocks is dark, to know which way is up."""
    image = np.full((height, width, 3), 60, np.uint8)
    for bit in range(8):
        if index >> bit & 1:
            image[height // 2 :, bit * width // 8 : (bit + 1) * width // 8] = 220
    return image


def index_in(image):
    bottom = image[-image.shape[0] // 4 :].mean(axis=(0, 2))
    return sum(1 << bit for bit, part in enumerate(np.array_split(bottom, 8)) if part.mean() > 130)


def write_video(path, count=40, codec="libx264", times_ms=None, pix_fmt="yuv420p", size=(HEIGHT, WIDTH), **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        stream.options = options
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", g="10", bf="2")


@pytest.fixture(scope="module")
def plugins():
    return vos.load_plugins()


@pytest.fixture
def opened(plugins):
    sources = []

    def open_it(path):
        sources.append(vos.open_source(path, plugins))
        return sources[-1]

    yield open_it
    for source in sources:
        source.close()


def test_all_frames_in_order_with_times(video, opened):
    source = opened(video)
    assert (source.info.frame_count, source.info.size, source.info.fps) == (40, (HEIGHT, WIDTH), 25)
    assert (source.info.name, source.info.kind, source.info.seekable) == ("clip", "video (PyAV)", True)
    frames = list(source.frames())
    assert [index_in(frame.image) for frame in frames] == list(range(40))
    assert [frame.name for frame in frames[:2]] == ["00000", "00001"]
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(40)], abs=1e-3)


@pytest.mark.parametrize("indices", [range(39, -1, -1), range(5, 30, 7), range(38, 2, -9), range(0), range(39, 40)])
def test_any_range_in_any_direction(video, opened, indices):
    frames = list(opened(video).frames(indices))
    assert [frame.index for frame in frames] == list(indices)
    assert [index_in(frame.image) for frame in frames] == list(indices)


def test_a_step_that_leads_past_the_end_of_a_whole_video_is_no_error(video, opened):
    assert [frame.index for frame in opened(video).frames(range(0, 45, 30))] == [0, 30]


def test_variable_frame_rate_has_its_own_times(tmp_path, opened):
    gaps = [33, 34, 33, 100, 17, 16, 500, 33, 33, 250]
    times = np.concatenate([[0], np.cumsum(gaps)[:-1]]).tolist()
    source = opened(write_video(tmp_path / "vfr.mp4", 10, times_ms=times))
    assert [frame.time for frame in source.frames()] == pytest.approx([t / 1000 for t in times], abs=2e-3)


def turn_header(path):
    """Put the display matrix of a phone video held upright (90 degrees clockwise) into the track header."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    assert struct.unpack(">i", content[at : at + 4])[0] == 1 << 16, "identity before"
    one = 1 << 16
    content[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, HEIGHT * one, 0, 1 << 30)
    path.write_bytes(content)


def test_rotation_is_applied(tmp_path, opened):
    path = write_video(tmp_path / "phone.mp4", 5)
    turn_header(path)
    source = opened(path)
    assert source.info.size == (WIDTH, HEIGHT)
    expected = np.rot90(picture(3), -1)
    assert np.abs(next(source.frames(range(3, 4))).image.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("others", [{}, {"SEI_UNREGISTERED": b"x264"}])
def test_side_data_is_asked_by_its_key(others):
    """PyAV's side data are a mapping whose iterator gives values up to version 18, keys from 19 on."""
    matrix = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30]
    turned = SimpleNamespace(side_data={**others, "DISPLAYMATRIX": struct.pack("=9i", *matrix)})
    assert display_matrix(turned).tolist() == matrix
    assert display_matrix(SimpleNamespace(side_data=others)) is None


@pytest.mark.parametrize(
    ("name", "codec", "more"),
    [
        ("a.webm", "libvpx-vp9", {}),
        ("a.mp4", "libx265", {}),
        ("odd.mp4", "libx264", {"pix_fmt": "yuv444p", "size": (51, 101)}),
        ("odd4.mp4", "mpeg4", {"size": (51, 101)}),
        ("one.mp4", "libx264", {"count": 1}),
        ("long.avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
    ],
)
def test_codecs_sizes_and_lengths(tmp_path, opened, name, codec, more):
    count = more.get("count", 12)
    source = opened(write_video(tmp_path / name, **{"count": count, "codec": codec, **more}))
    assert [index_in(frame.image) for frame in source.frames()] == list(range(count))
    assert source.info.size == more.get("size", (HEIGHT, WIDTH))


def test_av1_is_read_in_both_directions(tmp_path, opened):
    before = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
    with same_scheduling():
        path = write_video(tmp_path / "a.mp4", 12, codec="libsvtav1", size=(64, 96))
    assert before is None or os.sched_getscheduler(0) == before
    source = opened(path)
    assert [index_in(frame.image) for frame in source.frames()] == list(range(12))
    assert [index_in(frame.image) for frame in source.frames(range(11, -1, -1))] == list(range(11, -1, -1))


def write_cut_short(path, header="first"):
    """40 frames of noise, of which the file holds the first 6 tenths."""
    with av.open(str(path), "w", options={"movflags": "+faststart"} if header == "first" else {}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.options = 96, 192, "yuv420p", {"g": "10", "crf": "5"}
        noise = np.random.default_rng(0)
        for _ in range(40):
            image = noise.integers(0, 255, (96, 192, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return path


@pytest.mark.parametrize("header", ["first", "last"])
def test_cut_short_file(tmp_path, opened, header):
    path = write_cut_short(tmp_path / "cut.mp4", header)
    if header == "last":
        with pytest.raises(vos.SourceError, match=r"cut.mp4: cannot be opened as a video \(.*\)\. It is damaged"):
            opened(path)
        return
    good = []
    with pytest.raises(TruncatedSourceError, match="damaged or cut short: frame .. of 40 cannot be read") as caught:
        good.extend(frame.index for frame in opened(path).frames())
    assert caught.value.frames_declared == 40
    assert good == list(range(caught.value.frames_read))
    assert 15 <= len(good) < 35


def test_damage_in_the_middle_names_the_last_good_frame(tmp_path, opened):
    path = write_video(tmp_path / "hurt.mp4", 60, g="60", crf="1", size=(192, 384))
    content = bytearray(path.read_bytes())
    begin, end = content.index(b"mdat"), content.index(b"moov")
    hurt = slice((begin + end) // 2, (begin + end) // 2 + (end - begin) // 8)
    content[hurt] = np.random.default_rng(1).integers(0, 255, hurt.stop - hurt.start).astype(np.uint8).tobytes()
    path.write_bytes(content)
    good = []
    with pytest.raises(TruncatedSourceError, match=r"the last good one is \d+\.$") as caught:
        good.extend(frame.index for frame in opened(path).frames())
    assert good == list(range(caught.value.frames_read))
    assert 0 < len(good) < 60


def test_not_a_video(tmp_path, opened):
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.write_bytes(b"")
    text.write_text("This is no video.\n" * 30)
    with pytest.raises(vos.SourceError, match=r"empty.mp4: the file is empty \(0 bytes\)"):
        opened(empty)
    with pytest.raises(vos.SourceError, match="text.mp4: cannot be opened as a video"):
        opened(text)
    with pytest.raises(vos.SourceError, match="no such file or folder"):
        opened(tmp_path / "none.mp4")


def test_metadata_in_another_encoding_do_not_matter(tmp_path, opened):
    path = write_video(tmp_path / "a.avi", count=3)
    assert b"Lavf" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"Lav\xe9"))
    assert len(list(opened(path).frames())) == 3


def test_a_video_that_may_not_be_read_is_not_called_damaged(tmp_path, opened, monkeypatch):
    def refuse(*_, **__):
        raise av.error.PermissionError(13, "Permission denied")

    path = write_video(tmp_path / "a.mp4", count=3)
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(vos.SourceError, match=r"a\.mp4: cannot be read \(Permission denied\)\.$"):
        opened(path)


def test_an_unknown_codec_is_told(tmp_path, opened):
    path = write_video(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", count=3)
    assert b"MJPG" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"ZZZZ"))
    with pytest.raises(vos.SourceError, match=r"a\.avi: its video codec is not known here\. Convert"):
        opened(path)


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone(tmp_path, opened, cover):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        if cover:
            image = container.add_stream("png", rate=1)
            image.height, image.width, image.pix_fmt = 32, 32, "rgb24"
            image.disposition = Disposition.attached_pic
            container.mux(image.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    held = "a cover picture, audio" if cover else "audio"
    with pytest.raises(vos.SourceError, match=rf"no video track in it \(it has {held}\)"):
        opened(path)


def test_broken_files_write_nothing_on_stderr(tmp_path, capfd, opened):
    text = tmp_path / "text.mp4"
    text.write_text("This is no video.\n" * 30)
    with pytest.raises(vos.SourceError):
        opened(text)
    assert capfd.readouterr().err == ""


def test_stream_reads_forward_once(video, monkeypatch):
    from vos_sources.stream import StreamSource

    stream = StreamSource(str(video))  # OpenCV opens files and addresses alike
    assert not stream.info.seekable
    assert stream.info.frame_count is None
    with pytest.raises(vos.SourceError, match="cannot go backward"):
        next(stream.frames(range(5, -1, -1)))
    assert [index_in(frame.image) for frame in stream.frames(range(3, 20, 4))] == [3, 7, 11, 15, 19]
    with pytest.raises(vos.SourceError, match="can be read once"):
        next(stream.frames())
    stream.close()


def test_camera_that_is_not_there(opened):
    with pytest.raises(vos.SourceError, match="camera 97: cannot be opened"):
        opened("97")


@pytest.mark.parametrize("indices", [range(36, 40), range(0, 40, 12), range(38, 0, -1)])
def test_the_last_good_frame_is_named_where_not_every_frame_is_asked_for(tmp_path, opened, indices):
    cut = write_cut_short(tmp_path / "cut.mp4")
    named = []
    for part in (range(40), indices):
        with pytest.raises(TruncatedSourceError) as caught:
            list(opened(cut).frames(part))
        named.append(caught.value.frames_read)
    assert named[0] == named[1] < 36
    assert f"the last good one is {named[0] - 1}." in str(caught.value)
    first = np.ones((2 * HEIGHT, 2 * WIDTH), np.uint8)
    hint = f"Use --stop {named[0]} or --allow-truncated of `vos track` to"
    with pytest.raises(TruncatedSourceError, match=rf"good one is \d+\. {hint}"):
        vos.track(cut, first, tracker=StubTracker(), writers=[])
    with pytest.raises(TruncatedSourceError, match=rf"the last good one is {named[0] - 1}\.$"):
        vos.read_frame(cut, 38)


@pytest.mark.parametrize("name", ["12:30 dog.mp4", os.fsdecode(b"d\xffg.mp4")], ids=["colon", "no-utf-8"])
def test_names_that_ffmpeg_or_its_wrappers_cannot_take_as_they_are(tmp_path, opened, monkeypatch, caplog, name):
    # A log line with a name that is no text cannot be sent between test processes.
    caplog.set_level(logging.CRITICAL, logger="vos.sources")
    try:
        write_video(tmp_path / "a.mp4", 3).rename(tmp_path / name)
    except OSError:
        # macOS takes no name outside UTF-8, Windows no colon: such a file cannot come to be there.
        pytest.skip("this file system has no such names")
    monkeypatch.chdir(tmp_path)
    source = opened(name)
    assert source.info.frame_count == 3
    assert [index_in(frame.image) for frame in source.frames()] == [0, 1, 2]
