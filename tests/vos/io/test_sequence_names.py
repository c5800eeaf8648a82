"""Names of sequences: as `vos track` names its folder of masks."""

import pytest

import vos
from vos.io.sequence_names import sequence_name


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("clips/a.b.mp4", "a.b"),
        ("x:y.mp4", "x_y"),
        ("007", "camera-7"),
        ("https://host/cups/a.mp4?Signature=secret.x", "a"),
        ("s3://bucket/clips/run.1", "run.1"),
        ("s3://bucket/clip #1.mp4", "clip #1"),
        ("https://host/a.mp4#t=10", "a"),
        ("s3://user:secret@bucket", "bucket"),
        ("rtsp://host/door?token=secret.x", "door"),
        ("rtsp://user:sec[ret@host/door", "door"),
    ],
)
def test_a_location_is_named_without_what_is_secret_in_it(location, name):
    assert sequence_name(location) == name


def test_an_address_has_the_name_that_a_run_gives_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(tmp_path / "cache"))
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    images, _ = vos.testing.tiny_sequence("moving", length=2).save(tmp_path / "made")
    files.put(str(images), "/names/run.1", recursive=True)
    source = vos.open_source("memory://names/run.1")
    assert source.info.name == sequence_name("memory://names/run.1") == "run.1"
    source.close()
