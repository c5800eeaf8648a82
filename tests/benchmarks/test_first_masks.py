from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import vos
from vos.io.masks.mask_file import encode_label_map

sys.path.insert(0, str(Path(__file__).parent))
import first_masks


def test_a_plain_disk_is_found_by_each_prompt_and_a_hidden_one_counts_as_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    label_map = np.zeros((120, 160), np.uint8)
    cv2.circle(label_map, (60, 60), 30, 1, -1)
    image = np.full((120, 160, 3), (40, 90, 40), np.uint8)
    image[label_map > 0] = (200, 60, 60)
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind).mkdir()
    cv2.imwrite(str(tmp_path / "JPEGImages/one.jpg"), image)
    (tmp_path / "Annotations/one.png").write_bytes(encode_label_map(label_map))
    monkeypatch.setattr(sys, "argv", ["first_masks.py", "--data", str(tmp_path), "--initializers", "grabcut"])
    first_masks.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 objects"
    name, box, missed, *scores, clicks = lines[-1].split()
    assert (name, int(missed), float(clicks)) == ("grabcut", 0, 1.0)
    assert min(float(score) for score in (box, *scores)) > 0.9

    def nothing(*arguments: object) -> vos.LabelMap:
        raise first_masks.EmptyMaskError("nothing was found for object 1")

    monkeypatch.setattr(vos, "initialize", nothing)
    first_masks.main()
    _, box, missed, *_, clicks = capsys.readouterr().out.splitlines()[-1].split()
    assert (float(box), int(missed), float(clicks)) == (0, 1, 11)
