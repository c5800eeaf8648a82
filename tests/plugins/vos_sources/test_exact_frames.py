"""The k-th frame is the k-th that ffmpeg shows, in every container and codec, however it is reached."""

import contextlib
import os
import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import vos
from vos.plugin import TruncatedSourceError
from vos_sources.pyav_reader import PacketDecoder

sys.path.insert(0, str(Path(__file__).parent))

from make_video import decode_all, index_in, picture, write_video  # it lies beside this file

FILES = [
    *(f"a.{suffix} h264" for suffix in ("mp4", "mov", "mkv", "avi", "flv", "ts", "mpg", "wmv", "nut", "h264")),
    *(f"a.{suffix} h264-open-gop" for suffix in ("mp4", "mkv", "ts")),
    *(f"a.{suffix} h264-intra-refresh" for suffix in ("mp4", "ts")),
    *(f"a.{suffix} h264-interlaced" for suffix in ("mp4", "ts")),
    *(f"a.{suffix} hevc-open-gop" for suffix in ("mp4", "mkv", "ts", "hevc", "mpg")),
    "a.webm vp8",
    "a.mkv vp8",
    "a.webm vp9",
    *(f"a.{suffix} mpeg4" for suffix in ("mp4", "avi", "ts", "mpg")),
    *(f"a.{suffix} mpeg2" for suffix in ("mpg", "ts", "wmv", "avi", "mxf", "mkv")),
    *(f"a.{suffix} mjpeg" for suffix in ("avi", "mov")),
    "a.wmv wmv2",
    "a.flv flv1",
    "a.avi h263",
    "a.mov prores",
    "a.gif gif",
]


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


def assert_exact(source, truth, indices):
    frames = list(source.frames(indices))
    expected = range(len(truth)) if indices is None else indices
    assert [frame.index for frame in frames] == list(expected)
    assert [frame.index for frame in frames if not np.array_equal(frame.image, truth[frame.index])] == []


@pytest.mark.parametrize("file", FILES)
def test_every_frame_in_every_order(tmp_path, opened, file):
    name, codec = file.split()
    path = write_video(tmp_path / name, codec)
    truth = decode_all(path)
    assert [index_in(image) for image in truth] == list(range(30))
    source = opened(path)
    assert source.info.frame_count == 30
    for indices in (range(19, 30), range(29, -1, -1), None, range(1, 30, 7), range(28, 0, -9), range(9, 10)):
        assert_exact(source, truth, indices)
    for frame in source.frames():
        assert frame.time is None or frame.time == pytest.approx(frame.index / 25, abs=0.0011)
    assert source.info.fps == pytest.approx(25)


def test_packets_carry_no_python_objects_into_the_threads_of_a_decoder(tmp_path):
    """PyAV frees them with Python's lock, which the thread that closes the decoder holds while it waits: a deadlock."""
    decoder = PacketDecoder(write_video(tmp_path / "a.mp4", "vp9", count=8))
    assert [(ordinal, frame.opaque) for ordinal, frame in decoder.decode(0)] == [(i, None) for i in range(8)]
    decoder.close()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
@pytest.mark.parametrize("codec", ["h264", "h264-open-gop"])
def test_an_edit_list_cuts_frames_off(tmp_path, opened, name, codec):
    path = write_video(tmp_path / name, codec)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    duration, media_time = struct.unpack(">Ii", content[at : at + 8])
    step = duration / 30
    with av.open(str(path)) as file:
        ticks = round(1 / 25 / file.streams.video[0].time_base)
    content[at : at + 8] = struct.pack(">Ii", round(duration - 11 * step), media_time + 11 * ticks)
    path.write_bytes(content)
    truth = decode_all(path)
    assert [index_in(image) for image in truth] == list(range(11, 30))
    source = opened(path)
    assert source.info.frame_count == 19
    for indices in (None, range(18, -1, -1), range(8, 19), range(0, 19, 5)):
        assert_exact(source, truth, indices)
    assert next(source.frames()).time == 0


def test_a_transport_stream_that_begins_between_key_frames(tmp_path, opened):
    path = write_video(tmp_path / "a.ts", "h264", count=60)
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 3 // 188 * 188 :])
    truth = decode_all(path)
    assert index_in(truth[0]) % 8 == 0
    source = opened(path)
    for indices in (None, range(len(truth) - 1, -1, -1), range(3, len(truth), 4)):
        assert_exact(source, truth, indices)


def test_frames_of_another_size_in_the_middle_are_an_error(tmp_path, opened):
    small = write_video(tmp_path / "small.ts", count=20).read_bytes()
    large = write_video(tmp_path / "large.ts", count=20, size=(192, 384)).read_bytes()
    (tmp_path / "joined.ts").write_bytes(small + large)
    good = []
    with pytest.raises(vos.SourceError, match=r"frame 20 is 384x192, the first one is 192x96.* --stop 20"):
        good.extend(index_in(frame.image) for frame in opened(tmp_path / "joined.ts").frames())
    assert good == list(range(20))


MATRICES = {
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda image: image[::-1]),
    "180": ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "counter-clockwise": ((0, -1, 1, 0), lambda image: np.rot90(image)),
    "transposed": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_display_matrices(tmp_path, opened, kind):
    (a, b, c, d), turn = MATRICES[kind]
    path = write_video(tmp_path / "a.mp4", count=5)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    one = 1 << 16
    content[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    image = next(opened(path).frames(range(3, 4))).image
    assert np.array_equal(image, turn(decode_all(path)[3]))


@pytest.mark.parametrize("file", ["a.mkv h264", "a.webm vp9", "a.avi mjpeg", "a.flv flv1", "a.gif gif", "a.wmv wmv2",
                                  "a.ts h264", "a.mpg mpeg2", "a.mxf mpeg2", "a.ivf vp9", "a.ogv vp8"])  # fmt: skip
def test_files_cut_short_name_the_last_good_frame(tmp_path, opened, file):
    name, codec = file.split()
    path = write_video(tmp_path / name, codec, count=60)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 5 // 188 * 188 + 77])
    named = []
    for indices in (None, range(1, 60, 7), range(50, 60)):
        good = []
        with pytest.raises(TruncatedSourceError, match=r"cut short: frame \d+.* the last good one is \d+\.") as caught:
            good.extend((frame.index, index_in(frame.image)) for frame in opened(path).frames(indices))
        assert [index for index, _ in good] == [index for _, index in good]
        named.append(caught.value.frames_read)
    assert named[0] == named[1] == named[2]
    assert 20 < named[0] < 60


@pytest.mark.parametrize("file", ["a.nut h264", "a.mjpeg mjpeg", "a.avi mpeg4", "a.mxf mpeg2", "a.y4m rawvideo"])
def test_files_cut_anywhere_are_an_error_after_true_frames(tmp_path, opened, file):
    name, codec = file.split()
    path = write_video(tmp_path / name, codec, count=24)
    truth, content = decode_all(path), path.read_bytes()
    for share in (0.72, 0.81, 0.93):
        path.write_bytes(content[: int(len(content) * share)])
        for step in (1, 5):
            source, good = opened(path), []
            with pytest.raises(TruncatedSourceError, match="cut short"):
                good.extend(source.frames(range(0, source.info.frame_count, step)))
            assert [f.index for f in good if not np.array_equal(f.image, truth[f.index])] == []


def test_a_packet_that_cannot_be_decoded_is_no_end(tmp_path, opened):
    """In a file whose timestamps do not tell its frames, so that all are decoded when it is opened."""
    path = write_video(tmp_path / "a.ogv", "vp8", count=12)
    path.write_bytes(2 * path.read_bytes())  # the second one's header comes between the packets
    good = []
    with pytest.raises(TruncatedSourceError, match="frame 12 of .* cannot be read, the last good one is 11"):
        good.extend(opened(path).frames())
    assert [index_in(frame.image) for frame in good] == list(range(12))


@pytest.mark.parametrize(("name", "codec", "more"), [
    ("a.ogv", "vp8", {}), ("a.y4m", "rawvideo", {}), ("a.dv", "dv", {"size": (576, 720)}),
])  # fmt: skip
def test_a_file_that_ends_within_any_frame_is_cut_short(tmp_path, opened, name, codec, more):
    """Also within the first frame's successor, and within the last page of an Ogg file, whose header is whole."""
    path = write_video(tmp_path / name, codec, count=4, **more)
    content = path.read_bytes()
    for share in (0.45, 0.7, 0.995):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(vos.SourceError, match="cut short"):
            list(opened(path).frames())


@pytest.mark.parametrize("file", ["a.h264 h264", "a.m2v mpeg2", "a.mov mjpeg"])
def test_a_last_packet_that_is_cut_is_no_frame(tmp_path, opened, file):
    name, codec = file.split()
    path = write_video(tmp_path / name, codec, count=17)
    with av.open(str(path)) as video:
        last = [packet for packet in video.demux(video.streams.video[0]) if packet.size][-1]
        half = bytes(last)[last.size // 2 :]
    truth, content = decode_all(path), path.read_bytes()
    at = content.rindex(half)
    # What a MOV file has behind its frames stays, as where a disk was full.
    path.write_bytes(content[:at] + (bytes(len(half)) + content[at + len(half) :] if name == "a.mov" else b""))
    good = []
    with pytest.raises(TruncatedSourceError, match="cut short"):
        good.extend(opened(path).frames())
    assert len(good) >= 12
    assert [f.index for f in good if not np.array_equal(f.image, truth[f.index])] == []


@pytest.mark.parametrize("file", ["a.h264 h264", "a.hevc hevc-open-gop", "a.m2v mpeg2", "a.m4v mpeg4"])
def test_raw_streams_cut_between_two_frames_show_no_frame_in_the_place_of_another(tmp_path, opened, file):
    name, codec = file.split()
    path = write_video(tmp_path / name, codec, count=24, container="m4v" if codec == "mpeg4" else None)
    with av.open(str(path)) as video:
        ends = np.cumsum([packet.size for packet in video.demux(video.streams.video[0]) if packet.size])
    content, refused = path.read_bytes(), 0
    assert [index_in(frame.image) for frame in opened(path).frames()] == list(range(24))
    for end in ends[-9:-1]:
        path.write_bytes(content[:end])
        good = []
        try:
            good.extend(index_in(frame.image) for frame in opened(path).frames())
        except TruncatedSourceError:
            refused += 1
        assert good == list(range(len(good)))
    assert refused >= 2


def test_a_pause_near_the_end_of_a_raw_stream_is_no_cut(tmp_path, opened):
    times = [*range(0, 19 * 40, 40), 19 * 40 + 800, 19 * 40 + 840]
    path = write_video(tmp_path / "a.m4v", "mpeg4", count=21, times_ms=times, container="m4v")
    assert [index_in(frame.image) for frame in opened(path).frames()] == list(range(21))


def test_a_header_that_states_a_thousand_million_frames(tmp_path, opened):
    path = write_video(tmp_path / "a.avi", "mjpeg", count=6)
    content = bytearray(path.read_bytes())
    for at in (content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32):
        content[at : at + 4] = struct.pack("<I", 1_000_000_000)
    path.write_bytes(content)
    assert [index_in(frame.image) for frame in opened(path).frames()] == list(range(6))


def test_variable_rate_keeps_its_times(tmp_path, opened):
    times = [0, 33, 67, 100, 600, 633, 650, 900, 1000, 1400]
    source = opened(write_video(tmp_path / "a.mkv", count=10, times_ms=times))
    assert [frame.time for frame in source.frames()] == pytest.approx([t / 1000 for t in times], abs=1e-3)
    assert source.info.fps == pytest.approx(9 / 1.4, rel=1e-2)


def test_pixels_that_are_not_square(tmp_path, opened):
    path = write_video(tmp_path / "a.mp4", count=3, sample_aspect_ratio=Fraction(4, 3))
    assert opened(path).info.sample_aspect_ratio == Fraction(4, 3)
    assert opened(write_video(tmp_path / "b.mp4", count=3)).info.sample_aspect_ratio == 1


def test_the_track_that_is_read_gives_the_rate(tmp_path, opened):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as file:
        cover = file.add_stream("mjpeg", rate=50)
        clip = file.add_stream("libx264", rate=30)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        clip.height, clip.width, clip.pix_fmt = 96, 192, "yuv420p"
        file.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0, 32, 32), format="rgb24")))
        for i in range(12):
            file.mux(clip.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        for stream in (cover, clip):
            file.mux(stream.encode())
    source = opened(path)
    assert (source.info.size, source.info.frame_count, source.info.fps) == ((96, 192), 12, 30)


def test_reading_says_nothing_on_the_terminal(tmp_path, opened, capfd):
    damaged = write_video(tmp_path / "a.ts", count=40)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    damaged.write_bytes(content)
    with contextlib.suppress(vos.SourceError):
        list(opened(damaged).frames())
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_no_video(tmp_path, opened):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(vos.SourceError, match="a.mp4: not a regular file"):
        opened(tmp_path / "a.mp4")
