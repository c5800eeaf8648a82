// Clicks, boxes and scribbles: sent to the server, and turned into a mask of the selected object.
//
// On an object without pixels the marks make its mask. On one that has some they correct it: a method that takes the
// present mask answers with the corrected one; by another, marks on the object add a region and marks beside it take one
// away. Either way a good mask is never thrown away for one click.

import { api } from "./api.js";
import { current, redraw } from "./canvas.js";
import { commit, mayReplace } from "./editing.js";
import { decodeRuns, encodeRuns, fullRect } from "./label_map.js";
import { emit, height, on, store, width } from "./store.js";

let prompts = null; // {frame, id, box, points, scribbles, base, mode}; replaced, never changed: undo steps keep them
let applied = null; // the prompts that the mask on the screen is of
let latest = 0;
let asking = null; // prompts whose mask the server is making
let pending = Promise.resolve();

// Resolves once every mask that was asked for is there.
export const settled = () => pending;
export const isAsking = () => Boolean(asking);

export const marks = () =>
  prompts && prompts.frame === store.frame
    ? [...prompts.points, ...prompts.scribbles.map((s) => ({ ...s.xy[0], label: s.label }))]
    : [];

const hasMarks = ({ box, points, scribbles }) => Boolean(box || points.length || scribbles.length);
export const hasPrompts = () => Boolean(prompts);

export function resetPrompts() {
  if (asking) emit("message", `${hasMarks(asking) ? "The mark" : "The search"} in frame ${asking.frame} is given up: its mask was not there yet.`);
  asking = null;
  prompts = applied = null;
  latest++;
  emit("prompts");
}

// Undo takes the marks back with the mask.
on("marks", (marks) => {
  prompts = applied = marks;
  latest++;
  emit("prompts");
});

function ready(id, label) {
  if (prompts?.frame === store.frame && prompts.id === id) return;
  const base = current.ids.slice();
  const mode = !base.includes(id) ? "new" : label ? "add" : "remove";
  prompts = { frame: store.frame, id, box: null, points: [], scribbles: [], base, mode };
}

export function addPoint(id, point, label) {
  ready(id, label);
  prompts = { ...prompts, points: [...prompts.points, { ...point, label: label ? 1 : 0 }] };
  return (pending = run());
}

export function addStroke(id, xy, label) {
  ready(id, label);
  const thin = xy.filter((_, i) => i % 3 === 0 || i === xy.length - 1);
  prompts = { ...prompts, scribbles: [...prompts.scribbles, { xy: thin, label: label ? 1 : 0 }] };
  return (pending = run());
}

export function addBox(id, box) {
  prompts = null;
  ready(id, true);
  prompts = { ...prompts, mode: "new", box };
  return (pending = run());
}

// Asks for what moves or stands out in the frame, as the object that is selected.
export function askWithoutMarks(id) {
  prompts = null;
  ready(id, true);
  return (pending = run("primary"));
}

const methodNow = () => document.getElementById("method").value || store.catalogue.methods[0];

async function run(method = methodNow()) {
  const asked = prompts, ticket = ++latest;
  const corrects = asked.mode !== "new" && store.catalogue.correcting.includes(method);
  const flip = asked.mode === "remove" && !corrects;
  const sign = (label) => (flip ? 1 - label : label);
  const round = (value) => Math.round(value * 10) / 10;
  emit("prompts");
  if (method !== "primary" && !asked.box && !corrects && ![...asked.points, ...asked.scribbles].some((mark) => sign(mark.label))) {
    emit("message", "Mark the object itself first, then what is beside it.");
    prompts = applied;
    return emit("prompts");
  }
  const slow = setTimeout(() => emit("busy", method === "sam" ? "Segment Anything looks at this frame…" : "Finding the object…"), 250);
  asking = asked;
  try {
    const buffer = await api.prompt(store.session.id, {
      frame: asked.frame,
      method,
      box: asked.box?.map(round) ?? null,
      points: asked.points.map((p) => [round(p.x), round(p.y), sign(p.label)]),
      mask: corrects ? [...new Uint32Array(encodeRuns(asked.base.map((id) => (id === asked.id ? 1 : 0))))] : null,
      scribbles: asked.scribbles.map((s) => ({ label: sign(s.label), xy: s.xy.map((p) => [round(p.x), round(p.y)]) })),
    });
    if (ticket !== latest || current.frame !== asked.frame) return;
    apply(asked, corrects, decodeRuns(buffer, width() * height()));
  } catch (error) {
    if (ticket !== latest) return;
    prompts = applied;
    emit("prompts");
    emit("error", error);
  } finally {
    if (asking === asked) asking = null;
    clearTimeout(slow);
    emit("busy", null);
  }
}

// A mask takes pixels of another object only where a mark on the object, or the middle of its box, lies in that one.
function mayTake({ id, base, points, scribbles, box }) {
  const may = mayReplace(), marked = new Uint8Array(256);
  marked[0] = marked[id] = 1;
  const inside = [...points, ...scribbles.flatMap(({ xy, label }) => xy.map((point) => ({ ...point, label })))].filter((mark) => mark.label);
  if (box) inside.push({ x: (box[0] + box[2]) / 2, y: (box[1] + box[3]) / 2 });
  for (const { x, y } of inside) marked[base[Math.floor(y) * width() + Math.floor(x)]] = 1;
  return (other) => marked[other] && may(other);
}

// `whole`: what was found is the corrected mask, not a region to add or remove.
function apply(asked, whole, found) {
  const { id, base, mode } = asked;
  const before = current.ids.slice();
  const may = mayTake(asked);
  for (let i = 0; i < base.length; i++) {
    // Other objects may have been tracked here since the first mark; those that a mark took pixels from have them back.
    const was = base[i] === id || before[i] === id ? base[i] : before[i];
    if (found[i]) current.ids[i] = mode === "remove" && !whole ? (was === id ? 0 : was) : may(was) ? id : was;
    else current.ids[i] = was === id && (whole || mode === "new") ? 0 : was;
  }
  redraw();
  // A mask without marks is corrected as a painted one: the next mark must not make it anew.
  const after = hasMarks(asked) ? asked : null;
  const marks = { before: applied, after };
  prompts = applied = after;
  if (commit(before, fullRect(width(), height()), marks)) return;
  emit("message", mode === "new" ? "What was found here belongs to other objects." : "That changes nothing here: the mask agrees with the mark.");
}
