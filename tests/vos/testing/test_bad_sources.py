"""A deliberately bad source of each kind, and the clause that it breaks."""

import dataclasses

import numpy as np
import pytest

from vos.example_clip import CLIP
from vos.plugin import Frame, SourceError, hookimpl
from vos.registry.discovery import Plugins
from vos.registry.offers import Origin
from vos.testing import CLAUSES, ContractError, TinySequence, check_source, source_checks, tiny_sequence


class Good:
    """Frames of a tiny sequence, with one thing that a subclass does badly."""

    def __init__(self, length=8):
        self.sequence: TinySequence = tiny_sequence(length=length)
        self.info = self.sequence.info

    def frames(self, indices=None):
        yield from self.sequence.frames(indices)

    def close(self):
        pass


class NoClose(Good):
    close = None


class InfoIsADict(Good):
    def __init__(self):
        super().__init__()
        self.info = {"name": "clip"}


class InfoOfWrongTypes(Good):
    @property
    def info(self):
        return dataclasses.replace(self.sequence.info, frame_count="8")

    @info.setter
    def info(self, info):
        pass


class CountsFromOne(Good):
    def frames(self, indices=None):
        for frame in super().frames(indices):
            yield Frame(frame.index + 1, frame.image, frame.name)


class OneName(Good):
    def frames(self, indices=None):
        for frame in super().frames(indices):
            yield Frame(frame.index, frame.image, "frame")


class NoFrames(Good):
    def frames(self, indices=None):
        return iter(())


class Arrays(Good):
    def frames(self, indices=None):
        return (frame.image for frame in super().frames(indices))


def with_info(**changes):
    class Misstates(Good):
        def __init__(self):
            super().__init__()
            self.info = dataclasses.replace(self.info, **changes)

    return Misstates


class LearnsItsLength(Good):
    def frames(self, indices=None):
        self.info = dataclasses.replace(self.info, frame_count=8)
        yield from super().frames(indices)

    def __init__(self):
        super().__init__()
        self.info = dataclasses.replace(self.info, frame_count=None)


class IgnoresIndices(Good):
    def frames(self, indices=None):
        return super().frames()


class OnlyRises(Good):
    def frames(self, indices=None):
        return super().frames(None if indices is None else range(*sorted((indices.start, indices.stop))))


class SeeksToTheKeyFrame(Good):
    def frames(self, indices=None):
        for frame in super().frames(indices):
            shown = frame if indices is None or indices.start == 0 else self.sequence.frame(0)
            yield Frame(frame.index, shown.image, frame.name)


class OneIterator(Good):
    def frames(self, indices=None):
        if indices is not None:
            return super().frames(indices)
        if not hasattr(self, "left"):
            self.left = super().frames()
        return self.left


class Lists(Good):
    def frames(self, indices=None):
        return list(super().frames(indices))


class OneBuffer(Good):
    def frames(self, indices=None):
        buffer = np.zeros((*self.sequence.size, 3), np.uint8)
        for frame in super().frames(indices):
            buffer[:] = frame.image
            yield Frame(frame.index, buffer, frame.name)


class KeepsAll(Good):
    def __init__(self):
        super().__init__()
        self.read = []

    def frames(self, indices=None):
        for frame in super().frames(indices):
            self.read.append(frame)
            yield frame


class ClosesWhatWasRead(Good):
    def frames(self, indices=None):
        self.file = True
        yield from super().frames(indices)

    def close(self):
        del self.file


BAD = [
    ("source-methods", NoClose, "NoClose has no method close"),
    ("source-methods", InfoIsADict, "info is a dict, expected a vos.plugin.SourceInfo"),
    ("source-methods", InfoOfWrongTypes, "info raised ValueError: info.frame_count is '8', expected a whole number"),
    ("source-methods", with_info(name=None), "raised ValueError: info.name is None, expected text"),
    ("source-methods", with_info(size="8x8"), r"raised ValueError: info.size is '8x8', expected \(H, W\)"),
    ("source-methods", with_info(fps="30"), "raised ValueError: info.fps is '30', expected a number or None"),
    ("source-methods", with_info(frame_names=("0", 1)), "raised ValueError: info.frame_names has 1, expected text"),
    ("source-methods", with_info(frame_names=8), "raised ValueError: info.frame_names is 8, expected a tuple of text"),
    ("source-frames", CountsFromOne, "frame 0 has the index 1"),
    ("source-frames", OneName, 'two frames have the name "frame"'),
    ("source-frames", NoFrames, "gave no frame"),
    ("source-frames", Arrays, "gave a ndarray, expected a vos.plugin.Frame"),
    ("source-info", with_info(frame_count=9), "frame_count is 9, and frames\\(\\) gave 8"),
    ("source-info", with_info(size=(64, 48)), r"info.size is \(64, 48\), and frame 00000 has \(48, 64\)"),
    ("source-info", with_info(frame_names=("a",)), r"frame_names\[0\] is \['a'\], .*'00000'"),
    ("source-info", with_info(frame_names=("00000",)), r"frame_names\[1\] is \[\], frame 1 is \['00001'\]"),
    ("source-info", with_info(name=" "), "the name ' '"),
    ("source-info", LearnsItsLength, "info changed"),
    ("source-indices", IgnoresIndices, r"frames\(range\(1, 8\)\) gave the indices \[0, 1"),
    ("source-indices", OnlyRises, r"gave the indices"),
    ("source-indices", SeeksToTheKeyFrame, "other pixels for frame 1 than"),
    ("source-restart", OneIterator, "gave 8 frames, and 0 when called again"),
    ("source-restart", Lists, "frames\\(\\) raised TypeError: 'list' object is not an iterator"),
    ("source-own-pixels", OneBuffer, "the image of frame 00000 changed"),
    ("source-memory", KeepsAll, "memory grows by 9.* KiB a frame of 9.0 KiB"),
    ("source-close", ClosesWhatWasRead, "close raised AttributeError"),
]


def clause_check(clause, source, **settings):
    return next(check for check in source_checks(source, **settings) if check.clause == clause)


def test_a_good_source_passes():
    checked = check_source(Good)
    assert checked == [name for name in CLAUSES if name.startswith("source-")][: len(checked)]
    assert checked[-1] == "source-close"


@pytest.mark.parametrize(("clause", "factory", "message"), BAD)
def test_a_bad_one_breaks_its_clause(clause, factory, message):
    with pytest.raises(ContractError, match=message) as caught:
        clause_check(clause, factory)()
    assert caught.value.clause == clause


def test_every_clause_has_a_bad_source():
    hooks = {"source-foreign", "source-unreadable"}  # the two below
    assert {clause for clause, *_ in BAD} | hooks == {name for name in CLAUSES if name.startswith("source-")}


def plugins_with(open_source):
    class Plugin:
        vos_open_source = staticmethod(hookimpl(open_source))

    Plugin.vos_open_source.__name__ = "vos_open_source"
    plugins = Plugins()
    plugins.register(Plugin, Origin("guest", "guest", "tests"))
    assert not plugins.broken
    return plugins


def fails_on_others(location):
    return Good(int(location.removeprefix("tiny:")))


def test_a_plugin_must_leave_other_locations_to_others():
    for opens, message in ((fails_on_others, "ValueError"), (lambda location: Good(), "opened vos-testing-nobody")):
        with pytest.raises(ContractError, match=message):
            clause_check("source-foreign", "tiny:4", plugins=plugins_with(opens))()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(2, "No such file"), "OSError|FileNotFoundError"),
        (SourceError("cannot be read"), "the message does not name tiny:absent"),
        (None, "was read without an error: 8 frames"),
    ],
)
def test_an_unreadable_location_is_a_source_error(error, message):
    def open_source(location):
        if error is None:
            return Good()
        raise error

    check = clause_check("source-unreadable", "tiny:4", plugins=plugins_with(open_source), unreadable="tiny:absent")
    with pytest.raises(ContractError, match=message):
        check()


def test_the_shipped_sources_pass(tmp_path):
    images, _ = tiny_sequence(length=8, size=(24, 32)).save(tmp_path)
    for location in (images, CLIP):
        assert len(check_source(location, unreadable=tmp_path / "absent.mp4", limit=4)) == 9, "memory needs more frames"
