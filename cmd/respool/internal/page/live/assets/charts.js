// Charts of the history: uPlot draws them.
import { byID, time, number } from "./tables.js";

const most = 2880; // points; the page thins them beyond
const series = { node: "", points: [], marks: [] };
let charts = [];

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

// setHistory replaces the history, or continues it after a reconnection.
export function setHistory(h) {
  if (h.node !== series.node) Object.assign(series, { node: h.node, points: [], marks: [] });
  h.points.forEach(addPoint);
  addMarks(h.marks);
}

export function addPoint(p) {
  const list = series.points;
  while (list.length && list[list.length - 1][0] >= p[0]) list.pop();
  list.push(p);
  while (list.length && p[0] - list[0][0] > 7200) list.shift();
  if (list.length > most) series.points = list.filter((_, i) => i % 2 === list.length % 2 || i === list.length - 1);
}

export function addMarks(list) {
  for (const m of list) {
    if (!series.marks.some((k) => k.at === m.at && k.text === m.text)) series.marks.push(m);
  }
  series.marks.sort((a, b) => a.at - b.at);
}

export const marks = () => series.marks;
export const lastTime = () => (series.points.length ? Math.round(series.points[series.points.length - 1][0] * 1000) : 0);

const clock = (u, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: ticks.length > 1 && ticks[1] - ticks[0] < 60 ? "2-digit" : undefined, hour12: false }));

function axes(short) {
  const common = { stroke: color("soft"), grid: { stroke: color("grid"), width: 1 }, ticks: { stroke: color("grid") } };
  return [{ ...common, values: clock, space: 70 }, { ...common, size: 52, space: short ? 22 : 36, values: (u, list) => list.map((v) => number(v)) }];
}

function lines(u, occupancy) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  const across = (y, style, dash) => {
    const at = u.valToPos(y, "y", true);
    ctx.strokeStyle = style;
    ctx.setLineDash(dash);
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(left, at);
    ctx.lineTo(left + width, at);
    ctx.stroke();
  };
  if (occupancy && occupancy.limit) {
    for (const l of occupancy.lines) across(l.share * occupancy.limit, color(l.level), [6 * devicePixelRatio, 5 * devicePixelRatio]);
  }
  for (const m of series.marks) {
    if (m.kind === "resolved") continue;
    const x = u.valToPos(m.at, "x", true);
    ctx.strokeStyle = ctx.fillStyle = m.kind === "restart" ? color("limit") : color("critical");
    ctx.setLineDash(m.kind === "restart" ? [] : [2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    const s = 5 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x - s, top);
    ctx.lineTo(x + s, top);
    ctx.lineTo(x, top + 1.6 * s);
    ctx.fill();
  }
  ctx.restore();
}

// outlook appends the forecast to the data: the earliest and the latest way to the limit.
function outlook(data, occupancy) {
  const [x, connections, limit, early, late] = data;
  const f = occupancy.forecast;
  const n = x.length;
  if (!f || !occupancy.limit || !n || connections[n - 1] === null) return data;
  const now = x[n - 1], from = connections[n - 1], way = occupancy.limit - from;
  const soon = f.earliest_s > 0 ? f.earliest_s : f.full_in_s, last = f.latest_s > 0 ? f.latest_s : f.full_in_s;
  const span = Math.max(now - x[0], 30);
  const end = Math.min(Math.max(last, span * 0.15), span * 0.6);
  early[n - 1] = late[n - 1] = from;
  for (const d of [...new Set([Math.min(soon, end), Math.min(last, end), end])].sort((a, b) => a - b)) {
    if (d <= 0) continue;
    x.push(now + d);
    connections.push(null);
    limit.push(occupancy.limit);
    early.push(Math.min(occupancy.limit, from + (way * d) / Math.max(soon, 1)));
    late.push(Math.min(occupancy.limit, from + (way * d) / Math.max(last, 1)));
  }
  return data;
}

function occupancyData(occupancy) {
  const p = series.points;
  return outlook([p.map((q) => q[0]), p.map((q) => q[1]), p.map((q) => q[2]), p.map(() => null), p.map(() => null)], occupancy);
}

const peakOf = (column) => series.points.reduce((m, p) => (p[column] !== null && (!m || p[column] > m[column]) ? p : m), null);

let occupancy = { lines: [] };

// top is the upper end of the occupancy chart: the limit, unless it is far away.
function top() {
  const peak = peakOf(1);
  const most = peak ? peak[1] : 1;
  if (occupancy.limit && (most >= 0.2 * occupancy.limit || occupancy.forecast)) return 1.06 * Math.max(occupancy.limit, most);
  return Math.max(10, 1.5 * most);
}

function make() {
  for (const c of charts) c.destroy();
  charts = [];
  const line = (stroke, more) => ({ stroke, width: 2, points: { show: false }, ...more });
  const base = (target, height) => ({ width: Math.max(200, target.clientWidth), height, legend: { show: false }, cursor: { show: false }, padding: [10, 8, 0, 0] });
  const first = byID("occupancy-chart"), second = byID("churn-chart");
  charts.push(new uPlot({ ...base(first, innerWidth < 500 ? 190 : 240), axes: axes(false),
    scales: { y: { range: () => [0, top()] } },
    series: [{}, line(color("line"), { width: 2.5, fill: color("line") + "22" }), line(color("limit")), line(color("critical"), { width: 1 }), line(color("critical"), { width: 1 })],
    bands: [{ series: [3, 4], fill: color("band") }, { series: [4, 3], fill: color("band") }],
    hooks: { draw: [(u) => lines(u, occupancy)] } }, occupancyData(occupancy), first));
  charts.push(new uPlot({ ...base(second, 130), axes: axes(true), scales: { y: { range: (u, low, high) => [0, Math.max(1, 1.15 * (high || 0))] } },
    series: [{}, line(color("line")), line(color("second"))], hooks: { draw: [(u) => lines(u, null)] } }, churnData(), second));
}

const churnData = () => [series.points.map((p) => p[0]), series.points.map((p) => p[3]), series.points.map((p) => p[4])];

// draw shows the history with the present limit and forecast.
export function draw(o) {
  occupancy = o;
  if (!series.points.length || typeof uPlot === "undefined") return;
  if (!charts.length) make();
  charts[0].setData(occupancyData(o));
  charts[1].setData(churnData());
  byID("occupancy-caption").textContent = caption();
}

function caption() {
  const peak = peakOf(1), p = series.points;
  const now = p[p.length - 1];
  let text = "now " + (now[1] === null ? "unknown" : number(now[1]));
  if (peak) text += ", highest " + number(peak[1]) + " at " + time(peak[0]);
  text += ", since " + time(p[0][0]);
  if (occupancy.limit && occupancy.limit > top()) text += "; the limit of " + number(occupancy.limit) + " is above this chart";
  return text;
}

new ResizeObserver(() => {
  if (!charts.length) return;
  for (const [i, id] of ["occupancy-chart", "churn-chart"].entries()) {
    const width = byID(id).clientWidth;
    if (Math.abs(charts[i].width - width) > 1) charts[i].setSize({ width: Math.max(200, width), height: charts[i].height });
  }
}).observe(document.body);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (charts.length) make(); });
