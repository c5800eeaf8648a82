"""A step of training of the click decoder, on a picture and a sequence that the test draws."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vos_grabcut.clicks.segment import load_decoder
from vos_grabcut.training.train_click_decoder import main


def test_a_step_on_black_and_white_masks_writes_weights_to_a_new_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((256, 300), np.uint8)
    cv2.circle(mask, (150, 128), 60, 255, -1)
    for kind, planes, suffix in (("JPEGImages", np.dstack([mask] * 3) // 2, "jpg"), ("Annotations", mask, "png")):
        folder = tmp_path / kind / "480p" / "one"
        folder.mkdir(parents=True)
        Image.fromarray(planes).save(folder / f"00000.{suffix}")
    main(["--data", str(tmp_path), "--steps", "1", "--out", str(tmp_path / "new" / "decoder.pt")])
    assert "0 photographs and 1 frames" in capsys.readouterr().out
    load_decoder(tmp_path / "new" / "decoder.pt")
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path / "none"), "--steps", "1", "--out", str(tmp_path / "decoder.pt")])
    assert "no annotated object found" in capsys.readouterr().err
