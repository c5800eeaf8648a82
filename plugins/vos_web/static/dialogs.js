// Dialogs, menus and short messages.

import { store } from "./store.js";

const dialog = document.getElementById("dialog");
const toasts = document.getElementById("toasts");

// Messages of the server begin in lower case, as the command line prints them; a path stays as it is.
const sentence = (message) => (/^[a-z]+[ ,]/.test(message) ? message[0].toUpperCase() + message.slice(1) : message);

export function say(message, { bad = false, action, run, href, seconds = bad ? 9 : 5 } = {}) {
  const toast = document.createElement("div");
  toast.className = bad ? "toast bad" : "toast";
  const text = document.createElement("span");
  text.textContent = sentence(message);
  for (const other of toasts.children) if (other.firstChild.textContent === text.textContent) other.remove();
  toast.append(text);
  const close = () => toast.remove();
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = action;
    link.download = "";
    toast.append(link);
  } else if (action) {
    const button = document.createElement("button");
    button.textContent = action;
    button.onclick = () => {
      close();
      run();
    };
    toast.append(button);
  }
  while (toasts.children.length > 2) toasts.firstChild.remove();
  toasts.append(toast);
  setTimeout(close, 1000 * seconds);
}

export function openMenu(at, entries) {
  document.querySelector(".menu")?.remove();
  const menu = document.createElement("div");
  const close = () => {
    menu.remove();
    at.focus(); // where the keyboard was
  };
  menu.className = "menu";
  menu.setAttribute("role", "menu");
  for (const [text, run, kind] of entries) {
    const button = document.createElement("button");
    button.textContent = text;
    button.setAttribute("role", "menuitem");
    if (kind) button.className = kind;
    button.onclick = () => {
      close();
      run();
    };
    menu.append(button);
  }
  document.body.append(menu);
  const box = at.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(innerWidth - menu.offsetWidth - 8, box.right - menu.offsetWidth))}px`;
  menu.style.top = `${Math.min(innerHeight - menu.offsetHeight - 8, box.bottom + 4)}px`;
  const away = (event) => {
    if (menu.contains(event.target)) return;
    if (menu.isConnected) event.stopPropagation(); // closing the menu marks nothing on the frame below
    menu.remove();
    document.removeEventListener("pointerdown", away, true);
  };
  menu.onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) menu.children[(step + menu.children.length + [...menu.children].indexOf(document.activeElement)) % menu.children.length].focus();
    if (event.key === "Escape") close();
    if (step || event.key === "Escape") event.stopPropagation();
  };
  document.addEventListener("pointerdown", away, true);
  menu.firstChild.focus();
}

export function showDialog(title, content, actions) {
  dialog.replaceChildren();
  const heading = document.createElement("h1");
  heading.textContent = title;
  const bar = document.createElement("div");
  bar.className = "actions";
  for (const [text, run, kind] of actions) {
    const button = document.createElement("button");
    button.textContent = text;
    if (kind) button.className = kind;
    button.onclick = () => {
      dialog.close();
      run?.();
    };
    bar.append(button);
  }
  content.classList.add("content");
  dialog.append(heading, content, bar);
  if (!dialog.open) dialog.showModal();
  content.scrollTop = 0;
}

const KEYS = [
  ["← →, D F", "one frame"], ["Shift+← →, C V", "ten frames"],
  ["Space", "play"], ["Home, End", "first, last frame"],
  [", .", "previous, next pin"], ["W", "next frames to check"],
  ["1 … 9", "choose an object"], ["N", "new object"],
  ["X", "click (Alt: beside)"], ["G", "box"],
  ["S", "scribble (Alt: beside)"], ["L", "polygon"],
  ["B", "brush"], ["E", "eraser"],
  ["R", "fill a region"], ["Enter", "close the polygon"],
  ["[ ]", "smaller, larger brush"],
  ["Ctrl+Z", "undo"], ["Ctrl+Shift+Z", "redo"],
  ["P", "track forward"], ["Shift+P", "track backward"],
  ["H", "hide the object"], ["Del", "delete the object"],
  ["Wheel, + −", "zoom"], ["Ctrl+drag", "move the frame"],
  ["0", "fit the frame"], ["Esc", "stop, cancel"], ["?", "this list"],
];

export function showHelp() {
  const keys = document.createElement("dl");
  for (const [key, text] of KEYS) {
    const dt = document.createElement("dt"), dd = document.createElement("dd"), kbd = document.createElement("kbd");
    kbd.textContent = key;
    dt.append(kbd);
    dd.textContent = text;
    keys.append(dt, dd);
  }
  const content = document.createElement("div"), lacking = store.catalogue.trackers.filter((tracker) => tracker.missing);
  content.append(keys);
  if (lacking.length) {
    const title = document.createElement("h2");
    title.textContent = "Trackers that are not set up";
    content.append(title);
  }
  for (const tracker of lacking) {
    const line = document.createElement("p"), name = document.createElement("strong");
    name.textContent = `${tracker.name}: `;
    line.append(name, tracker.missing);
    content.append(line);
  }
  showDialog("Keys", content, [["Close", null, "primary"]]);
}

export function showExport(writers, folder, onExport) {
  const form = document.createElement("div");
  const kinds = document.createElement("div");
  kinds.className = "kinds";
  const usual = (writer) => Number(writer.name === "overlay") + 2 * Number(writer.name === "davis");
  for (const writer of [...writers].sort((a, b) => usual(b) - usual(a))) {
    const label = document.createElement("label"), box = document.createElement("input"), text = document.createElement("span");
    const summary = document.createElement("span");
    label.className = "check";
    box.type = "checkbox";
    box.name = writer.name;
    box.checked = writer.name === "davis";
    text.textContent = writer.name;
    summary.className = "summary";
    summary.textContent = writer.summary;
    text.append(summary);
    label.append(box, text);
    kinds.append(label);
  }
  const note = document.createElement("p");
  note.className = "muted";
  note.textContent = "A session keeps masks alone, so alpha has hard edges in all of these; the command vos track writes soft alpha while it tracks.";
  const where = document.createElement("fieldset");
  const choice = (value, name, checked) => {
    const label = document.createElement("label"), radio = document.createElement("input");
    label.className = "check";
    Object.assign(radio, { type: "radio", name: "where", value, checked });
    label.append(radio, name);
    where.append(label);
    return radio;
  };
  const download = choice("download", "Download one .zip file", true);
  choice("folder", "Write into a folder of this computer", false);
  const path = document.createElement("input");
  Object.assign(path, { type: "text", value: folder, ariaLabel: "Folder", spellcheck: false });
  path.onfocus = () => (where.querySelector('[value="folder"]').checked = true);
  where.append(path);
  form.append(kinds, note, where);
  const chosen = () => [...kinds.querySelectorAll(":checked")].map((box) => box.name);
  showDialog("Export", form, [
    ["Cancel"],
    ["Export", () => onExport({ writers: chosen(), folder: download.checked ? null : path.value }), "primary"],
  ]);
}
