"""Small videos for tests, made with PyAV: each frame carries its index as a bar code that lossy codecs keep."""

from fractions import Fraction

import av
import numpy as np

HEIGHT, WIDTH = 96, 192

ENCODERS = {
    "h264": ("libx264", {"g": "8", "bf": "3"}),
    "h264-open-gop": ("libx264", {"g": "8", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "h264-intra-refresh": ("libx264", {"x264-params": "intra-refresh=1:keyint=8"}),
    "h264-interlaced": ("libx264", {"g": "8", "bf": "2", "x264-params": "tff=1"}),
    "hevc-open-gop": ("libx265", {"x265-params": "log-level=none:keyint=8:open-gop=1"}),
    "vp8": ("libvpx", {"g": "8", "auto-alt-ref": "1", "lag-in-frames": "8", "deadline": "good"}),
    "vp9": ("libvpx-vp9", {"g": "8", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "mpeg4": ("mpeg4", {"g": "8", "bf": "2"}),
    "mpeg2": ("mpeg2video", {"g": "8", "bf": "2"}),
    "mjpeg": ("mjpeg", {}),
    "wmv2": ("wmv2", {"g": "8"}),
    "flv1": ("flv", {"g": "8"}),
    "h263": ("h263p", {"g": "8"}),
    "prores": ("prores_ks", {}),
    "gif": ("gif", {}),
    "dv": ("dvvideo", {}),
    "rawvideo": ("wrapped_avframe", {}),
}
PIXELS = {"mjpeg": "yuvj420p", "prores": "yuv422p10le", "gif": "rgb8"}


def picture(index, height=HEIGHT, width=WIDTH):
    """Eight columns, light where the index has a 1; the top is dark, with a light block that moves to the right."""
    image = np.full((height, width, 3), 60, np.uint8)
    for bit in range(8):
        if index >> bit & 1:
            image[height // 2 :, bit * width // 8 : (bit + 1) * width // 8] = 220
    left = index * 5 % width
    image[: height // 4, left : left + width // 12] = 200
    return image


def index_in(image):
    """The index that a picture carries."""
    bottom = image[-image.shape[0] // 4 :].mean(axis=(0, 2))
    return sum(1 << bit for bit, part in enumerate(np.array_split(bottom, 8)) if part.mean() > 130)


def write_video(path, codec="h264", count=30, rate=25, size=(HEIGHT, WIDTH), times_ms=None, container=None, **more):
    """Write a video; ``more`` are attributes of the stream."""
    name, options = ENCODERS[codec]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(name, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = PIXELS.get(codec, "yuv420p")
        stream.options = options
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for key, value in more.items():
            setattr(stream.codec_context, key, value)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def decode_all(path):
    """Decode a file from its beginning to its end, as ffmpeg does: the frames that it shows."""
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(file.streams.best("video"))]
