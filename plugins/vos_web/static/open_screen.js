// The first screen: a path, recent sessions, and the folders of this computer.

import { api } from "./api.js";
import { store } from "./store.js";

const $ = (id) => document.getElementById(id);
let openSession = () => {};

const ago = (seconds) => {
  const minutes = (Date.now() / 1000 - seconds) / 60;
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${Math.floor(minutes)} min ago`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ago`;
  return new Date(1000 * seconds).toLocaleDateString();
};

function row(iconName, text, detail, onClick, title = "") {
  const item = document.createElement("li"), button = document.createElement("button");
  button.className = "row";
  button.title = title;
  button.innerHTML = `<svg><use href="#i-${iconName}"/></svg>`;
  const name = document.createElement("span"), rest = document.createElement("span");
  name.className = "grow";
  name.textContent = text;
  rest.className = "muted";
  rest.textContent = detail;
  button.append(name, rest);
  button.onclick = onClick;
  item.append(button);
  return item;
}

export function fail(error) {
  $("open-error").textContent = error.message;
  $("open-error").hidden = false;
}

// Runs what opens a session; the button says so while it takes.
async function opening(load) {
  const button = document.querySelector("#open-form button");
  $("open-error").hidden = true;
  button.disabled = true;
  button.textContent = "Opening…";
  try {
    openSession(await load());
  } catch (error) {
    fail(error);
  } finally {
    button.disabled = false;
    button.textContent = "Open";
  }
}

const open = (path, fresh = false) => opening(() => api.open(path, fresh));

// Opens what was typed; a folder that holds no images is listed instead.
async function openTyped(path) {
  if (!path.trim()) return $("open-path").focus();
  const found = await api.browse(path).catch(() => null);
  if (!found || found.frames) return open(path);
  $("open-error").hidden = true;
  drawFolder(found);
}

async function browse(path) {
  try {
    drawFolder(await api.browse(path));
  } catch (error) {
    fail(error);
  }
}

function drawFolder(found) {

  const join = (name) => `${found.path.replace(/\/$/, "")}/${name}`;
  $("browse-path").replaceChildren(found.path);
  const rows = [];
  if (found.parent) rows.push(row("up", "Up", "", () => browse(found.parent)));
  if (found.frames > 1) rows.push(row("film", "Open this folder of images", `${found.frames} images`, () => open(found.path)));
  for (const name of found.videos) rows.push(row("film", name, "", () => open(join(name))));
  for (const name of found.folders) rows.push(row("folder", name, "", () => browse(join(name))));
  if (!found.frames && !found.videos.length) {
    const none = document.createElement("li");
    none.className = "muted note";
    none.textContent = "No videos in this folder.";
    rows.push(none);
  }
  $("browse").replaceChildren(...rows);
  $("places").replaceChildren(
    ...found.roots.map((root) => {
      const button = document.createElement("button");
      button.textContent = root;
      button.setAttribute("aria-pressed", root === found.path);
      button.onclick = () => browse(root);
      return button;
    }),
  );
}

export async function showOpenScreen() {
  store.catalogue = await api.start();
  $("editor").hidden = true;
  $("open-screen").hidden = false;
  document.title = "vos";
  const { sessions, folder } = store.catalogue;
  $("recent-section").hidden = !sessions.length;
  $("recent").replaceChildren(
    ...sessions.map((session) => {
      const objects = `${session.objects} object${session.objects === 1 ? "" : "s"}`;
      const item = row("film", session.name, session.there ? `${objects} · ${ago(session.modified)}` : "the video is gone", () => opening(() => api.state(session.id)), session.source);
      const remove = document.createElement("button");
      remove.className = "icon-button";
      remove.textContent = "×";
      remove.title = "Delete this session; the video stays";
      remove.setAttribute("aria-label", remove.title);
      remove.onblur = () => {
        delete remove.dataset.sure;
        remove.textContent = "×";
      };
      remove.onclick = async () => {
        if (!remove.dataset.sure) {
          remove.dataset.sure = "yes";
          remove.textContent = "Delete?";
          remove.style.width = "auto";
          return;
        }
        try {
          await api.remove(session.id);
          item.remove();
        } catch (error) {
          fail(error);
        }
      };
      item.append(remove);
      return item;
    }),
  );
  await browse(folder);
  $("open-path").select();
}

export function startOpenScreen(onOpen) {
  openSession = onOpen;
  $("open-form").onsubmit = (event) => {
    event.preventDefault();
    openTyped($("open-path").value);
  };
}

export async function openFile(file) {
  try {
    const { path } = await api.upload(file);
    await open(path, true);
  } catch (error) {
    fail(error);
    throw error;
  }
}
