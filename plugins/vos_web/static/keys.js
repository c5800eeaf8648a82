// The keyboard, as annotation programs have it.

import { fit, zoomAt } from "./canvas.js";
import { showHelp } from "./dialogs.js";
import { redo, undo } from "./editing.js";
import { choose, newObject, remove, toggleHidden } from "./objects.js";
import { goTo, stepBy, togglePlay } from "./player.js";
import { leastConfident, liveObjects, select, selectedObject, spansToCheck, store } from "./store.js";
import { cancel, changeSize, finishPolygon, setTool } from "./tools.js";
import { stop, track } from "./tracking.js";

const TOOLS = { x: "points", g: "box", s: "scribble", b: "brush", e: "eraser", l: "polygon", r: "flood" };

const toPin = (direction) => {
  const pins = [...store.pins.keys()].sort((a, b) => a - b);
  const found = direction > 0 ? pins.find((pin) => pin > store.frame) : pins.reverse().find((pin) => pin < store.frame);
  if (found !== undefined) goTo(found);
};

// Goes to the next span to check, and after the last one to the first; without spans to the least confident frame.
export const toCheck = () => {
  const spans = spansToCheck();
  const span = spans.find(({ first }) => first > store.frame) ?? spans[0];
  if (span) select(span.id);
  const frame = span?.first ?? leastConfident();
  if (frame >= 0) goTo(frame);
};

const PLAIN = {
  arrowleft: (event) => stepBy(event.shiftKey ? -10 : -1),
  arrowright: (event) => stepBy(event.shiftKey ? 10 : 1),
  d: () => stepBy(-1),
  f: () => stepBy(1),
  c: () => stepBy(-10),
  v: () => stepBy(10),
  home: () => goTo(0),
  end: () => goTo(store.session.frame_count - 1),
  " ": () => togglePlay(),
  ",": () => toPin(-1),
  ".": () => toPin(1),
  w: toCheck,
  n: () => newObject(),
  p: (event) => track(event.shiftKey ? "backward" : "forward"),
  h: () => toggleHidden(selectedObject()),
  delete: () => remove(selectedObject()),
  "[": () => changeSize(1 / 1.15),
  "]": () => changeSize(1.15),
  "+": () => zoomAt(1.25),
  "=": () => zoomAt(1.25),
  "-": () => zoomAt(1 / 1.25),
  0: () => fit(),
  enter: () => finishPolygon(),
  escape: () => (store.job ? stop() : cancel()),
  "?": () => showHelp(),
};

export function startKeys() {
  addEventListener("keydown", (event) => {
    if (!store.session || document.getElementById("editor").hidden || document.getElementById("dialog").open) return;
    if (event.target.matches('input[type="text"], input:not([type]), select, #position')) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") (event.shiftKey ? redo : undo)(goTo);
      else if (key === "y") redo(goTo);
      else return;
      event.preventDefault();
      return;
    }
    if (event.altKey) return;
    if ((key === " " || key === "enter") && event.target.matches("button")) return;
    if (/^[1-9]$/.test(key)) {
      const object = liveObjects()[Number(key) - 1];
      if (object) choose(object.id);
    } else if (TOOLS[key]) {
      setTool(TOOLS[key]);
    } else if (PLAIN[key]) {
      PLAIN[key](event);
    } else {
      return;
    }
    event.preventDefault();
  });
}
