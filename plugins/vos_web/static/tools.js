// Tools: what the pointer does on the canvas.

import { current, drawGuides, framePixels, pan, redraw, toFrame, toScreen, view, zoomAt } from "./canvas.js";
import { commit, mayReplace } from "./editing.js";
import { colourOf, fillPolygon, floodFill, paintLine, union } from "./label_map.js";
import { removeEnd } from "./objects.js";
import { addBox, addPoint, addStroke, askWithoutMarks, marks, resetPrompts } from "./prompting.js";
import { addObject, changeObject, emit, height, on, selectedObject, store, width } from "./store.js";
import { stopFollowing } from "./tracking.js";

const viewport = document.getElementById("viewport");
export const options = { size: 14, tolerance: 24, beside: false };

let gesture = null; // what the pressed pointer does
let corners = []; // of the polygon that is being drawn
let cursor = null; // last place of the pointer, frame pixels
const touches = new Map();

export function setTool(tool) {
  if (store.tool === tool) return;
  store.tool = tool;
  corners = [];
  resetPrompts();
  emit("tool");
  drawAll();
}

export const changeSize = (factor) => {
  options.size = Math.max(1, Math.min(120, Math.round(factor > 1 ? Math.max(options.size + 1, options.size * factor) : Math.min(options.size - 1, options.size * factor))));
  emit("tool");
  drawAll();
};

export function cancel() {
  cancelStroke();
  corners = [];
  resetPrompts();
  drawAll();
}

export function finishPolygon() {
  if (corners.length < 3) return;
  const drawn = corners;
  corners = [];
  withObject((id) => {
    const before = current.ids.slice();
    const rect = fillPolygon(current.ids, width(), height(), drawn, id, mayReplace());
    redraw(rect);
    commit(before, rect);
  });
  drawAll();
}

// Runs an action with the selected object; makes the first one where there is none.
async function withObject(action) {
  const frame = current.frame;
  const object = selectedObject() ?? (await addObject().catch((error) => emit("error", error)));
  if (!object) return;
  if (object.locked) {
    return emit("message", { text: `${object.name} is locked.`, action: "Unlock it", run: () => change(object, { locked: false }) });
  }
  if (object.end !== null && frame >= object.end) {
    const text = `${object.name} ends at frame ${object.end}.`;
    return emit("message", { text, action: "Remove the end", run: () => removeEnd(object) });
  }
  if (object.hidden) change(object, { hidden: false });
  if (current.frame === frame) await action(object.id);
}

document.getElementById("find").onclick = async ({ target }) => {
  target.disabled = true; // the second click of a double click would add a second object
  await withObject(askWithoutMarks).finally(() => (target.disabled = false));
};

const change = (object, changes) => changeObject(object.id, changes).catch((error) => emit("error", error));
const inside = (point) => point.x >= 0 && point.y >= 0 && point.x < width() && point.y < height();
const held = (point) => ({ x: Math.max(0, Math.min(width() - 1, point.x)), y: Math.max(0, Math.min(height() - 1, point.y)) });
const isBeside = (event) => event.altKey || options.beside;

function begin(event) {
  const point = toFrame(event);
  if (event.button === 1 || event.button === 2 || event.ctrlKey || event.metaKey) {
    gesture = { kind: "pan", x: event.clientX, y: event.clientY };
    viewport.classList.add("panning");
    return;
  }
  if (event.button !== 0) return;
  stopFollowing(); // what is marked belongs to this frame
  if (current.frame !== store.frame) return;
  if (store.tool === "brush" || store.tool === "eraser") {
    const object = selectedObject();
    if (!object && store.tool === "eraser") return;
    const stroke = { kind: "paint", erasing: store.tool === "eraser", points: [point], id: 0, before: null, rect: null };
    gesture = stroke;
    withObject((id) => startStroke(stroke, id));
  } else if (store.tool === "box") {
    gesture = { kind: "box", from: held(point), to: held(point) };
  } else if (store.tool === "scribble") {
    gesture = { kind: "scribble", xy: [held(point)], beside: isBeside(event) };
  } else if (store.tool === "points" && inside(point)) {
    gesture = { kind: "tap", mark: () => withObject((id) => addPoint(id, point, !isBeside(event))) };
  } else if (store.tool === "flood" && inside(point)) {
    gesture = { kind: "tap", mark: () => withObject((id) => flood(point, event.altKey ? 0 : id)) };
  } else if (store.tool === "polygon") {
    gesture = { kind: "tap", mark: () => addCorner(point) };
  }
  drawAll();
}

function flood(point, value) {
  const before = current.ids.slice();
  const rect = floodFill(current.ids, framePixels(), width(), height(), point, options.tolerance, value, mayReplace());
  redraw(rect);
  commit(before, rect);
}

function addCorner(point) {
  const first = corners[0] && toScreen(corners[0]), here = toScreen(point);
  if (corners.length > 2 && Math.hypot(first.x - here.x, first.y - here.y) < 9) finishPolygon();
  else corners.push(held(point));
}

// Paints what was drawn until the stroke has its object: the first one is made meanwhile, and the stroke may be over. Also
// where the frame gets other masks under the stroke, as from the tracker.
function startStroke(stroke, id) {
  if (stroke.cancelled) return;
  const mayPaint = mayReplace(), { points } = stroke;
  Object.assign(stroke, { id, before: current.ids.slice(), last: points[0], may: stroke.erasing ? (other) => other === id : mayPaint });
  for (const point of points) paintTo(stroke, point);
  if (gesture !== stroke) endStroke(stroke);
}

function paint(stroke, point) {
  stroke.points.push(point);
  if (stroke.id) paintTo(stroke, point);
}

function paintTo(stroke, point) {
  const rect = paintLine(current.ids, width(), height(), stroke.last, point, options.size / 2, stroke.erasing ? 0 : stroke.id, stroke.may);
  stroke.last = point;
  stroke.rect = union(stroke.rect, rect);
  if (rect.w && rect.h) redraw(rect);
}

const endStroke = ({ before, rect }) => rect?.w && rect?.h && commit(before, rect);

function move(event) {
  cursor = toFrame(event);
  if (gesture?.kind === "pan") {
    pan(event.clientX - gesture.x, event.clientY - gesture.y);
    gesture.x = event.clientX;
    gesture.y = event.clientY;
  } else if (gesture?.kind === "paint") {
    const events = event.getCoalescedEvents?.() ?? [];
    for (const part of events.length ? events : [event]) paint(gesture, toFrame(part));
  } else if (gesture?.kind === "box") {
    gesture.to = held(cursor);
  } else if (gesture?.kind === "scribble") {
    gesture.xy.push(held(cursor));
  }
  drawAll();
}

function end() {
  const ended = gesture;
  gesture = null;
  viewport.classList.remove("panning");
  if (ended?.kind === "tap") ended.mark(); // not before: a second finger makes it a pinch
  if (ended?.kind === "paint") endStroke(ended);
  if (ended?.kind === "box") {
    const { from, to } = ended;
    const box = [Math.min(from.x, to.x), Math.min(from.y, to.y), Math.max(from.x, to.x), Math.max(from.y, to.y)];
    if (box[2] - box[0] >= 3 && box[3] - box[1] >= 3) withObject((id) => addBox(id, box));
  }
  if (ended?.kind === "scribble") withObject((id) => addStroke(id, ended.xy, !ended.beside));
  drawAll();
}

export function drawAll() {
  if (!store.session) return drawGuides([]);
  const shapes = [];
  const colour = selectedObject() ? colourOf(store.selected) : "#ffffff";
  const screen = (list) => list.map(toScreen).map((p) => `${p.x},${p.y}`).join(" ");
  const outlined = (name, attributes) => {
    shapes.push([name, { ...attributes, fill: "none", stroke: "#000", "stroke-width": 4, "stroke-opacity": 0.45 }]);
    shapes.push([name, { ...attributes, fill: "none", stroke: colour, "stroke-width": 2 }]);
  };
  if (gesture?.kind === "box") {
    const a = toScreen(gesture.from), b = toScreen(gesture.to);
    outlined("rect", { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y) });
  }
  if (gesture?.kind === "scribble") outlined("polyline", { points: screen(gesture.xy), "stroke-linecap": "round" });
  if (corners.length) {
    outlined("polyline", { points: screen(cursor ? [...corners, cursor] : corners) });
    for (const corner of corners) {
      const { x, y } = toScreen(corner);
      shapes.push(["circle", { cx: x, cy: y, r: 4, fill: "#fff", stroke: colour, "stroke-width": 2 }]);
    }
  }
  for (const point of marks()) {
    const { x, y } = toScreen(point);
    shapes.push(["circle", { cx: x, cy: y, r: 6, fill: point.label ? colour : "#fff", stroke: point.label ? "#fff" : "#d22", "stroke-width": 2 }]);
    shapes.push(["path", { d: point.label ? `M${x - 3} ${y}h6M${x} ${y - 3}v6` : `M${x - 3} ${y}h6`, stroke: point.label ? "#fff" : "#d22", "stroke-width": 1.6 }]);
  }
  if (cursor && !gesture?.kind?.startsWith("pan") && (store.tool === "brush" || store.tool === "eraser")) {
    const { x, y } = toScreen(cursor);
    const r = Math.max(1.5, (options.size / 2) * view.scale);
    shapes.push(["circle", { cx: x, cy: y, r, fill: "none", stroke: "#000", "stroke-opacity": 0.6, "stroke-width": 3 }]);
    shapes.push(["circle", { cx: x, cy: y, r, fill: "none", stroke: store.tool === "eraser" ? "#fff" : colour, "stroke-width": 1.5 }]);
  }
  drawGuides(shapes);
}

function onCanvas(event) {
  return !event.target.closest(".tool-options, .zoom-box, .busy, #find");
}

// Two fingers zoom and pan; one finger or a pen draws.
function pinch(event) {
  const before = [...touches.values()];
  touches.set(event.pointerId, { clientX: event.clientX, clientY: event.clientY });
  const after = [...touches.values()];
  const middle = ([a, b]) => ({ x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 });
  const apart = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  const from = middle(before), to = middle(after);
  pan(to.x - from.x, to.y - from.y);
  if (apart(before) > 0) zoomAt(apart(after) / apart(before), to.x, to.y);
}

export function startTools() {
  viewport.addEventListener("pointerdown", (event) => {
    if (!store.session || !onCanvas(event)) return;
    viewport.focus({ preventScroll: true });
    viewport.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch") {
      touches.set(event.pointerId, { clientX: event.clientX, clientY: event.clientY });
      if (touches.size === 2) cancelStroke();
      if (touches.size > 1) return;
    }
    begin(event);
  });
  viewport.addEventListener("pointermove", (event) => {
    if (!store.session) return;
    if (touches.size === 2 && touches.has(event.pointerId)) pinch(event);
    else if (touches.size < 2) move(event);
  });
  const up = (event) => {
    touches.delete(event.pointerId);
    if (store.session && !touches.size) end();
  };
  viewport.addEventListener("pointerup", up);
  viewport.addEventListener("pointercancel", (event) => {
    if (gesture?.kind === "tap") dropGesture(); // a palm, which the system took back
    up(event);
  });
  viewport.addEventListener("pointerleave", () => {
    cursor = null;
    drawAll();
  });
  viewport.addEventListener("dblclick", () => store.tool === "polygon" && finishPolygon());
  viewport.addEventListener("contextmenu", (event) => event.preventDefault());
  viewport.addEventListener("wheel", (event) => {
    if (!onCanvas(event)) return;
    event.preventDefault();
    if (event.shiftKey) pan(-event.deltaY, 0);
    else zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
  }, { passive: false });
  document.addEventListener("view", drawAll);
  for (const name of ["objects", "prompts", "shown"]) on(name, drawAll);
  on("shown", () => gesture?.kind === "paint" && gesture.id && startStroke(gesture, gesture.id));
  on("frame", leaveFrame);
}

function cancelStroke() {
  if (gesture?.before) {
    current.ids.set(gesture.before);
    redraw();
  }
  dropGesture();
}

function dropGesture() {
  if (gesture) gesture.cancelled = true;
  gesture = null;
}

// The page goes to another frame: a stroke ends on the frame on which it was begun, and other marks are given up.
function leaveFrame() {
  if (gesture?.kind === "paint") end();
  else if (gesture?.kind !== "pan") cancelStroke();
}

export const resetShapes = () => {
  corners = [];
  dropGesture();
  drawAll();
};
