"""The record tells the video that was tracked from another one, wherever it is typed from."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import vos
from vos.host.outputs import saved_states
from vos.io.source_identity import END_BYTES, content_of
from vos.plugin import InputError, OutputExistsError
from vos.testing import StubTracker, tiny_sequence


def write_stack(path, frames, grey=0):
    """A file of several images, each grey of its own."""
    path.parent.mkdir(exist_ok=True)
    pages = [Image.fromarray(np.full((24, 32, 3), grey + k, np.uint8)) for k in range(frames)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


def write_folder(path, frames, grey=0):
    path.mkdir(parents=True)
    for k in range(frames):
        Image.fromarray(np.full((24, 32, 3), grey + k, np.uint8)).save(path / f"{k:05d}.png")
    return path


def track(source, output="vos-out", masks=(0,), **more):
    label_map = np.zeros((24, 32), np.uint8)
    label_map[5:10, 5:10] = 1
    return vos.track(source, dict.fromkeys(masks, label_map), tracker=StubTracker(), output=output, **more)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The current folder, with a video and a run of it."""
    write_stack(tmp_path / "a" / "clip.tif", 4)
    monkeypatch.chdir(tmp_path / "a")
    track("clip.tif")
    return tmp_path / "a"


def test_a_video_with_other_content_is_another_one_by_resume_and_from(project):
    write_stack(project / "clip.tif", 6)
    changed = r"another video: the content of clip.tif has changed since \(\d+ bytes with hash \w+, now \d+ bytes"
    with pytest.raises(OutputExistsError, match=changed + r".*Use --overwrite"):
        track("clip.tif", resume=True)
    with pytest.raises(OutputExistsError, match=changed + r".*Leave out --from"):
        track("clip.tif", masks=(0, 2), from_frame=2)
    assert len(list((project / "vos-out" / "clip").glob("*.png"))) == 4


def test_a_folder_with_more_frames_is_another_one(tmp_path):
    frames = write_folder(tmp_path / "frames", 4)
    track(frames, tmp_path / "out")
    shutil.copy(frames / "00003.png", frames / "00004.png")
    with pytest.raises(OutputExistsError, match=r"content of .*frames has changed since \(4 frames, now 5 frames\)"):
        track(frames, tmp_path / "out", resume=True)


def test_frames_behind_the_last_one_that_is_tracked_make_no_difference(tmp_path):
    frames = write_folder(tmp_path / "frames", 4)
    track(frames, tmp_path / "out", stop=3)
    shutil.copy(frames / "00003.png", frames / "00004.png")
    assert track(frames, tmp_path / "out", stop=3, resume=True).skipped


def test_another_spelling_of_the_path_is_the_same_video(project):
    assert track(project / "clip.tif", resume=True).skipped
    assert track("../a/./clip.tif", resume=True).skipped
    (project.parent / "link").symlink_to(project)
    assert track(project.parent / "link" / "clip.tif", resume=True).skipped


def test_a_video_of_the_same_relative_name_elsewhere_is_another_source(project, monkeypatch):
    write_stack(project.parent / "b" / "clip.tif", 4, grey=100)
    monkeypatch.chdir(project.parent / "b")
    with pytest.raises(OutputExistsError, match=r"another source \('.*a/clip.tif', now '.*b/clip.tif'\)"):
        track("clip.tif", project / "vos-out", resume=True)


def test_a_project_that_has_moved_is_resumed(project, monkeypatch):
    project.rename(project.parent / "moved")
    monkeypatch.chdir(project.parent / "moved")
    assert track("clip.tif", resume=True).skipped


def test_a_record_without_content_is_compared_by_what_was_typed(project):
    record = project / "vos-out" / "clip" / "run.json"
    content = json.loads(record.read_text())
    del content["source_path"], content["source_content"]
    record.write_text(json.dumps(content))
    assert track("clip.tif", resume=True).skipped
    assert track(project / "clip.tif", resume=True).skipped
    with pytest.raises(OutputExistsError, match=r"another source \('clip.tif', now"):
        track(shutil.copy("clip.tif", "other.tif"), resume=True, sequence="clip")
    assert len(vos.export("vos-out/clip", "cutouts")) == 1


def test_a_state_is_used_for_another_spelling_of_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 4)
    path = write_stack(tmp_path / "clip.tif", 12)
    monkeypatch.chdir(tmp_path)
    label_map = np.zeros((24, 32), np.uint8)
    label_map[5:10, 5:10] = 1
    with pytest.raises(vos.TrackerError):
        vos.track("clip.tif", label_map, tracker=StubTracker(fail_at=9), output="out")
    summary = vos.track(path, label_map, tracker=StubTracker(), output="out", resume=True)
    assert summary.run.frames_before == 8


def test_the_content_of_a_file_is_its_size_and_its_ends(tmp_path):
    path = tmp_path / "video"
    path.write_bytes(bytes(3 * END_BYTES))
    before = content_of(str(path))
    assert before["bytes"] == 3 * END_BYTES
    for place in (0, 3 * END_BYTES - 1):
        changed = bytearray(3 * END_BYTES)
        changed[place] = 1
        path.write_bytes(changed)
        assert content_of(str(path))["sha256_of_ends"] != before["sha256_of_ends"]
    assert content_of(str(tmp_path)) is content_of(str(tmp_path / "none")) is content_of("s3://a/b.mp4") is None


def greys(folder):
    with Image.open(min((folder / "1").glob("*.png"))) as image:
        return np.asarray(image)[7, 7, 0]


def test_an_export_takes_the_video_that_was_tracked_whatever_the_current_folder_holds(project, monkeypatch):
    write_stack(project.parent / "b" / "clip.tif", 4, grey=100)
    monkeypatch.chdir(project.parent / "b")
    (written,) = vos.export("../a/vos-out/clip", "cutouts", "cut")
    assert greys(written) == 0
    (project / "clip.tif").unlink()
    with pytest.raises(InputError, match=r"a/clip.tif is not there any more. Give the video with --source"):
        vos.export("../a/vos-out/clip", "cutouts", "again")


def test_an_export_of_a_project_that_has_moved_takes_the_video_in_it(project, monkeypatch):
    project.rename(project.parent / "moved")
    monkeypatch.chdir(project.parent / "moved")
    (written,) = vos.export("vos-out/clip", "cutouts")
    assert greys(written) == 0


def test_an_export_refuses_a_video_whose_content_has_changed(project):
    write_stack(project / "clip.tif", 4, grey=100)
    with pytest.raises(InputError, match=r"clip.tif has changed since the run. Give the video with --source"):
        vos.export("vos-out/clip", "cutouts")
    assert len(vos.export("vos-out/clip", "npz")) == 1
    assert greys(vos.export("vos-out/clip", "cutouts", source="clip.tif")[0]) == 100


def test_the_number_of_frames_in_memory_is_compared_and_another_stop_is_named(tmp_path):
    sequence = tiny_sequence("moving", length=8)
    frames = [frame.image for frame in sequence.frames()]

    def track(frames, source="a", **more):
        return vos.track(frames, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path / source, **more)

    track(frames[:5])
    assert track(frames[:5], resume=True).skipped
    with pytest.raises(OutputExistsError, match=r"has changed since \(5 frames, now 8 frames\)"):
        track(frames, resume=True)
    track(frames, "b", stop=4)
    with pytest.raises(OutputExistsError, match=r"another stop in its selection \(4, now 6\)"):
        track(frames, "b", stop=6, resume=True)
