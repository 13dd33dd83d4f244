// The page: receives snapshots, and shows them.
import { ago, badge, byID, copyable, copyButton, el, fill, forget, holdersTable, note, number, order, rate, table, time } from "./tables.js";
import { addMarks, addPoint, draw, lastTime, marks, setHistory } from "./charts.js";
import { setUpActions, killButton, killOneButton } from "./actions.js";

let view, holders, received = 0;
let grouping = "service", opened = null;
let node = new URLSearchParams(location.search).get("node") || "";
let stream;

function connect() {
  disconnect();
  const query = new URLSearchParams();
  if (node) query.set("node", node);
  if (node && view && view.node === node && lastTime()) query.set("since", lastTime());
  stream = new EventSource("/page/stream?" + query);
  stream.addEventListener("history", (e) => setHistory(JSON.parse(e.data)));
  stream.addEventListener("holders", (e) => {
    const before = holders;
    holders = JSON.parse(e.data);
    if (before && before.node !== holders.node) hideList();
    showHolders();
  });
  stream.addEventListener("view", (e) => { view = JSON.parse(e.data); received = performance.now(); show(); });
}

function disconnect() {
  if (stream) stream.close();
  stream = undefined;
}

// A hidden tab costs nothing. It receives what it missed when it is visible again.
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));

function choose(addr) {
  node = addr;
  hideList();
  history.replaceState(null, "", addr ? "?node=" + encodeURIComponent(addr) : location.pathname);
  connect();
}

const every = (seconds) => (seconds < 1 ? seconds.toFixed(1) + " s" : ago(seconds));
const silence = () => (performance.now() - received) / 1000;
const dataAge = () => (view.age === undefined ? undefined : view.age + silence()); // undefined: nothing was read yet
const isStale = () => Math.max(dataAge() || 0, silence()) > Math.max(3 * view.every, view.every + 10);

// showAge updates the age of the data, and marks old data.
function showAge() {
  if (!view || document.hidden) return;
  const stale = isStale();
  const age = dataAge() === undefined ? silence() : dataAge();
  byID("age").textContent = stale ? "" : (dataAge() === undefined ? "no data yet" : "data of " + ago(age) + " ago") + ", read every " + every(view.every);
  const v = view.verdict;
  const text = stale ? "no data for " + ago(age) + ": " + (silence() > view.every + 10 ? view.command + " does not answer; it showed: " : "the server was not read; it showed: ") + v.text : v.text;
  if (byID("verdict-text").textContent !== text) byID("verdict-text").textContent = text;
  byID("verdict").className = stale ? "critical" : v.level;
  document.title = (stale ? "no data" : { fine: "ok", warning: "warning", critical: "CRITICAL", unknown: "unknown" }[v.level]) + ": " + v.text;
}
setInterval(showAge, 1000);

function show() {
  showAge();
  byID("alert-summary").textContent = view.verdict.alerts === "" ? "" : "alerts: " + view.verdict.alerts;
  fill("rights", view.verdict.rights, (list) => list.map((text) => el("li", {}, text)));
  showNodes();
  addMarks(view.marks);
  if (view.point) addPoint(view.point);
  draw(view.occupancy);
  fill("occupancy-text", [view.title, view.occupancy, view.nodes.length], ([title, o, nodes]) => [nodes > 1 ? title + ": " + o.text : o.outlook || o.text]);
  byID("occupancy-text").className = "lead " + view.occupancy.level;
  fill("occupancy-key", [view.occupancy.lines, view.occupancy.limit, Boolean(view.occupancy.forecast)], key);
  fill("marks", marks().slice(-4), (list) => list.map((m) => el("li", {}, time(m.at) + " ", m.kind === "alert" ? "alert " : "", m.text)));
  fill("findings", view.findings, showFindings);
  byID("churn-text").textContent = view.churn.text;
  byID("churn-who").textContent = view.churn.who;
  showHeavy(view.heavy);
  if (view.observed) showObserved(view.observed);
  fill("alerts", view.alerts, showAlerts);
  fill("sinks", view.sinks, showSinks);
  fill("plan", view.plan, showPlan);
  if (view.gateway) fill("gateway", view.gateway, showGateway);
}

function key([lines, limit, forecast]) {
  const out = [el("span", { class: "swatch one" }), "connections"];
  if (limit) out.push(el("span", { class: "swatch limit" }), "limit " + number(limit));
  else out.push(" (the limit is unknown)");
  for (const l of limit ? lines : []) out.push(el("span", { class: "swatch " + (l.level === "critical" ? "full" : "high") }), l.rule + " " + Math.round(100 * l.share) + "%");
  if (forecast) out.push(el("span", { class: "swatch band" }), "forecast");
  out.push(el("span", { class: "swatch restart" }), "restart", el("span", { class: "swatch alert" }), "alert");
  return out;
}

function showNodes() {
  byID("choose").hidden = view.nodes.length < 2;
  fill("node", [view.nodes.map((n) => [n.addr, n.title]), view.node], ([list, chosen]) => list.map(([addr, title]) => el("option", { value: addr, selected: addr === chosen }, title)));
  fill("nodes", [view.nodes, view.cluster, view.node], ([nodes, cluster, chosen]) => [
    cluster ? el("p", {}, cluster) : null,
    nodes.length === 0 ? note("no server is known yet") : table("Nodes", ["node", "state", "connections", "opened/s", "rejected/s", { text: "commands/s", class: "wide" }, { text: "restarts", class: "wide" }],
      nodes.map((n) => el("tr", {},
        el("td", {}, nodes.length < 2 ? n.title : el("button", { type: "button", class: "group", "data-key": "node " + n.addr, "aria-pressed": String(n.addr === chosen), onclick: () => choose(n.addr) }, n.title), n.server ? el("div", { class: "note" }, n.server) : null),
        el("td", {}, badge(n.level, n.level)), el("td", {}, n.filled), el("td", {}, rate(n.opened)), el("td", {}, rate(n.rejected)),
        el("td", { class: "wide" }, rate(n.commands)), el("td", { class: "wide" }, n.restarts)))),
  ]);
}
byID("node").addEventListener("change", (e) => choose(e.target.value));

function showHolders() {
  if (!holders) return;
  const h = holders;
  fill("by", [h.groupings.map((g) => [g.field, g.one]), grouping], ([list, chosen]) => list.map(([field, one]) => el("button", { type: "button", "data-key": field, "aria-pressed": String(field === chosen), onclick: () => { grouping = field; hideList(); showHolders(); } }, "by " + one)));
  const g = h.groupings.find((one) => one.field === grouping) || h.groupings[0];
  showListAge();
  byID("holders-note").className = h.unknown ? "critical" : "note";
  fill("holders-table", [g, opened, order], () => (g ? holdersTable(g, opened, showHolders, pick) : []));
  fill("unnamed", [h.unnamed || [], h.unseen, g && g.left], ([list, unseen, left]) => [
    left ? el("li", {}, "and " + number(left) + " more groups, which are the first in no order") : null,
    ...list.map((text) => el("li", {}, text)), unseen ? el("li", {}, unseen) : null]);
}

function showListAge() {
  if (!holders) return;
  const h = holders;
  byID("holders-note").textContent = h.unknown ? "unknown: " + h.unknown
    : "list of " + time(h.read_at) + (h.list_every ? ", read every " + every(h.list_every) : "") + ". +/min is the growth in the last minute. Choose a row for its connections.";
}

let asked = 0, list;

// hideList closes the list of connections, also one that is being read.
function hideList() {
  asked++;
  opened = null;
  list = undefined;
  byID("connections").hidden = true;
}

async function pick(name) {
  const mine = ++asked;
  opened = opened === name ? null : name;
  showHolders();
  const section = byID("connections");
  section.hidden = opened === null;
  list = undefined;
  forget("connections-body");
  if (opened === null) return;
  fill("connections-body", "reading", () => note("reading the connections"));
  byID("connections-title").textContent = "Connections of " + name;
  let got;
  try {
    const reply = await fetch("/page/connections?" + new URLSearchParams({ node: holders.node, by: grouping, key: name }));
    got = await reply.json();
  } catch (e) {
    got = { error: String(e), rows: [] };
  }
  if (mine !== asked) return;
  list = got;
  showList();
  byID("connections-title").focus({ preventScroll: false });
}

const showList = () => fill("connections-body", list, showConnections);

// without removes a connection that was closed from the list, if that is still the same.
function without(c) {
  if (!list || !list.rows.includes(c)) return;
  list = { ...list, count: list.count - 1, rows: list.rows.filter((r) => r.id !== c.id) };
  showList();
  byID("connections-title").focus({ preventScroll: true });
}

function showConnections(l) {
  if (l.error) return [el("p", { class: "critical" }, l.error)];
  const actions = killButton(l, () => { opened = null; pick(l.key); });
  return [
    el("p", {}, number(l.count) + " connections now" + (l.left ? ", the " + number(l.rows.length) + " that are idle longest:" : ":")),
    l.kill ? copyable(l.kill, "kill") : null,
    l.kill ? note("lists them; with --yes it closes them, 50 a second. A client that leaks continues to leak: stop it, or limit its pool, first.") : null,
    l.note ? note(l.note) : null,
    actions,
    table("Connections of " + l.key, ["address", { text: "name", class: "left" }, "last command", "idle", "age", { text: "user", class: "wide" }, { text: "library", class: "wide" }, { text: "memory", class: "wide" }, "kill"],
      l.rows.map((c) => el("tr", {}, el("td", {}, c.addr), el("td", { class: "left" }, c.name), el("td", {}, c.cmd), el("td", {}, c.idle), el("td", {}, c.age),
        el("td", { class: "wide" }, c.user), el("td", { class: "wide" }, c.lib), el("td", { class: "wide" }, c.memory), el("td", { class: "kill" }, copyButton(c.kill), killOneButton(l.node, c, () => without(c)))))),
    el("p", {}, el("button", { type: "button", class: "act", "data-key": "close", onclick: () => pick(l.key) }, "close the list")),
  ];
}

function finding(f) {
  return el("article", { class: "finding " + f.level }, el("h3", {}, badge(f.severity === "note" ? "unknown" : f.level, f.severity + (f.state === "seen" ? "" : ", " + f.state)), " ", f.what),
    el("dl", {}, f.where ? [el("dt", {}, "where"), el("dd", {}, f.where)] : [], el("dt", {}, "seen"), el("dd", {}, f.seen), el("dt", {}, "do"), el("dd", {}, f.do)));
}

const showFindings = (list) => (list.length === 0 ? note("nothing was found in what could be read") : list.map(finding));

function showHeavy(h) {
  fill("buffers", [h.buffers, h.buffers_text], () => [note(h.buffers_text), h.buffers.length ? table("Output buffers", ["client", "output", "input", "last command", "kill"],
    h.buffers.map((b) => el("tr", {}, el("td", {}, b.service, el("div", { class: "note" }, b.name + " " + b.addr)), el("td", {}, b.output), el("td", {}, b.input), el("td", {}, b.command), el("td", { class: "kill" }, copyButton(b.kill), killOneButton(view.node, b, () => {}))))) : null]);
  fill("slow", [h.commands, h.commands_text], () => [note(h.commands_text), ...h.commands.map(finding)]);
  fill("blocked", [h.blocked, h.blocked_text], () => [note(h.blocked_text), h.blocked.length ? el("ul", { class: "plain" }, h.blocked.map((b) => el("li", {}, b.name + ": " + number(b.n)))) : null]);
}

// showObserved shows what the gateway noted by itself.
function showObserved(o) {
  const bold = (r, part) => (r.longest === part ? "up" : undefined);
  fill("gateway-slow", [o.slow, o.slow_text], () => [note(o.slow_text), o.slow.length ? table("Slow commands through this gateway",
    [{ text: "command", class: "left" }, "queue", "server", "write", "at", { text: "reply", class: "wide" }, { text: "client", class: "wide" }],
    o.slow.map((r) => el("tr", {}, el("td", { class: "text" }, r.command), el("td", { class: bold(r, "queue") }, r.queue), el("td", { class: bold(r, "server") }, r.server),
      el("td", { class: bold(r, "write") }, r.write), el("td", {}, time(r.at)), el("td", { class: "wide" }, r.reply), el("td", { class: "wide" }, r.client)))) : null]);
  fill("gateway-hot", [o.hot, o.hot_text], () => [note(o.hot_text), o.hot.length ? table("Hot keys of this gateway",
    [{ text: "key", class: "left" }, "share", "uses", "last command"],
    o.hot.map((r) => el("tr", {}, el("td", { class: "text" }, r.key), el("td", {}, r.share), el("td", {}, r.uses), el("td", {}, r.command)))) : null]);
  fill("gateway-big", [o.big, o.big_text], () => [note(o.big_text), o.big.length ? table("Large replies through this gateway",
    [{ text: "command", class: "left" }, "largest", "replies", "together", "last"],
    o.big.map((r) => el("tr", {}, el("td", { class: "text" }, r.command), el("td", {}, r.largest), el("td", {}, number(r.count)), el("td", {}, r.sum), el("td", {}, time(r.last))))) : null]);
}

function showAlerts(list) {
  if (list.length === 0) return note("no alert fires, is pending, or was resolved lately");
  return table("Alerts", ["state", { text: "alert", class: "left" }, "since"], list.map((a) => el("tr", {}, el("td", {}, badge(a.level, a.state)),
    el("td", { class: "text" }, el("b", {}, a.severity + " " + a.rule), ": " + a.what + (a.where ? " (" + a.where + ")" : ""),
      a.sinks.map((s) => el("div", { class: "note" }, s.sink + ": ", el("span", { class: s.level }, s.text + (s.at ? ", " + time(s.at) : ""))))), el("td", {}, time(a.since)))));
}

function showSinks(list) {
  if (list.length === 0) return el("p", { class: "critical" }, "no sink: nobody receives alerts");
  return table("Delivery of alerts", ["sink", "state", "delivered", "waiting", "failed", "dropped"], list.map((s) => el("tr", {},
    el("td", {}, s.name, s.last_error ? el("div", { class: "note" }, time(s.failed_at) + " " + s.last_error) : null),
    el("td", {}, badge(s.level, { fine: "ok", warning: "failed lately", critical: "alerts lost" }[s.level])),
    el("td", {}, number(s.delivered)), el("td", {}, number(s.waiting)), el("td", {}, number(s.failed)), el("td", {}, number(s.dropped)))));
}

function showPlan(p) {
  if (!p.planned) return note(p.text);
  return [note(p.text), table("Plan", ["service", "planned", "actual"], p.rows.map((r) => el("tr", {}, el("td", {}, r.service), el("td", {}, r.ceiling ? number(r.ceiling) : "none"),
    el("td", { class: r.level }, r.actual === undefined ? "unknown" : number(r.actual) + (r.level === "warning" ? " (over)" : "")))))];
}

const counts = (list) => list.map((c) => c.name + " " + number(c.n)).join(", ");

function showGateway(g) {
  const arrow = (text) => el("div", { class: "arrow" }, el("b", { "aria-hidden": "true" }, "→"), text);
  const waits = g.waits;
  return [
    el("p", {}, badge(g.level, g.status), " at " + g.url, g.paused.map((text) => el("div", { class: "warning" }, "PAUSED: " + text))),
    el("div", { class: "picture" },
      el("div", { class: "box" }, el("h3", {}, "Clients"), el("p", { class: "big" }, number(g.clients) + " of " + number(g.max_clients)),
        el("p", {}, g.commands + " commands a second"),
        note(number(g.blocked) + " blocked, " + number(g.subscribed) + " subscribed; " + number(g.refused) + " refused and " + number(g.slow_closed) + " slow ones closed since the start")),
      arrow("queue time " + g.queue),
      el("div", { class: "box" }, el("h3", {}, "Connections"), g.pools.length === 0 ? note("no server is known") : g.pools.map((p) => [
        el("p", { class: "big" }, "sockets " + p.sockets + " of " + p.limit),
        el("progress", { max: Math.max(1, p.limit), value: p.sockets, "aria-label": "sockets to " + p.addr }),
        el("p", {}, p.lanes + " lanes, " + p.dedicated + " dedicated, " + p.idle + " idle, " + p.subscribed + " subscribed" + (p.dialing ? ", " + p.dialing + " dialing" : "") + (p.closing ? ", " + p.closing + " closing" : "")),
        el("p", { class: p.waiting ? "warning" : "note" }, number(p.waiting) + " callers wait for a connection; " + number(p.replies_due) + " replies due"),
        p.dial_error ? el("p", { class: "critical" }, p.dial_error) : null]),
        el("p", {}, "pinned clients: " + number(g.pinned) + (g.pinned_by.length ? " (" + counts(g.pinned_by) + ")" : "")),
        waits ? el("p", {}, "blocking commands that wait without a connection: " + number(waits.waiting) + (g.waits_of.length ? " (" + counts(g.waits_of) + ")" : "")) : null,
        waits && waits.dedicated ? el("p", { class: "warning" }, "blocking commands hold connections: " + waits.dedicated) : null),
      arrow("server time " + g.server),
      el("div", { class: "box" }, el("h3", {}, "Servers"), g.pools.map((p) => el("p", {}, p.addr)))),
  ];
}

// The buttons of actions appear and disappear with the login.
setUpActions(() => {
  forget("buffers");
  if (view) showHeavy(view.heavy);
  if (!list) return;
  forget("connections-body");
  showList();
});
if (!document.hidden) connect();
