"""Record the animated picture of `vos web` that the README shows.

    python docs/record_web.py docs/images/web.webp

A real browser marks an object of the example clip with clicks, tracks it and plays the result; what the page shows is
kept as an animated WebP.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

import vos.example_clip

VIEWPORT = {"width": 1120, "height": 700}
CLIP = {"x": 0, "y": 48, "width": 1120, "height": 652}
"""What is recorded: all but the bar at the top."""
SIZE_WH = (672, 391)
CLICKS = ((0.223, 0.604), (0.86, 0.444))
"""Places in the frame, as shares of its width and height: on each object of the clip."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Recorder:
    """Pictures of a page and how long each is shown."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.pictures: list[Image.Image] = []
        self.milliseconds: list[int] = []

    def take(self, milliseconds: int) -> None:
        """Keep what the page shows now."""
        content = self._page.screenshot(type="png", clip=CLIP)  # type: ignore[arg-type]
        with Image.open(io.BytesIO(content)) as picture:
            self.pictures.append(picture.convert("RGB").resize(SIZE_WH, Image.Resampling.LANCZOS))
        self.milliseconds.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write the animation."""
        first, *others = self.pictures
        first.save(
            path, save_all=True, append_images=others, duration=self.milliseconds, loop=0, quality=60, method=6,
            minimize_size=True,
        )  # fmt: skip


def record(page: Page, address: str) -> Recorder:
    """Mark, track and play."""
    recorder = Recorder(page)
    page.goto(address)
    stage, overlay = page.locator("#stage"), page.locator("#overlay")
    expect(stage).to_have_attribute("data-frame", "0")
    page.select_option("#quality", "fast")
    recorder.take(1200)
    box = overlay.bounding_box()
    assert box is not None
    for number, (x, y) in enumerate(CLICKS):
        if number:
            page.keyboard.press("n")
            expect(page.locator("#objects li[data-id]")).to_have_count(1 + number)
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        with_object = page.locator(f"#objects li[data-id='{number + 1}']:not(.absent)")
        expect(with_object).to_be_visible(timeout=120_000)
        page.evaluate("document.getElementById('toasts').replaceChildren()")
        recorder.take(1200)
    page.keyboard.press("p")
    progress = page.locator("#progress-text")
    expect(progress).to_contain_text("frames/s", timeout=300_000)
    while progress.is_visible() and len(recorder.pictures) < 20:
        recorder.take(250)
        page.wait_for_timeout(150)
    expect(page.locator("#stop")).to_be_hidden(timeout=600_000)
    page.evaluate("document.getElementById('toasts').replaceChildren()")
    for frame in range(0, 72, 5):
        page.fill("#position", str(frame))
        page.press("#position", "Enter")
        expect(stage).to_have_attribute("data-frame", str(frame))
        recorder.take(160)
    recorder.milliseconds[-1] = 1500
    return recorder


def main() -> None:
    """Start the server and the browser, record, and write the file that the argument names."""
    browser = next(path for name in BROWSERS if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = [sys.executable, "-m", "vos", "web", str(vos.example_clip.CLIP), "--no-browser"]
        server = subprocess.Popen(
            [*command, "--sessions", f"{folder}/sessions", "-o", f"{folder}/out"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
            page = opened.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]
            record(page, address).save(Path(sys.argv[1]))
            opened.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
