// What the page knows of the open session, and who wants to hear of changes.

import { api } from "./api.js";

const listeners = new Map();

export const store = {
  catalogue: null,
  session: null, // id, name, source, frame_count, size [H, W], fps, tracker, quality
  objects: [], // id, name, hidden, locked, deleted, end
  pins: new Map(), // frame -> ids
  unsaved: new Set(), // frames with changes that the server does not have
  known: new Uint8Array(0), // 1 where a frame has a label map
  lanes: new Map(), // id -> Uint8Array, 0 unknown, 1 absent, 2..255 how sure
  doubts: new Map(), // frame -> {id: reason to check the object's mask}
  frame: 0,
  selected: 0, // object id
  tool: "points",
  job: null,
};

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, []);
  listeners.get(name).push(listener);
}

export function once(name, listener) {
  const list = listeners.get(name) ?? [];
  const own = (value) => {
    listeners.set(name, listeners.get(name).filter((other) => other !== own));
    listener(value);
  };
  listeners.set(name, [...list, own]);
}

export function emit(name, value) {
  for (const listener of listeners.get(name) ?? []) listener(value);
}

export const width = () => store.session.size[1];
export const height = () => store.session.size[0];
export const liveObjects = () => store.objects.filter((object) => !object.deleted);
export const selectedObject = () => liveObjects().find((object) => object.id === store.selected);

export function takeState(state) {
  const sameSession = store.session?.id === state.id;
  store.session = state;
  store.objects = state.objects;
  store.pins = new Map(Object.entries(state.pins).map(([frame, ids]) => [Number(frame), ids]));
  store.known = new Uint8Array(state.frame_count);
  for (let i = 0; i < state.known.length; i += 2) store.known.fill(1, state.known[i], state.known[i + 1]);
  store.lanes = new Map();
  for (const [id, text] of Object.entries(state.lanes)) {
    store.lanes.set(Number(id), Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
  }
  store.doubts = new Map(Object.entries(state.doubts).map(([frame, reasons]) => [Number(frame), reasons]));
  store.job = state.job;
  if (!sameSession) {
    store.frame = Math.min(state.position, state.frame_count - 1);
    store.selected = liveObjects()[0]?.id ?? 0;
  } else if (!selectedObject()) {
    store.selected = liveObjects()[0]?.id ?? 0;
  }
  for (const name of ["settings", "objects", "presence", "job"]) emit(name);
}

export function lane(id) {
  if (!store.lanes.has(id)) store.lanes.set(id, new Uint8Array(store.session.frame_count));
  return store.lanes.get(id);
}

export const ABSENT = 1;

// How sure the tracker is of an object in a frame: 0 where nobody annotated or tracked it, ABSENT also from its end on.
export const levelOf = (object, frame) => (object.end !== null && frame >= object.end ? ABSENT : lane(object.id)[frame]);

// Takes how sure the tracker is of some objects in a frame, and whose masks to check there.
export function setPresence(frame, levels, ids, doubts) {
  takePresence(frame, levels, ids, doubts);
  emit("presence");
}

// The same for many frames in a row: whoever calls it emits "presence" when it is time to draw.
export function takePresence(frame, levels, ids, doubts = {}) {
  store.known[frame] = 1;
  const reasons = { ...store.doubts.get(frame) };
  for (const id of ids) {
    lane(id)[frame] = levels[id] ?? 0;
    delete reasons[id];
  }
  Object.assign(reasons, doubts);
  if (Object.keys(reasons).length) store.doubts.set(frame, reasons);
  else store.doubts.delete(frame);
}

export function select(id) {
  if (store.selected === id) return;
  store.selected = id;
  emit("objects");
}

export async function addObject(name = "") {
  const object = await api.addObject(store.session.id, name);
  store.objects.push(object);
  store.selected = object.id;
  emit("objects");
  return object;
}

export async function changeObject(id, changes) {
  const changed = await api.changeObject(store.session.id, id, changes);
  const place = store.objects.findIndex((object) => object.id === id);
  store.objects[place] = changed;
  if (changed.deleted && store.selected === id) store.selected = liveObjects()[0]?.id ?? 0;
  emit("objects");
  emit("presence");
  if ("deleted" in changes || "end" in changes) emit("masks-stale");
}

const GAP = 3; // doubtful frames with at most so many others between them are one span, as `vos track` prints them

// The spans that a person should check, in order of their first frames: [{id, first, last, reasons}].
export function spansToCheck() {
  const spans = [], open = new Map();
  const live = new Map(liveObjects().map((object) => [object.id, object.end ?? Infinity]));
  for (const frame of [...store.doubts.keys()].sort((a, b) => a - b)) {
    for (const [key, reason] of Object.entries(store.doubts.get(frame))) {
      const id = Number(key), last = open.get(id);
      if (!(frame < live.get(id))) continue;
      if (last && frame - last.last <= GAP + 1) {
        last.last = frame;
        last.reasons.add(reason);
      } else {
        const span = { id, first: frame, last: frame, reasons: new Set([reason]) };
        open.set(id, span);
        spans.push(span);
      }
    }
  }
  return spans;
}

// The frame, other than a pin, in which some object is present and the tracker is least sure of it.
export function leastConfident() {
  let best = -1, lowest = 256;
  for (const object of liveObjects()) {
    const levels = lane(object.id), end = object.end ?? levels.length;
    for (let frame = 0; frame < end; frame++) {
      if (levels[frame] > ABSENT && levels[frame] < lowest && !store.pins.has(frame)) {
        lowest = levels[frame];
        best = frame;
      }
    }
  }
  return best;
}
