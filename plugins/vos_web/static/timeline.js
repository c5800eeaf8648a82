// The timeline: a lane for each object, pins where frames are annotated, how sure the tracker is, and the playhead.

import { colourOf } from "./label_map.js";
import { ABSENT, lane, liveObjects, on, select, spansToCheck, store } from "./store.js";

const canvas = document.getElementById("timeline");
const context = canvas.getContext("2d");
const LEFT = 12, RIGHT = 12, RULER = 20, RIBBON = 16, GAP = 3;
const back = document.createElement("canvas");
let stale = true, queued = false;

const laneHeight = () => Math.max(3, Math.min(13, Math.floor(120 / Math.max(1, liveObjects().length)) - GAP));
const step = () => laneHeight() + (laneHeight() > 5 ? GAP : 1);

export function refresh(dataChanged = true) {
  stale ||= dataChanged;
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    if (store.session) draw();
  });
}

const frameAt = (clientX) => {
  const box = canvas.getBoundingClientRect();
  const share = (clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
  return Math.max(0, Math.min(store.session.frame_count - 1, Math.round(share * (store.session.frame_count - 1))));
};

function draw() {
  const ratio = devicePixelRatio || 1;
  const wanted = Math.max(78, Math.min(190, RULER + RIBBON + 8 + step() * Math.max(1, liveObjects().length)));
  if (canvas.style.height !== `${wanted}px`) canvas.style.height = `${wanted}px`;
  const w = canvas.clientWidth, h = wanted;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = back.width = Math.round(w * ratio);
    canvas.height = back.height = Math.round(h * ratio);
    stale = true;
  }
  if (stale) {
    drawLanes(back.getContext("2d"), w, h, ratio);
    stale = false;
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(back, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const x = place(store.frame, w);
  context.fillStyle = getComputedStyle(document.getElementById("progress-bar")).accentColor;
  context.fillRect(x - 1, 3, 2, h - 6);
  context.beginPath();
  context.moveTo(x - 6, 2);
  context.lineTo(x + 6, 2);
  context.lineTo(x, 10);
  context.fill();
}

const place = (frame, w) => LEFT + ((w - LEFT - RIGHT) * frame) / Math.max(1, store.session.frame_count - 1);

// For each column: 0, or the lowest level of the object in those of its frames in which it is present.
function columns(levels, end, count) {
  const n = store.session.frame_count;
  const found = new Uint8Array(count);
  for (let frame = 0; frame < end; frame++) {
    const level = levels[frame];
    if (level <= ABSENT) continue;
    const first = Math.floor((frame * count) / n), last = Math.max(first, Math.ceil(((frame + 1) * count) / n) - 1);
    for (let c = first; c <= last; c++) if (!found[c] || level < found[c]) found[c] = level;
  }
  return found;
}

function drawLanes(target, w, h, ratio) {
  const n = store.session.frame_count, span = w - LEFT - RIGHT, count = Math.max(1, Math.floor(span));
  const probe = document.getElementById("video-facts");
  const muted = getComputedStyle(probe).color, line = getComputedStyle(canvas).borderTopColor;
  const warn = getComputedStyle(document.getElementById("open-error")).color;
  target.setTransform(ratio, 0, 0, ratio, 0, 0);
  target.clearRect(0, 0, w, h);
  target.font = "10px system-ui, sans-serif";
  target.textAlign = "center";
  drawRuler(target, w, n, muted, line);
  const spans = spansToCheck(), column = (frame) => Math.floor((frame * count) / n);
  const lowest = new Uint8Array(count).fill(255), some = new Uint8Array(count);
  liveObjects().forEach((object, row) => {
    const y = RULER + row * step();
    if (y > h - RIBBON) return;
    target.globalAlpha = object.id === store.selected ? 0.28 : 0.14;
    target.fillStyle = muted;
    target.fillRect(LEFT, y, span, laneHeight());
    target.fillStyle = colourOf(object.id);
    const levels = columns(lane(object.id), object.end ?? n, count);
    for (let c = 0; c < count; c++) {
      if (!levels[c]) continue;
      some[c] = 1;
      lowest[c] = Math.min(lowest[c], levels[c]);
    }
    runs(levels, count, (level) => level && 1 + (level >> 5), (start, end, level) => {
      target.globalAlpha = 0.3 + 0.7 * Math.min(1, level / 8);
      target.fillRect(LEFT + (start * span) / count, y, ((end - start) * span) / count, laneHeight());
    });
    target.globalAlpha = 1;
    target.fillStyle = warn;
    for (const { id, first, last } of spans) {
      if (id === object.id) target.fillRect(place(first, w) - 1, y + laneHeight() - 1, place(last, w) - place(first, w) + 3, 2);
    }
    target.fillStyle = colourOf(object.id);
    if (object.end !== null && object.end < n) target.fillRect(place(object.end, w) - 1, y - 1, 2, laneHeight() + 2);
  });
  target.globalAlpha = 1;
  const doubtful = new Uint8Array(count);
  for (const { first, last } of spans) doubtful.fill(1, column(first), column(last + 1) || 1);
  drawRibbon(target, h, span, { lowest, some, doubtful }, muted, warn);
  drawPins(target, w);
  if (!liveObjects().length) drawEmpty(target, w, h, muted);
}

function drawEmpty(target, w, h, muted) {
  target.fillStyle = muted;
  target.font = "13px system-ui, sans-serif";
  target.fillText("Each object gets a lane here. Drag to move through the video.", w / 2, (h + RULER) / 2, w - LEFT - RIGHT);
}

function runs(values, count, group, draw) {
  let start = 0;
  for (let c = 1; c <= count; c++) {
    const level = group(values[start]);
    if (c < count && group(values[c]) === level) continue;
    if (level) draw(start, c, level);
    start = c;
  }
}

// How sure the tracker is of the object that it is least sure of: high is sure, and red is worth a check.
function drawRibbon(target, h, span, { lowest, some, doubtful }, muted, warn) {
  const bottom = h - 5, count = lowest.length;
  for (let c = 0; c < count; c++) {
    if (!some[c]) continue;
    const share = lowest[c] / 255;
    const red = doubtful[c] || share < 0.6;
    target.fillStyle = red ? warn : muted;
    target.globalAlpha = red ? 0.95 : 0.45;
    target.fillRect(LEFT + (c * span) / count, bottom - Math.max(1, share * RIBBON), span / count + 0.3, Math.max(1, share * RIBBON));
  }
  target.globalAlpha = 1;
}

function drawRuler(target, w, n, muted, line) {
  const choices = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000];
  const every = choices.find((c) => (c * (w - LEFT - RIGHT)) / n > 56) ?? 20000;
  for (let frame = 0; frame < n; frame += every) {
    target.fillStyle = line;
    target.fillRect(place(frame, w), 14, 1, 4);
    target.fillStyle = muted;
    target.fillText(String(frame), place(frame, w), 11);
  }
}

function drawPins(target, w) {
  const ids = liveObjects().map((object) => object.id);
  for (const [frame, touched] of store.pins) {
    const x = place(frame, w);
    for (const id of touched) {
      const row = ids.indexOf(id);
      if (row < 0) continue;
      const y = RULER + row * step() + laneHeight() / 2, r = Math.min(5.5, laneHeight() / 2 + 1.5);
      target.beginPath();
      target.moveTo(x, y - r);
      target.lineTo(x + r, y);
      target.lineTo(x, y + r);
      target.lineTo(x - r, y);
      target.closePath();
      target.fillStyle = "#fff";
      target.strokeStyle = "#1b1f27";
      target.lineWidth = 1.2;
      target.fill();
      target.stroke();
    }
  }
}

function titleOf(frame) {
  const names = new Map(liveObjects().map((object) => [object.id, object.name]));
  const found = spansToCheck().filter(({ first, last }) => first <= frame && frame <= last);
  return [`Frame ${frame}`, ...found.map(({ id, reasons }) => `${names.get(id)}: ${[...reasons].join(", ")}`)].join("\n");
}

export function startTimeline(goTo) {
  let scrubbing = false;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    scrubbing = true;
    const y = event.clientY - canvas.getBoundingClientRect().top;
    const row = Math.floor((y - RULER) / step());
    const object = y > RULER ? liveObjects()[row] : undefined;
    if (object) select(object.id);
    goTo(frameAt(event.clientX));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (scrubbing) goTo(frameAt(event.clientX));
    else canvas.title = titleOf(frameAt(event.clientX));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (scrubbing = false));
  new ResizeObserver(() => refresh()).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => refresh());
  for (const name of ["objects", "presence", "pins"]) on(name, () => refresh());
  on("frame", () => refresh(false));
}
