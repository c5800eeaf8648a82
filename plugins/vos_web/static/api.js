// Requests to the server. Addresses are relative: the page's own address holds the token.

export const CLIENT = crypto.getRandomValues(new Uint32Array(2)).join("-");

export const NO_SERVER = "The server does not answer. Start `vos web` again, and open the address that it prints: what was tracked and saved is there.";

export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let changes = 0;
// Counts requests that change a session, when they are sent and when they are answered.
export const changeCount = () => changes;

async function request(method, path, body, keepalive = false) {
  const counted = method !== "GET" && !keepalive;
  let response;
  changes += counted;
  try {
    response = await fetch(path, { method, body, keepalive, headers: { "X-Client": CLIENT } });
  } catch {
    throw new RequestError(NO_SERVER, 0);
  } finally {
    changes += counted;
  }
  if (!response.ok) {
    const text = await response.text();
    let message = text;
    try {
      message = JSON.parse(text).error ?? text;
    } catch {
      // Not JSON: the text itself is the message.
    }
    throw new RequestError(message.trim() || `The server answered ${response.status}.`, response.status);
  }
  return response;
}

const json = async (method, path, values, keepalive) =>
  (await request(method, path, values === undefined ? undefined : JSON.stringify(values), keepalive)).json();
const session = (id) => `api/sessions/${encodeURIComponent(id)}`;

export const api = {
  start: () => json("GET", "api/start"),
  browse: (path) => json("GET", `api/browse?path=${encodeURIComponent(path)}`),
  open: (path, fresh = false) => json("POST", "api/sessions", { path, fresh }),
  upload: (file) => request("POST", `api/uploads?name=${encodeURIComponent(file.name)}`, file).then((r) => r.json()),
  state: (id) => json("GET", session(id)),
  settings: (id, values, keepalive) => json("PATCH", session(id), values, keepalive),
  remove: (id) => json("DELETE", session(id)),
  frame: (id, index) => request("GET", `${session(id)}/frames/${index}`),
  mask: async (id, index) => (await request("GET", `${session(id)}/masks/${index}`)).arrayBuffer(),
  annotate: (id, index, runs, ids) =>
    request("PUT", `${session(id)}/pins/${index}?ids=${ids.join(",")}`, runs).then((r) => r.json()),
  importMask: (id, index, file) => request("POST", `${session(id)}/pins/${index}/file`, file).then((r) => r.json()),
  unpin: (id, index, said) => json("DELETE", `${session(id)}/pins/${index}`, said),
  addObject: (id, name = "") => json("POST", `${session(id)}/objects`, { name }),
  changeObject: (id, object, changes) => json("PATCH", `${session(id)}/objects/${object}`, changes),
  prompt: async (id, prompts) => (await request("POST", `${session(id)}/prompt`, JSON.stringify(prompts))).arrayBuffer(),
  track: (id, values) => json("POST", `${session(id)}/track`, values),
  export: (id, values) => json("POST", `${session(id)}/export`, values),
  downloadAddress: (id, name) => `${session(id)}/exports/${encodeURIComponent(name)}`,
  stop: () => json("POST", "api/stop", {}),
};

const LOST_MS = 3000;

// Listens to the server's events; goes on by itself after a break, and then calls onGap. onLost: the server has been away
// for seconds. A browser has six connections to a server for all of its tabs: a hidden one listens only while isBusy(), and
// calls onReturn later. What listen returns is to be called where isBusy() changes.
export function listen({ isBusy, onEvent, onGap, onLost, onReturn }) {
  let source = null, broken = false, paused = false, timer = 0;
  const stopTimer = () => {
    clearTimeout(timer);
    timer = 0;
  };
  const connect = () => {
    source = new EventSource("api/events");
    source.onmessage = (message) => onEvent(JSON.parse(message.data));
    source.onerror = () => {
      broken = true;
      timer ||= setTimeout(onLost, LOST_MS);
    };
    source.onopen = () => {
      stopTimer();
      if (broken) onGap();
      else if (paused) onReturn();
      broken = paused = false;
    };
  };
  const disconnect = () => {
    source?.close();
    source = null;
    paused = true;
    stopTimer();
  };
  const update = () => (document.hidden && !isBusy() ? disconnect() : source || connect());
  addEventListener("pagehide", stopTimer);
  document.addEventListener("visibilitychange", update);
  update();
  return update;
}
