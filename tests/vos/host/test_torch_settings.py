import os
import subprocess
import sys

import pytest
import torch

import vos
from vos.plugin import InitializerSpec, TrackerSpec, hookimpl
from vos.registry.offers import Origin
from vos.testing import StubTracker, tiny_sequence

SEQUENCE = tiny_sequence("still", object_ids=(1,))
MASK = SEQUENCE.label_maps[0]


class Drawing(StubTracker):
    """Draws a random number for each frame, with the threads and seed of its run."""

    def __init__(self, runtime, drawn):
        super().__init__()
        runtime.torch_device()
        self.drawn = drawn

    def step(self, frame):
        self.drawn.append((torch.rand(1).item(), torch.get_num_threads()))
        return super().step(frame)

    def initialize(self, frame):
        self.drawn.append((torch.rand(1).item(), torch.get_num_threads()))
        return MASK


@pytest.fixture
def drawn():
    return []


@pytest.fixture
def plugins(drawn):
    class Plugin:
        @hookimpl
        def vos_trackers(self):
            return [TrackerSpec("drawing", "Draws.", lambda options, runtime: Drawing(runtime, drawn))]

        @hookimpl
        def vos_initializers(self):
            return [InitializerSpec("drawing", "Draws.", lambda options, runtime: Drawing(runtime, drawn))]

    plugins = vos.load_plugins(autoload=False)
    plugins.register(Plugin(), Origin("drawing", "drawing", "test"))
    return plugins


@pytest.fixture
def program():
    """A program with two threads and random numbers of its own; gives what it would draw next."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    yield expected
    torch.set_num_threads(before)


RUNTIME = vos.Runtime(device="cpu", threads=1, seed=7)


def seeded(count):
    return torch.rand(count, generator=torch.Generator().manual_seed(7)).tolist()


def test_track_leaves_the_programs_threads_and_random_numbers(program, plugins, drawn):
    vos.track(SEQUENCE, MASK, tracker="drawing", runtime=RUNTIME, plugins=plugins)
    assert torch.get_num_threads() == 2
    assert torch.rand(3).tolist() == program
    assert drawn == [(number, 1) for number in seeded(len(drawn))]


def test_a_program_that_draws_inside_the_loop_changes_no_run_and_no_run_changes_it(program, plugins, drawn):
    one, other = (vos.stream(SEQUENCE, MASK, tracker="drawing", runtime=RUNTIME, plugins=plugins) for _ in range(2))
    own = []
    for _ in zip(one, other, strict=True):
        own.append(torch.rand(1).item())
        assert torch.get_num_threads() == 2
    assert own[:3] == pytest.approx(program)
    assert drawn[::2] == drawn[1::2] == [(number, 1) for number in seeded(len(drawn) // 2)]


def test_initialize_and_a_failed_call_leave_them_too(program, plugins, drawn):
    vos.initialize(SEQUENCE.frame(0), "drawing", runtime=RUNTIME, plugins=plugins)
    with pytest.raises(vos.InputError):
        vos.stream(SEQUENCE, {99: MASK}, tracker="drawing", runtime=RUNTIME, plugins=plugins)
    assert drawn == [(seeded(1)[0], 1)]
    assert torch.get_num_threads() == 2
    assert torch.rand(3).tolist() == program


def test_the_programs_autocast_is_not_that_of_a_run(plugins, drawn):
    class Casting(StubTracker):
        def step(self, frame):
            drawn.append(torch.is_autocast_enabled("cpu"))
            return super().step(frame)

    with torch.autocast("cpu", torch.bfloat16):
        for _ in vos.stream(SEQUENCE, MASK, tracker=Casting(), plugins=plugins):
            assert torch.is_autocast_enabled("cpu")
        vos.track(SEQUENCE, MASK, tracker=Casting(), plugins=plugins)
        assert torch.is_autocast_enabled("cpu")
    assert drawn
    assert not any(drawn)


def test_a_number_of_threads_is_not_that_of_the_next_run_where_torch_was_not_imported():
    script = """
import numpy as np, vos
frames, mask = np.zeros((3, 32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
mask[8:24, 8:24] = 1
list(vos.stream(frames, mask, runtime=vos.Runtime(device="cpu", threads=3)))
import torch
assert torch.get_num_threads() == 2, torch.get_num_threads()
"""
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "2"}, check=False)
    assert done.returncode == 0
