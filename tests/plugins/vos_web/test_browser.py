"""A person's way through the page in a real browser: open, mark an object, track, reload, and score the masks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import vos
import vos.example_clip

CLIP = Path(vos.example_clip.__file__).parent
SIZE_WH = vos.read_label_map(vos.example_clip.FIRST_MASK).shape[::-1]


@pytest.fixture
def page(browser, start_server, tmp_path):
    shutil.copy(CLIP / "clip.mp4", tmp_path / "clip.mp4")
    server = start_server()
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    opened = context.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(server.address)
    opened.server = server
    yield opened
    context.close()
    assert not errors


def test_open_mark_track_and_reload(page, tmp_path):
    page.fill("#open-path", str(tmp_path / "clip.mp4"))
    page.click("#open-form button")
    page.wait_for_selector("#editor:not([hidden])")
    expect(page.locator("#overlay")).to_have_attribute("width", str(SIZE_WH[0]))
    page.select_option("#quality", "fast")
    truth = vos.read_label_map(min((CLIP / "masks").glob("*.png"))) == 1
    rows, columns = np.nonzero(truth)
    box = page.locator("#overlay").bounding_box()
    scale = box["width"] / truth.shape[1]
    corners = [(columns.min() - 4, rows.min() - 4), (columns.max() + 4, rows.max() + 4)]
    (x0, y0), (x1, y1) = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in corners]
    page.click("[data-tool=box]")
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=5)
    page.mouse.up()
    expect(page.locator("#objects li[data-id]")).to_have_count(1)
    expect(page.locator("#frame-card")).to_contain_text("Annotated frame", timeout=20_000)
    page.click("#track-forward")
    page.wait_for_selector("#stop", state="visible")
    page.wait_for_selector("#stop", state="hidden", timeout=120_000)
    page.screenshot(path=str(tmp_path / "tracked.png"))
    page.reload()
    page.wait_for_selector("#editor:not([hidden])")
    expect(page.locator("#objects li[data-id]")).to_have_count(1)
    (masks,) = (tmp_path / "sessions").glob("*/masks")
    overlaps = [overlap(masks / f"{index:06d}.png", CLIP / "masks" / f"{index:05d}.png") for index in range(1, 72)]
    assert np.mean(overlaps) > 0.8


def overlap(found, truth):
    """IoU of object 1 in two mask files."""
    a, b = (vos.read_label_map(path, allow_empty=True) == 1 for path in (found, truth))
    return (a & b).sum() / (a | b).sum()
