// Label maps: run lengths, colours and painting. A label map is a Uint8Array of width * height ids.

export const MAX_RUN = (1 << 24) - 1;

export function decodeRuns(buffer, length) {
  const words = new Uint32Array(buffer);
  const ids = new Uint8Array(length);
  let position = 0;
  for (const word of words) {
    const end = position + (word & MAX_RUN);
    const id = word >>> 24;
    if (id) ids.fill(id, position, end);
    position = end;
  }
  return ids;
}

export function encodeRuns(ids) {
  const words = [];
  let start = 0;
  for (let i = 1; i <= ids.length; i++) {
    if (i === ids.length || ids[i] !== ids[start] || i - start === MAX_RUN) {
      words.push(((ids[start] << 24) | (i - start)) >>> 0);
      start = i;
    }
  }
  return new Uint32Array(words).buffer;
}

// Colours that are told apart by most people first, then hues by the golden angle.
const FIRST = ["#e6483d", "#2f7df6", "#f5b301", "#19a974", "#b14ae0", "#ff7a1a", "#12b5cb", "#e84393", "#8bc34a", "#7a6bff"];

export function colourOf(id) {
  if (id <= FIRST.length) return FIRST[id - 1];
  const hue = (id * 137.508) % 360;
  const light = 48 + 12 * (id % 3);
  const f = (n) => {
    const k = (n + hue / 30) % 12;
    const a = 0.72 * Math.min(light / 100, 1 - light / 100);
    return Math.round(255 * (light / 100 - a * Math.max(-1, Math.min(k - 3, 9 - k, 1)))).toString(16).padStart(2, "0");
  };
  return `#${f(0)}${f(8)}${f(4)}`;
}

export function rgbOf(id) {
  const hex = colourOf(id);
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

const RING = 0xb4ffffff; // white, around objects: a red mask on a red object is seen by it

// Tables of RGBA words by id: the fill and the edge of each object, and the ring around it.
export function colourTables(objects, selected) {
  const fill = new Uint32Array(256);
  const edge = new Uint32Array(256);
  const ring = new Uint32Array(256);
  for (const object of objects) {
    if (object.hidden || object.deleted) continue;
    const [r, g, b] = rgbOf(object.id);
    const word = (alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
    fill[object.id] = word(object.id === selected ? 120 : 92);
    edge[object.id] = word(255);
    ring[object.id] = RING;
  }
  return { fill, edge, ring };
}

// Draws a rectangle of a label map into RGBA words.
export function drawIds(ids, width, height, rect, tables, out) {
  const { fill, edge, ring } = tables;
  let place = 0;
  for (let y = rect.y; y < rect.y + rect.h; y++) {
    let i = y * width + rect.x;
    for (let x = rect.x; x < rect.x + rect.w; x++, i++, place++) {
      const id = ids[i];
      if (!id) {
        out[place] =
          (x > 0 && ring[ids[i - 1]]) || (x < width - 1 && ring[ids[i + 1]]) || (y > 0 && ring[ids[i - width]]) || (y < height - 1 && ring[ids[i + width]]) || 0;
        continue;
      }
      const inside =
        x > 0 && ids[i - 1] === id && x < width - 1 && ids[i + 1] === id &&
        y > 0 && ids[i - width] === id && y < height - 1 && ids[i + width] === id;
      out[place] = inside ? fill[id] : edge[id];
    }
  }
}

export const fullRect = (width, height) => ({ x: 0, y: 0, w: width, h: height });

export function union(a, b) {
  if (!a) return b;
  const x = Math.min(a.x, b.x), y = Math.min(a.y, b.y);
  return { x, y, w: Math.max(a.x + a.w, b.x + b.w) - x, h: Math.max(a.y + a.h, b.y + b.h) - y };
}

export function clip(rect, width, height) {
  const x = Math.max(0, Math.floor(rect.x)), y = Math.max(0, Math.floor(rect.y));
  return { x, y, w: Math.max(0, Math.min(width, Math.ceil(rect.x + rect.w)) - x), h: Math.max(0, Math.min(height, Math.ceil(rect.y + rect.h)) - y) };
}

// Paints a line of a round brush; `may(id)` says which pixels may be replaced. Returns the changed rectangle.
export function paintLine(ids, width, height, from, to, radius, value, may) {
  const rect = clip(
    { x: Math.min(from.x, to.x) - radius - 1, y: Math.min(from.y, to.y) - radius - 1, w: Math.abs(from.x - to.x) + 2 * radius + 3, h: Math.abs(from.y - to.y) + 2 * radius + 3 },
    width, height,
  );
  const dx = to.x - from.x, dy = to.y - from.y, long = dx * dx + dy * dy, r2 = radius * radius;
  for (let y = rect.y; y < rect.y + rect.h; y++) {
    for (let x = rect.x; x < rect.x + rect.w; x++) {
      const px = x + 0.5 - from.x, py = y + 0.5 - from.y;
      const t = long ? Math.max(0, Math.min(1, (px * dx + py * dy) / long)) : 0;
      const ex = px - t * dx, ey = py - t * dy;
      if (ex * ex + ey * ey <= r2) {
        const i = y * width + x;
        if (ids[i] !== value && may(ids[i])) ids[i] = value;
      }
    }
  }
  return rect;
}

// Fills a polygon (even-odd); corners in pixels.
export function fillPolygon(ids, width, height, corners, value, may) {
  const xs = corners.map((c) => c.x), ys = corners.map((c) => c.y);
  const rect = clip({ x: Math.min(...xs), y: Math.min(...ys), w: Math.max(...xs) - Math.min(...xs) + 1, h: Math.max(...ys) - Math.min(...ys) + 1 }, width, height);
  for (let y = rect.y; y < rect.y + rect.h; y++) {
    const cuts = [];
    for (let k = 0; k < corners.length; k++) {
      const a = corners[k], b = corners[(k + 1) % corners.length], line = y + 0.5;
      if (a.y <= line !== b.y <= line) cuts.push(a.x + ((line - a.y) / (b.y - a.y)) * (b.x - a.x));
    }
    cuts.sort((a, b) => a - b);
    for (let k = 0; k + 1 < cuts.length; k += 2) {
      const first = Math.max(0, Math.ceil(cuts[k] - 0.5)), last = Math.min(width - 1, Math.floor(cuts[k + 1] - 0.5));
      for (let x = first; x <= last; x++) {
        const i = y * width + x;
        if (may(ids[i])) ids[i] = value;
      }
    }
  }
  return rect;
}

// Fills the connected region of pixels whose colour is near that of the first one.
export function floodFill(ids, pixels, width, height, start, tolerance, value, may) {
  const first = Math.floor(start.y) * width + Math.floor(start.x);
  const [r, g, b] = pixels.subarray(4 * first, 4 * first + 3);
  const seen = new Uint8Array(width * height);
  const stack = [first];
  const limit = 3 * tolerance * tolerance;
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  seen[first] = 1;
  while (stack.length) {
    const i = stack.pop();
    const x = i % width, y = (i - x) / width;
    if (may(ids[i])) ids[i] = value;
    if (x < x0) x0 = x;
    if (x > x1) x1 = x;
    if (y < y0) y0 = y;
    if (y > y1) y1 = y;
    for (const j of [x > 0 ? i - 1 : -1, x < width - 1 ? i + 1 : -1, y > 0 ? i - width : -1, y < height - 1 ? i + width : -1]) {
      if (j < 0 || seen[j]) continue;
      seen[j] = 1;
      const dr = pixels[4 * j] - r, dg = pixels[4 * j + 1] - g, db = pixels[4 * j + 2] - b;
      if (dr * dr + dg * dg + db * db <= limit) stack.push(j);
    }
  }
  return { x: x0, y: y0, w: x1 - x0 + 1, h: y1 - y0 + 1 };
}
