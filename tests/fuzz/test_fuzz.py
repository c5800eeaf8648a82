"""Damaged files of every kind are read or refused in a line; ``make fuzz`` tries more of them, at any seed."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz

import vos

SEED, CASES = 31, 300


@pytest.fixture(scope="module")
def kinds():
    return fuzz.all_kinds()


def test_damaged_files_are_read_or_refused_in_a_line(kinds, tmp_path):
    faults = []
    for number in range(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        name, fault = fuzz.run_case(kinds, SEED, number, folder)
        if fault:
            faults.append(f"--seed {SEED} --case {number} ({name}): {fault}")
    # A worker process cannot send half a surrogate pair: it would end the whole run.
    assert not faults, ascii("\n".join(faults))


def test_whole_files_are_read(kinds, tmp_path):
    for kind in kinds:
        path = tmp_path / kind.name / kind.name
        path.parent.mkdir()
        path.write_bytes(kind.content)
        if kind.name.startswith("mask-"):  # not all of them can be scored
            vos.read_label_map(path)
        elif kind.name != "weights.pth":  # it holds a part of a model
            kind.read(path)


def raising(error):
    def read(path):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (raising(fuzz.VosError("a line")), None),
        (raising(fuzz.VosError("x" * 2000)), "a message of 2000 characters"),
        (raising(fuzz.VosError("red \x1b[31m")), "control characters"),
        (raising(ValueError("boom")), "raised ValueError: boom"),
        (lambda path: os.write(2, b"libfoo: hm"), "printed b'libfoo: hm'"),
    ],
)
def test_the_harness_sees_faults(read, fault, tmp_path):
    _, found = fuzz.run_case([fuzz.Kind("a.bin", b"abc", read)], 0, 0, tmp_path)
    assert found is None if fault is None else fault in found
