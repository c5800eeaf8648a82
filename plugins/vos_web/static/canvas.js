// The canvas: the frame, the label map over it, zoom and pan, and what tools draw on top.

import { clip, colourTables, decodeRuns, drawIds, fullRect } from "./label_map.js";
import { height, on, store, width } from "./store.js";

const $ = (id) => document.getElementById(id);
const viewport = $("viewport"), stage = $("stage"), frameCanvas = $("frame"), overlayCanvas = $("overlay"), guides = $("guides");
const frameContext = frameCanvas.getContext("2d", { willReadFrequently: false });
const overlayContext = overlayCanvas.getContext("2d");
const MIN_SCALE = 0.05, MAX_SCALE = 40;
const SVG = "http://www.w3.org/2000/svg";

export const view = { scale: 1, x: 0, y: 0, fitted: true };
export const current = { frame: -1, time: null, ids: new Uint8Array(0) };
let tables = colourTables([], 0);
let pixels = null, words = null; // one frame's RGBA, made once

export function resetCanvas() {
  for (const canvas of [frameCanvas, overlayCanvas]) {
    canvas.width = width();
    canvas.height = height();
  }
  pixels = new ImageData(width(), height());
  words = new Uint32Array(pixels.data.buffer);
  current.frame = -1;
  current.ids = new Uint8Array(width() * height());
  fit();
}

export function showFrame(frame, bitmap, runs) {
  frameContext.drawImage(bitmap, 0, 0, width(), height());
  current.frame = frame;
  current.time = bitmap.time;
  stage.dataset.frame = frame;
  current.ids = runs ? decodeRuns(runs, width() * height()) : new Uint8Array(width() * height());
  redraw();
}

// Shows no frame, where the one that is wanted cannot be read: another one's picture would be taken for it.
export function showNoFrame() {
  frameContext.clearRect(0, 0, width(), height());
  overlayContext.clearRect(0, 0, width(), height());
  current.frame = -1;
  delete stage.dataset.frame;
}

// The colours of the frame, for the flood tool.
export const framePixels = () => frameContext.getImageData(0, 0, width(), height()).data;

export function redraw(rect) {
  if (!pixels) return;
  if (!rect) {
    tables = colourTables(store.objects, store.selected);
    drawIds(current.ids, width(), height(), fullRect(width(), height()), tables, words);
    overlayContext.putImageData(pixels, 0, 0);
    return;
  }
  // One pixel more on each side: an edge there may have changed.
  const grown = clip({ x: rect.x - 1, y: rect.y - 1, w: rect.w + 2, h: rect.h + 2 }, width(), height());
  if (!grown.w || !grown.h) return;
  const part = new ImageData(grown.w, grown.h);
  drawIds(current.ids, width(), height(), grown, tables, new Uint32Array(part.data.buffer));
  overlayContext.putImageData(part, grown.x, grown.y);
}

function place() {
  stage.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  stage.classList.toggle("pixelated", view.scale >= 3);
  document.dispatchEvent(new Event("view"));
}

export function fit() {
  if (!store.session) return;
  const { clientWidth: w, clientHeight: h } = viewport;
  view.scale = Math.min((w - 24) / width(), (h - 24) / height());
  view.x = (w - width() * view.scale) / 2;
  view.y = (h - height() * view.scale) / 2;
  view.fitted = true;
  place();
}

export function zoomAt(factor, clientX, clientY) {
  const box = viewport.getBoundingClientRect();
  const x = (clientX ?? box.left + box.width / 2) - box.left, y = (clientY ?? box.top + box.height / 2) - box.top;
  const scale = Math.max(MIN_SCALE, Math.min(MAX_SCALE, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  view.fitted = false;
  place();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  view.fitted = false;
  place();
}

export function toFrame(event) {
  const box = viewport.getBoundingClientRect();
  return { x: (event.clientX - box.left - view.x) / view.scale, y: (event.clientY - box.top - view.y) / view.scale };
}

export const toScreen = (point) => ({ x: point.x * view.scale + view.x, y: point.y * view.scale + view.y });

// Draws shapes over the frame, in screen pixels: [["circle", {cx: ..}], ...].
export function drawGuides(shapes) {
  guides.replaceChildren(
    ...shapes.map(([name, attributes]) => {
      const shape = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
      return shape;
    }),
  );
}

new ResizeObserver(() => view.fitted && fit()).observe(viewport);
on("objects", () => store.session && redraw());
