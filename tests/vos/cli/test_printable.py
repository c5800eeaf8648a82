"""No message of a file's name or content reaches a terminal as a command."""

import os

import pytest

from vos.cli import main
from vos.cli_options.printable import LONGEST_LINE, printable


def test_control_characters_are_question_marks_and_endless_lines_are_cut():
    assert printable("\x1b]0;title\x07 \x9b31m red\r\n\tnext\x7f") == "?]0;title? ?31m red?\n\tnext?"
    assert printable("ä 視 \u00a0") == "ä 視 \u00a0"
    assert printable("x" * 5000) == "x" * LONGEST_LINE + "..."


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses such names")
def test_a_name_with_escapes_is_shown_without_them(tmp_path, capsys):
    video = tmp_path / "\x1b[31mred\x1b]0;owned\x07.mp4"
    video.write_bytes(b"no video")
    with pytest.raises(SystemExit) as ended:
        main(["track", str(video), "--mask", str(video), "-o", str(tmp_path / "out")])
    assert ended.value.code == 2
    said = "".join(capsys.readouterr())
    assert "?[31mred?]0;owned?.mp4" in said
    assert not {"\x1b", "\x07"} & set(said)
