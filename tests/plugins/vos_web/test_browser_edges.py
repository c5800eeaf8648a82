"""The page at its edges, in a real browser: fingers, very large frames, uneven frame times, an impatient mouse."""

import re
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

import vos.example_clip
from vos_web.server.run_length import decode_runs, encode_runs

STATE = re.compile(r"/api/sessions/[^/?]+$")
TIMES_MS = [0, 40, 80, 1580, 1620, 1660]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edges")
    shutil.copy(Path(vos.example_clip.__file__).parent / "clip.mp4", folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def server(home, plugins, running_server):
    return running_server(home, home)


@pytest.fixture
def page(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 720}, has_touch=True)
    page = context.new_page()
    page.goto(server.address)
    yield page
    context.close()


def open_video(page, path):
    page.fill("#open-path", str(path))
    page.click("#open-form button")
    shows(page, 0)


def shows(page, frame):
    expect(page.locator("#stage")).to_have_attribute("data-frame", str(frame), timeout=30_000)


def go_to(page, frame):
    page.fill("#position", str(frame))
    page.press("#position", "Enter")
    shows(page, frame)


def screen(page):
    """Return a function that sends a touch event, and the middle of the picture."""
    devtools = page.context.new_cdp_session(page)
    box = page.locator("#viewport").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def fingers(kind, *places):
        points = [{"x": place, "y": y, "id": number} for number, place in enumerate(places)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    return fingers, x


def pinch(page):
    """Put one finger down, then another, and spread them."""
    fingers, x = screen(page)
    fingers("touchStart", x - 40)
    for apart in range(40, 120, 10):
        fingers("touchMove" if apart > 40 else "touchStart", x - apart, x + apart)
    fingers("touchEnd", x - 110)
    fingers("touchEnd")


@pytest.mark.parametrize("tool", ["points", "flood", "polygon", "brush", "box"])
def test_two_fingers_zoom_and_mark_nothing(page, home, tool):
    asked = []
    page.on("request", lambda request: request.method == "PUT" and asked.append(request.url))
    page.on("request", lambda request: request.url.endswith("/prompt") and asked.append(request.url))
    open_video(page, home / "clip.mp4")
    page.click(f"[data-tool={tool}]")
    before = page.locator("#overlay").bounding_box()["width"]
    pinch(page)
    assert page.locator("#overlay").bounding_box()["width"] > 1.5 * before
    page.wait_for_timeout(300)
    assert not asked
    assert page.locator("#guides circle[r='4']").count() == 0  # corners of a polygon


@pytest.mark.parametrize("tool", ["points", "flood", "polygon"])
def test_a_touch_that_the_system_takes_back_marks_nothing(page, home, tool):
    asked = []
    page.on("request", lambda request: request.method in ("POST", "PUT") and asked.append(request.url))
    open_video(page, home / "clip.mp4")
    asked.clear()
    page.click(f"[data-tool={tool}]")
    fingers, x = screen(page)
    fingers("touchStart", x)
    fingers("touchCancel")
    page.wait_for_timeout(300)
    assert not asked
    assert page.locator("#guides circle[r='4']").count() == 0  # corners of a polygon


def test_fill_fills_whatever_sign_the_clicks_have(page, home):
    shutil.copy(home / "clip.mp4", home / "filled.mp4")
    open_video(page, home / "filled.mp4")
    page.click("#sign-minus")
    page.click("[data-tool=flood]")
    with page.expect_request("**/pins/0?*"):
        page.locator("#viewport").click(position={"x": 300, "y": 200})


def test_frames_larger_than_the_cache_are_fetched_once(page, home):
    (home / "large").mkdir()
    for index in range(9):
        cv2.imwrite(str(home / "large" / f"{index}.jpg"), np.full((2600, 4000, 3), 20 * index, np.uint8))
    open_video(page, home / "large")
    asked = []
    page.on("request", lambda request: "/frames/" in request.url and asked.append(request.url))
    go_to(page, 5)
    page.wait_for_timeout(4000)
    assert len(asked) == len(set(asked))


def test_the_time_is_that_of_the_frame(page, home):
    path = home / "uneven.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in TIMES_MS:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), time % 250, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    open_video(page, path)
    for frame, time in enumerate(TIMES_MS):
        go_to(page, frame)
        expect(page.locator("#time")).to_have_text(f"{time / 1000:.2f} s")


def test_a_double_click_on_a_video_begins_one_session(page, home):
    shutil.copy(home / "clip.mp4", home / "twice.mp4")
    page.reload()
    page.locator("#browse button", has_text="twice.mp4").dblclick()
    shows(page, 0)
    page.wait_for_timeout(500)
    assert len(list((home / "sessions").glob("twice-*"))) == 1


def test_a_stroke_under_way_keeps_what_it_painted_where_the_frame_gets_other_masks(page, home, server):
    shutil.copy(home / "clip.mp4", home / "stroke.mp4")
    open_video(page, home / "stroke.mp4")
    session_id = next((home / "sessions").glob("stroke-*")).name
    session = server.service.store.get(session_id).session
    for _ in range(2):
        server.json("POST", f"/api/sessions/{session_id}/objects", {})
    expect(page.locator("#objects li[data-id]")).to_have_count(2)
    page.keyboard.press("b")
    box, (height, width) = page.locator("#overlay").bounding_box(), session.facts.size
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=5)
    other = np.zeros(session.facts.size, np.uint8)
    other[:10, :10] = 2
    with page.expect_response("**/masks/0"):
        server.request("PUT", f"/api/sessions/{session_id}/pins/0?ids=2", encode_runs(other))
    page.wait_for_timeout(300)
    page.mouse.move(x + 120, y, steps=5)
    with page.expect_response("**/pins/0?*"):
        page.mouse.up()
    row = session.mask(0)[height // 2, width // 2 : width // 2 + int(120 * width / box["width"])]
    assert (row == 1).all()
    assert (session.mask(0)[:10, :10] == 2).all()


def test_a_dropped_folder_is_said_to_be_one(page, home):
    (home / "images").mkdir()
    expect(page.locator("#browse")).to_contain_text("clip.mp4")
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(home / "images")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": data})
    expect(page.locator("#toasts")).to_have_text(re.compile("^images: is a folder"))


def test_unpin_takes_the_pin_of_its_frame_and_only_where_the_server_does(page, home, server):
    shutil.copy(home / "clip.mp4", home / "pins.mp4")
    open_video(page, home / "pins.mp4")
    page.keyboard.press("b")
    for frame in (0, 1):
        go_to(page, frame)
        with page.expect_response(f"**/pins/{frame}?*"):
            page.locator("#viewport").click(position={"x": 300, "y": 200})
    card, pins = page.locator("#frame-card"), "**/pins/1"
    page.route(pins, lambda route: route.fulfill(status=400, body='{"error": "it is full."}'))
    page.click("text=Unpin")
    expect(page.locator("#toasts")).to_contain_text("It is full.")
    expect(card).to_contain_text("Annotated frame")
    page.unroute(pins)
    held = []
    page.route(pins, lambda route: held.append(route))
    with page.expect_request(pins):
        page.click("text=Unpin")
    go_to(page, 0)
    with page.expect_response(pins):
        held[0].continue_()
    page.wait_for_timeout(300)
    expect(card).to_contain_text("Annotated frame")
    go_to(page, 1)
    expect(card).not_to_contain_text("Annotated frame")


@pytest.mark.parametrize("tool", ["x", "b", "g", "s"])
def test_the_first_mark_says_where_its_object_cannot_be_made(page, home, tool):
    shutil.copy(home / "clip.mp4", home / f"full{tool}.mp4")
    open_video(page, home / f"full{tool}.mp4")
    page.route("**/objects", lambda route: route.fulfill(status=500, body='{"error": "the disk is full."}'))
    page.keyboard.press(tool)
    page.mouse.move(300, 200)
    page.mouse.down()
    page.mouse.move(360, 260)
    page.mouse.up()
    expect(page.locator("#toasts")).to_have_text("The disk is full.")


def test_a_frame_without_pixels_is_untracked_again_once_it_is_unpinned(page, home):
    shutil.copy(home / "clip.mp4", home / "empty.mp4")
    open_video(page, home / "empty.mp4")
    page.keyboard.press("b")
    page.locator("#viewport").click(position={"x": 300, "y": 200})
    page.click("#objects [title=More]")
    page.click("text=Absent in this frame")
    page.click("text=Unpin")
    expect(page.locator("#frame-card")).to_have_text("Not tracked yet")


def test_a_mark_whose_mask_is_being_made_is_kept_by_the_way_home_and_asked_for_by_a_reload(page, home, server):
    shutil.copy(home / "clip.mp4", home / "leave.mp4")
    open_video(page, home / "leave.mp4")
    held, asked = [], []
    page.route("**/prompt", lambda route: held.append(route))
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    with page.expect_request("**/prompt"):
        page.locator("#viewport").click(position={"x": 300, "y": 200})
    page.click("#home")
    page.wait_for_timeout(300)
    held.pop().continue_()
    expect(page.locator("#open-screen")).to_be_visible(timeout=60_000)
    expect(page.locator("#toasts")).to_have_text("")
    session_id = next((home / "sessions").glob("leave-*")).name
    assert server.json("GET", f"/api/sessions/{session_id}")["pins"] == {"0": [1]}
    open_video(page, home / "leave.mp4")
    go_to(page, 1)
    with page.expect_request("**/prompt"):
        page.locator("#viewport").click(position={"x": 400, "y": 300})
    page.reload()
    assert asked == ["beforeunload"]


def test_the_settings_that_are_shown_are_those_of_the_session(page, home, server):
    shutil.copy(home / "clip.mp4", home / "settings.mp4")
    open_video(page, home / "settings.mp4")
    session = f"/api/sessions/{next((home / 'sessions').glob('settings-*')).name}"
    quality = page.locator("#quality")
    expect(quality).to_have_value("balanced")
    server.json("PATCH", session, {"quality": "fast"})  # as another tab does
    expect(quality).to_have_value("fast")
    full = {"status": 500, "body": '{"error": "the disk is full."}'}
    page.route(
        f"**{session}", lambda route: route.fulfill(**full) if route.request.method == "PATCH" else route.continue_()
    )
    quality.select_option("best")
    expect(page.locator("#toasts")).to_have_text("The disk is full.")
    expect(quality).to_have_value("fast")


def test_a_change_on_its_way_to_the_server_stays_where_another_tab_changes_something(page, home, server):
    shutil.copy(home / "clip.mp4", home / "slow.mp4")
    open_video(page, home / "slow.mp4")
    session_id = next((home / "sessions").glob("slow-*")).name
    held, pins = [], "**/pins/0?*"
    page.keyboard.press("b")
    for y in (150, 200, 250):
        if y == 200:
            page.route(pins, lambda route: held.append(route))
            with page.expect_request(pins):
                page.locator("#viewport").click(position={"x": 300, "y": y})
            server.json("POST", f"/api/sessions/{session_id}/objects", {})
            page.wait_for_timeout(500)
            held[0].continue_()
            page.unroute(pins)
        else:
            page.locator("#viewport").click(position={"x": 300, "y": y})
        expect(page.locator("#stage")).to_have_attribute("data-saved", "true")
        page.wait_for_timeout(300)
    expect(page.locator("#objects li[data-id]")).to_have_count(2)
    count, _ = cv2.connectedComponents(server.service.store.get(session_id).session.mask(0))
    assert count == 1 + 3


def test_only_the_page_that_asks_for_an_export_downloads_it(page, home, server):
    for name in ("asks", "other"):
        shutil.copy(home / "clip.mp4", home / f"{name}.mp4")
    same, other = page.context.new_page(), page.context.new_page()
    open_video(page, home / "asks.mp4")
    page.keyboard.press("b")
    with page.expect_response("**/pins/0?*"):
        page.locator("#viewport").click(position={"x": 300, "y": 200})
    same.goto(page.url)
    shows(same, 0)
    other.goto(server.address)
    open_video(other, home / "other.mp4")
    downloads = []
    for one in (page, same, other):
        one.on("download", lambda download: downloads.append(download.page))
    page.click("#export")
    with page.expect_download():
        page.click("#dialog .primary")
    expect(same.locator("#toasts")).to_contain_text("The export is ready.")
    other.wait_for_timeout(500)
    assert downloads == [page]
    assert not other.locator("#toasts").inner_text()


def hide(page, hidden):
    page.evaluate(
        f"Object.defineProperty(document, 'hidden', {{ get: () => {str(hidden).lower()}, configurable: true }})"
    )
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.mark.parametrize(
    "job", [None, {"id": "x", "client": "", "session": "", "kind": "track", "done": 0, "total": 0}]
)
def test_any_number_of_hidden_tabs_leaves_connections_for_the_one_that_is_shown(page, home, server, monkeypatch, job):
    """A browser has six connections to a server for all of its tabs. The job is another video's."""
    monkeypatch.setattr(server.service.jobs, "_current", job)
    (home / "tabs").mkdir(exist_ok=True)
    video = home / "tabs" / f"{'job' if job else 'idle'}.mp4"
    shutil.copy(home / "clip.mp4", video)
    open_video(page, video)
    address = page.url
    hide(page, True)
    for _ in range(6):
        shown = page.context.new_page()
        shown.goto(address)
        shows(shown, 0)
        hide(shown, True)
    hide(shown, False)
    shown.click("#add-object")
    expect(shown.locator("#objects li[data-id]")).to_have_count(1)
    expect(page.locator("#objects li[data-id]")).to_have_count(0)
    hide(page, False)
    expect(page.locator("#objects li[data-id]")).to_have_count(1)


def test_a_hidden_tab_hears_of_its_job_until_it_ends(page, home, server, monkeypatch):
    shutil.copy(home / "clip.mp4", home / "job.mp4")
    open_video(page, home / "job.mp4")
    client = page.evaluate("import('./static/api.js').then((module) => module.CLIENT)")
    job = {"id": "x", "client": client, "session": "", "kind": "export", "state": "running", "done": 0, "total": 0}
    hide(page, True)
    monkeypatch.setattr(server.service.jobs, "_current", job)
    with page.expect_response(STATE):  # asked for once it listens
        page.evaluate("(job) => import('./static/tracking.js').then(({ takeJob }) => takeJob(job))", job)
    monkeypatch.undo()
    server.service.hub.publish({"type": "job", "job": {**job, "state": "failed", "error": "no room"}})
    expect(page.locator("#toasts")).to_contain_text("No room")
    with page.expect_response(STATE):
        hide(page, False)
    expect(page.locator("#toasts")).to_contain_text("No room")


def come_back(page):
    """Hide a tab and show it again; it gets the session's state of now once the returned function is called."""
    held = []

    def hold(route):
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    hide(page, True)
    page.route(STATE, hold)
    with page.expect_request(STATE):
        hide(page, False)
    while not held:
        page.wait_for_timeout(20)

    def answer():
        route, response = held[0]
        route.fulfill(response=response)
        page.wait_for_timeout(300)

    return answer


def test_what_is_changed_while_a_tab_that_comes_back_asks_for_the_state_is_kept(page, home):
    shutil.copy(home / "clip.mp4", home / "back.mp4")
    open_video(page, home / "back.mp4")
    answer = come_back(page)
    page.click("#add-object")
    expect(page.locator("#objects li[data-id]")).to_have_count(1)
    answer()
    expect(page.locator("#objects li[data-id]")).to_have_count(1)


def test_a_job_that_ends_while_a_tab_that_comes_back_asks_for_the_state_is_over(page, home, server, monkeypatch):
    shutil.copy(home / "clip.mp4", home / "over.mp4")
    open_video(page, home / "over.mp4")
    job = {"id": "over", "client": "", "session": "", "kind": "track", "state": "running", "done": 1, "total": 2}
    monkeypatch.setattr(server.service.jobs, "_current", job)
    answer = come_back(page)
    server.service.hub.publish({"type": "job", "job": {**job, "state": "finished", "done": 2}})
    answer()
    expect(page.locator("#track-buttons")).to_be_visible()


def test_a_state_that_comes_late_does_not_take_the_place_of_another_video(page, home):
    for name in ("one", "two"):
        shutil.copy(home / "clip.mp4", home / f"{name}.mp4")
    open_video(page, home / "one.mp4")
    page.click("#add-object")
    answer = come_back(page)
    page.click("#home")
    open_video(page, home / "two.mp4")
    expect(page).to_have_title("two · vos")
    answer()
    assert page.evaluate("import('./static/store.js').then(({ store }) => store.session.name)") == "two"
    expect(page.locator("#objects li[data-id]")).to_have_count(0)


def test_an_export_of_a_tab_that_is_hidden_before_the_answer_is_downloaded(page, home):
    shutil.copy(home / "clip.mp4", home / "hidden.mp4")
    open_video(page, home / "hidden.mp4")
    page.keyboard.press("b")
    with page.expect_response("**/pins/0?*"):
        page.locator("#viewport").click(position={"x": 300, "y": 200})
    held = []
    page.route("**/export", lambda route: held.append(route))
    page.click("#export")
    with page.expect_request("**/export"):
        page.click("#dialog .primary")
    hide(page, True)
    page.route("**/api/events", lambda route: None)  # too late
    with page.expect_download():
        held[0].continue_()


def test_what_moves_is_found_without_a_mark_and_corrected_with_one(page, home, server):
    shutil.copy(home / "clip.mp4", home / "moving.mp4")
    open_video(page, home / "moving.mp4")
    page.dblclick("#find")
    expect(page.locator("#frame-card")).to_contain_text("Annotated frame", timeout=60_000)
    expect(page.locator("#stage")).not_to_have_attribute("data-saved", "false", timeout=60_000)
    expect(page.locator("#objects li[data-id]")).to_have_count(1)
    expect(page.locator("#hint")).to_be_hidden()
    truth = vos.read_label_map(Path(vos.example_clip.__file__).parent / "masks" / "00000.png") > 0
    session_id = next((home / "sessions").glob("moving-*")).name
    _, runs, _ = server.request("GET", f"/api/sessions/{session_id}/masks/0")
    found = decode_runs(runs, truth.shape) > 0
    assert (found & truth).sum() > 0.9 * (found | truth).sum()
    box = page.locator("#overlay").bounding_box()
    with page.expect_request("**/prompt") as asked:
        page.mouse.click(box["x"] + 5, box["y"] + 5, delay=20)
    present = np.array(asked.value.post_data_json["mask"], dtype="<u4").tobytes()
    assert np.array_equal(decode_runs(present, truth.shape) > 0, found)


def test_a_search_that_escape_ends_is_called_one(page, home):
    shutil.copy(home / "clip.mp4", home / "search.mp4")
    open_video(page, home / "search.mp4")
    page.route("**/prompt", lambda route: None)
    with page.expect_request("**/prompt"):
        page.click("#find")
    page.keyboard.press("Escape")
    expect(page.locator("#toasts")).to_contain_text("The search in frame 0 is given up")


def test_where_nothing_moves_the_page_says_so_and_looks_in_another_frame(page, home):
    (home / "grey").mkdir()
    frames = [vos.read_frame(home / "clip.mp4", index).image for index in range(2)]
    for index, image in enumerate([np.full_like(frames[0], 128)] * 9 + frames):
        cv2.imwrite(str(home / "grey" / f"{index:02d}.png"), image[..., ::-1])
    open_video(page, home / "grey")
    page.click("#find")
    toast = page.locator("#toasts")
    expect(toast).to_contain_text("Found nothing that moves or stands out in frame 0", timeout=60_000)
    expect(toast).not_to_contain_text("--")
    expect(page.locator("#frame-card")).not_to_contain_text("Annotated frame")
    go_to(page, 9)
    page.click("#find")
    expect(page.locator("#frame-card")).to_contain_text("Annotated frame", timeout=60_000)
    expect(page.locator("#objects li[data-id]")).to_have_count(1)


@pytest.mark.parametrize("size", [(360, 640), (640, 360)])
def test_a_frame_is_unpinned_in_a_small_window(page, home, size):
    name = f"small{size[0]}.mp4"
    shutil.copy(home / "clip.mp4", home / name)
    open_video(page, home / name)
    page.keyboard.press("b")
    with page.expect_response("**/pins/0?*"):
        page.locator("#viewport").click(position={"x": 300, "y": 200})
    page.set_viewport_size({"width": size[0], "height": size[1]})
    if size == (360, 640):
        card = page.locator("#frame-card").bounding_box()
        assert card["y"] + card["height"] <= page.locator(".bottombar").bounding_box()["y"]  # without scrolling
    page.click("#frame-card button", timeout=5000)
    expect(page.locator("#frame-card")).to_have_text("Object 1: 100 % sure")


@pytest.mark.parametrize("size", [(360, 640), (390, 844), (844, 390), (1000, 700)])
def test_the_hint_and_its_button_fit_the_window(page, home, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    open_video(page, home / "clip.mp4")
    view, hint, find, zoom = (
        page.locator(name).bounding_box() for name in ("#viewport", "#hint", "#find", "#zoom-box")
    )

    def lies_in(inner, outer):
        return all(
            outer[at] <= inner[at] and inner[at] + inner[side] <= outer[at] + outer[side]
            for at, side in (("x", "width"), ("y", "height"))
        )

    assert min(view["height"] / size[1], view["width"] / size[0]) > 1 / 3
    assert lies_in(find, hint)
    assert lies_in(hint, view)
    assert find["x"] + find["width"] <= zoom["x"] or find["y"] + find["height"] <= zoom["y"]
