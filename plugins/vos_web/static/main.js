// The page: puts the parts together.

import { api, CLIENT } from "./api.js";
import { fit, resetCanvas, zoomAt } from "./canvas.js";
import { say, showExport, showHelp } from "./dialogs.js";
import { canRedo, canUndo, flush, forgetSteps, hasUnsaved, redo, undo } from "./editing.js";
import { forgetAll, forgetMasks } from "./frames.js";
import { startKeys, toCheck } from "./keys.js";
import { drawCard, drawObjects, startObjects } from "./objects.js";
import { openFile, showOpenScreen, startOpenScreen } from "./open_screen.js";
import { drawPosition, goTo, reshow, startPlayer } from "./player.js";
import { hasPrompts, isAsking, resetPrompts, settled } from "./prompting.js";
import { emit, leastConfident, on, spansToCheck, store, takeState } from "./store.js";
import { refresh, startTimeline } from "./timeline.js";
import { changeSize, options, resetShapes, setTool, startTools } from "./tools.js";
import { beginJob, drawJob, startTracking } from "./tracking.js";

const $ = (id) => document.getElementById(id);

function openSession(state) {
  forgetAll();
  forgetSteps();
  resetPrompts();
  store.session = null;
  takeState(state);
  $("open-screen").hidden = true;
  $("editor").hidden = false;
  document.title = `${state.name} · vos`;
  history.replaceState(null, "", `#${encodeURIComponent(state.id)}`);
  $("video-name").textContent = state.name;
  $("video-name").title = state.source;
  const facts = `${state.size[1]}×${state.size[0]} · ${state.frame_count} frames${state.fps ? ` · ${Math.round(100 * state.fps) / 100} frames/s` : ""}`;
  $("video-facts").textContent = facts;
  $("video-facts").title = `${facts}\n${state.source}`;
  resetCanvas();
  resetShapes();
  drawTool();
  drawObjects();
  drawPosition();
  drawCard();
  drawJob();
  refresh();
  goTo(store.frame);
  if (state.notice) say(state.notice, { seconds: 15 });
}

function drawSettings() {
  const { trackers } = store.catalogue;
  $("tracker").replaceChildren(
    ...trackers.map((tracker) => {
      const { name, missing } = tracker, option = new Option(missing ? `${name} (not set up)` : name, name, false, name === store.session.tracker);
      option.disabled = Boolean(missing);
      option.title = missing || tracker.summary;
      return option;
    }),
  );
  const tracker = trackers.find((t) => t.name === store.session.tracker);
  $("tracker").title = tracker?.summary ?? "";
  const qualities = tracker?.qualities ?? [];
  $("quality-label").hidden = !qualities.length;
  $("quality").replaceChildren(...qualities.map((q) => new Option(q, q, false, q === (store.session.quality || tracker.quality))));
  const names = { clicks: "Learnt shapes", grabcut: "Colours and edges", sam: "Segment Anything" };
  const { methods } = store.catalogue;
  if (!$("method").options.length) $("method").replaceChildren(...methods.map((method) => new Option(names[method] ?? method, method)));
}

async function changeSettings(values) {
  Object.assign(store.session, values);
  drawSettings();
  await api.settings(store.session.id, values).catch((error) => {
    emit("error", error);
    emit("refused");
  });
}

function drawTool() {
  const tool = store.tool;
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
  const marking = ["points", "box", "scribble"].includes(tool);
  $("option-size").hidden = !["brush", "eraser"].includes(tool);
  $("option-tolerance").hidden = tool !== "flood";
  $("option-sign").hidden = !["points", "scribble"].includes(tool);
  $("option-method").hidden = !marking || $("method").options.length < 2;
  $("option-accept").hidden = !hasPrompts();
  $("brush-size").value = options.size;
  $("brush-size-text").textContent = options.size;
  for (const [id, on] of [["sign-plus", !options.beside], ["sign-minus", options.beside]]) {
    $(id).classList.toggle("on", on);
    $(id).setAttribute("aria-pressed", on);
  }
  $("hint").hidden = !store.session || store.pins.size > 0 || store.known.some(Boolean);
  $("find").hidden = !store.catalogue?.finds;
}

let buttonsQueued = false;
// Buttons that have nothing to do are grey.
function drawButtons() {
  if (buttonsQueued) return;
  buttonsQueued = true;
  requestAnimationFrame(() => {
    buttonsQueued = false;
    const count = store.session ? spansToCheck().length : 0;
    $("check").textContent = count ? `To check: ${count}` : "Least sure";
    $("check").classList.toggle("warned", count > 0);
    $("check").disabled = !store.session || (!count && leastConfident() < 0);
    const known = Boolean(store.session && store.known.some(Boolean));
    $("export").disabled = !known;
    $("export").title = known ? "" : "Nothing to export yet: mark an object first";
    $("track-pin").disabled = ![...store.pins.keys()].some((pin) => pin > store.frame);
  });
}

function drawSteps() {
  $("undo").disabled = !canUndo();
  $("redo").disabled = !canRedo();
}

// Waits until the server has every mark and change.
async function finishChanges() {
  await settled();
  await flush();
}

async function doExport(values, overwrite = false) {
  try {
    await beginJob(() => api.export(store.session.id, { ...values, overwrite }));
    store.exported = values;
  } catch (error) {
    emit("error", error);
  }
}

const MAX_GAPS = 3; // objects that are named in the message

function onExported(job) {
  const leftOut = job.left_out === 1
    ? ` Frame ${job.first_left_out} was not tracked and is left out.`
    : job.left_out ? ` ${job.left_out} frames, the first one ${job.first_left_out}, were not tracked and are left out.` : "";
  const gaps = job.gaps.slice(0, MAX_GAPS).map(([name, count, first]) =>
    ` ${name} was not tracked in ${count === 1 ? `frame ${first}` : `${count} of the exported frames, the first one ${first},`} and is missing there.`);
  const more = job.gaps.length - gaps.length;
  const without = `${leftOut}${gaps.join("")}${more > 0 ? ` So are ${more} more objects in some frames.` : ""}`;
  if (job.download) {
    say(`The export is ready.${without}`, { action: "Download", href: api.downloadAddress(job.session, job.download), seconds: 60 });
    if (job.client !== CLIENT) return; // the page that asked downloads it
    const link = document.createElement("a");
    link.href = api.downloadAddress(job.session, job.download);
    link.download = job.download;
    link.click();
  } else {
    say(`Written to ${job.path}${without && `.${without}`}`, { seconds: 15 });
  }
}

function onError(error) {
  if (store.exported && /overwrite/i.test(error.message)) {
    const values = store.exported;
    store.exported = null;
    say("An earlier export is in that folder.", { bad: true, action: "Replace it", run: () => doExport(values, true), seconds: 20 });
    return;
  }
  say(error.message, { bad: true });
}

function startDropping() {
  let inside = 0;
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    inside++;
    $("drop-veil").hidden = false;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("dragleave", () => {
    if (--inside <= 0) $("drop-veil").hidden = true;
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    inside = 0;
    $("drop-veil").hidden = true;
    const file = event.dataTransfer.files[0];
    if (!file) return;
    if (event.dataTransfer.items[0].webkitGetAsEntry()?.isDirectory) {
      return say(`${file.name}: is a folder, which cannot be dropped. Open it by its path, or from the list of the first page.`, { bad: true });
    }
    try {
      await finishChanges();
      if (file.type === "image/png" && store.session) {
        takeState(await api.importMask(store.session.id, store.frame, file));
        forgetMasks(store.frame);
        reshow();
      } else {
        emit("busy", `Copying ${file.name}…`);
        await openFile(file);
      }
    } catch (error) {
      emit("error", error);
    } finally {
      emit("busy", null);
    }
  });
}

function wireButtons() {
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", "false");
    button.onclick = () => setTool(button.dataset.tool);
  }
  $("undo").onclick = () => undo(goTo);
  $("redo").onclick = () => redo(goTo);
  $("zoom-in").onclick = () => zoomAt(1.25);
  $("zoom-out").onclick = () => zoomAt(1 / 1.25);
  $("zoom-fit").onclick = fit;
  $("help").onclick = () => showHelp();
  $("check").onclick = toCheck;
  $("clear-prompts").onclick = resetPrompts;
  $("brush-size").oninput = (event) => changeSize(Number(event.target.value) / options.size);
  $("tolerance").oninput = (event) => (options.tolerance = Number(event.target.value));
  for (const [id, beside] of [["sign-plus", false], ["sign-minus", true]]) {
    $(id).onclick = () => {
      options.beside = beside;
      drawTool();
    };
  }
  $("tracker").onchange = (event) => changeSettings({ tracker: event.target.value, quality: "" });
  $("quality").onchange = (event) => changeSettings({ quality: event.target.value });
  $("export").onclick = () => showExport(store.catalogue.writers, store.catalogue.output, doExport);
  $("home").onclick = async () => {
    await finishChanges();
    store.session = null;
    history.replaceState(null, "", "#");
    showOpenScreen().catch(onError);
  };
}

async function start() {
  startOpenScreen(openSession);
  startObjects();
  startPlayer();
  startTimeline(goTo);
  startTools();
  startTracking();
  startKeys();
  startDropping();
  wireButtons();
  drawSteps();
  for (const name of ["objects", "presence", "pins", "frame"]) on(name, drawButtons);
  on("settings", drawSettings);
  on("tool", drawTool);
  on("prompts", drawTool);
  on("objects", drawTool);
  on("pins", drawTool);
  on("steps", drawSteps);
  on("error", onError);
  on("exported", onExported);
  on("message", (message) => (typeof message === "string" ? say(message) : say(message.text, message)));
  on("busy", (text) => {
    $("busy").hidden = !text;
    $("busy-text").textContent = text ?? "";
  });
  addEventListener("beforeunload", (event) => (hasUnsaved() || isAsking()) && event.preventDefault());
  store.catalogue = await api.start();
  const wanted = decodeURIComponent(location.hash.slice(1)) || store.catalogue.session;
  if (wanted) {
    try {
      return openSession(await api.state(wanted));
    } catch (error) {
      say(error.message, { bad: true });
    }
  }
  await showOpenScreen();
}

start().catch((error) => say(error.message, { bad: true, seconds: 60 }));
