"""A deliberately bad initializer of each kind, and the clause that it breaks."""

import numpy as np
import pytest

from vos.plugin import EmptyMaskError
from vos.testing import CLAUSES, ContractError, check_initializer, initializer_checks


class Bright:
    """Segments what is brighter than the frame's mean; a good initializer."""

    def initialize(self, frame):
        grey = frame.image.mean(2)
        label_map = (grey > grey.mean() + 10).astype(np.uint8)
        if not label_map.any():
            raise EmptyMaskError("nothing is bright. Try points.")
        return label_map


class NoMethod:
    pass


class Float(Bright):
    def initialize(self, frame):
        return super().initialize(frame).astype(float)


class HalfSize(Bright):
    def initialize(self, frame):
        return super().initialize(frame)[::2, ::2]


class Void(Bright):
    def initialize(self, frame):
        return super().initialize(frame) * np.uint8(255)


class Empty(Bright):
    def initialize(self, frame):
        return np.zeros(frame.size, np.uint8)


class Random(Bright):
    generator = np.random.default_rng(0)

    def initialize(self, frame):
        return self.generator.integers(1, 3, frame.size, np.uint8)


class Counts(Bright):
    ids = 0

    def initialize(self, frame):
        self.ids += 1
        return super().initialize(frame) * np.uint8(self.ids)


class Reuses(Bright):
    def __init__(self):
        self.label_map = np.zeros((48, 64), np.uint8)

    def initialize(self, frame):
        self.label_map[:] = super().initialize(frame)
        return self.label_map


class Writes(Bright):
    def initialize(self, frame):
        frame.image[:] = 0
        return super().initialize(frame)


class WritesThroughTheBase(Bright):
    def initialize(self, frame):
        label_map = super().initialize(frame)
        frame.image.base[0] = 0
        return label_map


class EvenOnly(Bright):
    def initialize(self, frame):
        height, width = frame.size
        frame.image.reshape(height // 2, 2, width // 2, 2, 3)
        return super().initialize(frame)


class FailsOnGrey(Bright):
    def initialize(self, frame):
        assert frame.image.std() > 0, "no contrast"
        return super().initialize(frame)


class Speechless(Bright):
    def initialize(self, frame):
        if frame.image.std() == 0:
            raise EmptyMaskError("")
        return super().initialize(frame)


class LooksAround(Bright):
    neighbours = (1, -1)

    def initialize_in_clip(self, frame, others):
        return super().initialize(frame)


class NoDistance(LooksAround):
    neighbours = (0, 1)


class OneDistance(LooksAround):
    neighbours = 1


class Misspelt(Bright):
    neighbors = (1, -1)
    initialize_in_clip = LooksAround.initialize_in_clip


class WritesIntoOthers(LooksAround):
    def initialize_in_clip(self, frame, others):
        for other in others.values():
            other.image.base[0] = 0
        return super().initialize_in_clip(frame, others)


class HalfSizeInClip(LooksAround):
    def initialize_in_clip(self, frame, others):
        return super().initialize_in_clip(frame, others)[::2]


class ReusesInClip(LooksAround):
    def initialize_in_clip(self, frame, others):
        if not hasattr(self, "label_map"):
            self.label_map = np.zeros((48, 64), np.uint8)
        self.label_map[:] = super().initialize_in_clip(frame, others)
        return self.label_map


class Nothing(Bright):
    def initialize(self, frame):
        return None


class NeedsOthers(LooksAround):
    def initialize_in_clip(self, frame, others):
        next(iter(others.values()))
        return super().initialize_in_clip(frame, others)


class CountsInClip(LooksAround):
    calls = 0

    def initialize_in_clip(self, frame, others):
        CountsInClip.calls += 1
        return super().initialize_in_clip(frame, others) * (1 + CountsInClip.calls % 2)


BAD = [
    ("initializer-methods", NoMethod, "NoMethod has no method initialize"),
    ("initializer-label-map", Float, "returned float64, expected a uint8 array"),
    ("initializer-label-map", HalfSize, r"a label map of \(24, 32\), expected \(48, 64\)"),
    ("initializer-label-map", Void, "returned void"),
    ("initializer-label-map", Empty, "returned no object, expected an EmptyMaskError"),
    ("initializer-repeatable", Random, "two new initializers gave different label maps"),
    ("initializer-repeatable", Counts, "before and after another frame, one gave different label maps"),
    ("initializer-repeatable", Nothing, "initialize raised AttributeError"),
    ("initializer-own-array", Nothing, "initialize raised AttributeError"),
    ("initializer-own-array", Reuses, "frame 00000 changed afterwards"),
    ("initializer-read-only", Writes, "raised ValueError: .*read-only"),
    ("initializer-read-only", WritesThroughTheBase, "changed the frame's image"),
    ("initializer-sizes", EvenOnly, r"a frame of \(33, 47\) pixels raised ValueError"),
    ("initializer-sizes", FailsOnGrey, "raised AssertionError: no contrast"),
    ("initializer-sizes", Speechless, "an? EmptyMaskError without a message"),
    ("initializer-clip", NoDistance, r"neighbours are \(0, 1\), expected whole numbers other than 0"),
    ("initializer-clip", OneDistance, "neighbours are 1, expected whole numbers other than 0"),
    ("initializer-clip", Misspelt, "initialize_in_clip is never asked: there are no neighbours"),
    ("initializer-clip", WritesIntoOthers, "changed an image"),
    ("initializer-clip", ReusesInClip, "the label map of frame 00000 changed afterwards"),
    (
        "initializer-clip",
        HalfSizeInClip,
        r"initialize_in_clip on frame 00000 returned a label map of \(24, 64\)",
    ),
    ("initializer-clip", NeedsOthers, "raised StopIteration"),
    ("initializer-clip", CountsInClip, "two initializers gave different label maps"),
]


def test_a_good_initializer_passes():
    clauses = [name for name in CLAUSES if name.startswith("initializer-")]
    assert check_initializer(Bright) == check_initializer(LooksAround) == clauses


@pytest.mark.parametrize(("clause", "factory", "message"), BAD)
def test_a_bad_one_breaks_its_clause(clause, factory, message):
    check = next(check for check in initializer_checks(factory) if check.clause == clause)
    with pytest.raises(ContractError, match=message) as caught:
        check()
    assert caught.value.clause == clause


def test_every_clause_has_a_bad_initializer():
    assert {clause for clause, *_ in BAD} == {name for name in CLAUSES if name.startswith("initializer-")}
