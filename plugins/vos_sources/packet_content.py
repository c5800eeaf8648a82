"""Frame headers in packets: hidden frames, end marks and random access points, which containers do not state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_IDR_SLICE, _SEI = 5, 6
_RECOVERY_POINT = 6
_PADDING = 4096
"""Bytes at the end of a packet in which an end mark is looked for; encoders pad to sectors."""


class PacketContent:
    """Reads the frame headers of one track's packets."""

    def __init__(self, codec_context: Any) -> None:
        """Parse the codec's extradata.

        Args:
            codec_context: PyAV's codec context of the track.
        """
        self._codec = str(codec_context.name)
        extradata = bytes(codec_context.extradata or b"")
        # ISO/IEC 14496-15, 5.3.3.1: the record begins with version 1; its fifth byte ends in the length's size less 1.
        self._length_size = (extradata[4] & 3) + 1 if len(extradata) > 4 and extradata[0] == 1 else 0

    def shown_frames(self, packet: Any) -> int:
        """Number of frames that a packet shows: 0 for a hidden reference, 2 for packed B frames, else 1.

        Source: VP8: RFC 6386, 9.1. VP9: bitstream specification 0.6, 6.2 and Annex B. MPEG-4: ISO/IEC 14496-2, 6.2.5.
        """
        if self._codec in ("vp8", "libvpx"):
            return memoryview(packet)[0] >> 4 & 1
        if self._codec in ("vp9", "libvpx-vp9"):
            return int(_vp9_shows(memoryview(packet)))
        if self._codec == "mpeg4":
            return max(bytes(packet).count(b"\x00\x00\x01\xb6"), 1) if packet.size > 8 else 2
        return 1

    def has_end_mark(self, packet: Any) -> bool | None:
        """Test whether a packet ends with its codec's end mark; None if the codec has none.

        Source: JPEG: ITU-T T.81, B.1.1.3 (end of image); zeros and fill bytes may follow.
        """
        if self._codec != "mjpeg":
            return None
        return bytes(packet)[-_PADDING:].rstrip(b"\x00\xff").endswith(b"\xd9")

    def is_random_access_point(self, packet: Any) -> bool:
        """Test whether decoding may begin at a key frame, so that all frames shown from it on are exact.

        H.264 files mark recovery points as key frames too; with gradual refresh, frames after them need earlier ones.

        Source: ITU-T H.264, 7.3.1 (NAL units), D.1.8 (recovery point).
        """
        if self._codec != "h264":
            return True
        for unit in self._nal_units(bytes(packet)):
            kind = unit[0] & 31
            if kind == _IDR_SLICE:
                return True
            if kind == _SEI and _recovers_at_once(unit):
                return True
        return False

    def _nal_units(self, data: bytes) -> Iterator[bytes]:
        if self._length_size:
            at = 0
            while at + self._length_size < len(data):
                length = int.from_bytes(data[at : at + self._length_size], "big")
                at += self._length_size
                if length == 0:
                    return
                yield data[at : at + min(length, 256)]
                at += length
            return
        at = data.find(b"\x00\x00\x01")
        while 0 <= at < len(data) - 3:
            yield data[at + 3 : at + 259]
            at = data.find(b"\x00\x00\x01", at + 3)


def _vp9_shows(data: memoryview) -> bool:
    if data[-1] & 0xE0 == 0xC0:
        return True  # a superframe shows one of its frames
    profile = data[0] >> 5 & 1 | data[0] >> 3 & 2
    bits = data[0] << 8 | (data[1] if len(data) > 1 else 0)
    at = 11 if profile < 3 else 10  # the bit of show_existing_frame, after the marker and the profile
    return bool(bits >> at & 1) or bool(bits >> (at - 2) & 1)


def _recovers_at_once(unit: bytes) -> bool:
    """True if an SEI unit holds a recovery point whose recovery_frame_cnt is 0."""
    at = 1
    while at + 2 < len(unit):
        kind = size = 0
        while at < len(unit) and unit[at] == 255:
            kind, at = kind + 255, at + 1
        kind, at = kind + unit[min(at, len(unit) - 1)], at + 1
        while at < len(unit) and unit[at] == 255:
            size, at = size + 255, at + 1
        size, at = size + unit[min(at, len(unit) - 1)], at + 1
        if kind == _RECOVERY_POINT:
            return at < len(unit) and bool(unit[at] & 0x80)  # ue(v) 0 is the single bit 1
        at += size
    return False
