// Going from frame to frame: showing one, playing, and following the tracker.

import { api } from "./api.js";
import { current, showFrame, showNoFrame } from "./canvas.js";
import { forgetMasks, hasFrame, loadFrame, prefetch } from "./frames.js";
import { resetPrompts } from "./prompting.js";
import { emit, on, store } from "./store.js";

const $ = (id) => document.getElementById(id);
let ticket = 0, playing = null, positionTimer = 0, direction = 1;

// Shows a frame. A later call wins; the old picture stays until the new one is there. `ahead` says whether the next frames
// are fetched: not while the page follows a tracker, which shows few of them and needs the processor.
export async function goTo(frame, { keepPlaying = false, ahead = true } = {}) {
  if (!store.session) return;
  const wanted = Math.max(0, Math.min(store.session.frame_count - 1, frame));
  if (!keepPlaying) {
    pause();
    emit("moved"); // by hand
  }
  if (wanted !== store.frame) {
    direction = wanted > store.frame ? 1 : -1;
    store.frame = wanted;
    resetPrompts();
    emit("frame");
    rememberPosition();
  }
  const own = ++ticket;
  try {
    const { bitmap, runs } = await loadFrame(wanted);
    if (own !== ticket) return;
    showFrame(wanted, bitmap, runs);
    emit("shown");
    if (ahead) prefetch(wanted, direction);
  } catch (error) {
    if (own !== ticket) return;
    showNoFrame();
    emit("error", error);
  }
}

export const reshow = () => goTo(store.frame, { keepPlaying: true });

export const stepBy = (count) => goTo(store.frame + count);

function rememberPosition() {
  clearTimeout(positionTimer);
  positionTimer = setTimeout(savePosition, 800);
}

function savePosition() {
  clearTimeout(positionTimer);
  positionTimer = 0;
  if (store.session) api.settings(store.session.id, { position: store.frame }, true).catch(() => {});
}

export function togglePlay() {
  if (playing) return pause();
  if (store.frame >= store.session.frame_count - 1) goTo(0, { keepPlaying: true });
  playing = { start: store.frame >= store.session.frame_count - 1 ? 0 : store.frame, began: performance.now() };
  drawPlaying();
  requestAnimationFrame(tick);
}

export function pause() {
  if (!playing) return;
  playing = null;
  drawPlaying();
}

function drawPlaying() {
  $("play-icon").setAttribute("href", playing ? "#i-pause" : "#i-play");
  $("play").ariaLabel = playing ? "Pause" : "Play";
}

// Plays at the video's speed; where frames do not come fast enough it waits for them, and shows each that it has.
function tick(now) {
  if (!playing) return;
  const fps = store.session.fps || 24;
  const due = playing.start + Math.floor(((now - playing.began) * fps) / 1000);
  if (due > store.frame) {
    let next = Math.min(due, store.session.frame_count - 1);
    while (next > store.frame && !hasFrame(next)) next--;
    if (next > store.frame) {
      goTo(next, { keepPlaying: true });
    } else {
      prefetch(store.frame, 1);
      loadFrame(Math.min(store.frame + 1, store.session.frame_count - 1)).catch(pause);
      playing.start = store.frame;
      playing.began = now;
    }
  }
  if (store.frame >= store.session.frame_count - 1) return pause();
  requestAnimationFrame(tick);
}

function drawPosition() {
  if (!store.session) return;
  const input = $("position");
  if (document.activeElement !== input) input.value = store.frame;
  $("last-frame").textContent = `/ ${store.session.frame_count - 1}`;
  $("time").textContent = current.frame === store.frame && current.time ? `${Number(current.time).toFixed(2)} s` : "";
}

export function startPlayer() {
  for (const name of ["frame", "shown"]) on(name, drawPosition);
  addEventListener("pagehide", () => positionTimer && savePosition());
  on("masks-stale", () => {
    forgetMasks();
    reshow();
  });
  $("previous").onclick = () => stepBy(-1);
  $("next").onclick = () => stepBy(1);
  $("play").onclick = togglePlay;
  $("position").addEventListener("keydown", (event) => ["Enter", "Escape"].includes(event.key) && event.target.blur());
  $("position").addEventListener("change", (event) => {
    const frame = parseInt(event.target.value, 10);
    if (Number.isFinite(frame)) goTo(frame);
    event.target.blur();
    drawPosition();
  });
}

export const isShown = () => current.frame === store.frame;
export { drawPosition };
