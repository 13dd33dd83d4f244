// Elements and tables. All text is inserted as text: names come from clients of the server, whoever they are.

export const byID = (id) => document.getElementById(id);

// el makes an element with attributes and children. A child that is no element becomes text.
export function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== "").map((c) => (c instanceof Node ? c : String(c))));
  return e;
}

const shown = new Map();

// fill replaces the children of an element if the data has changed. The focus stays on the child with the same data-key.
export function fill(id, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  const target = byID(id);
  if (!target) return;
  const active = document.activeElement;
  const key = active && target.contains(active) ? active.dataset.key : undefined;
  target.replaceChildren(...[make(data)].flat().filter((c) => c));
  if (key === undefined) return;
  for (const e of target.querySelectorAll("[data-key]")) {
    if (e.dataset.key === key) { e.focus({ preventScroll: true }); return; }
  }
}

// forget makes the next fill of an element replace its children.
export const forget = (id) => shown.delete(id);

export const note = (text) => el("p", { class: "note" }, text);
export const badge = (level, text) => el("span", { class: "badge " + level }, text);
export const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
export const number = (n) => n.toLocaleString("en-US");
export const rate = (n) => (n === undefined ? "unknown" : n === 0 ? "0" : Math.abs(n) < 9.95 ? n.toFixed(1) : n.toFixed(0));

// ago is a time span in its largest unit.
export function ago(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return s + " s";
  if (s < 7200) return Math.floor(s / 60) + " min";
  return Math.floor(s / 3600) + " h";
}

// table makes a table in a region that scrolls.
export function table(label, titles, rows) {
  return el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Table: " + label },
    el("table", {}, el("thead", {}, el("tr", {}, titles.map((t) => el("th", { scope: "col", class: t.class }, t.text || t)))),
      el("tbody", {}, rows)));
}

// copyable is a command line with a button that copies it.
export function copyable(command, key) {
  return el("div", { class: "command" }, el("code", {}, command), copyButton(command, key));
}

export function copyButton(command, key) {
  return el("button", { type: "button", class: "act", "data-key": "copy " + (key || command), "aria-label": "Copy " + command, onclick: () => copy(command) }, "copy");
}

async function copy(text) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch { // pages without TLS have no clipboard, except those of this machine
    const area = el("textarea", { readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  toast(done ? "copied" : "the browser refuses to copy: select the text");
}

let hiding;

// toast shows a short message.
export function toast(text) {
  const t = byID("copied");
  t.textContent = text;
  t.classList.add("shown");
  clearTimeout(hiding);
  hiding = setTimeout(() => t.classList.remove("shown"), 2500);
}

const bar = (share) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 9");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, width] of [["back", 100], ["front", 100 * Math.min(1, Math.max(0, share))]]) {
    const r = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    r.setAttribute("class", name);
    r.setAttribute("width", width);
    r.setAttribute("height", 9);
    svg.append(r);
  }
  return svg;
};

// columns of the holders. Those with a key are sortable.
const columns = [
  { key: "name", title: (g) => g.one, text: (r) => r.name },
  { key: "n", title: () => "connections", text: (r) => number(r.n) },
  { key: "change", title: () => "+/min", text: (r) => r.change_text.replace(/^-$/, "unknown") },
  { key: "idle", title: () => "idle 60 s+", text: (r) => number(r.idle) },
  { key: "longest", title: () => "longest idle", class: "wide", text: (r) => r.longest_text },
  { key: "memory", title: () => "memory", text: (r) => r.memory_text.replace(/^-$/, "unknown") },
  { key: "active", title: () => "active", class: "wide", text: (r) => number(r.active) },
  { key: "blocked", title: () => "blocked", class: "wide", text: (r) => number(r.blocked) },
  { key: "subscribed", title: () => "pub/sub", class: "wide", text: (r) => number(r.subscribed) },
];

export const order = { by: "n", descending: true };

function sorted(rows) {
  const value = (r) => (r[order.by] === undefined ? -Infinity : r[order.by]);
  const sign = order.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const x = value(a), y = value(b);
    const c = typeof x === "string" ? x.localeCompare(y) : x - y;
    return sign * (Number.isNaN(c) ? 0 : c) || b.n - a.n || a.name.localeCompare(b.name);
  });
}

// holdersTable makes the head and the body of the table of holders.
export function holdersTable(grouping, open, sort, pick) {
  const head = columns.map((c) => el("th", { scope: "col", class: c.class, "aria-sort": order.by === c.key ? (order.descending ? "descending" : "ascending") : undefined },
    el("button", { type: "button", "data-key": "sort " + c.key, onclick: () => {
      order.descending = order.by === c.key ? !order.descending : c.key !== "name";
      order.by = c.key;
      sort();
    } }, c.title(grouping))));
  head.push(el("th", { scope: "col", class: "wide" }, "share"));
  const body = sorted(grouping.rows).map((r) => el("tr", {}, columns.map((c, i) => {
    if (i > 0) return el("td", { class: [c.class, c.key === "change" && r.change > 0 ? "up" : ""].filter(Boolean).join(" ") || undefined }, c.text(r));
    return el("td", {}, el("button", { type: "button", class: "group", "data-key": "group " + r.key, "aria-expanded": String(open === r.key), onclick: () => pick(r.key) }, r.name));
  }), el("td", { class: "bar wide" }, bar(r.share))));
  return [el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)];
}
