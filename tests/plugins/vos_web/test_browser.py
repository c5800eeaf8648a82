"""A person's way through the page in a real browser, on one server. The steps follow one another, so they are one test.

With ``VOS_DOCS_IMAGES=docs/images`` the pictures of the documentation are written anew.
"""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import vos
import vos.example_clip
from vos_web.server.run_length import encode_runs

expect.set_options(timeout=30_000)

CLIP = Path(vos.example_clip.__file__).parent
SIZE = vos.read_label_map(vos.example_clip.FIRST_MASK).shape
LAST = 71
LATER = 20
"""Frame at which the second object is added."""


class Editor:
    """The editor in a page, spoken to in frame pixels."""

    def __init__(self, page, sessions):
        self.page = page
        self.sessions = sessions

    @property
    def folder(self):
        (found,) = self.sessions.glob("*/session.json")
        return found.parent

    def at(self, x, y):
        """Position of a frame's pixel on the screen."""
        box = self.page.locator("#overlay").bounding_box()
        return box["x"] + x * box["width"] / SIZE[1], box["y"] + y * box["height"] / SIZE[0]

    def drag(self, *points):
        """Press at the first point, in frame pixels, move over the others, and let go."""
        places = [self.at(*point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        self.page.mouse.up()

    def box_around(self, mask):
        """Drag the box tool around a mask."""
        rows, columns = np.nonzero(mask)
        self.page.keyboard.press("g")
        self.drag((columns.min() - 4, rows.min() - 4), (columns.max() + 4, rows.max() + 4))

    def go_to(self, frame):
        self.page.fill("#position", str(frame))
        self.page.press("#position", "Enter")
        self.shows(frame)

    def shows(self, frame):
        expect(self.page.locator("#stage")).to_have_attribute("data-frame", str(frame))

    def is_annotated(self):
        """Wait until the frame is annotated, and the server has it."""
        expect(self.page.locator("#frame-card")).to_contain_text("Annotated frame", timeout=120_000)
        expect(self.page.locator("#stage")).not_to_have_attribute("data-saved", "false", timeout=60_000)

    def has_objects(self, count):
        expect(self.page.locator("#objects li[data-id]")).to_have_count(count)

    def track(self, key="p"):
        self.page.keyboard.press(key)
        expect(self.page.locator("#stop")).to_be_visible()

    def says(self, text):
        expect(self.page.locator("#toasts")).to_contain_text(text)

    def is_done(self):
        expect(self.page.locator("#stop")).to_be_hidden(timeout=600_000)

    def stop_after_a_frame(self):
        expect(self.page.locator("#progress-text")).to_contain_text("frames/s", timeout=600_000)
        self.page.keyboard.press("Escape")
        self.is_done()

    def mask(self, frame, object_id=1):
        return read(self.folder / "masks" / f"{frame:06d}.png") == object_id

    def picture(self, name):
        """Take a picture for the documentation, without passing messages."""
        folder = os.environ.get("VOS_DOCS_IMAGES")
        if folder:
            self.page.evaluate("document.getElementById('toasts').replaceChildren()")
            self.page.screenshot(path=str(Path(folder) / f"{name}.jpg"), type="jpeg", quality=80)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    shutil.copy(CLIP / "clip.mp4", folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def server(home, plugins, running_server):
    return running_server(home, home, tracker_options={"exec": {"command": "true"}})


@pytest.fixture(scope="module")
def editor(browser, server, home):
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.address)
    page.fill("#open-path", str(home))
    page.click("#open-form button")
    expect(page.locator("#browse")).to_contain_text("clip.mp4")  # a folder without images is listed
    page.fill("#open-path", str(home / "clip.mp4"))
    page.click("#open-form button")
    opened = Editor(page, home / "sessions")
    opened.shows(0)
    page.select_option("#quality", "fast")
    yield opened
    context.close()
    assert not errors


def read(path):
    return vos.read_label_map(path, allow_empty=True)


def truth(frame, object_id=1):
    return read(CLIP / "masks" / f"{frame:05d}.png") == object_id


def overlap(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


def exported_masks(editor, folder):
    """Export as one file, and unpack it; gives the masks."""
    editor.page.click("#export")
    with editor.page.expect_download(timeout=600_000) as download:
        editor.page.click("#dialog .primary")
    download.value.save_as(folder / "export.zip")
    with zipfile.ZipFile(folder / "export.zip") as archive:
        archive.extractall(folder / "export")
    return sorted((folder / "export").rglob("*.png"))


def step_a_dab_before_there_is_an_object(editor):
    expect(editor.page.locator("#export")).to_be_disabled()
    editor.page.keyboard.press("b")
    editor.page.mouse.click(*editor.at(100, 60))
    editor.is_annotated()
    dab = editor.mask(0)
    assert 0 < dab.sum() < 400
    editor.page.mouse.move(*editor.at(200, 160), steps=4)  # no button is pressed
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).to_have_text("Not tracked yet")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    editor.has_objects(1)


def step_mark_and_track_stop_and_go_on(editor, tmp_path):
    expect(editor.page.locator("#export")).to_be_disabled()
    editor.box_around(truth(0))
    editor.is_annotated()
    editor.has_objects(1)
    assert overlap(editor.mask(0), truth(0)) > 0.8
    editor.picture("web-mark")
    editor.track()
    editor.stop_after_a_frame()
    kept = len(list((editor.folder / "masks").iterdir()))
    assert 1 < kept < LAST
    exported = exported_masks(editor, tmp_path / "part")
    assert [path.stem for path in exported] == [f"{frame:05d}" for frame in range(kept)]
    editor.says(f"{LAST + 1 - kept} frames, the first one {kept}, were not tracked and are left out.")
    editor.shows(kept - 1)
    editor.track()
    expect(editor.page.locator("#progress-text")).to_contain_text("frames/s", timeout=600_000)
    editor.page.keyboard.press("Shift+ArrowLeft")  # moving by hand: the page no longer follows
    editor.page.keyboard.press("Escape")
    editor.is_done()
    kept = len(list((editor.folder / "masks").iterdir()))
    assert kept < LAST
    editor.says(f"Track goes on from frame {kept - 1}.")
    editor.page.get_by_role("button", name="Go there").click()
    editor.shows(kept - 1)
    editor.track()
    editor.is_done()
    editor.shows(LAST)
    assert len(list((editor.folder / "masks").iterdir())) == LAST + 1
    assert np.mean([overlap(editor.mask(frame), truth(frame)) for frame in range(1, LAST + 1)]) > 0.8


def step_scrub_and_step(editor):
    timeline = editor.page.locator("#timeline").bounding_box()
    middle = timeline["y"] + timeline["height"] / 2
    editor.page.mouse.move(timeline["x"] + 60, middle)
    editor.page.mouse.down()
    editor.page.mouse.move(timeline["x"] + timeline["width"] / 2, middle, steps=6)
    editor.page.mouse.up()
    editor.shows(36)
    for key, frame in (("ArrowRight", 37), ("d", 36), ("v", 46), ("Shift+ArrowLeft", 36), ("End", LAST), (",", 0)):
        editor.page.keyboard.press(key)
        editor.shows(frame)
    editor.page.keyboard.press("w")
    expect(editor.page.locator("#frame-card")).to_contain_text("% sure")


def step_add_an_object_at_a_later_frame(editor):
    before = [editor.mask(frame) for frame in (5, LATER + 1)]
    editor.go_to(LATER)
    editor.page.keyboard.press("n")
    editor.has_objects(2)
    editor.box_around(truth(LATER, 2))
    editor.is_annotated()
    editor.track()
    editor.is_done()
    assert not editor.mask(LATER - 1, 2).any()
    found = [overlap(editor.mask(frame, 2), truth(frame, 2)) for frame in range(LATER, LAST + 1)]
    assert np.mean(found) > 0.7
    after = [editor.mask(frame) for frame in (5, LATER + 1)]
    assert all(overlap(a, b) > 0.95 for a, b in zip(before, after, strict=True))
    editor.go_to(45)
    editor.picture("web-track")


def step_export_and_score(editor, tmp_path):
    editor.page.click("#export")
    expect(editor.page.locator("#dialog")).to_contain_text("alpha has hard edges")
    editor.page.locator("#dialog input[type=text]").evaluate("(folder) => (folder.value = '/home/ada/vos-out')")
    editor.picture("web-export")
    editor.page.keyboard.press("Escape")
    exported = exported_masks(editor, tmp_path / "whole")
    assert [path.stem for path in exported] == [f"{frame:05d}" for frame in range(LAST + 1)]
    for frame, path in enumerate(exported):
        assert np.array_equal(read(path), read(editor.folder / "masks" / f"{frame:06d}.png"))
    assert np.mean([overlap(read(path) == 1, truth(frame)) for frame, path in enumerate(exported)]) > 0.8


def step_correct_on_a_later_frame(editor):
    earlier = {frame: editor.mask(frame) for frame in (39, 41, LAST)}
    spot = np.zeros(SIZE, bool)
    spot[220:258, 240:254] = True  # the lower part of the rocket
    assert not earlier[41][spot].any()
    editor.go_to(40)
    editor.page.keyboard.press("1")
    sure = editor.page.locator("#frame-card").inner_text()
    editor.page.keyboard.press("b")
    editor.drag((247, 224), (247, 254))
    editor.is_annotated()
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).to_have_text(sure)
    editor.page.keyboard.press("Control+y")
    editor.is_annotated()
    editor.go_to(30)
    editor.page.keyboard.press("Control+z")
    editor.shows(40)
    editor.says("Undone in frame 40.")
    editor.page.keyboard.press("Control+y")
    editor.is_annotated()
    editor.track()
    editor.stop_after_a_frame()
    assert np.array_equal(editor.mask(39), earlier[39])
    assert np.array_equal(editor.mask(LAST), earlier[LAST])
    assert editor.mask(40)[spot].sum() > 300
    assert editor.mask(41)[spot].mean() > 0.5
    assert overlap(editor.mask(41, 2), truth(41, 2)) > 0.6


def step_a_stroke_stays_on_its_frame(editor):
    before = editor.mask(48)
    editor.go_to(47)
    editor.page.keyboard.press("b")
    editor.page.mouse.move(*editor.at(20, 20))
    editor.page.mouse.down()
    editor.page.mouse.move(*editor.at(60, 20), steps=4)
    editor.page.keyboard.press("ArrowRight")
    editor.shows(48)
    editor.page.mouse.move(*editor.at(100, 20), steps=4)
    editor.page.mouse.up()
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    editor.page.keyboard.press("ArrowLeft")
    editor.is_annotated()
    assert editor.mask(47)[20, 20:60].all()
    assert np.array_equal(editor.mask(48), before)
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    editor.track()
    expect(editor.page.locator("#progress-text")).to_contain_text("frames/s", timeout=600_000)
    editor.page.mouse.down()  # on a frame: the page no longer follows the tracker
    editor.page.wait_for_timeout(500)
    shown = editor.page.locator("#stage").get_attribute("data-frame")
    editor.page.wait_for_timeout(1500)
    editor.page.mouse.up()
    editor.shows(int(shown))
    editor.page.keyboard.press("Escape")
    editor.is_done()
    if "Annotated" in editor.page.locator("#frame-card").inner_text():  # the frame was there when it was pressed
        editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")


def refusing(status):
    return lambda route: route.fulfill(status=status, body='{"error": "it is full."}')


def step_a_change_that_the_server_does_not_take(editor):
    pins, before = "**/pins/46?*", editor.mask(46)
    editor.go_to(46)
    for status in (500, 400):
        editor.page.route(pins, refusing(status))
        editor.drag((20, 20), (60, 20))
        editor.says("It is full.")
        if status == 500:  # the disk was full: the change is kept, and saved later
            expect(editor.page.locator("#stage")).to_have_attribute("data-saved", "false")
            editor.page.unroute(pins)
            editor.is_annotated()
            assert editor.mask(46)[20, 20:60].all()
            editor.page.keyboard.press("Control+z")
        expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
        expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    editor.page.unroute(pins)
    assert np.array_equal(editor.mask(46), before)
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")


def step_undo_one_of_two_annotations_of_a_frame(editor):
    editor.go_to(43)
    for key, y in (("1", 20), ("2", 40)):
        editor.page.keyboard.press(key)
        editor.drag((20, y), (60, y))
        editor.is_annotated()
    assert json.loads((editor.folder / "session.json").read_text())["pins"]["43"] == [1, 2]
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#redo")).to_be_enabled()
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    assert json.loads((editor.folder / "session.json").read_text())["pins"]["43"] == [1]
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    editor.page.keyboard.press("1")


def step_a_frame_that_cannot_be_read_is_not_shown(editor):
    editor.page.route("**/frames/*", lambda route: route.fulfill(status=400, body='{"error": "frame 44 is damaged."}'))
    editor.page.reload()
    editor.says("Frame 44 is damaged.")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-frame", re.compile("."))
    editor.page.unroute("**/frames/*")
    editor.page.reload()
    editor.shows(44)


def step_undo_in_a_frame_that_was_tracked_since(editor, server):
    session = server.service.store.get(editor.folder.name).session
    session.mask_path(58).unlink()
    session.presence.clear(58)
    editor.page.reload()
    editor.go_to(58)
    editor.page.keyboard.press("2")
    editor.page.keyboard.press("b")
    editor.drag((20, 20), (60, 20))
    editor.is_annotated()
    editor.go_to(57)
    editor.track()
    expect(editor.page.locator("#progress-text")).to_contain_text("frames/s", timeout=600_000)
    editor.page.keyboard.press("Control+z")  # the page no longer follows the tracker
    expect(editor.page.locator("#redo")).to_be_enabled()
    editor.page.wait_for_timeout(1500)
    editor.page.keyboard.press("Escape")
    editor.is_done()
    editor.shows(58)
    editor.page.keyboard.press("1")
    expect(editor.page.locator("#frame-card")).to_contain_text("% sure")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    assert session.presence.level(58, 1)
    editor.page.keyboard.press("2")
    expect(editor.page.locator("#frame-card")).to_have_text("Object 2 is not tracked here yet")


def step_a_mark_keeps_what_is_tracked_meanwhile(editor, server):
    session = server.service.store.get(editor.folder.name).session
    for frame in range(62, 67):
        session.mask_path(frame).unlink()
        session.presence.clear(frame)
    editor.page.reload()
    held = []
    editor.page.route("**/prompt", lambda route: held.append(route))
    editor.go_to(61)
    editor.page.keyboard.press("2")
    editor.page.keyboard.press("x")
    editor.track()
    editor.go_to(66)
    with editor.page.expect_request("**/prompt"):
        editor.page.mouse.click(*editor.at(20, 20))
    editor.is_done()
    tracked = editor.mask(66)
    assert tracked.any()
    found = np.zeros(SIZE, np.uint8)
    found[10:30, 10:30] = 1
    held[0].fulfill(body=encode_runs(found))
    editor.is_annotated()
    editor.page.unroute("**/prompt")
    assert np.array_equal(editor.mask(66), tracked)
    assert np.array_equal(editor.mask(66, 2), found == 1)
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    editor.page.keyboard.press("1")


def step_undo_a_click(editor):
    editor.go_to(44)
    before = editor.mask(44)
    rows, columns = np.nonzero(before)
    place = len(rows) // 2
    editor.page.keyboard.press("x")
    editor.page.keyboard.down("Alt")
    editor.page.mouse.click(*editor.at(columns[place] + 0.5, rows[place] + 0.5))
    editor.page.keyboard.up("Alt")
    editor.is_annotated()
    marks = editor.page.locator("#guides circle")
    expect(marks).to_have_count(1)
    editor.page.keyboard.press("Control+z")
    expect(marks).to_have_count(0)
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    assert np.array_equal(editor.mask(44), before)


def step_the_keyboard_alone_and_a_narrow_window(editor):
    row = editor.page.locator("#objects li[data-id='2']")
    row.locator(".name").focus()
    for button in (row.locator(".name"), row.get_by_label("Lock: not painted over"), row.get_by_label("Unlock")):
        button.focus()
        editor.page.keyboard.press("Enter")
    expect(row.get_by_label("Lock: not painted over")).to_be_focused()
    expect(row.locator(".name")).to_have_attribute("aria-pressed", "true")
    row.get_by_label("More").focus()
    editor.page.keyboard.press("Enter")
    expect(editor.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    editor.page.keyboard.press("Escape")
    expect(row.get_by_label("More")).to_be_focused()
    wide = editor.page.viewport_size
    editor.page.set_viewport_size({"width": 390, "height": 844})
    expect(editor.page.locator("#track-all")).to_be_in_viewport(ratio=1)
    assert editor.page.locator("#viewport").bounding_box()["width"] > 300
    editor.page.set_viewport_size(wide)


def step_end_an_object(editor):
    row = editor.page.locator("#objects li[data-id='2']")
    editor.go_to(50)
    row.click()
    row.get_by_label("More").click()
    editor.page.get_by_role("menuitem", name="Gone from this frame on").click()
    editor.says("its last frame is 49")
    expect(editor.page.locator("#frame-card")).to_have_text("Object 2 ends at frame 50")
    editor.page.mouse.click(*editor.at(100, 60))
    editor.says("Object 2 ends at frame 50.")
    editor.page.get_by_role("button", name="Remove the end").click()
    expect(editor.page.locator("#frame-card")).to_contain_text("% sure")


def step_undo_a_deletion_and_an_end(editor):
    editor.go_to(52)
    before = editor.mask(52)
    editor.page.keyboard.press("1")
    editor.page.keyboard.press("b")
    editor.drag((30, 40), (70, 60))
    editor.is_annotated()
    painted = editor.mask(52)
    assert painted.sum() > before.sum()
    editor.page.keyboard.press("Delete")
    editor.has_objects(1)
    editor.drag((30, 140), (70, 160))  # object 2, which is chosen now
    editor.page.keyboard.press("Control+z")
    editor.page.keyboard.press("Control+z")
    editor.has_objects(2)
    editor.says("Undone: Object 1 is back.")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    assert np.array_equal(editor.mask(52), painted)
    row = editor.page.locator("#objects li[data-id='1']")
    row.click()
    row.get_by_label("More").click()
    editor.page.get_by_role("menuitem", name="Gone from this frame on").click()
    expect(editor.page.locator("#frame-card")).to_contain_text("Annotated frame")
    expect(row).to_have_class(re.compile("absent"))
    editor.page.keyboard.press("Control+z")
    editor.says("Undone: Object 1 no longer ends.")
    expect(row).not_to_have_class(re.compile("absent"))
    editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    assert np.array_equal(editor.mask(52), before)
    for _ in range(2):
        editor.page.keyboard.press("Control+y")
    editor.says("Done again: Object 1 ends at frame 52.")
    assert np.array_equal(editor.mask(52), painted)
    editor.page.keyboard.press("Delete")
    editor.has_objects(1)
    editor.page.locator("#toasts").get_by_role("button", name="Undo").last.click()
    editor.has_objects(2)
    for _ in range(2):
        editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    expect(editor.page.locator("#stage")).not_to_have_attribute("data-saved", "false")
    assert np.array_equal(editor.mask(52), before)
    assert not (editor.folder / "pins" / "000052.png").exists()


def step_a_tracker_that_fails_at_once(editor):
    expect(editor.page.locator("#tracker option[value=cutie]")).to_be_disabled()
    editor.page.keyboard.press("?")
    expect(editor.page.locator("#dialog")).to_contain_text("vos web -O cutie.checkpoint=")
    editor.page.keyboard.press("Escape")
    editor.page.select_option("#tracker", "exec")
    editor.page.keyboard.press("p")
    editor.says("ended with exit code 0")
    expect(editor.page.locator("#track-forward")).to_be_visible()
    editor.page.select_option("#tracker", "propagation")
    editor.page.select_option("#quality", "fast")


def step_a_second_tab_sees_what_the_first_does(editor, server):
    other = editor.page.context.new_page()
    other.goto(editor.page.url)
    rows = other.locator("#objects li[data-id]")
    expect(rows).to_have_count(2)
    editor.page.keyboard.press("n")
    expect(rows).to_have_count(3)
    other.locator("#objects li[data-id='3']").click()
    other.keyboard.press("Delete")
    editor.has_objects(2)
    other.close()


def step_a_painted_picture_is_dropped_on_a_frame(editor):
    import base64
    import io

    from PIL import Image

    painted = np.zeros((*SIZE, 4), np.uint8)
    painted[..., :3] = (250, 90, 20)
    painted[100:140, 200:260, 3] = 255
    painted[99, 200:260, 3] = 120
    file = io.BytesIO()
    Image.fromarray(painted).save(file, "PNG")
    editor.go_to(60)
    editor.page.evaluate(
        """(text) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "layer.png", { type: "image/png" }));
            window.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }""",
        base64.b64encode(file.getvalue()).decode(),
    )
    editor.is_annotated()
    assert editor.mask(60).sum() == 40 * 60


def step_a_click_takes_free_pixels_and_those_of_an_object_clicked_in(editor):
    editor.go_to(55)
    first, second = editor.mask(55, 1), editor.mask(55, 2)
    free = ~first & ~second
    everything = encode_runs(np.ones(SIZE, np.uint8))
    editor.page.route("**/prompt", lambda route: route.fulfill(body=everything))
    editor.page.keyboard.press("n")
    editor.has_objects(3)
    new = int(editor.page.locator("#objects li.selected").get_attribute("data-id"))
    editor.page.keyboard.press("x")
    for spots, taken in ((free, free), (first, free | first)):
        y, x = np.argwhere(spots)[len(np.argwhere(spots)) // 2]
        with editor.page.expect_response("**/pins/55?*"):
            editor.page.mouse.click(*editor.at(x + 0.5, y + 0.5))
        assert np.array_equal(editor.mask(55, new), taken)
        assert np.array_equal(editor.mask(55, 2), second)
    editor.page.unroute("**/prompt")
    held = []
    editor.page.route("**/prompt", lambda route: held.append(route))
    editor.page.mouse.click(*editor.at(x + 0.5, y + 0.5))
    editor.page.keyboard.press("b")
    editor.says("The mark in frame 55 is given up")
    editor.page.unroute("**/prompt")
    for _ in range(2):
        editor.page.keyboard.press("Control+z")
    expect(editor.page.locator("#frame-card")).not_to_contain_text("Annotated")
    editor.page.keyboard.press("Delete")
    editor.has_objects(2)


def step_reload_keeps_everything(editor):
    editor.go_to(33)
    editor.page.reload()
    editor.has_objects(2)
    editor.shows(33)


def step_the_server_is_gone(editor):
    editor.page.route("**/api/events", lambda route: route.abort())
    editor.page.reload()
    editor.says("The server does not answer.")


def test_a_way_through_the_page(editor, server, tmp_path):
    step_a_dab_before_there_is_an_object(editor)
    step_mark_and_track_stop_and_go_on(editor, tmp_path)
    step_scrub_and_step(editor)
    step_add_an_object_at_a_later_frame(editor)
    step_export_and_score(editor, tmp_path)
    step_correct_on_a_later_frame(editor)
    step_a_stroke_stays_on_its_frame(editor)
    step_a_change_that_the_server_does_not_take(editor)
    step_undo_one_of_two_annotations_of_a_frame(editor)
    step_undo_a_click(editor)
    step_a_frame_that_cannot_be_read_is_not_shown(editor)
    step_undo_in_a_frame_that_was_tracked_since(editor, server)
    step_a_mark_keeps_what_is_tracked_meanwhile(editor, server)
    step_the_keyboard_alone_and_a_narrow_window(editor)
    step_end_an_object(editor)
    step_undo_a_deletion_and_an_end(editor)
    step_a_tracker_that_fails_at_once(editor)
    step_a_second_tab_sees_what_the_first_does(editor, server)
    step_a_painted_picture_is_dropped_on_a_frame(editor)
    step_a_click_takes_free_pixels_and_those_of_an_object_clicked_in(editor)
    step_reload_keeps_everything(editor)
    step_the_server_is_gone(editor)
