"""Detect video files that are cut short: each container states its length in its own way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_EBML_HEADER, _SEGMENT = 0x1A45DFA3, 0x18538067
_NUT_INDEX = bytes.fromhex("4e58dd672f23e64e")
_MXF_HEADER_PARTITION = bytes.fromhex("060e2b34020501010d01020101")
_TAIL = 65536


def is_cut_short(path: Path, container: str) -> bool:
    """Test whether the end of a file is missing.

    Args:
        path: the file.
        container: FFmpeg's name of its format (``"matroska,webm"``).
    Returns:
        True if the container states more bytes than the file has, or its end mark is missing; False also if the
        container states no length.
    """
    check = next((check for name, check in _CHECKS.items() if name in container.split(",")), None)
    if check is None:
        return False
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return check(file, size)
        except (IndexError, ValueError):  # a structure of another kind states nothing
            return False


def _mp4(file: BinaryIO, size: int) -> bool:
    """ISO/IEC 14496-12, 4.2: boxes of a stated size follow each other; 0 means to the end of the file."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:
            return False
        at += length
    return at > size


def _avi(file: BinaryIO, size: int) -> bool:
    """RIFF: each chunk at the top (OpenDML: several of them) states its size; recorders that were stopped leave 0."""
    at = 0
    while at + 12 <= size:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            return False
        at += 8 + length + (length & 1)
    return at > size + 1


def _matroska(file: BinaryIO, size: int) -> bool:
    """RFC 8794, 6: an element's size follows its id; all ones mean that it is not known (live recordings)."""
    head = file.read(4096)
    at = 0
    while at < len(head) - 12:
        id_length = 9 - head[at].bit_length()
        identity = int.from_bytes(head[at : at + id_length], "big")
        at += id_length
        length = 9 - head[at].bit_length()
        value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
        at += length
        if identity == _SEGMENT:
            return value != (1 << 7 * length) - 1 and at + value > size
        if identity != _EBML_HEADER and value > len(head):
            return False
        at += value
    return False


def _flv(file: BinaryIO, size: int) -> bool:
    """Adobe FLV 10.1, E.3: after each tag stands its size with its header's 11 bytes."""
    if size < 24:
        return True
    file.seek(size - 4)
    previous = int.from_bytes(file.read(4), "big")
    if not 11 <= previous <= size - 4:
        return True
    file.seek(size - 4 - previous)
    tag = file.read(4)
    return int.from_bytes(tag[1:4], "big") + 11 != previous


def _gif(file: BinaryIO, size: int) -> bool:
    """GIF89a, 27: the last byte is the trailer; some tools pad with zeros."""
    file.seek(max(size - _TAIL, 0))
    return not file.read().rstrip(b"\0").endswith(b"\x3b")


def _transport_stream(file: BinaryIO, size: int) -> bool:
    """ISO/IEC 13818-1: packets of 188 bytes, with 4 more before them (M2TS) or 16 after them."""
    head = file.read(204 * 8)
    for length, offset in ((188, 0), (192, 4), (204, 0)):
        marks = head[offset::length][:5]
        if len(marks) == 5 and set(marks) == {0x47}:
            return size % length != 0
    return False


def _asf(file: BinaryIO, size: int) -> bool:
    """Advanced Systems Format 01.20, 3.2: the file properties state the size, unless they are a broadcast's."""
    head = file.read(_TAIL)
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0:
        return False
    stated = int.from_bytes(head[at + 40 : at + 48], "little")
    is_broadcast = head[at + 88] & 1
    return not is_broadcast and stated > size


def _ogg(file: BinaryIO, size: int) -> bool:
    """RFC 3533, 6: the last page of a stream carries the flag 4; its header lists the sizes of its segments."""
    file.seek(max(size - _TAIL - 8, 0), os.SEEK_SET)
    tail = file.read()
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < 27 or not page[5] & 4:
        return True
    return 27 + page[26] + sum(page[27 : 27 + page[26]]) > len(page)


def _nut(file: BinaryIO, size: int) -> bool:
    """NUT 20130327, "index": it follows the last frame, and its length stands in the file's last 12 bytes."""
    file.seek(max(size - 12, 0))
    length = int.from_bytes(file.read(8), "big")
    if not 12 < length <= size:
        return True
    file.seek(size - length)
    return file.read(8) != _NUT_INDEX


def _mxf(file: BinaryIO, size: int) -> bool:
    """SMPTE 377-1, 7.1: the header partition states where the footer begins; 0 means that it is not known."""
    head = file.read(_TAIL)
    at = head.find(_MXF_HEADER_PARTITION)
    if at < 0:
        return False
    at += 16
    at += 1 + (head[at] & 0x7F if head[at] & 0x80 else 0)
    return int.from_bytes(head[at + 24 : at + 32], "big") >= size


_CHECKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "mp4": _mp4,
    "avi": _avi,
    "matroska": _matroska,
    "flv": _flv,
    "gif": _gif,
    "mpegts": _transport_stream,
    "asf": _asf,
    "ogg": _ogg,
    "nut": _nut,
    "mxf": _mxf,
}
