"""Every shipped writer and format: tracked backward from a later mask, the files are those of a run forward."""

import av
import numpy as np
import pytest

import vos
from vos.plugin import load_plugins
from vos.testing import StubTracker, TinySequence, tiny_sequence

LENGTH, MASK_AT = 7, 4


def moving():
    """An object that moves, in front of a grey that brightens: each frame has another picture and another mask."""
    tiny = tiny_sequence("moving", length=LENGTH, object_ids=(3, 9))
    images = tuple(np.full((48, 64, 3), 30 * (k + 1), np.uint8) for k in range(LENGTH))
    return TinySequence("moving", images, tiny.label_maps, ())


class Oracle(StubTracker):
    def step(self, frame):
        return vos.Prediction.from_label_map(moving().label_maps[frame.index], (3, 9))


def files_of(folder, given, writer, **more):
    run = vos.track(moving(), given, tracker=Oracle(), output=folder, writers=[writer], **more).run
    found = {path.relative_to(run.output): path for path in sorted(run.output.rglob("*")) if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if path.name != "run.json"}


@pytest.mark.parametrize("writer", load_plugins().writers.names())
def test_files_of_a_run_both_ways_hold_their_frames_in_ascending_order(tmp_path, writer):
    forward = files_of(tmp_path / "forward", {0: moving().label_maps[0]}, writer)
    both = files_of(tmp_path / "both", {MASK_AT: moving().label_maps[MASK_AT]}, writer, both_ways=True)
    assert forward
    assert both == forward


@pytest.mark.parametrize("writer", load_plugins().writers.names())
def test_an_export_of_a_run_both_ways_is_what_its_writer_wrote(tmp_path, writer):
    given = {MASK_AT: moving().label_maps[MASK_AT]}
    tracked = files_of(tmp_path / "tracked", given, writer, both_ways=True)
    masks = vos.track(moving(), given, tracker=Oracle(), output=tmp_path / "masks", both_ways=True).run.output
    if writer == "davis":
        return  # its files are what is exported
    (written,) = vos.export(masks, writer, tmp_path / "exported" / next(iter(tracked)).split("/")[0], source=moving())
    found = [path for path in sorted([written, *written.rglob("*")]) if path.is_file()]
    assert [path.read_bytes() for path in found] == list(tracked.values())


def test_numbers_of_an_exported_run_both_ways_begin_where_they_are_asked_to(tmp_path):
    given = {MASK_AT: moving().label_maps[MASK_AT]}
    masks = vos.track(moving(), given, tracker=Oracle(), output=tmp_path, both_ways=True).run.output
    (written,) = vos.export(masks, "matte-png", options={"start_number": 1001}, source=moving())
    assert min(path.name for path in written.iterdir()) == "moving.1001.png"


def test_soft_edges_survive_the_way_over_the_disk(tmp_path):
    class Soft(StubTracker):
        def step(self, frame):
            return vos.Prediction((3, 9), np.stack([np.linspace(-9, 9, 64 * 48).reshape(48, 64)] * 2) * [[[1]], [[-1]]])

    def matte(name, given, **more):
        path = tmp_path / f"{name}.mov"
        vos.track(moving(), given, tracker=Soft(), writers=[("prores", {"path": path})], **more)
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgba64le")[..., 3] for frame in container.decode(video=0)]

    forward = matte("forward", {0: moving().label_maps[0]})
    both = matte("both", {MASK_AT: moving().label_maps[MASK_AT]}, both_ways=True)
    for k in range(1, MASK_AT):
        assert np.abs(both[k].astype(int) - forward[k]).max() <= 64, "a 1000th of 65535"
