import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vos_propagation.training.gather_images import chosen, image_files, prepare


def encoded(image: PillowImage.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **({"lossless": True} if form == "WEBP" else {}))
    return buffer.getvalue()


def test_images_are_found_as_files_and_inside_resource_files(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    webp = encoded(PillowImage.fromarray(noise), "WEBP")
    png = encoded(PillowImage.fromarray(noise[::-1].copy()), "PNG")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.png").write_bytes(png)
    (tmp_path / "b.rcc").write_bytes(b"qres\x00\x00" + webp + b"\x01\x02" + png + b"\x03")
    (tmp_path / "c.txt").write_text("no image")
    found = [hashlib.sha256(data).hexdigest() for data in image_files(tmp_path)]
    expected = [hashlib.sha256(data).hexdigest() for data in (webp, png, png)]
    assert sorted(found) == sorted(expected)


def test_an_image_is_cut_to_what_is_seen_and_made_small() -> None:
    cutout = np.zeros((900, 900, 4), np.uint8)
    cutout[100:700, 200:500] = 255
    assert prepare(encoded(PillowImage.fromarray(cutout), "PNG"), "cutout").size == (210, 420)
    photograph = PillowImage.fromarray(np.zeros((2000, 3000, 3), np.uint8))
    prepared = prepare(encoded(photograph, "PNG"), "photograph")
    assert (prepared.size, prepared.mode) == ((1500, 1000), "RGB")


def test_the_list_of_chosen_images_is_whole() -> None:
    kinds = list(chosen().values())
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"cutout": 281, "drawing": 384, "photograph": 166}
