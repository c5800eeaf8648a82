"""Folders that the page lists, and files that it takes where they are dropped."""

import json

import numpy as np
from PIL import Image

from vos_web.server.paths import AllowedFolders


def write_tiff(path, pages):
    images = [Image.fromarray(np.full((48, 64), 20 * page, np.uint8)) for page in range(pages)]
    images[0].save(path, save_all=True, append_images=images[1:])


def test_stacks_are_listed_as_videos_and_single_images_are_not(tmp_path):
    stacks, images, damaged = tmp_path / "stacks", tmp_path / "images", tmp_path / "damaged"
    for folder in (stacks, images, damaged):
        folder.mkdir()
    for number in range(3):
        write_tiff(stacks / f"cell{number}.tif", 4)
        write_tiff(images / f"{number}.tiff", 1)
        (damaged / f"{number}.tif").write_bytes(b"II*\0")
    (stacks / "clip.dv").write_bytes(b"")
    allowed = AllowedFolders([tmp_path])
    assert allowed.browse(str(stacks))["videos"] == ["cell0.tif", "cell1.tif", "cell2.tif", "clip.dv"]
    for folder in (images, damaged):
        assert (allowed.browse(str(folder))["videos"], allowed.browse(str(folder))["frames"]) == ([], 3)


def test_a_stack_can_be_dropped_on_the_page(start_server, tmp_path):
    server = start_server()
    write_tiff(tmp_path / "cell.tif", 4)
    status, content, _ = server.request("POST", "/api/uploads?name=cell.tif", (tmp_path / "cell.tif").read_bytes())
    assert status == 200, content
    assert server.json("POST", "/api/sessions", {"path": json.loads(content)["path"]})["frame_count"] == 4
