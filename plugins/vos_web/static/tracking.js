// Tracking and exporting: begin, follow, stop.

import { api, changeCount, listen, CLIENT, NO_SERVER } from "./api.js";
import { flush } from "./editing.js";
import { forgetMasks } from "./frames.js";
import { goTo, reshow } from "./player.js";
import { settled } from "./prompting.js";
import { emit, on, spansToCheck, store, takePresence, takeState } from "./store.js";

const $ = (id) => document.getElementById(id);
// Drawing takes processor time that the tracker lacks: progress is drawn again after this many times what drawing took.
const PAUSE = 40, MIN_PAUSE = 400, MAX_PAUSE = 2500; // times, ms, ms
let follow = false;
let reached = -1; // frame that the job has tracked last
let asked = 0; // requests for a job without an answer yet
let newest = -1, timer = 0, nextDrawing = 0; // frame tracked last and not drawn yet, timeout, ms
const changed = new Set(); // frames tracked since the last drawing
const over = new Set(); // ids of jobs that have ended: an event may come before the answer to the request that began the job

export function takeJob(job) {
  store.job = job && !over.has(job.id) ? job : null;
  emit("job");
}

// Asks for a job once the server has every mark and change.
export async function beginJob(request) {
  asked++;
  try {
    await settled();
    await flush();
    takeJob((await request()).job);
  } finally {
    asked--;
    emit("job");
  }
}

export async function track(direction, until = "end") {
  if (store.job) return;
  try {
    await beginJob(() => api.track(store.session.id, { frame: store.frame, direction, until }));
    follow = true;
  } catch (error) {
    emit("error", error);
  }
}

export const stop = () => api.stop().then(({ job }) => takeJob(job)).catch((error) => emit("error", error));

function onProgress(event) {
  store.job = over.has(event.job.id) ? null : event.job;
  if (event.job.session === store.session?.id) {
    for (const { frame, levels, ids, doubts } of event.frames) {
      forgetMasks(frame);
      takePresence(frame, levels, ids, doubts);
      changed.add(frame);
      newest = reached = frame;
    }
  }
  drawSoon();
}

// Frames that were tracked since the last drawing are drawn together, and none in a hidden tab.
function drawSoon() {
  if (!timer && !document.hidden) timer = setTimeout(drawProgress, nextDrawing - performance.now());
}

async function drawProgress() {
  const began = performance.now();
  const frame = follow && newest >= 0 ? newest : changed.has(store.frame) ? store.frame : -1;
  newest = -1;
  changed.clear();
  drawJob();
  emit("presence");
  if (frame >= 0) await goTo(frame, { keepPlaying: true, ahead: false });
  const took = performance.now() - began + (await renderingTime());
  nextDrawing = performance.now() + Math.max(MIN_PAUSE, Math.min(MAX_PAUSE, PAUSE * took));
  timer = 0;
  if (changed.size) drawSoon();
}

// Milliseconds from the next animation frame until its layout and painting are done.
const renderingTime = () =>
  new Promise((resolve) => {
    if (document.hidden) return resolve(0);
    requestAnimationFrame(() => {
      const began = performance.now(), { port1, port2 } = new MessageChannel();
      port1.onmessage = () => resolve(performance.now() - began);
      port2.postMessage(null);
    });
  });

// True for a job of this page or of its session; others are another page's, of another video.
const concerns = (job) => job.session === store.session?.id || job.client === CLIENT;

function onJob(event) {
  const { job } = event;
  const ended = ["finished", "stopped", "failed"].includes(job.state);
  if (ended) over.add(job.id);
  else reached = -1;
  takeJob(job);
  if (!ended) return;
  const followed = follow && reached >= 0;
  follow = false;
  if (job.kind === "track") {
    changed.clear();
    newest = -1;
    emit("presence");
    forgetMasks();
    if (followed) goTo(reached, { keepPlaying: true });
    else reshow();
  }
  if (!concerns(job)) return;
  if (job.state === "failed") emit("error", new Error(explained(job.error)));
  else if (job.kind === "track") job.session === store.session?.id && emit("message", job.state === "stopped" ? whenStopped(job.done) : whenTracked(job.done));
  else if (job.state === "finished") emit("exported", job);
}

// Errors name options as the command line has them.
const explained = (error) => (/(^|\s)(-O \w+=|--tracker )/.test(error) ? `${error} Give it when the page is started: vos web -O ${store.session?.tracker}.KEY=VALUE.` : error);

// Tracking begins at the frame that is shown: only from the last one does it resume the run that was stopped.
function whenStopped(count) {
  const kept = `Stopped. ${count === 1 ? "1 frame is" : `${count} frames are`} kept`;
  if (reached < 0) return `${kept}.`;
  if (store.frame === reached) return `${kept}; Track goes on from here.`;
  const frame = reached;
  return { text: `${kept}; Track goes on from frame ${frame}.`, action: "Go there", run: () => goTo(frame), seconds: 15 };
}

function whenTracked(count) {
  const frames = count === 1 ? "1 frame" : `${count} frames`, places = spansToCheck().length;
  if (!places) return `Tracked ${frames}. Step through them with ← and →, and click or paint where one is wrong.`;
  return `Tracked ${frames}. ${places === 1 ? "1 place is" : `${places} places are`} worth a check: W goes to the next one.`;
}

async function refreshState() {
  const id = store.session?.id;
  if (!id) return;
  try {
    let state, count;
    do {
      await flush();
      count = changeCount();
      state = await api.state(id);
      if (store.session?.id !== id) return; // another video is shown meanwhile
    } while (count !== changeCount()); // what the person changed meanwhile may not be in it
    takeState(state);
    takeJob(state.job); // it may have ended meanwhile
    forgetMasks();
    reshow();
  } catch (error) {
    emit("error", error);
  }
}

function onLost() {
  takeJob(null);
  emit("message", { text: NO_SERVER, bad: true, seconds: 86_400 });
}

function onBack() {
  for (const toast of document.querySelectorAll(".toast.bad")) toast.remove();
  refreshState();
}

function onEvent(event) {
  if (event.type === "progress") onProgress(event);
  else if (event.type === "job") onJob(event);
  else if (event.type === "resync") refreshState();
  else if (event.type === "changed" && event.session === store.session?.id && event.client !== CLIENT) refreshState();
}

// Moving by hand stops following; the tracker goes on.
export const stopFollowing = () => (follow = false);

export function drawJob() {
  const job = store.job;
  $("track-buttons").hidden = Boolean(job);
  $("stop").hidden = $("progress").hidden = !job;
  if (!job) return;
  const bar = $("progress-bar");
  if (job.total) bar.value = job.done / job.total;
  else bar.removeAttribute("value");
  const left = job.fps ? (job.total - job.done) / job.fps : 0;
  const verb = job.kind === "export" ? "Exporting" : "Tracking";
  $("progress-text").textContent = !job.total
    ? `${verb}: starting…`
    : `${verb} ${job.done} / ${job.total}${job.fps ? ` · ${job.fps.toFixed(1)} frames/s · ${inWords(left)} left` : ""}`;
}

const inWords = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);

const isBusy = () => asked > 0 || Boolean(store.job && concerns(store.job));

export function startTracking() {
  $("track-forward").onclick = () => track("forward");
  $("track-backward").onclick = () => track("backward");
  $("track-pin").onclick = () => track("forward", "pin");
  $("track-all").onclick = () => track("all");
  $("stop").onclick = stop;
  on("job", drawJob);
  on("moved", stopFollowing);
  on("refused", refreshState);
  document.addEventListener("visibilitychange", drawSoon);
  on("job", listen({ isBusy, onEvent, onGap: onBack, onLost, onReturn: refreshState }));
}
