// Actions need a login. Without one the page only shows.
import { byID, el, note, number, toast } from "./tables.js";

let access = { enabled: false };

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

export async function setUpActions() {
  try {
    access = await (await fetch("/page/session")).json();
  } catch { // the page only shows
    return;
  }
  show("");
}

function show(message) {
  byID("actions").hidden = !access.enabled;
  if (!access.enabled) return;
  byID("actions-body").replaceChildren(...(access.user ? tools() : [loginForm()]), el("p", { id: "outcome", role: "status" }, message));
}

function loginForm() {
  const user = el("input", { name: "user", autocomplete: "username", required: true });
  const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  return el("form", { class: "login", onsubmit: async (e) => {
    e.preventDefault();
    const r = await post("/page/login", { user: user.value, password: password.value });
    if (r.ok) access = r;
    show(r.ok ? "logged in" : r.error);
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
  const out = [el("p", {}, "logged in as " + access.user + ". Choose a group of connections above to close it.")];
  if (access.gateway) {
    const seconds = el("input", { type: "number", min: "1", max: "3600", value: "60", id: "seconds" });
    out.push(el("div", { class: "buttons" }, el("label", {}, "seconds ", seconds),
      el("button", { type: "button", class: "act danger", id: "pause", onclick: () => act({ action: "pause", seconds: Number(seconds.value) }) }, "pause the gateway"),
      el("button", { type: "button", class: "act", id: "resume", onclick: () => act({ action: "resume" }) }, "resume")));
  }
  out.push(el("button", { type: "button", class: "act", id: "logout", onclick: async () => {
    await post("/page/logout", {});
    access = { ...access, user: "", token: "" };
    show("logged out");
  } }, "log out"));
  return out;
}

// killButton closes the connections of a group, for a user who has logged in.
export function killButton(l, after) {
  if (!access.user || l.node === "gateway" || l.count === 0) return null;
  return el("div", { class: "command" }, el("button", { type: "button", class: "act danger", "data-key": "close-group", onclick: async () => {
    if (!confirm("Close " + number(l.count) + " connections of " + l.key + "?")) return;
    if (await act({ action: "kill", node: l.node, field: l.field, key: l.key, count: l.count })) after();
  } }, "close these " + number(l.count) + " connections"), note("50 a second; never those of respool, replication, sentinels and MONITOR"));
}
