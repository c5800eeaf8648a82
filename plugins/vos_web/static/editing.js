// Changing label maps and objects: every change is one undo step, and is saved when it is made.

import { api } from "./api.js";
import { current, redraw } from "./canvas.js";
import { setRuns } from "./frames.js";
import { encodeRuns } from "./label_map.js";
import { ABSENT, changeObject, emit, height, lane, liveObjects, once, setPresence, store, width } from "./store.js";

const MAX_STEPS = 200;
const MAX_BYTES = 96e6;
const done = [], undone = [];
const waiting = new Map(); // frame -> {runs, ids, undone: ids that are no longer annotated, said: what was known of the frame before}
let saving = false;

export const hasUnsaved = () => saving || waiting.size > 0;
// Tells scripts and style sheets whether the server has every change.
const showSaved = () => (document.getElementById("stage").dataset.saved = !hasUnsaved());
export const canUndo = () => done.length > 0;
export const canRedo = () => undone.length > 0;

export function forgetSteps() {
  done.length = undone.length = 0;
  waiting.clear();
  store.unsaved.clear();
  emit("steps");
}

// Which ids may be painted over: all but locked objects' (and hidden ones', which cannot be seen).
export function mayReplace() {
  const fixed = new Uint8Array(256);
  for (const object of liveObjects()) if ((object.locked || object.hidden) && object.id !== store.selected) fixed[object.id] = 1;
  return (id) => !fixed[id];
}

const cut = (ids, rect) => {
  const part = new Uint8Array(rect.w * rect.h);
  for (let y = 0; y < rect.h; y++) {
    const start = (rect.y + y) * width() + rect.x;
    part.set(ids.subarray(start, start + rect.w), y * rect.w);
  }
  return part;
};

// Replaces the pixels of a rectangle in which two parts differ; the others may have changed since.
const paste = (ids, rect, from, to) => {
  for (let y = 0, i = 0; y < rect.h; y++) {
    for (let x = 0, place = (rect.y + y) * width() + rect.x; x < rect.w; x++, i++, place++) {
      if (from[i] !== to[i]) ids[place] = to[i];
    }
  }
};

// Ids of the objects that a frame's label map may hold: those that are deleted or have ended are not in it.
const idsIn = (frame) => liveObjects().filter(({ end }) => end === null || frame < end).map(({ id }) => id);

// What is known of a frame: how sure the tracker is of each object, reasons to check, and whether it is known at all.
function statement(frame) {
  const ids = idsIn(frame).filter((id) => lane(id)[frame]);
  const doubts = { ...store.doubts.get(frame) }, known = Boolean(store.known[frame]);
  return { levels: Object.fromEntries(ids.map((id) => [id, lane(id)[frame]])), doubts, known };
}

// Takes a change that was made to current.ids within a rectangle; `before` is the whole label map as it was, and `marks`
// are the clicks and boxes before and after the change.
export function commit(before, rect, marks = null) {
  const old = cut(before, rect), fresh = cut(current.ids, rect);
  const touched = new Set();
  for (let i = 0; i < old.length; i++) {
    if (old[i] === fresh[i]) continue;
    if (old[i]) touched.add(old[i]);
    if (fresh[i]) touched.add(fresh[i]);
  }
  if (!touched.size) return false;
  const pinsBefore = store.pins.get(current.frame) ?? [];
  addStep({ frame: current.frame, rect, old, fresh, touched: [...touched], pinsBefore, said: statement(current.frame), marks });
  save([...touched]);
  return true;
}

function addStep(step) {
  done.push(step);
  undone.length = 0;
  const bytes = () => done.reduce((sum, { old }) => sum + 2 * (old?.length ?? 0), 0);
  while (done.length > MAX_STEPS || bytes() > MAX_BYTES) done.shift();
  emit("steps");
}

let turn = Promise.resolve();
// Steps that wait for the server are made one after another, in the order in which they were asked for.
const inTurn = (action) => (turn = turn.then(action).catch((error) => emit("error", error)));

// Deletes or ends an object, or takes its end away, as an undo step. Resolves to the step.
export const changeAsStep = (object, after) =>
  inTurn(async () => {
    const before = Object.fromEntries(Object.keys(after).map((name) => [name, object[name]]));
    const step = { object: object.id, before, after };
    await setObject(step, after);
    addStep(step);
    return step;
  });

// Undoes a step that a message offers to undo: the last one itself, an earlier one by a step of its own.
export function takeBack(step, goTo) {
  if (done.at(-1) === step) return undo(goTo);
  if (done.includes(step)) return changeAsStep({ id: step.object, ...step.after }, step.before);
}

// The server has every mask first: one that comes after the change would be stored as if made after it.
async function setObject(step, values) {
  await flush();
  await changeObject(step.object, values);
  emit("marks", null); // they hold a label map of before
}

const described = ({ deleted, end }) =>
  deleted === undefined ? (end === null ? "no longer ends" : `ends at frame ${end}`) : deleted ? "is deleted" : "is back";

async function moveObjectStep(step, values, from, to, what) {
  await setObject(step, values);
  from.splice(from.indexOf(step), 1);
  to.push(step);
  const { name } = store.objects.find((object) => object.id === step.object);
  emit("message", `${what}: ${name} ${described(values)}.`);
  emit("steps");
}

// Saves the frame that is shown, in which some objects are annotated. An undo says which of them no longer are, and what
// was known of the frame before.
function save(touched, undone = [], said = null) {
  const { frame, ids } = current;
  const runs = encodeRuns(ids);
  setRuns(frame, runs);
  waiting.set(frame, merged(waiting.get(frame), { runs, ids: touched, undone, said }));
  store.unsaved.add(frame);
  const pinned = united(store.pins.get(frame) ?? [], touched).filter((id) => !undone.includes(id)).sort((a, b) => a - b);
  if (pinned.length) store.pins.set(frame, pinned);
  else store.pins.delete(frame);
  setPresence(frame, said?.levels ?? levelsNow(touched), idsIn(frame), said?.doubts);
  if (said && !said.known && !ids.some(Boolean)) store.known[frame] = 0;
  emit("pins");
  drain();
  showSaved();
}

const united = (a, b) => [...new Set([...a, ...b])];

// Two changes of a frame, of which the server has neither, as one.
function merged(earlier, later) {
  if (!earlier || !later) return earlier ?? later;
  const undone = united(earlier.undone.filter((id) => !later.ids.includes(id)), later.undone);
  return { runs: later.runs, ids: united(earlier.ids, later.ids), undone, said: later.said ?? earlier.said };
}

const seenIn = (ids) => {
  const seen = new Uint8Array(256);
  for (let i = 0; i < ids.length; i++) seen[ids[i]] = 1;
  return seen;
};

// What was known of the frame that is shown before a step that is undone; the objects that the step did not change may have
// been tracked since.
function statementBefore({ said, touched }) {
  const seen = seenIn(current.ids), now = statement(current.frame), levels = { ...now.levels };
  for (const id of idsIn(current.frame)) {
    const was = said.levels[id] ?? 0;
    if (touched.includes(id) || (seen[id] && was > ABSENT)) levels[id] = was;
    if (!levels[id]) delete levels[id];
  }
  return { levels, doubts: { ...said.doubts, ...now.doubts }, known: said.known || Object.keys(levels).length > 0 };
}

// The levels of the frame that is shown once some objects are annotated: of these, one without pixels is absent.
function levelsNow(touched) {
  const { frame, ids } = current, seen = seenIn(ids);
  const level = (id) => (seen[id] ? 255 : touched.includes(id) ? ABSENT : lane(id)[frame]);
  return Object.fromEntries(idsIn(frame).map((id) => [id, level(id)]));
}

async function drain() {
  if (saving) return;
  saving = true;
  try {
    while (waiting.size) {
      const [frame, change] = waiting.entries().next().value;
      waiting.delete(frame);
      try {
        await api.annotate(store.session.id, frame, change.runs, change.ids);
        if (change.undone.length) await api.unpin(store.session.id, frame, { ...change.said, ids: change.undone });
      } catch (error) {
        emit("error", error);
        if (error.status >= 400 && error.status < 500) {
          emit("refused"); // it will not be taken a second time either
        } else {
          waiting.set(frame, merged(change, waiting.get(frame)));
          await new Promise((resolve) => setTimeout(resolve, 2000));
        }
      }
      if (!waiting.has(frame)) store.unsaved.delete(frame);
    }
  } finally {
    saving = false;
    showSaved();
    emit("saved");
  }
}

// Waits until the server has every change.
export async function flush() {
  while (hasUnsaved()) await new Promise((resolve) => once("saved", resolve));
}

// Steps are undone in the order in which they were made, whatever frame is shown. The page goes to the frame of the step,
// and where that is another one it says so, with a way back.
export const undo = (goTo) => inTurn(() => undoLast(goTo));
export const redo = (goTo) => inTurn(() => redoLast(goTo));

async function undoLast(goTo) {
  const step = done.at(-1);
  if (!step) return;
  if (step.object) return moveObjectStep(step, step.before, done, undone, "Undone");
  if (!(await goToStep(step, goTo, "Undone"))) return;
  done.pop();
  paste(current.ids, step.rect, step.fresh, step.old);
  undone.push(step);
  redraw(step.rect);
  save(step.touched, step.touched.filter((id) => !step.pinsBefore.includes(id)), statementBefore(step));
  emit("marks", step.marks?.before ?? null);
  emit("steps");
}

async function redoLast(goTo) {
  const step = undone.at(-1);
  if (!step) return;
  if (step.object) return moveObjectStep(step, step.after, undone, done, "Done again");
  if (!(await goToStep(step, goTo, "Done again"))) return;
  undone.pop();
  paste(current.ids, step.rect, step.old, step.fresh);
  done.push(step);
  redraw(step.rect);
  save(step.touched);
  emit("marks", step.marks?.after ?? null);
  emit("steps");
}

// False where the frame is not shown: it cannot be read, or the page goes to another one meanwhile.
async function goToStep(step, goTo, what) {
  const from = store.frame;
  await goTo(step.frame);
  if (current.frame !== step.frame) return false;
  if (from !== step.frame) {
    emit("message", { text: `${what} in frame ${step.frame}.`, action: `Back to frame ${from}`, run: () => goTo(from) });
  }
  return true;
}

// Takes all pixels of an object out of the frame: the person says that it is absent here.
export function eraseObject(id) {
  if (current.frame !== store.frame) return false;
  const before = current.ids.slice();
  for (let i = 0; i < current.ids.length; i++) if (current.ids[i] === id) current.ids[i] = 0;
  redraw();
  return commit(before, { x: 0, y: 0, w: width(), h: height() });
}
