"""`vos web`: from a key to its frame, tracking beside `vos track`, and a session of 10,000 frames and 50 objects.

Steps: milliseconds of a 1280x720 video in a real browser, from the key to the drawn frame, against the time of
decoding the same frames alone (baseline); for a brush of 60 px that moves in every animation frame, milliseconds of
script for one move, between animation frames, and between frames that the browser's compositor draws. Tracking:
seconds of a job with the page open, against `vos.stream` on the same frames (baseline); both without loading the model,
and once more by the processor time of the worker alone, and of the worker, the server and the browser together, which
other programs disturb less. Large: the page's time to open, a step in it, and the server's memory before and after 300
steps.

    python tests/benchmarks/bench_web.py [--frames 120] [--steps 60]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright

import vos
from vos.example_clip import CLIP, FIRST_MASK
from vos_web.sessions.session import Session
from vos_web.sessions.store import SessionStore

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MEASURE = """(key) => new Promise((done) => {
  const stage = document.getElementById("stage"), began = performance.now(), before = stage.dataset.frame;
  const look = () => stage.dataset.frame !== before ? done(performance.now() - began) : requestAnimationFrame(look);
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  requestAnimationFrame(look);
})"""

BRUSH = """() => {
  const viewport = document.getElementById("viewport"), box = viewport.getBoundingClientRect();
  const size = document.getElementById("brush-size"), script = [], stamps = [];
  size.value = 60;
  size.dispatchEvent(new Event("input"));
  const send = (type, k) => viewport.dispatchEvent(new PointerEvent(type, {
    bubbles: true, pointerId: 1, button: 0, buttons: 1,
    clientX: box.left + 200 + 3 * k, clientY: box.top + 200 + 80 * Math.sin(k / 20),
  }));
  viewport.setPointerCapture = () => {};
  send("pointerdown", 0);
  return new Promise((done) => setTimeout(() => requestAnimationFrame(function move(now) {
    const began = performance.now();
    send("pointermove", script.length);
    script.push(performance.now() - began);
    stamps.push(now);
    if (script.length < 200) return requestAnimationFrame(move);
    send("pointerup", 200);
    done({ script, intervals: stamps.slice(1).map((stamp, k) => stamp - stamps[k]) });
  }), 500));
}"""


class Server:
    """``vos web`` in a process of its own."""

    def __init__(self, video: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "vos", "web", str(video), "--no-browser", "--sessions", str(folder), "--root"]
        self.process = subprocess.Popen([*command, str(video.parent)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def memory(self) -> float:
        """Resident memory, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def write_video(path: Path, count: int, size_wh: tuple[int, int]) -> None:
    """The example clip's frames over and over, enlarged or shrunk."""
    frames = [cv2.resize(frame.image, size_wh) for frame in vos.open_source(CLIP).frames(range(60))]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, size_wh)
    for index in range(count):
        writer.write(np.ascontiguousarray(frames[index % 60][..., ::-1]))
    writer.release()


def opened(page: Page, address: str) -> float:
    """Open the page; seconds until the frame is drawn."""
    began = time.perf_counter()
    page.goto(address)
    expect(page.locator("#stage")).to_have_attribute("data-frame", "0", timeout=60_000)
    return time.perf_counter() - began


def steps(page: Page, count: int) -> list[float]:
    """Milliseconds of single steps forward, with a pause as a person makes between keys."""
    times = []
    for _ in range(count):
        times.append(float(page.evaluate(MEASURE, "f")))
        page.wait_for_timeout(40)
    return times


def bench_steps(browser: Browser, page: Page, folder: Path, count: int) -> dict[str, float]:
    video = folder / "hd.mp4"
    write_video(video, count + 20, (1280, 720))
    source = vos.open_source(video)
    began = time.perf_counter()
    decoded = sum(1 for _ in source.frames(range(count)))
    baseline = 1000 * (time.perf_counter() - began) / decoded
    server = Server(video, folder / "sessions")
    try:
        opened(page, server.address)
        times = steps(page, count)
        page.keyboard.press("b")
        settle()
        browser.start_tracing(page=page, categories=["viz"])
        brush = page.evaluate(BRUSH)
        drawn = drawing_intervals(browser.stop_tracing())
        expect(page.locator("#frame-card")).to_contain_text("Annotated", timeout=60_000)
    finally:
        server.close()
    median = statistics.median(times)
    return {
        "decode_ms": baseline, "step_ms_median": median, "step_ms_95": float(np.quantile(times, 0.95)),
        "ratio_to_decoding": median / baseline, "brush_move_ms_median": statistics.median(brush["script"]),
        "brush_move_ms_95": float(np.quantile(brush["script"], 0.95)),
        "brush_interval_ms_median": statistics.median(brush["intervals"]),
        "brush_interval_ms_95": float(np.quantile(brush["intervals"], 0.95)),
        "brush_drawn_interval_ms_median": statistics.median(drawn),
        "brush_drawn_interval_ms_95": float(np.quantile(drawn, 0.95)),
    }  # fmt: skip


def drawing_intervals(trace: bytes) -> list[float]:
    """Milliseconds between the frames that the browser's compositor draws, of a trace of the category ``viz``."""
    events = json.loads(trace)["traceEvents"]
    stamps = sorted(event["ts"] / 1000 for event in events if event["name"] == "Display::DrawAndSwap")
    return [after - before for before, after in itertools.pairwise(stamps)]


def bench_tracking(page: Page, folder: Path, count: int) -> dict[str, float]:
    """Seconds a frame by the worker's own count of frames a second, and by ``vos.stream`` with a PNG a frame."""
    video = folder / "small.mp4"
    height, width = vos.read_label_map(FIRST_MASK).shape
    write_video(video, count, (width, height))
    server = Server(video, folder / "sessions")
    try:
        opened(page, server.address)
        settle()
        (session,) = (path.parent for path in (folder / "sessions").glob("small*/session.json"))
        with page.expect_response("**/file"):
            page.evaluate(
                """async (values) => {
                    const bytes = Uint8Array.from(values);
                    const dataTransfer = new DataTransfer();
                    dataTransfer.items.add(new File([bytes], "mask.png", { type: "image/png" }));
                    window.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
                }""",
                list(FIRST_MASK.read_bytes()),
            )
        expect(page.locator("#objects li[data-id]")).to_have_count(2)
        page.keyboard.press("p")
        while len(list((session / "masks").iterdir())) < 3:  # the model is loaded
            time.sleep(0.02)
        began, first = time.perf_counter(), len(list((session / "masks").iterdir()))
        worked = processor_seconds_of_children()
        expect(page.locator("#stop")).to_be_hidden(timeout=600_000)
        web = (time.perf_counter() - began) / (count - first)
        after = processor_seconds_of_children()
        spent = {kind: (after[kind] - before) / (count - first) for kind, before in worked.items()}
    finally:
        server.close()
    results = vos.stream(video, str(FIRST_MASK), tracker="propagation")
    for _ in range(3):
        next(results)
    began, worked, done = time.perf_counter(), time.process_time(), 0
    for frame, label_map in results:
        vos.write_label_map(folder / f"{frame.index}.png", label_map)
        done += 1
    baseline = (time.perf_counter() - began) / done
    baseline_processor = (time.process_time() - worked) / done
    return {
        "track_s_a_frame": baseline, "web_s_a_frame": web, "ratio": web / baseline,
        "track_processor_s": baseline_processor,
        **{f"{kind}_processor_s": seconds for kind, seconds in spent.items()},
        "worker_ratio": spent["worker"] / baseline_processor,
        "processor_ratio": sum(spent.values()) / baseline_processor,
    }  # fmt: skip


def processor_seconds_of_children() -> dict[str, float]:
    """Processor time of the processes below this one, by what they are: ``worker``, ``server`` and ``browser``."""
    parents, ticks, kinds = {}, {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_text()
        except OSError:
            continue  # it has ended
        pid = int(path.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
        is_server = "web\0" in command and "--sessions" in command
        kinds[pid] = "worker" if "vos_web.tracking.worker" in command else "server" if is_server else "browser"
    total = dict.fromkeys(("worker", "server", "browser"), 0.0)
    for pid in ticks:
        above = parents[pid]
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid():
            total[kinds[pid]] += ticks[pid] / os.sysconf("SC_CLK_TCK")
    return total


def settle(quiet_s: float = 0.03, most_s: int = 30) -> None:
    """Wait until the browser's own start is over: its processor seconds in a second fall below ``quiet_s``."""
    for _ in range(most_s):
        before = processor_seconds_of_children()["browser"]
        time.sleep(1)
        if processor_seconds_of_children()["browser"] - before <= quiet_s:
            return


def bench_large(page: Page, folder: Path, count: int, objects: int) -> dict[str, float]:
    video = folder / "long.mp4"
    write_video(video, count, (320, 180))
    store = SessionStore(folder / "sessions", vos.load_plugins())
    opened_session = store.create(video)
    fill(opened_session.session, count, objects)
    store.close()
    server = Server(video, folder / "sessions")
    try:
        seconds = opened(page, server.address)
        expect(page.locator("#objects li[data-id]")).to_have_count(objects)
        times = steps(page, 60)
        before = server.memory()
        for _ in range(240):
            page.evaluate(MEASURE, "v")
        after = server.memory()
    finally:
        server.close()
    return {
        "open_s": seconds, "step_ms_median": statistics.median(times), "server_mib_before": before,
        "server_mib_after": after,
    }  # fmt: skip


def fill(session: Session, count: int, objects: int) -> None:
    """Give a session objects and a label map in every frame."""
    label_map = np.zeros(session.facts.size, np.uint8)
    for object_id in range(1, objects + 1):
        session.add_object()
        y, x = divmod(object_id - 1, 10)
        label_map[4 + 30 * y : 24 + 30 * y, 4 + 31 * x : 26 + 31 * x] = object_id
    session.annotate(0, label_map, range(1, objects + 1))
    levels = {object_id: 150 + object_id for object_id in range(1, objects + 1)}
    for frame in range(1, count):
        shutil.copy(session.mask_path(0), session.mask_path(frame))
        session.presence.set(frame, levels)
    session.presence.compact()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=120, help="of the tracking benchmark")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--large", type=int, nargs=2, default=(10_000, 50), help="frames and objects")
    parser.add_argument("--only", choices=("steps", "tracking", "large"))
    parser.add_argument("--json", type=Path, default=Path("bench-out/web.json"))
    chosen = parser.parse_args()
    browser = next(path for name in BROWSERS if (path := shutil.which(name)))
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        for name, run in (
            ("steps", lambda page: bench_steps(chromium, page, Path(folder), chosen.steps)),
            ("tracking", lambda page: bench_tracking(page, Path(folder), chosen.frames)),
            ("large", lambda page: bench_large(page, Path(folder), *chosen.large)),
        ):
            if chosen.only in (None, name):
                found[name] = run(chromium.new_page(viewport={"width": 1280, "height": 720}))
                print(name, {key: round(value, 3) for key, value in found[name].items()}, flush=True)
        chromium.close()
    chosen.json.parent.mkdir(exist_ok=True)
    chosen.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
