"""The shipped plugins keep the contract that they ask of guests; those of PerSAM are checked in vos_persam."""

from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from vos import Runtime, load_plugins
from vos.testing import (
    check_all,
    check_plugin,
    check_writer,
    contract_test,
    format_checks,
    initializer_checks,
    tracker_checks,
)
from vos_propagation.config import PropagationOptions
from vos_sam.checkpoint import build_sam
from vos_sam.initializers import PointsInitializer
from vos_sam.model import SegmentAnything
from vos_sam.options import PointsOptions

DATA = Path(__file__).parents[1] / "data"


@cache
def tiny_sam():
    """A Segment Anything of 256 px: its position tables give the size, and 1024 px take 16 times as long."""
    with np.load(DATA / "sam_tiny" / "state_dict.npz") as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    state["image_encoder.pos_embed"] = state["image_encoder.pos_embed"][:, ::4, ::4]
    for axis in "hw":
        table = state[f"image_encoder.blocks.1.attn.rel_pos_{axis}"]
        state[f"image_encoder.blocks.1.attn.rel_pos_{axis}"] = table[len(table) // 2 - 15 :][: 2 * 16 - 1]
    return SegmentAnything(build_sam(state, "sam_tiny"))


def make_propagation(**options):
    from vos_propagation.pipeline import PropagationTracker

    return PropagationTracker(PropagationOptions(**options), Runtime(device="cpu"))


# A working size of 96 px in place of 192 (a frame's, four times) takes a third of the time.
test_propagation = contract_test(lambda: make_propagation(side=96))


def test_propagation_follows_objects():
    """Frames are larger here: its features have one cell for 16 pixels."""
    checks = tracker_checks(make_propagation, size=(240, 320), min_iou=0.6)
    next(check for check in checks if check.clause == "accuracy")()


@pytest.mark.parametrize("quality", ["fast", "best"])
def test_propagations_other_presets_keep_no_more_with_time_either(quality):
    checks = tracker_checks(lambda: make_propagation(quality=quality, side=96))
    next(check for check in checks if check.clause == "memory")()


SHIPPED = [entry.value for entry in metadata.entry_points(group="vos") if entry.dist.name == "vos-toolkit"]


@pytest.mark.parametrize("module", SHIPPED)
def test_a_shipped_plugin_can_be_listed(module):
    assert check_plugin(module) or module == "vos_sources", "sources are opened, not listed"


PLUGINS = load_plugins(autoload=False)
FORMATS = [spec.name for spec, _ in PLUGINS.formats.all() if spec.exporter is not None]


@pytest.mark.parametrize("writer", [name for name in PLUGINS.writers.names() if name not in FORMATS])
def test_a_shipped_writer(writer):
    assert len(check_writer(writer, plugins=PLUGINS)) == 9


@pytest.mark.parametrize("name", FORMATS)
def test_a_shipped_format(name):
    assert len(check_all(format_checks(name, plugins=PLUGINS))) == 14


@pytest.mark.parametrize(
    ("name", "options"),
    [("grabcut", {"boxes": "1:10,10,40,40"}), ("polygon", {"polygons": "1:10,10 40,10 40,30"})],
)
def test_a_shipped_initializer(name, options):
    assert len(check_all(initializer_checks(name, options=options, plugins=PLUGINS))) == 7


def test_segment_anything_as_an_initializer():
    sam, options = tiny_sam(), PointsOptions(points="1:20,20,+")
    assert len(check_all(initializer_checks(lambda: PointsInitializer(options, sam)))) == 7
