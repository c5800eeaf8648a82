"""Overlays and mattes, decoded again: times, rates, pixel shape, colours, sound, timecode, alpha."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

import vos
from vos.drawing import choose_colours
from vos.plugin import InputError, OptionError, SourceInfo
from vos.testing import StubTracker, TinySequence, tiny_sequence
from vos_writers.alpha import alpha_of
from vos_writers.timecode import shifted

SIZE = (48, 64)
MAP = np.zeros(SIZE, np.uint8)
MAP[10:30, 10:40] = 1


class Clip(TinySequence):
    """Frames with times, a rate and a pixel shape."""

    def __init__(self, times, fps=None, size=SIZE, location="clip", aspect=Fraction(1), colour=(200, 40, 40)):
        images = tuple(np.full((*size, 3), colour, np.uint8) for _ in times)
        label_map = cv2.resize(MAP, size[::-1], interpolation=cv2.INTER_NEAREST)
        super().__init__("clip", images, (label_map,) * len(times), ())
        self._times = times
        self._info = SourceInfo(location, "clip", "test", len(times), size, fps, sample_aspect_ratio=aspect)

    @property
    def info(self):
        return self._info

    def frames(self, indices=None):
        for frame in super().frames(indices):
            yield vos.Frame(frame.index, frame.image, frame.name, self._times[frame.index])


class Soft(StubTracker):
    """Logits of half the size that cross 0 at the mask's edge."""

    def step(self, frame):
        distance = cv2.distanceTransform(MAP, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - MAP, cv2.DIST_L2, 3)
        return vos.Prediction((1,), cv2.resize(distance, (32, 24), interpolation=cv2.INTER_AREA)[None])


def write(clip, path, writer="overlay", tracker=None, **more):
    options = {key[1:]: more.pop(key) for key in list(more) if key.startswith("_")}
    vos.track(
        clip,
        clip.label_maps[0],
        tracker=tracker or StubTracker(),
        writers=[(writer, {"path": path, **options})],
        **more,
    )
    return path


def times_of(path):
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm"])
def test_variable_times_are_kept(tmp_path, suffix):
    times = [0.5, 0.533, 0.566, 0.6, 0.8, 1.0, 1.2]
    path = write(Clip(times, fps=10), tmp_path / f"o.{suffix}")
    assert times_of(path) == pytest.approx([time - 0.5 for time in times], abs=0.002)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm"])
def test_a_pause_of_an_hour_leaves_the_times_of_other_frames_as_they_are(tmp_path, suffix):
    times = [0.0, 0.04, 0.08, 3600.0, 3600.04, 3600.08]
    path = write(Clip(times, fps=5 / 3600.08), tmp_path / f"o.{suffix}")
    assert times_of(path) == pytest.approx(times, abs=0.002)


@pytest.mark.parametrize("writer", ["matte", "overlay"])
def test_an_export_of_a_finished_run_keeps_variable_times(tmp_path, writer):
    times = [0.0, 0.033, 0.066, 0.1, 0.3, 0.5, 0.7]
    clip = Clip(times, fps=10)
    masks = vos.track(clip, clip.label_maps[0], tracker=StubTracker(), output=tmp_path).run.output
    (path,) = vos.export(masks, writer, tmp_path / "o.mp4", source=clip)
    assert times_of(path) == pytest.approx(times, abs=0.002)


def test_a_step_divides_the_rate(tmp_path):
    clip = Clip([k / 30 for k in range(30)], fps=30)
    path = write(clip, tmp_path / "o.mp4", step=5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate) == (6, 6)
        assert float(stream.duration * stream.time_base) == pytest.approx(1)
    assert times_of(write(Clip([None] * 30), tmp_path / "i.mp4", step=6)) == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])


def test_a_low_constant_rate_in_milliseconds_stays_constant(tmp_path):
    path = write(Clip([round(k / 7.5, 3) for k in range(12)], fps=7.5), tmp_path / "o.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(15, 2)


def test_a_frame_without_a_time_follows_the_one_before(tmp_path):
    path = write(Clip([0.0, 0.1, 9.0, None, None], fps=10), tmp_path / "o.mp4")
    assert times_of(path) == pytest.approx([0.0, 0.1, 9.0, 9.1, 9.2], abs=0.002)


def test_an_ntsc_rate_is_exact(tmp_path):
    rate = Fraction(30000, 1001)
    path = write(Clip([float(k / rate) for k in range(12)], fps=float(rate)), tmp_path / "o.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == rate


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm"])
def test_the_pixels_shape_is_kept(tmp_path, suffix):
    path = write(Clip([0, 0.1], fps=10, aspect=Fraction(16, 11)), tmp_path / f"o.{suffix}")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # WebM's pictures are stretched to square pixels.
        expected = (94, None) if suffix == "webm" else (64, Fraction(16, 11))
        assert (stream.width, None if suffix == "webm" else stream.sample_aspect_ratio) == expected


@pytest.mark.parametrize(("size", "standard"), [((48, 64), 6), ((720, 96), 1)])
@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_colours_are_tagged_and_coded_by_the_standard_of_their_size(tmp_path, size, standard, suffix):
    path = write(Clip([0, 0.1], fps=10, size=size), tmp_path / f"o.{suffix}", _opacity=0, _crf=4)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (standard, 1)
        luma = frame.to_ndarray()[size[0] - 4, 8]
    red, green = (0.2126, 0.7152) if standard == 1 else (0.299, 0.587)
    expected = 16 + 219 / 255 * (red * 200 + green * 40 + (1 - red - green) * 40)
    assert luma == pytest.approx(expected, abs=2)


def source_with_sound(path, video="mpeg4", audio="aac", rate=10, begin=0):
    """Two seconds of video with a tone that begins after one second, and a timecode."""
    form, samples, highest = ("s16", 1152, 16000) if audio == "mp2" else ("fltp", 1024, 1)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(video, rate=rate)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        pictures.metadata["timecode"] = "01:00:00:00"
        sound = container.add_stream(audio, rate=44100, layout="mono")
        for index in range(2 * rate):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            picture.pts, picture.time_base = begin * rate + index, Fraction(1, rate)
            container.mux(pictures.encode(picture))
        tone = highest * np.sin(np.arange(88200) * 0.1) * (np.arange(88200) >= 44100)
        tone = tone.astype(np.int16 if form == "s16" else np.float32)
        for start in range(0, 88200 - samples, samples):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + samples], format=form, layout="mono")
            frame.sample_rate, frame.pts = 44100, begin * 44100 + start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        container.mux(pictures.encode(None))
    return path


@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        (("in.mov",), "mp4"),
        (("in.mov",), "mov"),
        (("in.mov",), "webm"),
        (("in.mkv", "mpeg4", "aac", 10, 3), "mp4"),  # begins at 3 s, as transport streams begin at 1.4 s
        (("in.mpg", "mpeg2video", "mp2", 25), "mp4"),  # seeking leads into the middle of a packet
        (("in.mpg", "mpeg2video", "ac3", 25), "mp4"),  # and the next frames have wrong times
    ],
)
def test_sound_is_kept_where_asked_for_and_stays_in_step(tmp_path, source, suffix):
    name, *codecs = source
    path = source_with_sound(tmp_path / name, *codecs)
    rate = codecs[2] if codecs else 10
    out = tmp_path / f"o.{suffix}"
    options = {"path": out, "sound": True}
    start, stop = rate // 2, 3 * rate // 2
    vos.track(path, MAP, tracker=StubTracker(), writers=[("overlay", options)], start=start, stop=stop)
    length, tone = length_and_tone(out)
    assert length == pytest.approx(1.0, abs=0.08)
    assert tone == pytest.approx(0.5, abs=0.06)


class Unseekable:
    """A container in which seeking fails and leaves it elsewhere, as with AC-3 in many program streams."""

    def __init__(self, container):
        self._container = container

    def __getattr__(self, name):
        return getattr(self._container, name)

    def seek(self, *arguments, **options):
        self._container.seek(1 << 40)
        raise av.error.PermissionError(1, "Operation not permitted")


def test_sound_of_a_file_that_cannot_be_sought_is_read_from_its_beginning(tmp_path, monkeypatch):
    path = source_with_sound(tmp_path / "in.mov", rate=25)
    monkeypatch.setattr("vos_writers.sound._open", lambda path: Unseekable(av.open(path)))
    monkeypatch.setattr("vos_writers.sound._time_of_first_picture", lambda path: 0.0)
    options = {"path": tmp_path / "o.mp4", "sound": True}
    vos.track(path, MAP, tracker=StubTracker(), writers=[("overlay", options)], start=40)
    with av.open(str(tmp_path / "o.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(sound) / 44100 == pytest.approx(0.4, abs=0.06)
    assert np.abs(sound).max() > 0.5


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_sound_after_damaged_packets_stays_in_step(tmp_path, suffix):
    path = source_with_sound(tmp_path / "in.mov")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            if packet.size and 0.3 < packet.pts * packet.time_base < 0.8:
                content[packet.pos : packet.pos + packet.size] = bytes([255]) * packet.size
    path.write_bytes(content)
    out = tmp_path / f"o.{suffix}"
    vos.track(path, MAP, tracker=StubTracker(), writers=[("overlay", {"path": out, "sound": True})])
    assert length_and_tone(out) == pytest.approx((2.0, 1.0), abs=0.06)


def length_and_tone(path):
    """Seconds of sound, and where its tone begins."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray()[0].astype(float) for frame in container.decode(audio=0)])
    loud = np.abs(sound) > 0.3 * np.abs(sound).max()
    return len(sound) / rate, np.flatnonzero(loud)[0] / rate


def test_a_source_without_sound_gives_an_overlay_without(tmp_path):
    path = write(Clip([0, 0.1], fps=10), tmp_path / "o.mp4", _sound=True)
    with av.open(str(path)) as container:
        assert not container.streams.audio


def decoded_rgba(path, codec=None):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create(codec, "r") if codec else None
        for packet in container.demux(stream):
            for frame in decoder.decode(packet) if decoder else packet.decode():
                yield frame.format.name, frame.to_ndarray(format="rgba64le").astype(float) / 65535


@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize(
    ("writer", "name", "codec"), [("prores", "o.mov", None), ("webm-alpha", "o.webm", "libvpx-vp9")]
)
def test_alpha_is_that_of_the_logits(tmp_path, writer, name, codec, premultiplied):
    clip = Clip([0, 0.1, 0.2], fps=10)
    path = write(clip, tmp_path / name, writer, Soft(), _premultiplied=premultiplied)
    frames = list(decoded_rgba(path, codec))
    assert len(frames) == 3
    layout, picture = frames[-1]
    assert layout.startswith("yuva")
    prediction = Soft().step(vos.Frame(1, clip.images[0], "1"))
    expected = alpha_of(prediction, (cv2.resize(prediction.logits[0], SIZE[::-1]) > 0).astype(np.uint8), 1)
    assert ((expected > 0.05) & (expected < 0.95)).sum() > 50
    assert np.abs(picture[..., 3] - expected).max() < 0.06
    edge = expected[20, 8]
    assert picture[20, 8, 0] == pytest.approx(200 / 255 * (edge if premultiplied else 1), abs=0.08)


def test_sound_with_a_rate_of_its_own_is_refused(tmp_path):
    with pytest.raises(OptionError, match="leave out fps or sound"):
        write(Clip([0, 0.1], fps=10), tmp_path / "o.mp4", _sound=True, _fps=5)
    assert not list(tmp_path.iterdir())


def test_prores_keeps_the_timecode(tmp_path):
    source = source_with_sound(tmp_path / "in.mov")
    vos.track(source, MAP, tracker=StubTracker(), writers=[("prores", {"path": tmp_path / "p.mov"})], start=12)
    with av.open(str(tmp_path / "p.mov")) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:01:2"
        assert container.streams.video[0].codec_context.codec_tag == "ap4h"


@pytest.mark.parametrize(
    ("timecode", "frames", "fps", "expected"),
    [
        ("01:00:00:00", 25, 25, "01:00:01:00"),
        ("23:59:59:24", 1, 25, "00:00:00:00"),
        ("00:00:59;29", 1, 29.97, "00:01:00;02"),
        ("00:09:59;29", 1, 29.97, "00:10:00;00"),
        ("00:00:00;00", 107892, 29.97, "01:00:00;00"),
        ("00:01:00;02", 0, 29.97, "00:01:00;02"),
    ],
)
def test_timecodes_count_on(timecode, frames, fps, expected):
    assert shifted(timecode, frames, fps) == expected


@pytest.mark.parametrize(
    ("timecode", "frames", "fps", "step", "expected"),
    [
        ("00:00:00:00", 45, 29.97, 3, "00:00:01:05"),
        ("00:00:00:00", 49, 25, 2, "00:00:01:12"),
        ("00:00:59;29", 1, 29.97, 3, "00:01:00:00"),
        ("00:00:59;59", 5, 59.94, 2, "00:01:00;04"),
        ("00:00:59.29", 1, 29.97, 1, "00:01:00.02"),
        ("00:00:01:12", 0, 12.5, 1, "00:00:01:12"),
    ],
)
def test_timecodes_count_the_frames_that_are_written(timecode, frames, fps, step, expected):
    assert shifted(timecode, frames, fps, step) == expected


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_matte_of_some_frames_has_the_timecode_of_its_first(tmp_path, step):
    source = source_with_sound(tmp_path / "in.mov")
    path = tmp_path / "p.mov"
    writers = [("prores", {"path": path, "timecode": "01:00:00:00"})]
    vos.track(source, MAP, tracker=StubTracker(), writers=writers, start=16, step=step)
    with av.open(str(path)) as container:
        text = container.streams.video[0].metadata["timecode"]
    rate = int(10 / step + 0.5)
    assert text.rpartition(":")[0] == "01:00:01"
    assert int(text.rpartition(":")[2]) == 6 * rate // 10


@pytest.mark.parametrize(
    ("timecode", "message"),
    [("01:00:00:10", "the frames 0 to 9"), ("01:00:00;05", "drop-frame"), ("01:00:00.05", "drop-frame")],
)
def test_a_timecode_that_the_rate_does_not_have_is_refused(tmp_path, timecode, message):
    with pytest.raises(OptionError, match=message):
        write(Clip([0, 0.1], fps=10), tmp_path / "new/p.mov", "prores", _timecode=timecode, output=tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("timecode", ["1h", "25:00:00:00", "01:60:00:00", "01:00:60:00"])
@pytest.mark.parametrize("writer", ["prores", "matte"])
def test_a_bad_timecode_is_told_before_anything_is_written(tmp_path, writer, timecode):
    with pytest.raises(OptionError, match="expected HH:MM:SS:FF"):
        write(Clip([0, 0.1], fps=10), tmp_path / "p.mov", writer, _timecode=timecode, output=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_source_whose_timecode_is_none_is_tracked_without_one(tmp_path):
    source = tmp_path / "in.avi"
    with av.open(str(source), "w") as container:
        container.metadata["timecode"] = "unknown"
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((*SIZE, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    path = tmp_path / "p.mov"
    vos.track(source, MAP, tracker=StubTracker(), writers=[("prores", {"path": path})])
    with av.open(str(path)) as container:
        assert "timecode" not in container.streams.video[0].metadata


def test_exr_is_linear_and_premultiplied(tmp_path):
    clip = Clip([0, 0.1], fps=10, aspect=Fraction(16, 11))
    folder = write(clip, tmp_path / "exr", "exr", Soft(), _start_number=1001)
    assert sorted(path.name for path in folder.iterdir()) == ["clip.1001.exr", "clip.1002.exr"]
    with av.open(str(folder / "clip.1002.exr")) as container:
        frame = next(container.decode(video=0))
        assert float(container.streams.video[0].sample_aspect_ratio) == pytest.approx(16 / 11)
        planes = frame.to_ndarray(format="gbrapf32le")
    assert planes[20, 25, 3] > 0.99
    assert planes[20, 25, 0] == pytest.approx(0.5776, abs=0.01)
    assert planes[20, 8, 0] == pytest.approx(0.5776 * planes[20, 8, 3], abs=0.01)
    assert 0.02 < planes[20, 8, 3] < 0.6
    assert planes[47, 63].max() == 0


def test_mattes_are_grey_alpha(tmp_path):
    clip = Clip([0, 0.1], fps=10)
    folder = write(clip, tmp_path / "m", "matte-png", Soft())
    grey = cv2.imread(str(folder / "clip.0001.png"), cv2.IMREAD_UNCHANGED)
    assert (grey.dtype, grey[20, 25] > 65000, grey[47, 63]) == (np.uint16, True, 0)
    path = write(clip, tmp_path / "m.mp4", "matte", Soft())
    with av.open(str(path)) as container:
        video = list(container.decode(video=0))[1].to_ndarray(format="rgb24")
    assert np.abs(video[..., 0].astype(float) - grey / 257).max() < 12


def test_cutouts_have_soft_alpha_from_logits(tmp_path):
    clip = Clip([0, 0.1], fps=10)
    folder = write(clip, tmp_path / "c", "cutouts", Soft())
    alpha = cv2.imread(str(folder / "1" / "00001.png"), cv2.IMREAD_UNCHANGED)[..., 3]
    assert ((alpha > 10) & (alpha < 245)).sum() > 50
    hard = write(clip, tmp_path / "h", "cutouts", Soft(), _soft=False)
    assert set(np.unique(cv2.imread(str(hard / "1" / "00001.png"), cv2.IMREAD_UNCHANGED)[..., 3])) == {0, 255}


def test_alpha_of_one_object_leaves_out_the_others():
    logits = np.full((2, 8, 8), -4.0, np.float32)
    logits[0, :, :4], logits[1, :, 4:] = 4, 4
    prediction = vos.Prediction((3, 5), logits)
    label_map = np.repeat(np.uint8([[3] * 4 + [5] * 4]), 8, axis=0)
    assert (alpha_of(prediction, label_map, None) > 0.9).all()
    assert (alpha_of(prediction, label_map, 3)[:, 4:] < 0.1).all()
    assert (alpha_of(prediction, label_map, 9) == 0).all()


def test_frames_that_are_too_large_for_h264_are_told(tmp_path):
    with pytest.raises(vos.VosError, match=r"o\.mp4: frames are 16386x48, H\.264 has at most 16384 pixels a side"):
        write(Clip([0.0], size=(48, 16386)), tmp_path / "o.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_that_no_editor_reads_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a name that ends in .mov"):
        write(Clip([0]), tmp_path / "p.mp4", "prores")


@pytest.mark.parametrize("under", [(150, 20, 20), (40, 110, 40), (60, 120, 240), (245, 245, 245), (10, 10, 10)])
def test_colours_differ_from_what_they_lie_on_and_from_one_another(under):
    image = np.full((60, 80, 3), under, np.uint8)
    label_map = np.zeros((60, 80), np.uint8)
    for object_id in range(1, 9):
        label_map[5:50, 9 * object_id - 6 : 9 * object_id] = object_id
    colours = choose_colours(image, label_map)
    assert len(set(colours.values())) == 8
    assert all(np.linalg.norm(np.subtract(colour, under)) > 90 for colour in colours.values())
    assert choose_colours(np.zeros_like(image), label_map, colours) == colours


@pytest.mark.parametrize("writer", ["prores", "webm-alpha", "matte", "matte-png", "exr"])
def test_an_object_that_no_frame_has_is_a_warning(tmp_path, caplog, writer):
    sequence = tiny_sequence("moving", object_ids=(1, 2), length=3)

    def warned(name, object_id):
        caplog.clear()
        options = {"path": tmp_path / f"{name}{suffix}", "object": object_id}
        vos.track(sequence, sequence.label_maps[0], tracker=StubTracker(), writers=[(writer, options)])
        return caplog.text

    suffix = {"prores": ".mov", "webm-alpha": ".webm", "matte": ".mp4"}.get(writer, "")
    assert "no frame has object 9, so that nothing is opaque. Objects: 1, 2." in warned("a", 9)
    assert warned("b", 2) == warned("c", None) == ""
