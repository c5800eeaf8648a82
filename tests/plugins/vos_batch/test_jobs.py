"""Jobs are found in manifests, patterns and data sets; what cannot be read is one line."""

import json
import re
import shutil

import pytest

from vos.plugin import InputError, OptionError, open_source
from vos.testing import tiny_sequence
from vos_batch.jobs import TrackJob, find_jobs

DEFAULTS = TrackJob("", None, output="out", sequence="", options={"quality": "fast"}, selection={"max_side": 64})


def test_json_lines_override_the_defaults_and_are_relative_to_the_manifest(tmp_path):
    line = {
        "video": "a.mp4",
        "masks": {"0": "a.png", "30": "later.png"},
        "tracker": "persam",
        "options": {"model": "vit_l"},
        "output": "elsewhere",
        "start": 5,
        "both_ways": True,
    }
    (tmp_path / "jobs.jsonl").write_text(
        json.dumps(line) + "\n\n" + '{"video": "s3://bucket/b.mp4", "masks": "b.png"}\n'
    )
    first, second = find_jobs(str(tmp_path / "jobs.jsonl"), DEFAULTS)
    assert first == TrackJob(
        source=str(tmp_path / "a.mp4"),
        masks={"0": str(tmp_path / "a.png"), "30": str(tmp_path / "later.png")},
        output=str(tmp_path / "elsewhere"),
        sequence="a",
        tracker="persam",
        options={"quality": "fast", "model": "vit_l"},
        selection={"max_side": 64, "start": 5, "both_ways": True},
    )
    assert (second.source, second.masks, second.output) == ("s3://bucket/b.mp4", str(tmp_path / "b.png"), "out")


def test_addresses_cameras_and_locations_of_plugins_are_not_looked_up_beside_the_manifest(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "cam:a.mp4").touch()
    videos = ["cam:a.mp4", "7", "12", "rtsp://host/live", "noise:64x48"]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps({"video": v, "masks": "m:1.png"}) + "\n" for v in videos))
    jobs = find_jobs(str(tmp_path / "jobs.jsonl"), DEFAULTS)
    assert [job.source for job in jobs] == [*(str(tmp_path / name) for name in videos[:2]), *videos[2:]]
    assert {job.masks for job in jobs} == {str(tmp_path / "m:1.png")}
    assert [job.sequence for job in jobs] == ["cam_a", "7", "camera-12", "live", "noise_64x48"]


def test_the_sequence_of_an_address_is_named_without_its_signature(tmp_path):
    videos = ["https://host/cups/a.b.mp4?Signature=secret.x", "s3://bucket/clips/scene.v2", "s3://bucket"]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps({"video": v, "masks": "m.png"}) + "\n" for v in videos))
    jobs = find_jobs(str(tmp_path / "jobs.jsonl"), DEFAULTS)
    assert [job.sequence for job in jobs] == ["a.b", "scene.v2", "bucket"]


def test_a_table_gives_the_same_jobs_as_json_lines(tmp_path):
    (tmp_path / "jobs.csv").write_text(
        'video,masks,options,stop\na.mp4,"{""3"": ""a.png""}","{""side"": 4}",9\nb.mp4,b.png,,\n'
    )
    first, second = find_jobs(str(tmp_path / "jobs.csv"), DEFAULTS)
    assert first.masks == {"3": str(tmp_path / "a.png")}
    assert first.options == {"quality": "fast", "side": 4}
    assert first.selection == {"max_side": 64, "stop": 9}
    assert (second.options, second.selection) == ({"quality": "fast"}, {"max_side": 64})


def test_a_folder_of_images_has_its_mask_beside_it(tmp_path):
    for name in ("run.1", "run.2"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.png").touch()
    jobs = find_jobs(str(tmp_path / "run.*"), DEFAULTS)
    assert [job.masks for job in jobs] == [str(tmp_path / "run.1.png"), str(tmp_path / "run.2.png")]
    assert [job.sequence for job in jobs] == ["run.1", "run.2"]


def test_a_pattern_takes_the_masks_beside_the_videos(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4", "a.png", "b-mask.png"):
        (tmp_path / name).touch()
    (tmp_path / "c").mkdir()
    jobs = find_jobs(str(tmp_path / "*.mp4"), DEFAULTS)
    assert [(job.sequence, job.masks) for job in jobs] == [
        ("a", str(tmp_path / "a.png")),
        ("b", str(tmp_path / "b-mask.png")),
        ("c", str(tmp_path / "c")),
    ]
    assert find_jobs(str(tmp_path / "*"), DEFAULTS) == jobs
    for name in ("x:y.mp4", "x_y.png"):  # the name that `vos init` and `vos track` make of x:y
        (tmp_path / name).touch()
    assert find_jobs(str(tmp_path / "x:*.mp4"), DEFAULTS)[0].masks == str(tmp_path / "x_y.png")
    (tmp_path / "d.mp4").touch()
    with pytest.raises(InputError, match="d.mp4: no mask beside it"):
        find_jobs(str(tmp_path / "*.mp4"), DEFAULTS)


def test_an_address_of_a_manifest_is_refused():
    with pytest.raises(InputError, match=r"^s3://b/jobs.jsonl: is an address, expected a manifest"):
        find_jobs("s3://b/jobs.jsonl", DEFAULTS)


def test_a_video_whose_name_reads_as_a_pattern_is_itself(tmp_path):
    for name in ("a[1].mp4", "a[1].png", "a1.mp4", "a1.png"):
        (tmp_path / name).touch()
    assert [job.sequence for job in find_jobs(str(tmp_path / "a[1].mp4"), DEFAULTS)] == ["a[1]"]


def test_a_sequence_has_the_name_that_a_single_run_gives_it(tmp_path):
    tiny_sequence("moving", length=2).save(tmp_path / "made")
    for name in ("run.1", "run.2"):
        shutil.copytree(tmp_path / "made" / "frames", tmp_path / name)
    (tmp_path / "link.3").symlink_to("run.2")
    (tmp_path / "a.b.mp4").touch()
    names = ("run.1", "link.3", "a.b.mp4")
    (tmp_path / "jobs.jsonl").write_text("".join(f'{{"video": "{name}", "masks": "m.png"}}\n' for name in names))
    jobs = find_jobs(str(tmp_path / "jobs.jsonl"), DEFAULTS)
    assert [job.sequence for job in jobs] == ["run.1", "run.2", "a.b"]
    assert [job.sequence for job in jobs[:2]] == [open_source(job.source).info.name for job in jobs[:2]]


def test_a_tree_gives_a_job_for_each_sequence_of_a_set(tmp_path):
    for name in ("bear", "swan"):
        sequence = tiny_sequence("moving", length=2)
        images, masks = sequence.save(tmp_path / "made" / name)
        for kind, folder in (("JPEGImages", images), ("Annotations", masks)):
            target = tmp_path / kind / "480p" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("swan\n")
    assert [job.sequence for job in find_jobs(str(tmp_path), DEFAULTS)] == ["bear", "swan"]
    assert [job.sequence for job in find_jobs(str(tmp_path), DEFAULTS, "2017/val")] == ["swan"]
    with pytest.raises(OptionError, match="has no set 2017/train. It has: 2017/val"):
        find_jobs(str(tmp_path), DEFAULTS, "2017/train")
    (tmp_path / "jobs.jsonl").write_text('{"video": "a.mp4"}')
    for where in ("jobs.jsonl", "*.mp4"):
        with pytest.raises(OptionError, match="is no tree, whose sequences --set 2017/val names. Leave out --set"):
            find_jobs(str(tmp_path / where), DEFAULTS, "2017/val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no job in it"),
        ("not json", "line 1: not JSON"),
        ("[" * 100_000, "line 1: not JSON"),
        ("[1]", "line 1: a list, expected an object"),
        ('{"masks": "a.png"}', 'line 1: no "video"'),
        ('{"video": "a.mp4", "mask": "a.png"}', 'unknown field "mask". Known: video, masks'),
        ('{"video": "a.mp4", "vid\\u0000\\u001bs": 1}', r'unknown field "vid\\x00\\x1bs". Known'),
        ('{"video": "a.mp4", "masks": {"first": "a.png"}}', "expected a path, or paths by frame index"),
        ('{"video": "a.mp4", "masks": {"0": "a.png", "00": "b.png"}}', "expected a path, or paths by frame index"),
        ('{"video": ["a.mp4"]}', r"line 1: \"video\" is \['a.mp4'\], expected text"),
        ('{"video": "a.mp4", "output": ["out"]}', r"line 1: \"output\" is \['out'\], expected text"),
        ('{"video": "a.mp4", "sequence": true}', 'line 1: "sequence" is True, expected text'),
        ('{"video": "a.mp4", "options": "{"}', '"options" is .* expected JSON'),
        ('{"video": "a.mp4", "options": [1]}', '"options" is .* expected an object'),
        ('{"video": "a.mp4", "start": "first"}', '"start" is .* expected a whole number'),
        ('{"video": "a.mp4", "start": 1.9}', 'line 1: "start" is 1.9, expected a whole number'),
        ('{"video": "a.mp4", "stop": true}', 'line 1: "stop" is True, expected a whole number'),
        ('{"video": "a.mp4", "both_ways": "ture"}', "line 1: \"both_ways\" is 'ture', expected true or false"),
        ('{"video": "a.mp4", "both_ways": 2}', 'line 1: "both_ways" is 2, expected true or false'),
        ('{"video": "x/a.mp4"}\n{"video": "y/a.mp4"}', "would both be written to .*a"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_one_line(text, message, tmp_path):
    path = tmp_path / "jobs.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        find_jobs(str(path), DEFAULTS)
    assert "\n" not in str(caught.value)
    assert re.match(re.escape(str(path)), str(caught.value))


def test_one_folder_under_two_paths_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("out", target_is_directory=True)
    lines = [{"video": "x/a.mp4", "output": "out"}, {"video": "y/a.mp4", "output": "link"}]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match=r"x/a.mp4 and .*y/a.mp4 would both be written to .*link/a"):
        find_jobs(str(tmp_path / "jobs.jsonl"), DEFAULTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('video,sequence\na.mp4,first\nb.mp4,"second\nc.mp4,third\n', "line 3: not CSV .*Close each quote"),
        ('video,sequence\na.mp4,"first\nb.mp4,"second"\n', "line 2: not CSV .*Close each quote"),
        ('sequence,video\n"first,a.mp4\nsecond",b.mp4\n', "line 2: a cell goes on in the next line. Close"),
        ("video,masks,masks\na.mp4,a.png,b.png\n", 'line 1: two fields are called "masks"'),
        ("video,masks\n\na,b.mp4,a.png\n", "line 3: 3 cells, but the first row names 2 fields. .*in quotes"),
        ("video,start\r\n\r\n\r\na.mp4,one\r\n", 'line 4: "start" is'),
        ('video,options,start\na.mp4,"{\n}",\na.mp4,,one\n', 'line 4: "start" is'),
    ],
)
def test_a_table_that_cannot_be_read_loses_no_job_and_names_the_line(text, message, tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=message) as caught:
        find_jobs(str(path), DEFAULTS)
    assert "\n" not in str(caught.value)


def test_json_lines_may_hold_the_line_separators_of_unicode(tmp_path):
    lines = ['{"video": "a\u2028b.mp4", "masks": "a\x85.png"}', '{"video": "c.mp4", "masks": "c.png"}', ""]
    (tmp_path / "jobs.jsonl").write_bytes("\r\n".join(lines).encode())
    first, second = find_jobs(str(tmp_path / "jobs.jsonl"), DEFAULTS)
    assert (first.source, first.masks) == (str(tmp_path / "a\u2028b.mp4"), str(tmp_path / "a\x85.png"))
    assert second.source == str(tmp_path / "c.mp4")


def test_what_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a manifest"):
        find_jobs(str(tmp_path / "no.jsonl"), DEFAULTS)
    with pytest.raises(InputError, match="no such manifest, tree or video"):
        find_jobs(str(tmp_path / "*.mp4"), DEFAULTS)


@pytest.mark.parametrize("value", [True, "True", "yes", "on", 1, "1", False, "FALSE", "no", "off", 0, "0"])
def test_both_ways_takes_the_words_of_options(tmp_path, value):
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"video": "a.mp4", "masks": "a.png", "both_ways": value}))
    (job,) = find_jobs(str(tmp_path / "jobs.jsonl"), DEFAULTS)
    assert job.selection["both_ways"] is (str(value).lower() in ("true", "yes", "on", "1"))


@pytest.mark.parametrize("value", ["x" * 5000, float("inf")])
def test_a_number_that_is_none_is_told_in_a_short_message(tmp_path, value):
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"video": "a.mp4", "masks": "a.png", "start": value}))
    with pytest.raises(InputError, match="expected a whole number") as refused:
        find_jobs(str(tmp_path / "jobs.jsonl"), TrackJob("", None, "out", ""))
    assert len(str(refused.value)) < 1000
