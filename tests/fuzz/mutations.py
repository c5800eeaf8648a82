"""Damage to files: bytes, PNG chunks with right checksums, entries of zip files, values of JSON."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
INTEGERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 255, 256, 1 << 31, 1 << 63, 10**30, 0.5, 1e308, float("nan"), float("inf"),
    "", "x", "../../x", "/", "\x00", "\ud800", "\x1b[31m", "x" * 5000, "1e999", [], {}, [[]], [None], {"": None},
    [[[[[[[[[[[[]]]]]]]]]]]], [1 << 40] * 3, [-1, -1, -1, -1],
)  # fmt: skip
NUMBERS = ("-1", "0", "1e309", "nan", "99999999999999999999", "0x10", "", "1,2", " ", "é")


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Damage a file in a way that its kind of file allows.

    Args:
        content: the file.
        rng: decides all.
    Returns:
        Another file, or by chance an equal one.
    """
    if content.startswith(PNG) and rng.random() < 0.7:
        return _png(content, rng)
    if content.startswith(b"PK") and rng.random() < 0.7:
        return _zip(content, rng)
    if content[:1] in (b"{", b"[") and rng.random() < 0.7:
        return _json(content, rng)
    if content.isascii() and rng.random() < 0.6:
        return _text(content, rng)
    return _bytes(content, rng)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        rng.choice(BYTE_MUTATIONS)(data, rng)
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """A place in the file; headers are at its beginning, indices at its end."""
    size = max(len(data), 1)
    near = rng.randrange(min(size, 256))
    return rng.choice((rng.randrange(size), near, size - 1 - near))


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] = rng.randrange(256)


def _set_integer(data: bytearray, rng: random.Random) -> None:
    form = rng.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    if len(data) > size:
        at = min(_place(data, rng), len(data) - size)
        data[at : at + size] = struct.pack(form, rng.choice(INTEGERS) & ((1 << 8 * size) - 1))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 4, 64, 1024))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + rng.choice((1, 4, 64, 1024))]


def _insert(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))


BYTE_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _set_byte, _set_integer, _set_integer, _cut, _remove, _repeat, _insert,
)  # fmt: skip


def _png(content: bytes, rng: random.Random) -> bytes:
    """Damage one chunk of a PNG file and write its checksum anew, or drop, repeat or swap chunks."""
    chunks, at = [], len(PNG)
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    number = rng.randrange(len(chunks))
    kind, data = chunks[number]
    what = rng.randrange(6)
    if what == 0:
        del chunks[number]
    elif what == 1:
        chunks.insert(rng.randrange(len(chunks)), (kind, data))
    elif kind == b"IDAT" and what < 5:
        chunks[number] = kind, zlib.compress(_bytes(zlib.decompress(data), rng), 1)
    else:
        chunks[number] = kind, _bytes(data, rng)
    parts = [
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    ]
    return PNG + b"".join(parts)


def _zip(content: bytes, rng: random.Random) -> bytes:
    """Damage one entry of a zip file, whose checksums are written anew."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    victim = rng.choice(sorted(entries))
    entries[victim] = _bytes(entries[victim], rng)
    if rng.random() < 0.1:
        del entries[rng.choice(sorted(entries))]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _json(content: bytes, rng: random.Random) -> bytes:
    """Replace, remove or repeat values of a JSON file."""
    holder = [json.loads(content)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        places: list[tuple[Any, Any]] = []
        _places(holder, places)
        if not places:
            break
        container, key = rng.choice(places)
        what = rng.random()
        if what < 0.2 and container is not holder:
            del container[key]
        elif what < 0.3 and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        else:
            container[key] = copy.deepcopy(rng.choice(VALUES))  # a value changed later is that of this case alone
    return json.dumps(holder[0]).encode("utf-8", "surrogatepass")


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        _places(value[key], found)


def _text(content: bytes, rng: random.Random) -> bytes:
    """Replace a number or a word of a text, or remove or repeat one of its lines."""
    text = content.decode()
    words = list(re.finditer(r"-?[\d.]+|\w+", text))
    lines = text.splitlines(keepends=True)
    what = rng.random()
    if what < 0.7 and words:
        word = rng.choice(words)
        text = text[: word.start()] + rng.choice((*NUMBERS, "x" * 5000)) + text[word.end() :]
    elif what < 0.85 and lines:
        del lines[rng.randrange(len(lines))]
        text = "".join(lines)
    elif lines:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        text = "".join(lines)
    return text.encode()
