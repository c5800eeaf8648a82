// Frames and label maps by index: bounded caches, and the next frames fetched ahead.

import { api } from "./api.js";
import { height, once, store, width } from "./store.js";

const BITMAP_BYTES = 220e6;
const RUNS_BYTES = 40e6;
const AHEAD = 16;
const BEHIND = 6;
const MAX_IN_FLIGHT = 4;

class Cache {
  constructor(limit, sizeOf, drop = () => {}) {
    Object.assign(this, { limit, sizeOf, drop, items: new Map(), size: 0 });
  }
  get(key) {
    const found = this.items.get(key);
    if (found !== undefined) {
      this.items.delete(key);
      this.items.set(key, found);
    }
    return found;
  }
  has(key) {
    return this.items.has(key);
  }
  set(key, value) {
    this.delete(key);
    this.items.set(key, value);
    this.size += this.sizeOf(value);
    for (const oldest of this.items.keys()) {
      if (this.size <= this.limit || oldest === key) break;
      this.delete(oldest);
    }
  }
  delete(key) {
    const found = this.items.get(key);
    if (found === undefined) return;
    this.items.delete(key);
    this.size -= this.sizeOf(found);
    this.drop(found);
  }
  clear() {
    for (const key of [...this.items.keys()]) this.delete(key);
  }
}

const bitmaps = new Cache(BITMAP_BYTES, (bitmap) => 4 * bitmap.width * bitmap.height, (bitmap) => bitmap.close());
const runs = new Cache(RUNS_BYTES, (buffer) => buffer.byteLength + 64);
const loading = new Map();
let generation = 0;
let wanted = [], fetching = 0; // indices to fetch ahead, and how many are being fetched

export function forgetAll() {
  generation++;
  wanted = [];
  bitmaps.clear();
  runs.clear();
  loading.clear();
}

export function forgetMasks(frame) {
  if (frame === undefined) runs.clear();
  else runs.delete(frame);
  for (const key of [...loading.keys()]) if (key.startsWith("m")) loading.delete(key);
}

export const setRuns = (frame, buffer) => runs.set(frame, buffer);
export const hasFrame = (frame) => bitmaps.has(frame) && (runs.has(frame) || !store.known[frame]);

function shared(key, load) {
  if (!loading.has(key)) {
    const promise = load().finally(() => loading.get(key) === promise && loading.delete(key));
    loading.set(key, promise);
  }
  return loading.get(key);
}

function loadBitmap(frame) {
  return shared(`f${frame}`, async () => {
    const at = generation;
    const response = await api.frame(store.session.id, frame);
    const bitmap = await createImageBitmap(await response.blob());
    bitmap.time = response.headers.get("X-Time"); // seconds as text, or null
    if (at === generation) bitmaps.set(frame, bitmap);
    return bitmap;
  });
}

function loadRuns(frame) {
  const at = generation;
  const promise = shared(`m${frame}`, async () => {
    // What comes before the server has the changes of this frame would take them back.
    while (store.unsaved.has(frame)) await new Promise((resolve) => once("saved", resolve));
    const buffer = await api.mask(store.session.id, frame);
    if (at === generation && loading.get(`m${frame}`) === promise && store.known[frame]) runs.set(frame, buffer);
    return buffer;
  });
  return promise;
}

// A frame's bitmap and label map.
export async function loadFrame(frame) {
  const needsRuns = store.known[frame] && !runs.has(frame);
  const [bitmap, buffer] = await Promise.all([
    bitmaps.get(frame) ?? loadBitmap(frame),
    needsRuns ? loadRuns(frame) : runs.get(frame),
  ]);
  return { bitmap, runs: buffer?.byteLength ? buffer : null };
}

// Fetches what will be shown next; `direction` is the way that the person moves. The cache holds all of it beside the frame
// that is shown: else what comes would drop what was fetched.
export function prefetch(frame, direction = 1) {
  const room = Math.floor((BITMAP_BYTES / (4 * width() * height()) - 1) / 2);
  wanted = [];
  for (let k = 1; k <= Math.min(AHEAD, room); k++) wanted.push(frame + direction * k);
  for (let k = 1; k <= Math.min(BEHIND, room); k++) wanted.push(frame - direction * k);
  wanted = wanted.filter((index) => index >= 0 && index < store.session.frame_count);
  while (fetching < MAX_IN_FLIGHT && wanted.length) fetchWanted();
}

async function fetchWanted() {
  fetching++;
  while (wanted.length) {
    const index = wanted.shift();
    if (!hasFrame(index)) await loadFrame(index).catch(() => {});
  }
  fetching--;
}
