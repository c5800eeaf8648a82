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

async function open(path, fresh = false) {
  $("open-error").hidden = true;
  try {
    openSession(await api.open(path, fresh));
  } catch (error) {
    fail(error);
  }
}

async function browse(path) {
  try {
    const found = await api.browse(path);
    const join = (name) => `${found.path.replace(/\/$/, "")}/${name}`;
    $("browse-path").textContent = found.path;
    const rows = [];
    if (found.parent) rows.push(row("up", "Up", "", () => browse(found.parent)));
    if (found.frames > 1) rows.push(row("film", "Open this folder of images", `${found.frames} images`, () => open(found.path)));
    for (const name of found.videos) rows.push(row("film", name, "", () => open(join(name))));
    for (const name of found.folders) rows.push(row("folder", name, "", () => browse(join(name))));
    if (!rows.length) rows.push(row("folder", "No videos here", "", () => {}));
    $("browse").replaceChildren(...rows);
  } catch (error) {
    fail(error);
  }
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
      const item = row("film", session.name, session.there ? `${objects} · ${ago(session.modified)}` : "the video is gone", async () => {
        try {
          openSession(await api.state(session.id));
        } catch (error) {
          fail(error);
        }
      }, session.source);
      const remove = document.createElement("button");
      remove.className = "icon-button";
      remove.textContent = "×";
      remove.title = "Delete this session; the video stays";
      remove.setAttribute("aria-label", remove.title);
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
  $("open-path").focus();
}

export function startOpenScreen(onOpen) {
  openSession = onOpen;
  $("open-form").onsubmit = (event) => {
    event.preventDefault();
    open($("open-path").value);
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
