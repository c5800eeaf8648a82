"""A deliberately bad writer and format of each kind, and the clause that it breaks."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from vos import object_ids
from vos.plugin import (
    FormatSpec,
    ImportedFrame,
    ImportedMasks,
    InputError,
    atomic_write,
    hookimpl,
    load_plugins,
)
from vos.registry.offers import Origin
from vos.testing import CLAUSES, ContractError, check_format, check_writer, format_checks, writer_checks


class Good:
    """A text file a frame, and one of all areas at the end."""

    def __init__(self, folder=None):
        self.areas = {}

    def open(self, run):
        self.folder = run.output

    def write(self, frame, label_map, prediction):
        self.areas[frame.name] = [int((label_map == i).sum()) for i in prediction.object_ids]
        atomic_write(self.folder / f"{frame.name}.json", json.dumps(label_map.tolist()))

    def close(self):
        atomic_write(self.folder / "areas.json", json.dumps(self.areas))

    def abort(self, error):
        pass


class NoAbort(Good):
    abort = None


class WriteTakesTwo(Good):
    def write(self, frame, label_map):
        pass


class WritesNothing(Good):
    def write(self, frame, label_map, prediction):
        pass

    def close(self):
        pass


class NeedsAFileSource(Good):
    def open(self, run):
        super().open(run)
        if run.tracker != "tiny":  # what the kit's own runs say; any dependence on the tracker will do
            raise KeyError(run.tracker)


class FailsAtTheEnd(Good):
    def close(self):
        raise OSError("disk full")


class WritesBeside(Good):
    def close(self):
        atomic_write(self.folder.parent / "areas.json", "{}")


class ListsNothing(Good):
    def outputs(self, folder):
        return None


class ListsWhatItDoesNotWrite(Good):
    def outputs(self, folder):
        return [folder / "table.csv"]


class Appends(Good):
    def write(self, frame, label_map, prediction):
        with (self.folder / "areas.txt").open("a") as file:
            file.write(f"{frame.name}\n")


class LeavesItsTemporaryFile(Good):
    def open(self, run):
        super().open(run)
        (self.folder / "areas.tmp").write_text("")

    def close(self):
        (self.folder / "areas.tmp").replace(self.folder / "areas.json")


class ClosesOnAbort(Good):
    def write(self, frame, label_map, prediction):
        super().write(frame, label_map, prediction)
        (self.folder / "half.json").unlink(missing_ok=True)

    def close(self):
        atomic_write(self.folder / "half.json", "[1, 2]")

    def abort(self, error):
        atomic_write(self.folder / "half.json", "[1")


class FailsOnEarlyAbort(Good):
    def abort(self, error):
        next(iter(self.areas))


class Numbered(Good):
    number = itertools.count()

    def close(self):
        atomic_write(self.folder / "areas.json", str(next(self.number)))


class NumberedFile(Good):
    number = itertools.count()

    def close(self):
        atomic_write(self.folder / f"{next(self.number)}.json", "{}")


class WritesIntoTheLabelMap(Good):
    def write(self, frame, label_map, prediction):
        label_map[0] = 0


class WritesIntoTheImage(Good):
    def write(self, frame, label_map, prediction):
        frame.image.base[0] = 0
        super().write(frame, label_map, prediction)


class NeedsRisingFrames(Good):
    per_frame = True
    last = -1

    def write(self, frame, label_map, prediction):
        if frame.index < self.last:
            raise ValueError("frames must rise")
        self.last = frame.index
        super().write(frame, label_map, prediction)


class FewIds(Good):
    def write(self, frame, label_map, prediction):
        np.zeros(100)[list(object_ids(label_map))]
        super().write(frame, label_map, prediction)


class EvenSizesOnly(Good):
    def write(self, frame, label_map, prediction):
        label_map.reshape(frame.size[0] // 2, 2, frame.size[1] // 2, 2)
        super().write(frame, label_map, prediction)


BAD_WRITERS = [
    ("writer-methods", NoAbort, "NoAbort has no method abort"),
    ("writer-methods", WriteTakesTwo, r"write\(frame, label_map\) cannot take 3 arguments"),
    ("writer-run", WritesNothing, "a run of 4 frames left no file"),
    ("writer-run", NeedsAFileSource, "in the host's frame loop, the writer raised WriterError"),
    ("writer-run", FailsAtTheEnd, "close on the run raised OSError: disk full"),
    ("writer-outputs", ListsNothing, "outputs raised TypeError: 'NoneType' object is not iterable"),
    ("writer-outputs", WritesBeside, "areas.json was written, which is in no folder"),
    ("writer-outputs", ListsWhatItDoesNotWrite, r"nothing of what outputs lists .*table.csv"),
    ("writer-complete", Appends, "areas.txt was at its final path before it was complete: 6 bytes, at the end 24"),
    ("writer-abort", LeavesItsTemporaryFile, "after 0 frames, abort left areas.tmp, which no good run leaves"),
    ("writer-abort", ClosesOnAbort, r"abort left an incomplete half.json \(2 bytes\)"),
    ("writer-abort", FailsOnEarlyAbort, "abort on the run raised StopIteration"),
    ("writer-repeatable", Numbered, "different bytes in areas.json"),
    ("writer-repeatable", NumberedFile, "two runs left different files"),
    ("writer-read-only", WritesIntoTheLabelMap, "read-only"),
    ("writer-read-only", WritesIntoTheImage, "write on frame 00000 changed the image"),
    ("writer-frames", NeedsRisingFrames, "write on frame 00003 raised ValueError: frames must rise"),
    ("writer-frames", FewIds, "IndexError"),
    ("writer-sizes", EvenSizesOnly, "write on frame 00000 raised ValueError: cannot reshape"),
]


def test_a_good_writer_passes():
    assert check_writer(Good) == [name for name in CLAUSES if name.startswith("writer-")]


@pytest.mark.parametrize(("clause", "factory", "message"), BAD_WRITERS)
def test_a_bad_writer_breaks_its_clause(clause, factory, message):
    check = next(check for check in writer_checks(factory) if check.clause == clause)
    with pytest.raises(ContractError, match=message) as caught:
        check()
    assert caught.value.clause == clause


def test_every_clause_has_a_bad_writer():
    assert {clause for clause, *_ in BAD_WRITERS} == {name for name in CLAUSES if name.startswith("writer-")}


def test_a_named_writer_is_checked_with_its_options():
    assert len(check_writer("overlay", options={"path": "videos.webm"})) == 9


class Text:
    """The exporter of a format: a folder of text files, and the two ways to read it."""

    def __init__(self, options):
        pass

    def open(self, run):
        self.folder = run.output / "text"
        self.folder.mkdir()

    def write(self, frame, label_map, prediction):
        atomic_write(self.folder / f"{frame.name}.txt", "\n".join("".join(map(str, row)) for row in label_map))

    def close(self):
        pass

    def abort(self, error):
        pass


def read(path, files=lambda files: files, change=lambda label_map: label_map):
    found = sorted(path.glob("*.txt")) if path.name == "text" else []
    if not found:
        return None

    def frames():
        for file in files(found):
            rows = [list(row) for row in file.read_text().split()]
            if len({len(row) for row in rows}) != 1:
                raise InputError(f"{file}: the rows have different lengths.")
            yield ImportedFrame(file.stem, change(np.array(rows, np.uint8)))

    return [ImportedMasks(path.parent.name, frames)]


def read_once(path):
    (masks,) = read(path) or [None]
    if masks is None:
        return None
    frames = masks.frames()
    return [ImportedMasks(masks.sequence, lambda: frames)]


def read_anything(path):
    return [ImportedMasks(path.name, lambda: iter(()))]


def read_json(path):
    return read(path) or (json.loads(path.read_text())["frames"] if path.is_file() else None)


def read_without_checks(path):
    (masks,) = read(path) or [None]
    if masks is None:
        return None
    arrays = lambda: (np.array([list(row) for row in file.read_text().split()], np.uint8) for file in path.glob("*"))  # noqa: E731
    return [ImportedMasks(masks.sequence, lambda: (ImportedFrame("", array) for array in arrays()))]


def read_namelessly(path):
    (masks,) = read(path) or [None]
    if masks is None:
        return None
    return [ImportedMasks(masks.sequence, lambda: (ImportedFrame("", f.label_map) for f in masks.frames()))]


def read_nothing(path):
    return [ImportedMasks(masks.sequence, lambda: iter([None])) for masks in read(path) or ()] or None


def refuse_all(path):
    if read(path):
        raise InputError("text: damaged.")


BAD_FORMATS = [
    ("format-parts", None, None, "neither exporter nor importer"),
    ("format-round-trip", Text, lambda path: None, "the importer gave None for"),
    ("format-round-trip", Text, read_namelessly, r"the importer gave the frames \['', "),
    ("format-round-trip", Text, lambda path: read(path, lambda files: files[:-1]), "expected .*'00003'"),
    ("format-round-trip", Text, lambda path: read(path, change=lambda a: np.roll(a, 1)), "overlap 0"),
    ("format-round-trip", Text, lambda path: read(path, change=lambda a: a[:, :9]), r"uint8 \(48, 9\)"),
    ("format-round-trip", Text, lambda path: read(path, change=lambda a: None), r"the label map is object \(\), exp"),
    (
        "format-round-trip",
        Text,
        lambda path: next(iter(read(path) or []), None),
        "gave ImportedMasks.*, expected a l",
    ),
    ("format-round-trip", Text, lambda path: read(path) and [1], r"the importer gave \[1\], expected a list of Imp"),
    ("format-round-trip", Text, read_nothing, r"frames\(\) of .* gave \[None\], expected ImportedFrames"),
    ("format-round-trip", Text, refuse_all, "the importer on .* raised InputError: text: damaged"),
    ("format-restart", Text, read_once, "gave 4 frames, and 0 when called again"),
    ("format-foreign", Text, read_anything, "the importer took empty, which is of another format"),
    ("format-foreign", Text, read_json, "the importer on .* raised"),
    ("format-damaged", Text, read_without_checks, "frames\\(\\) of .* raised"),
]


def plugins_with(exporter, importer):
    plugins = load_plugins(autoload=False)
    spec = FormatSpec("tiny-text", "Text files.", exporter, importer)

    class Plugin:
        @staticmethod
        @hookimpl
        def vos_formats():
            return [spec]

    plugins.register(Plugin, Origin("guest", "guest", "tests"))
    assert not plugins.broken
    return plugins


def test_a_good_format_passes():
    checked = check_format("tiny-text", plugins=plugins_with(Text, read))
    assert checked == [name for name in CLAUSES if name.startswith(("writer-", "format-"))]


@pytest.mark.parametrize(("clause", "exporter", "importer", "message"), BAD_FORMATS)
def test_a_bad_format_breaks_its_clause(clause, exporter, importer, message):
    checks = format_checks("tiny-text", plugins=plugins_with(exporter, importer))
    check = next(check for check in checks if check.clause == clause)
    with pytest.raises(ContractError, match=message) as caught:
        check()
    assert caught.value.clause == clause


def test_every_clause_has_a_bad_format():
    assert {clause for clause, *_ in BAD_FORMATS} == {name for name in CLAUSES if name.startswith("format-")}


def test_a_format_that_is_only_read_is_checked_on_a_sample(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "00000.txt").write_text("0110\n0000")
    plugins = plugins_with(None, read)
    checked = check_format("tiny-text", plugins=plugins, sample=folder)
    assert checked == ["format-parts", "format-restart", "format-foreign", "format-damaged"]


def test_a_format_that_loses_pixels_states_what_it_keeps():
    plugins = plugins_with(Text, lambda path: read(path, change=shifted))
    with pytest.raises(ContractError, match="overlap 0.9.*, expected 1.000"):
        check_format("tiny-text", plugins=plugins)
    assert "format-round-trip" in check_format("tiny-text", plugins=plugins, min_iou=0.7)


def shifted(label_map):
    return np.roll(label_map, 1, axis=1)


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check_writer(lambda folder: Good(Path(folder)))
    assert not list(tmp_path.iterdir())
