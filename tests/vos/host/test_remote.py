"""Videos, masks and outputs at addresses: memory, a web server, an S3 server of this process."""

import functools
import http.server
import json
import logging
import shutil
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

import vos
from vos.host.outputs import remote_output, saved_states
from vos.io import remote_files
from vos.plugin import OptionError, OutputError, load_plugins, open_source
from vos.testing import StubTracker

CLIP = Path(vos.__file__).parent / "example_clip"
PLUGINS = load_plugins()
PUT_FILE = remote_output.put_file


class Sliding(StubTracker):
    """Moves the annotation by one column a frame."""

    def step(self, frame):
        prediction = super().step(frame)
        self._label_map = np.roll(self._label_map, 1, axis=1)
        return prediction


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.pipe_file("/in/dog.mp4", (CLIP / "clip.mp4").read_bytes())
    files.pipe_file("/in/first.png", first_mask().read_bytes())
    yield files
    files.rm("/", recursive=True)


def first_mask():
    return min((CLIP / "masks").glob("*.png"))


def track(source, mask, output, tracker=None, **more):
    more = {"stop": 6} | more
    return vos.track(source, mask, tracker=tracker or Sliding(), output=output, plugins=PLUGINS, **more)


def masks_of(files, path):
    return {name.rpartition("/")[2]: files.cat_file(name) for name in files.find(path) if name.endswith(".png")}


def expected(tmp_path, **more):
    track(CLIP / "clip.mp4", first_mask(), tmp_path / "local", **more)
    return {path.name: path.read_bytes() for path in (tmp_path / "local").rglob("*.png")}


def test_a_run_reads_and_writes_addresses(memory, tmp_path, cache):
    address = "memory://in/dog.mp4"
    summary = track(address, {0: "memory://in/first.png"}, "memory://out/")
    assert (summary.frames, summary.run.sequence, summary.run.address) == (6, "dog", "memory://out/dog")
    assert masks_of(memory, "/out/dog") == expected(tmp_path)
    record = json.loads(memory.cat_file("/out/dog/run.json"))
    assert (record["finished"], record["source"]) == (True, address)
    assert not list((cache / "outputs").rglob("*.png"))
    tracker = Sliding()
    assert track(address, "memory://in/first.png", "memory://out", tracker, resume=True).skipped
    assert tracker.calls == []
    with pytest.raises(vos.InputError, match=r"^memory://out/dog holds a finished run"):
        track(address, "memory://in/first.png", "memory://out")
    memory.rm_file("/out/dog/00003.png")
    assert not track(address, "memory://in/first.png", "memory://out", resume=True).skipped
    assert track(address, "memory://in/first.png", "memory://out", overwrite=True).frames == 6


def test_another_machine_goes_on_where_a_run_was_stopped(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 2)
    given = ("memory://in/dog.mp4", "memory://in/first.png", "memory://out")
    with pytest.raises(vos.TrackerError):
        track(*given, Sliding(fail_at=5))
    assert not json.loads(memory.cat_file("/out/dog/run.json"))["finished"]
    assert memory.exists("/out/dog/.state/00000003.state")
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "another"))
    assert track(*given, resume=True).run.frames_before == 4
    assert masks_of(memory, "/out/dog") == expected(tmp_path)
    assert not [name for name in memory.find("/out/dog") if ".state" in name]


def stop_uploads(monkeypatch, count, error):  # after so many files
    left = iter(range(count))

    def put_file(*given):
        if next(left, None) is None:
            raise error
        PUT_FILE(*given)

    monkeypatch.setattr(remote_output, "put_file", put_file)


def test_from_goes_on_in_a_run_at_an_address(memory, tmp_path, monkeypatch):
    corrected = np.roll(vos.read_label_map(first_mask()), 30, axis=0)
    for source, output in ((CLIP / "clip.mp4", tmp_path / "local"), ("memory://in/dog.mp4", "memory://out")):
        track(source, first_mask(), output)
        before = masks_of(memory, "/out/dog")
        if output == "memory://out":
            stop_uploads(monkeypatch, 1, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                track(source, {0: first_mask(), 3: corrected}, output, from_frame=3)
            monkeypatch.setattr(remote_output, "put_file", PUT_FILE)
        monkeypatch.setenv("VOS_CACHE", str(tmp_path / "another"))  # as on another machine
        track(source, {0: first_mask(), 3: corrected}, output, from_frame=3)
    after = masks_of(memory, "/out/dog")
    assert after == {path.name: path.read_bytes() for path in (tmp_path / "local").rglob("*.png")}
    assert [name for name in sorted(before) if before[name] != after[name]] == ["00003.png", "00004.png", "00005.png"]
    assert json.loads(memory.cat_file("/out/dog/run.json"))["finished"]


class WithoutState:
    """A tracker that cannot save its state."""

    def __init__(self, **more):
        tracker = StubTracker(**more)
        self.start, self.step = tracker.start, tracker.step


@pytest.mark.parametrize("recorded", [True, False])
def test_masks_of_a_replaced_run_are_never_those_of_the_new_one(memory, tmp_path, recorded):
    """A stopped run that replaces another one goes on after its own last mask, not after the other's."""
    moved = np.roll(vos.read_label_map(first_mask()), 40, axis=0)
    given = (CLIP / "clip.mp4", moved)
    track(CLIP / "clip.mp4", first_mask(), "memory://out", WithoutState())
    if not recorded:
        memory.rm_file("/out/clip/run.json")
    with pytest.raises(vos.TrackerError):
        track(*given, "memory://out", WithoutState(fail_at=3), overwrite=True)
    assert sorted(masks_of(memory, "/out/clip")) == ["00000.png", "00001.png", "00002.png"]
    assert track(*given, "memory://out", WithoutState(), resume=True).run.frames_before == 3
    track(*given, tmp_path / "local", WithoutState())
    assert masks_of(memory, "/out/clip") == {p.name: p.read_bytes() for p in (tmp_path / "local").rglob("*.png")}


def test_a_replaced_run_is_unfinished_while_its_masks_are_replaced(memory, monkeypatch):
    track(CLIP / "clip.mp4", first_mask(), "memory://out")
    stop_uploads(monkeypatch, 3, ConnectionError("the network is down"))
    with pytest.raises(vos.VosError, match="the network is down"):
        track(CLIP / "clip.mp4", first_mask(), "memory://out", overwrite=True)
    assert not json.loads(memory.cat_file("/out/clip/run.json"))["finished"]


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_a_run_that_is_fetched_in_part_is_not_uploaded(memory, tmp_path, monkeypatch, how):
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 2)
    given = (CLIP / "clip.mp4", first_mask(), "memory://out")
    with pytest.raises(vos.TrackerError):
        track(*given, Sliding(fail_at=5))
    before = {name: memory.cat_file(name) for name in memory.find("/out")}
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "another"))

    def stopped(self, path, local):
        Path(local).write_bytes(self.cat_file(path)[:30])
        raise KeyboardInterrupt

    monkeypatch.setattr(type(memory), "get_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        track(*given, **{how: True})
    assert {name: memory.cat_file(name) for name in memory.find("/out")} == before
    assert not list((tmp_path / "another").rglob("*.*"))


@pytest.mark.parametrize("files", [1, 3, 4, 5])
@pytest.mark.parametrize("state", [True, False])
def test_an_upload_that_is_cut_short_leaves_no_mask_of_another_run(memory, tmp_path, monkeypatch, files, state):
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 3)
    given, tracker = (CLIP / "clip.mp4", first_mask(), "memory://out"), Sliding if state else WithoutState
    track(*given, WithoutState() if state else Sliding())
    stop_uploads(monkeypatch, files, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        track(*given, tracker(), overwrite=True)
    monkeypatch.setattr(remote_output, "put_file", PUT_FILE)
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "another"))
    assert not track(*given, tracker(), resume=True).skipped
    assert masks_of(memory, "/out/clip") == expected(tmp_path, tracker=tracker())


def test_a_finished_run_that_cannot_be_uploaded_says_where_it_is_and_resume_uploads_it(memory, monkeypatch):
    given = ("memory://in/dog.mp4", "memory://in/first.png", "memory://out")
    stop_uploads(monkeypatch, 3, OSError("no network"))
    told = r"\(no network\)\. What was written is in .*; run it again to upload it \(`vos track` with --resume\)\.$"
    with pytest.raises(OutputError, match=told) as caught:
        track(*given)
    folder = Path(str(caught.value).partition(" is in ")[2].partition(";")[0])
    assert len(list(folder.glob("*.png"))) == 6
    monkeypatch.setattr(remote_output, "put_file", PUT_FILE)
    assert track(*given, resume=True).skipped
    assert len(masks_of(memory, "/out/dog")) == 6


def test_masks_of_other_frames_count_and_the_state_of_a_replaced_run_goes(memory, monkeypatch):
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 2)
    with pytest.raises(vos.TrackerError):
        track(CLIP / "clip.mp4", first_mask(), "memory://out", Sliding(fail_at=5))
    later = {"start": 3, "annotations": {3: first_mask()}}
    given = {"tracker": WithoutState(), "output": "memory://out", "plugins": PLUGINS, "stop": 6, **later}
    vos.track(CLIP / "clip.mp4", overwrite=True, **given)
    assert sorted(masks_of(memory, "/out/clip")) == [f"0000{index}.png" for index in range(6)]
    assert not [name for name in memory.find("/out/clip") if ".state" in name]
    assert vos.track(CLIP / "clip.mp4", resume=True, **given).skipped


def test_states_of_a_killed_run_go_when_it_ends(memory, cache, monkeypatch, caplog):
    """A killed process leaves its local copy, from which the run goes on, and the states at the address."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 2)
    monkeypatch.setattr(remote_output.RemoteOutput, "push_or_warn", lambda self: None)
    with pytest.raises(vos.TrackerError):
        track(CLIP / "clip.mp4", first_mask(), "memory://out", Sliding(fail_at=3))
    assert memory.exists("/out/clip/.state/00000001.state")
    assert track(CLIP / "clip.mp4", first_mask(), "memory://out", resume=True).run.frames_before == 2
    assert not [name for name in memory.find("/out/clip") if ".state" in name]
    assert "memory://out/clip: goes on after frame 1." in caplog.text


def test_a_video_that_is_written_again_is_another_one(memory):
    given = ("memory://in/dog.mp4", first_mask(), "memory://out")
    track(*given)
    assert track(*given, resume=True).skipped
    memory.pipe_file("/in/dog.mp4", (CLIP / "clip.mp4").read_bytes() + b"\0\0\0\x08free")
    with pytest.raises(vos.InputError, match=r"the content of memory://in/dog.mp4 has changed since"):
        track(*given, resume=True)


def test_a_second_run_to_one_address_leaves_the_first_alone(memory, tmp_path):
    """Both have one local folder, whose files a run that fails uploads and removes."""
    refused = []

    class Second(Sliding):
        def step(self, frame):
            if frame.index == 3:
                for more in ({}, {"resume": True}, {"overwrite": True}):
                    with pytest.raises(vos.InputError, match=r"^memory://out/clip: another run is writing") as caught:
                        track(CLIP / "clip.mp4", first_mask(), "memory://out", **more)
                    refused.append(caught)
            return super().step(frame)

    track(CLIP / "clip.mp4", first_mask(), "memory://out", Second())
    assert len(refused) == 3
    assert masks_of(memory, "/out/clip") == expected(tmp_path)


def test_a_run_with_folders_in_folders_goes_on_on_another_machine(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_states, "EVERY_FRAMES", 2)
    given = (CLIP / "clip.mp4", first_mask(), "memory://out")
    with pytest.raises(vos.TrackerError):
        track(*given, Sliding(fail_at=5), writers=["davis", "cutouts"])
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "another"))
    assert track(*given, writers=["davis", "cutouts"], resume=True).run.frames_before == 4
    assert memory.exists("/out/clip/cutouts/1/00005.png")


def test_an_address_without_a_folder_is_refused(memory):
    with pytest.raises(vos.InputError, match=r"^memory://: names no folder, expected one such as s3://bucket/out"):
        track(CLIP / "clip.mp4", first_mask(), "memory://")


def test_one_file_of_all_masks_is_replaced_and_missed(memory, monkeypatch):
    """``tar`` writes no PNG file: neither the count of masks nor ``run.json`` tells that it is new, or gone."""
    moved = np.roll(vos.read_label_map(first_mask()), 40, axis=0)
    given = {"output": "memory://out", "writers": ["tar"]}
    track(CLIP / "clip.mp4", first_mask(), **given)
    before = memory.cat_file("/out/clip/masks.tar")
    fetched, get = [], type(memory).get_file
    monkeypatch.setattr(type(memory), "get_file", lambda self, path, to: [fetched.append(path), get(self, path, to)])
    track(CLIP / "clip.mp4", moved, **given, overwrite=True)
    assert fetched == ["/out/clip/run.json"]
    assert memory.cat_file("/out/clip/masks.tar") != before
    assert track(CLIP / "clip.mp4", moved, **given, resume=True).skipped
    memory.rm_file("/out/clip/masks.tar")
    assert not track(CLIP / "clip.mp4", moved, **given, resume=True).skipped
    assert memory.exists("/out/clip/masks.tar")


def test_another_output_of_a_finished_run_is_made_once_and_leaves_its_masks(memory):
    track(CLIP / "clip.mp4", first_mask(), "memory://out")
    masks = {path for path in memory.find("/out/clip") if path.endswith(".png")}
    tar = {"output": "memory://out", "writers": ["tar"], "resume": True}
    assert not track(CLIP / "clip.mp4", first_mask(), **tar).skipped
    assert set(memory.find("/out/clip")) == masks | {"/out/clip/masks.tar", "/out/clip/run.json"}
    assert track(CLIP / "clip.mp4", first_mask(), **tar).skipped


def test_files_without_atomic_writes_are_moved_to_their_names(tmp_path):
    writers = ["davis", "cutouts"]
    track(str(CLIP / "clip.mp4"), first_mask(), f"file://{tmp_path}/out", stop=2, writers=writers)
    names = [path.name for path in (tmp_path / "out" / "clip").iterdir()]
    assert sorted(names) == ["00000.png", "00001.png", "cutouts", "run.json"]
    assert (tmp_path / "out" / "clip" / "cutouts" / "1" / "00001.png").is_file()


def test_masks_that_no_run_recorded_are_refused(memory):
    memory.pipe_file("/out/dog/mine.png", b"mine")
    with pytest.raises(vos.InputError, match=r"^memory://out/dog holds 1 PNG files that no run"):
        track("memory://in/dog.mp4", "memory://in/first.png", "memory://out", resume=True)
    assert memory.cat_file("/out/dog/mine.png") == b"mine"


@pytest.fixture
def web(tmp_path):
    shutil.copy(CLIP / "clip.mp4", tmp_path / "dog.mp4")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def send_head(self):
            return self.send_error(501) if "refused" in self.path else super().send_head()

    handler = functools.partial(Handler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_video_of_a_web_server(web, tmp_path):
    pytest.importorskip("aiohttp", reason="the extra `remote`")
    summary = track(f"{web}/dog.mp4?token=secret", first_mask(), tmp_path / "out", stop=2)
    assert summary.run.source.location == f"{web}/dog.mp4"
    with pytest.raises(vos.SourceError, match=r"gone.mp4: cannot be read \(no such file\)") as caught:
        open_source(f"{web}/gone.mp4?token=secret", PLUGINS)
    assert "secret" not in str(caught.value)
    with pytest.raises(vos.InputError, match="a web server takes no output"):
        track(CLIP / "clip.mp4", first_mask(), f"{web}/out")


def test_errors_name_the_address_and_what_the_server_said(web, memory, tmp_path):
    pytest.importorskip("aiohttp", reason="the extra `remote`")
    memory.pipe_file("/in/cut.mp4", (CLIP / "clip.mp4").read_bytes()[:3000])
    memory.pipe_file("/in/text.png", b"text")
    memory.pipe_file("/in/masks/dog/00000.png", first_mask().read_bytes())
    with pytest.raises(vos.InputError, match=r"^memory://in/masks: .* \(a folder without files of its own\)"):
        track(CLIP / "clip.mp4", "memory://in/masks", tmp_path / "out")
    with pytest.raises(vos.InputError, match=r"^memory://in/cut.mp4: "):
        open_source("memory://in/cut.mp4", PLUGINS)
    with pytest.raises(vos.InputError, match=r"^memory://in/text.png: not a picture"):
        track(CLIP / "clip.mp4", {0: "memory://in/text.png"}, tmp_path / "out")
    with pytest.raises(vos.SourceError, match=r"^http://127.0.0.1:1/a.mp4: cannot be read \(Cannot connect"):
        open_source("http://127.0.0.1:1/a.mp4", PLUGINS)
    with pytest.raises(vos.SourceError, match=r"a.mp4: cannot be read \(the server answers with the status 501\)"):
        open_source(f"{web}/refused/a.mp4", PLUGINS)
    with pytest.raises(vos.SourceError, match=r"^ftp://127.0.0.1:1/a.mp4: cannot be reached"):
        open_source("ftp://127.0.0.1:1/a.mp4", PLUGINS)


def test_the_cache_is_bounded_and_keeps_what_is_read(memory, cache, monkeypatch):
    size = (CLIP / "clip.mp4").stat().st_size
    monkeypatch.setenv("VOS_REMOTE_CACHE_GB", str(2.5 * size / 1e9))
    for name in ("a", "b", "c"):
        memory.pipe_file(f"/in/{name}.mp4", (CLIP / "clip.mp4").read_bytes())
    first = remote_files.fetch("memory://in/a.mp4")
    for name in ("b", "c"):
        remote_files.fetch(f"memory://in/{name}.mp4").close()
    assert sorted(path.name for path in (cache / "remote").rglob("*.mp4")) == ["a.mp4", "c.mp4"]
    first.close()
    monkeypatch.setenv("VOS_REMOTE_CACHE_GB", str(0.5 * size / 1e9))
    with pytest.raises(vos.InputError, match=r"memory://in/b.mp4: has .* the cache of remote files holds"):
        remote_files.fetch("memory://in/b.mp4")


def test_a_wrong_size_or_place_of_the_cache_is_said(memory, monkeypatch, tmp_path):
    for given in ("20 GB", "nan", "-1"):
        monkeypatch.setenv("VOS_REMOTE_CACHE_GB", given)
        with pytest.raises(OptionError, match=f"^VOS_REMOTE_CACHE_GB is '{given}', expected a number of gigabytes"):
            remote_files.fetch("memory://in/dog.mp4")
    monkeypatch.setenv("VOS_REMOTE_CACHE_GB", "inf")
    remote_files.fetch("memory://in/dog.mp4").close()
    (tmp_path / "file").touch()
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"file/remote: cannot be made \(Not a directory\)\. Name another cache with"):
        remote_files.fetch("memory://in/dog.mp4")
    with pytest.raises(
        OutputError, match=r"file/outputs: cannot be made \(Not a directory\)\. Name another cache with"
    ):
        track(CLIP / "clip.mp4", first_mask(), "memory://out")


def test_a_file_that_is_written_again_is_fetched_again(memory):
    before = remote_files.fetch("memory://in/first.png")
    memory.pipe_file("/in/first.png", b"other")
    after = remote_files.fetch("memory://in/first.png")
    assert (before.path.read_bytes(), after.path.read_bytes()) == (first_mask().read_bytes(), b"other")


@pytest.mark.parametrize(
    ("location", "is_file"),
    [("s3://b/a.mp4", True), ("https://h/a.MP4?x=1", True), ("https://h/live.m3u8", False), ("rtsp://h/1", False),
     ("a.mp4", False), ("C:\\a.mp4", False), (3, False)],
)  # fmt: skip
def test_what_is_an_address_of_a_file(location, is_file):
    assert remote_files.is_remote(location) == is_file


def test_an_unknown_kind_of_address_is_one_line():
    with pytest.raises(vos.InputError, match=r"^nosuch://a/b.mp4: .*nosuch") as caught:
        open_source("nosuch://a/b.mp4", PLUGINS)
    assert "\n" not in str(caught.value)


def test_an_s3_server(tmp_path, monkeypatch):
    pytest.importorskip("s3fs", reason="the extra `remote`")
    server_module = pytest.importorskip("moto.server", reason="moto")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("videos")
        files.put_file(str(CLIP / "clip.mp4"), "videos/dog.mp4")
        files.put_file(str(first_mask()), "videos/first.png")
        track("s3://videos/dog.mp4", "s3://videos/first.png", "s3://videos/out", stop=3)
        files.invalidate_cache()
        assert masks_of(files, "videos/out/dog") == expected(tmp_path, stop=3)
        assert track("s3://videos/dog.mp4", "s3://videos/first.png", "s3://videos/out", stop=3, resume=True).skipped
        with pytest.raises(vos.SourceError, match=r"^s3://vidoes/out/dog: cannot be read \(no such bucket\)\.$"):
            track("s3://videos/dog.mp4", "s3://videos/first.png", "s3://vidoes/out", stop=3)
        with pytest.raises(OutputError, match=r"cannot be written \(no such bucket\)"):
            remote_output.write_text("s3://vidoes/out/batch.json", "{}", overwrite=True)
        files.invalidate_cache()
        assert files.ls("") == ["videos"], "no bucket is created"
    finally:
        server.stop()
