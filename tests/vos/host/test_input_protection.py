"""No command replaces what it reads: refused before any work, whatever the path is called."""

import os
from pathlib import Path

import pytest

import vos
from vos.host.outputs.input_protection import files_in_options, files_of_run, files_of_tree, refuse_replacing
from vos.plugin import SourceInfo
from vos.registry.options import NoOptions


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Path(name).write_text(name)
    Path("sub").mkdir()
    return tmp_path


def test_what_is_not_there_yet_and_what_is_not_read_may_be_written(here):
    refuse_replacing([Path("new.png"), Path("b.png"), Path("sub")], [Path("a.png"), Path("missing.png")])


@pytest.mark.parametrize("output", ["a.png", "./sub/../a.png", "{here}/a.png", "link.png", "hard.png", "folder/a.png"])
@pytest.mark.parametrize("given", ["a.png", "link.png"])
def test_an_output_that_is_an_input_however_it_is_called(here, output, given):
    Path("link.png").symlink_to("a.png")
    Path("folder").symlink_to(here, target_is_directory=True)
    os.link("a.png", "hard.png")
    with pytest.raises(vos.InputError, match=r"png: is an input.*no input is replaced\. Choose another output"):
        refuse_replacing([Path("new.png"), Path(output.format(here=here))], [Path("b.png"), Path(given)])


def test_upper_and_lower_case_are_one_where_the_disk_says_so(here):
    same = Path("A.PNG").exists()
    try:
        refuse_replacing([Path("A.PNG")], [Path("a.png")])
    except vos.InputError:
        assert same
    else:
        assert not same


def test_a_folder_that_is_read_is_not_written_into(here):
    with pytest.raises(vos.InputError, match=r"sub: is an input \(.*sub\)"):
        refuse_replacing([Path("sub")], [here / "sub"])


def test_two_outputs_of_one_name(here):
    with pytest.raises(vos.InputError, match="two outputs would go there"):
        refuse_replacing([Path("new.png"), Path("sub/../new.png")], [])


def test_files_of_a_run(here):
    def names(annotations, **more):
        return sorted(str(path) for path in files_of_run(SourceInfo(kind="", name="", **more), annotations))

    assert names({}, location="a.png") == ["a.png"]
    assert names({}, location="sub") == []
    assert names({}, location=300 * "x") == []
    assert names({}, location=".", frame_names=("a",)) == [".", "a.png"]
    assert names(None, location="x", annotation_folder=Path()) == [".", "a.png", "b.png"]
    assert names({}, location="x", annotation_folder=Path()) == []
    assert names({0: "a.png", 3: Path("c.png")}, location="x") == ["a.png", "c.png"]
    assert names(".", location="x") == [".", "a.png", "b.png"]


def test_files_in_options(here):
    options = {"checkpoint": Path("c.pth"), "backbone": "vit:a.png", "text": "sub; x", "side": 3}
    found = files_in_options(options, "exec:python b.png", None, NoOptions())
    assert sorted(map(str, found)) == ["a.png", "b.png", "c.pth"]


def test_files_of_a_tree(here):
    outputs = [Path(name) for name in ("sub/deep/00000.png", "sub/scores.csv", "sub/meta.json", "a.png")]
    assert list(files_of_tree([here / "sub"], outputs)) == [outputs[0], outputs[2]]
