"""Display numbers in the headers of raw streams: they show whether frames are missing where a stream ends.

A raw stream has no times. A decoder shows a reference frame whose B frames were cut off as if it followed the last
frame that is there; its number, which the encoder counted with the missing ones, tells otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

RAW_STREAMS = frozenset({"h264", "hevc", "mpegvideo", "m4v"})
"""FFmpeg's names of the formats that are a codec's bytes alone."""

_HEADER = 4096
"""Bytes of a unit that its header fits in."""
_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


@dataclass(frozen=True)
class DisplayNumber:
    """The position of a frame in display order.

    Attributes:
        group: counts up where the numbers begin anew.
        number: ascending in the order of display within a group; its step is the encoder's.
    """

    group: int
    number: int


class DisplayNumbers:
    """Reads the display number of each packet of one raw stream, in decoding order."""

    def __init__(self, codec: str) -> None:
        """Begin before the first packet.

        Args:
            codec: FFmpeg's name of it.
        """
        self._read = {
            "h264": self._h264, "hevc": self._hevc, "mpeg4": self._mpeg4,
            "mpeg1video": self._mpeg2, "mpeg2video": self._mpeg2,
        }.get(codec)  # fmt: skip
        self._group = 0
        self._last = 0  # number that the next one is near to
        self._parameters: dict[str, dict[int, dict[str, int]]] = {"sps": {}, "pps": {}}
        self._vol: tuple[int, int] | None = None  # increments a second, bits of an increment
        self._seconds = self._seconds_before = 0

    def of(self, packet: Any) -> DisplayNumber | None:
        """Give a packet's display number, or None where the stream does not tell."""
        if self._read is None:
            return None
        try:
            number = self._read(bytes(packet))
        except (IndexError, KeyError):  # a header that is cut short, or parameters that are missing
            return None
        return None if number is None else DisplayNumber(self._group, number)

    def _begin_group(self) -> None:
        self._group += 1
        self._last = 0

    def _unwrapped(self, value: int, modulus: int) -> int:
        """The number nearest to the last one of those that end in ``value``."""
        return self._last + (value - self._last + modulus // 2) % modulus - modulus // 2

    def _mpeg2(self, data: bytes) -> int | None:
        """ISO/IEC 13818-2, 6.3.9: temporal_reference counts from 0 behind each group's header."""
        for unit in _units(data):
            if unit[0] == 0xB8:
                self._begin_group()
            if unit[0] == 0x00:
                self._last = self._unwrapped(unit[1] << 2 | unit[2] >> 6, 1024)
                return self._last
        return None

    def _mpeg4(self, data: bytes) -> int | None:
        """ISO/IEC 14496-2, 6.2.3 and 6.3.5: seconds that a frame counts on, and increments within the second."""
        for unit in _units(data):
            bits = _Bits(unit[1:])
            if 0x20 <= unit[0] <= 0x2F:
                self._vol = _video_object_layer(bits)
            elif unit[0] == 0xB3:
                hours, minutes, _, seconds = bits.u(5), bits.u(6), bits.u(1), bits.u(6)
                self._seconds = 3600 * hours + 60 * minutes + seconds
            elif unit[0] == 0xB6 and self._vol is not None:
                rate, size = self._vol
                is_b_frame = bits.u(2) == 2
                seconds = 0
                while bits.u(1):
                    seconds += 1
                bits.u(1)
                if is_b_frame:
                    return (self._seconds_before + seconds) * rate + bits.u(size)
                self._seconds_before, self._seconds = self._seconds, self._seconds + seconds
                return self._seconds * rate + bits.u(size)
        return None

    def _hevc(self, data: bytes) -> int | None:
        """ITU-T H.265, 7.3.6.1 and 8.3.1."""
        for unit in _units(data):
            kind, bits = unit[0] >> 1 & 63, _Bits(_without_escapes(unit[2:]))
            if kind == 33:
                _read_hevc_sps(bits, self._parameters["sps"])
            elif kind == 34:
                index, sps, _, output_flag, extra = bits.ue(), bits.ue(), bits.u(1), bits.u(1), bits.u(3)
                self._parameters["pps"][index] = {"sps": sps, "output_flag": output_flag, "extra": extra}
            elif kind < 32:
                return self._hevc_slice(kind, (unit[1] & 7) == 1, bits)
        return None

    def _hevc_slice(self, kind: int, lowest_layer: bool, bits: _Bits) -> int | None:
        if not bits.u(1):  # the packet does not begin with its frame's first slice
            return None
        if kind >= 16:
            bits.u(1)
        pps = self._parameters["pps"][bits.ue()]
        sps = self._parameters["sps"][pps["sps"]]
        if kind in (19, 20):
            self._begin_group()
            return 0
        bits.u(pps["extra"])
        bits.ue()
        bits.u(pps["output_flag"])
        bits.u(2 * sps["planes"])
        number = self._unwrapped(bits.u(sps["bits"]), 1 << sps["bits"])
        if lowest_layer and not 6 <= kind <= 9 and not (kind < 16 and kind % 2 == 0):
            self._last = number
        return number

    def _h264(self, data: bytes) -> int | None:
        """ITU-T H.264, 7.3.3 and 8.2.1.1; other picture order count types than 0 have no B frames out of order."""
        for unit in _units(data):
            kind, bits = unit[0] & 31, _Bits(_without_escapes(unit[1:]))
            if kind == 7:
                _read_h264_sps(bits, self._parameters["sps"])
            elif kind == 8:
                self._parameters["pps"][bits.ue()] = {"sps": bits.ue()}
            elif kind in (1, 5):
                bits.ue(), bits.ue()
                sps = self._parameters["sps"][self._parameters["pps"][bits.ue()]["sps"]]
                if sps["order_type"] != 0:
                    return None
                bits.u(2 * sps["planes"] + sps["frame_bits"])
                if not sps["frames_only"] and bits.u(1):
                    bits.u(1)
                if kind == 5:
                    bits.ue()
                    self._begin_group()
                number = self._unwrapped(bits.u(sps["bits"]), 1 << sps["bits"])
                if unit[0] >> 5 & 3:
                    self._last = number
                return number
        return None


class _Bits:
    """Reads bits, most significant first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def u(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def ue(self) -> int:
        """An unsigned number in Exp-Golomb code: ITU-T H.264, 9.1."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed one."""
        value = self.ue()
        return (value + 1) // 2 if value % 2 else -value // 2


def _units(data: bytes) -> Iterator[bytes]:
    """Return the bytes after each start code, up to ``_HEADER`` bytes."""
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 4:
        yield data[at + 3 : at + 3 + _HEADER]
        at = data.find(b"\x00\x00\x01", at + 3)


def _without_escapes(unit: bytes) -> bytes:
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


def _video_object_layer(bits: _Bits) -> tuple[int, int] | None:
    bits.u(9)
    version = 1
    if bits.u(1):
        version = bits.u(4)
        bits.u(3)
    if bits.u(4) == 15:
        bits.u(16)
    if bits.u(1):
        bits.u(3)
        if bits.u(1):
            bits.u(79)
    shape = bits.u(2)
    if shape == 3 and version != 1:
        bits.u(4)
    bits.u(1)
    rate = bits.u(16)
    return (rate, max((rate - 1).bit_length(), 1)) if rate else None


def _read_hevc_sps(bits: _Bits, known: dict[int, dict[str, int]]) -> None:
    bits.u(4)
    layers = bits.u(3)
    bits.u(1 + 96)
    present = [(bits.u(1), bits.u(1)) for _ in range(layers)]
    if layers:
        bits.u(2 * (8 - layers))
    for profile, level in present:
        bits.u(88 * profile + 8 * level)
    index = bits.ue()
    planes = bits.u(1) if bits.ue() == 3 else 0
    bits.ue(), bits.ue()
    if bits.u(1):
        for _ in range(4):
            bits.ue()
    bits.ue(), bits.ue()
    known[index] = {"planes": planes, "bits": bits.ue() + 4}


def _read_h264_sps(bits: _Bits, known: dict[int, dict[str, int]]) -> None:
    profile = bits.u(8)
    bits.u(16)
    index, planes = bits.ue(), 0
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        planes = bits.u(1) if chroma == 3 else 0
        bits.ue(), bits.ue(), bits.u(1)
        if bits.u(1):
            for size in [16] * 6 + [64] * (6 if chroma == 3 else 2):
                _skip_scaling_list(bits, size)
    frame_bits, order_type = bits.ue() + 4, bits.ue()
    order_bits = bits.ue() + 4 if order_type == 0 else 0
    if order_type == 1:
        bits.u(1), bits.se(), bits.se()
        for _ in range(bits.ue()):
            bits.se()
    bits.ue(), bits.u(1), bits.ue(), bits.ue()
    known[index] = {
        "planes": planes, "frame_bits": frame_bits, "order_type": order_type, "bits": order_bits,
        "frames_only": bits.u(1),
    }  # fmt: skip


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    if not bits.u(1):
        return
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last
