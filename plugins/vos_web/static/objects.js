// The list of objects, and what is known of the frame that is shown.

import { api } from "./api.js";
import { changeAsStep, eraseObject, flush, takeBack } from "./editing.js";
import { colourOf } from "./label_map.js";
import { openMenu } from "./dialogs.js";
import { goTo } from "./player.js";
import { resetPrompts } from "./prompting.js";
import { ABSENT, addObject, changeObject, emit, lane, levelOf, liveObjects, on, select, selectedObject, store, takeState } from "./store.js";

const list = document.getElementById("objects");
const card = document.getElementById("frame-card");

export function choose(id) {
  if (id === store.selected) return;
  resetPrompts();
  select(id);
}

// An object without a mask anywhere is the new one: another is made once it has one.
export async function newObject() {
  resetPrompts();
  const empty = liveObjects().find((object) => !lane(object.id).some((level) => level > ABSENT));
  if (empty) {
    select(empty.id);
    return emit("message", `${empty.name} has no mask yet: mark it in any frame.`);
  }
  try {
    const object = await addObject();
    emit("message", `${object.name}: mark it in any frame.`);
  } catch (error) {
    emit("error", error);
  }
}

const attempt = (promise) => promise.catch((error) => emit("error", error));

export const toggleHidden = (object) => object && attempt(changeObject(object.id, { hidden: !object.hidden }));

// Changes an object as an undo step, and says so with a way back.
async function changeAndSay(object, changes, text) {
  const step = await changeAsStep(object, changes);
  if (step) emit("message", { text, action: "Undo", run: () => takeBack(step, goTo) });
}

export const remove = (object) => object && changeAndSay(object, { deleted: true }, `${object.name} is deleted.`);
export const removeEnd = (object) => changeAndSay(object, { end: null }, `${object.name} no longer ends at frame ${object.end}.`);

function endHere(object) {
  if (!store.frame) return emit("message", "It would have no frame left. Delete it instead.");
  const text = `${object.name} ends here: its last frame is ${store.frame - 1}. Tracking leaves it out from here on.`;
  return changeAndSay(object, { end: store.frame }, text);
}

export function rename(object) {
  const row = list.querySelector(`[data-id="${object.id}"] .name`);
  const input = document.createElement("input");
  input.type = "text";
  input.value = object.name;
  input.className = "name";
  input.setAttribute("aria-label", "Name");
  row.replaceWith(input);
  input.focus();
  input.select();
  let over = false;
  const finish = (keep) => {
    if (over) return;
    over = true;
    if (keep && input.value.trim() && input.value !== object.name) attempt(changeObject(object.id, { name: input.value }));
    else drawObjects();
  };
  input.onblur = () => finish(true);
  input.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Enter") finish(true);
    if (event.key === "Escape") finish(false);
  };
}

const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
};

function button(name, title, quiet, onClick) {
  const made = document.createElement("button");
  made.className = `icon-button${quiet ? " quiet" : ""}`;
  made.title = title;
  made.setAttribute("aria-label", title);
  made.append(icon(name));
  made.onclick = (event) => {
    event.stopPropagation();
    onClick(made);
  };
  return made;
}

function menuOf(object) {
  const ended = object.end !== null;
  return [
    ["Rename", () => rename(object)],
    ["Absent in this frame", () => eraseObject(object.id) || emit("message", `${object.name} has no pixels in this frame.`)],
    ended
      ? [`Ends at frame ${object.end}: remove the end`, () => removeEnd(object)]
      : ["Gone from this frame on", () => endHere(object)],
    ["Delete", () => remove(object), "danger"],
  ];
}

export function drawObjects() {
  const objects = liveObjects();
  if (!objects.length) {
    const empty = document.createElement("li");
    empty.className = "empty";
    empty.textContent = "Click on an object in the frame to mark the first one.";
    list.replaceChildren(empty);
    return;
  }
  // The keyboard's focus stays on its button.
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const row = focused?.closest("li"), place = [...(row?.querySelectorAll("button, input") ?? [])].indexOf(focused);
  list.replaceChildren(
    ...objects.map((object, place) => {
      const row = document.createElement("li");
      row.dataset.id = object.id;
      row.classList.toggle("selected", object.id === store.selected);
      row.classList.toggle("absent", levelOf(object, store.frame) <= ABSENT);
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colourOf(object.id);
      const name = document.createElement("button");
      name.className = "name";
      name.textContent = object.name;
      name.title = place < 9 ? `${object.name} (key ${place + 1}); double-click to rename` : object.name;
      name.setAttribute("aria-pressed", object.id === store.selected);
      name.onclick = () => choose(object.id);
      name.ondblclick = () => rename(object);
      row.append(
        swatch,
        name,
        button(object.hidden ? "eye-off" : "eye", object.hidden ? "Show" : "Hide (H)", !object.hidden, () => toggleHidden(object)),
        button(object.locked ? "lock" : "unlock", object.locked ? "Unlock" : "Lock: not painted over", !object.locked, () => attempt(changeObject(object.id, { locked: !object.locked }))),
        button("more", "More", true, (at) => openMenu(at, menuOf(object))),
      );
      row.onclick = () => choose(object.id);
      return row;
    }),
  );
  if (place >= 0) list.querySelector(`[data-id="${row.dataset.id}"]`)?.querySelectorAll("button")[place]?.focus();
}

// What the frame is: annotated, tracked or untouched.
export function drawCard() {
  if (!store.session) return;
  const ids = store.pins.get(store.frame);
  card.replaceChildren();
  const text = document.createElement("span");
  text.className = "muted";
  card.append(text);
  if (ids) {
    text.textContent = "Annotated frame (pin)";
    const unpin = document.createElement("button");
    unpin.textContent = "Unpin";
    unpin.title = "Let the tracker change this frame again";
    unpin.onclick = () => attempt(unpinFrame(store.frame));
    card.append(unpin);
  } else if (store.known[store.frame]) {
    const selected = selectedObject();
    const level = selected ? levelOf(selected, store.frame) : 0;
    const reason = level > ABSENT && store.doubts.get(store.frame)?.[selected.id];
    text.textContent = !selected ? "Tracked frame" : level > ABSENT ? `${selected.name}: ${Math.round((100 * level) / 255)} % sure` : absence(selected);
    if (reason) {
      text.textContent += `. To check: ${reason}`;
      text.className = "error";
    }
  } else {
    text.textContent = "Not tracked yet";
  }
}

async function unpinFrame(frame) {
  await flush();
  await api.unpin(store.session.id, frame);
  takeState(await api.state(store.session.id)); // a frame without a pixel is unknown again
  emit("pins");
}

function absence(object) {
  if (object.end !== null && store.frame >= object.end) return `${object.name} ends at frame ${object.end}`;
  return `${object.name} is not ${levelOf(object, store.frame) ? "in this frame" : "tracked here yet"}`;
}

let drawn = "";
export function startObjects() {
  document.getElementById("add-object").onclick = newObject;
  on("objects", () => store.session && (drawObjects(), drawCard()));
  for (const name of ["pins", "presence", "frame"]) {
    on(name, () => {
      if (!store.session) return;
      drawCard();
      // The list changes only with which objects are in the frame.
      const absent = new Map(liveObjects().map((object) => [object.id, levelOf(object, store.frame) <= ABSENT]));
      const now = [...absent.values()].map(Number).join("");
      if (now !== drawn) {
        drawn = now;
        for (const row of list.querySelectorAll("[data-id]")) row.classList.toggle("absent", absent.get(Number(row.dataset.id)));
      }
    });
  }
}
