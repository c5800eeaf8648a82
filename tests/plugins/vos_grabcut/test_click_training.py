"""Steps of training of the click decoder, on a picture and a sequence that the test draws."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vos_grabcut.clicks.network import ClickDecoder
from vos_grabcut.training.train_click_decoder import main
from vos_propagation.ops.shipped_weights import load_shipped_weights


def test_steps_on_black_and_white_masks_write_weights_to_a_new_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vos_grabcut.training.train_click_decoder.BATCH", 1)
    mask = np.zeros((256, 300), np.uint8)
    cv2.circle(mask, (150, 128), 60, 255, -1)
    for kind, planes, suffix in (("JPEGImages", np.dstack([mask] * 3) // 2, "jpg"), ("Annotations", mask, "png")):
        folder = tmp_path / kind / "480p" / "one"
        folder.mkdir(parents=True)
        Image.fromarray(planes).save(folder / f"00000.{suffix}")
    data = ["--data", str(tmp_path), "--steps"]
    main([*data, "20", "--out", str(tmp_path / "new" / "decoder.pt")])
    assert "0 photographs and 1 frames" in capsys.readouterr().out
    load_shipped_weights(ClickDecoder(), tmp_path / "new" / "decoder.pt")
    (tmp_path / "Annotations" / "480p" / "one" / "00000.png").unlink()
    not_there = str(tmp_path / "no" / "decoder.pt")
    for arguments, message in (
        (["--data", str(tmp_path / "none"), "--out", not_there], "no annotated object"),
        ([*data, "0", "--out", not_there], "--steps 0 and --every 6: expected 1 or more"),
        ([*data, "1", "--out", str(tmp_path / "new")], "is a folder"),
        ([*data, "1", "--out", not_there, "--leave-out", "one", "two"], "--leave-out two: no --data folder has a seq"),
        ([*data, "1", "--out", not_there], "00000.png: no such mask file"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
