"""Records and lists that anyone can have written are unreadable or bad input, never an unexpected error."""

import json
import shutil

import pytest

import vos
from vos.cli import _run
from vos.evaluation.datasets.davis_layout import read_names
from vos.evaluation.datasets.sequence_folders import seen_objects
from vos.host.outputs.run_record import read_record
from vos.testing import StubTracker, tiny_sequence

DAMAGED = [
    "",
    "{",
    "null",
    "[]",
    '"text"',
    "[" * 100_000,
    '{"a":' * 100_000,
    "1" * 5_000,
    '{"frames": ' + "1" * 5_000 + "}",
    "\x00\x01",
    '{"frames": "many"}',
    '{"frames": null, "finished": true}',
    '{"object_ids": 7, "finished": true}',
    '{"object_ids": [[]], "finished": true}',
    '{"outputs": 3}',
    '{"outputs": [[1]]}',
    '{"seconds": {}}',
    '{"options": []}',
    '{"source": ["a"]}',
    '{"finished": "yes"}',
]


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_a_damaged_record_counts_as_none(number, tmp_path):
    (tmp_path / "run.json").write_text(DAMAGED[number])
    assert read_record(tmp_path) is None


def test_a_record_in_no_encoding_counts_as_none(tmp_path):
    (tmp_path / "run.json").write_bytes(b"\xff\xfe{\x80}")
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("key", ["frames", "object_ids", "outputs", "seconds", "options", "source", "mask_files"])
def test_a_record_with_another_value_is_refused_or_redone(key, tmp_path):
    sequence, plugins = tiny_sequence("moving", length=2), vos.load_plugins()

    def track(output, **more):
        given = sequence.label_maps[0]
        return vos.track(sequence, given, tracker=StubTracker(), output=output, plugins=plugins, **more)

    folder = track(tmp_path / "whole").run.output
    record = json.loads((folder / "run.json").read_text())
    for number, value in enumerate([None, "x" * 5_000, {"a": 1}, [[1]], True, -1, 1e308]):
        output = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", output)
        (output / folder.name / "run.json").write_text(json.dumps(record | {key: value}))
        said = ""
        try:
            track(output, resume=True)
        except vos.InputError as error:
            said = str(error)
        assert len(said) < 1_000, value
        assert "\n" not in said, value


@pytest.mark.parametrize(
    "content",
    [
        *DAMAGED,
        '{"videos": []}',
        '{"videos": {"a": {"objects": {"x": {}}}}}',
        '{"videos": {"a": {"objects": {"1": 5}}}}',
        '{"videos": {"a": {"objects": {"1": {"category": []}}}}}',
        '{"videos": {"a": {"objects": []}}}',
    ],
    ids=str.__len__,
)
def test_a_damaged_meta_json_is_bad_input(content, tmp_path):
    (tmp_path / "meta.json").write_text(content)
    for seen in (None, tmp_path / "meta.json"):
        with pytest.raises(vos.InputError, match=r"meta\.json: ") as caught:
            seen_objects(tmp_path / "meta.json", seen)
        assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("line", ["x" * 5_000, "a\x00b", "[" * 100_000])
def test_a_line_that_is_no_name_is_bad_input_with_its_number(line, tmp_path):
    (tmp_path / "val.txt").write_text(f"bear\n{line}\n")
    with pytest.raises(vos.InputError, match=r"val\.txt: line 2 is no name \(\d+ characters\)"):
        read_names(tmp_path / "val.txt")


def test_a_name_that_is_too_long_for_a_file_is_bad_input(tmp_path, capsys):
    assert _run(["export", str(tmp_path / ("x" * 5_000)), "--to", "coco"], debug=False) == 2
    assert "unexpected" not in capsys.readouterr().err
