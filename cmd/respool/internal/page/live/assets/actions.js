// Actions need a login. Without one the page only shows.
import { byID, el, note, number, toast } from "./tables.js";

let access = { enabled: false };
let changed = () => {};

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (access.token) headers["X-CSRF-Token"] = access.token;
  try {
    const reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    return { ok: reply.ok, ...(await reply.json()) };
  } catch (e) {
    return { ok: false, error: String(e) };
  }
}

// setUpActions shows the form. It calls fn when a user has logged in or out.
export async function setUpActions(fn) {
  changed = fn;
  try {
    access = await (await fetch("/page/session")).json();
  } catch { // the page only shows
    return;
  }
  as(access, "");
}

function show(message) {
  byID("actions").hidden = !access.enabled;
  if (!access.enabled) return;
  byID("actions-body").replaceChildren(...(access.user ? tools() : [loginForm()]), el("p", { id: "outcome", role: "status" }, message));
}

// as sets who has logged in.
function as(one, message) {
  access = one;
  show(message);
  changed();
}

function loginForm() {
  const user = el("input", { name: "user", autocomplete: "username", required: true });
  const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  return el("form", { class: "login", onsubmit: async (e) => {
    e.preventDefault();
    const r = await post("/page/login", { user: user.value, password: password.value });
    if (r.ok) as(r, "logged in");
    else show(r.error);
  } }, el("label", {}, "user", user), el("label", {}, "password", password), el("button", { type: "submit", class: "act", id: "login" }, "log in"));
}

async function act(body) {
  show("working");
  const r = await post("/page/act", body);
  show(r.ok ? r.text : (r.text ? r.text + ": " : "") + r.error);
  toast(r.ok ? r.text : r.error);
  return r.ok;
}

function tools() {
  const out = [el("p", {}, "logged in as " + access.user + ". Choose a group of connections above to close it, or one of them.")];
  if (access.gateway) {
    const seconds = el("input", { type: "number", min: "1", max: "3600", value: "60", id: "seconds" });
    out.push(el("div", { class: "buttons" }, el("label", {}, "seconds ", seconds),
      el("button", { type: "button", class: "act danger", id: "pause", onclick: () => act({ action: "pause", seconds: Number(seconds.value) }) }, "pause the gateway"),
      el("button", { type: "button", class: "act", id: "resume", onclick: () => act({ action: "resume" }) }, "resume")));
  }
  out.push(el("button", { type: "button", class: "act", id: "logout", onclick: async () => {
    await post("/page/logout", {});
    as({ ...access, user: "", token: "" }, "logged out");
  } }, "log out"));
  return out;
}

// killButton closes the connections of a group, for a user who has logged in.
export function killButton(l, after) {
  if (!access.user || l.count === 0 || l.key.startsWith("sha256:")) return null; // a name too long for an order
  return el("div", { class: "command" }, el("button", { type: "button", class: "act danger", "data-key": "close-group", onclick: async () => {
    if (!confirm("Close " + number(l.count) + " connections of " + l.key + "?")) return;
    if (await act({ action: "kill", node: l.node, field: l.field, key: l.key, count: l.count })) after();
  } }, "close these " + number(l.count) + " connections"), note("50 a second; never those of respool, replication, sentinels and MONITOR"));
}

// killOneButton closes one connection, for a user who has logged in.
export function killOneButton(node, c, after) {
  if (!access.user) return null;
  return el("button", { type: "button", class: "act danger", "data-key": "close " + c.id, "aria-label": "Close the connection of " + c.addr, onclick: async () => {
    if (!confirm("Close the connection of " + c.addr + (c.name ? ", named " + c.name : "") + "?")) return;
    if (await act({ action: "kill", node, id: c.id, addr: c.addr })) after();
  } }, "close");
}
