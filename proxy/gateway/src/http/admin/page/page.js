// The dashboard: asks the admin API every two seconds, and shows what it says. Whatever comes from the mesh (names, errors)
// becomes text, never markup: elements are made one by one, and only their textContent is set.
"use strict";

const PAUSE = 2000;
const MINUTE = 60000;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const samples = [];

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (className) made.className = className;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A table of rows, each a list of cells: a text, or {text, className}.
function fill(id, heads, rows, empty) {
  const table = byId(id);
  const body = element("tbody");
  const numeric = (at) => rows.length > 0 && rows.every((row) => typeof row[at] === "number" || (row[at] && row[at].className === "number"));
  if (rows.length === 0) {
    const row = element("tr");
    row.append(element("td", empty, "empty"));
    body.append(row);
    table.replaceChildren(body);
    return;
  }
  const head = element("tr");
  heads.forEach((text, at) => head.append(element("th", text, numeric(at) ? "number" : "")));
  const top = element("thead");
  top.append(head);
  for (const cells of rows) {
    const row = element("tr");
    cells.forEach((cell, at) => {
      const { text, className } = cell !== null && typeof cell === "object" ? cell : { text: cell, className: "" };
      row.append(element("td", text, numeric(at) ? "number" : className));
    });
    body.append(row);
  }
  table.replaceChildren(top, body);
}

const count = (value) => Number(value || 0).toLocaleString("en");
const age = (seconds) => (seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`);
const since = (timestamp) => (timestamp ? age(Math.max(0, Date.now() / 1000 - timestamp)) : "never");

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${value < 10 && at > 0 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return answer.json();
}

function head(status) {
  byId("version").textContent = status.version;
  byId("cluster").textContent = [status.cluster, status.workload].filter(Boolean).join(" / ");
  const phases = ["", "draining: not ready, still accepting", "draining: closing what is open"];
  const state = byId("state");
  state.textContent = phases[status.drainPhase] || (status.ready ? "ready" : `not ready, waits for ${status.waitingFor.join(", ")}`);
  state.className = `badge ${status.ready && !status.drainPhase ? "good" : "bad"}`;
  const picks = status.picksByTier;
  const all = picks.reduce((sum, one) => sum + one, 0);
  const figures = [
    ["open connections", `${count(status.open)} of ${count(status.limit)}`],
    ["served by the closest tier", all ? `${((100 * picks[0]) / all).toFixed(1)} %` : "-"],
    ["ejected now", count(status.ejected)],
    ["services", count(status.services)],
    ["routes", count(status.routes)],
    ["snapshot", `version ${status.snapshotVersion}`],
  ];
  byId("figures").replaceChildren(
    ...figures.map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
}

// Connections each second of every flow, from the oldest sample that is no older than a minute.
function rates(mesh) {
  const now = Date.now();
  const key = (flow) => JSON.stringify([flow.cluster, flow.network]);
  samples.push({ now, flows: new Map(mesh.flows.map((flow) => [key(flow), flow])) });
  while (samples.length > 2 && now - samples[0].now > MINUTE) samples.shift();
  const seconds = (now - samples[0].now) / 1000;
  return mesh.flows.map((flow) => {
    const before = samples[0].flows.get(key(flow)) || { opened: 0, failed: 0, bytesToClients: 0 };
    const rate = (name) => (seconds > 0 ? Math.max(0, flow[name] - before[name]) / seconds : 0);
    return { ...flow, perSecond: rate("opened"), failing: rate("failed"), bytesPerSecond: rate("bytesToClients") };
  });
}

function flows(mesh) {
  const shown = rates(mesh).sort((a, b) => b.perSecond - a.perSecond || b.opened - a.opened).slice(0, 12);
  const svg = byId("flows");
  const height = Math.max(1, shown.length) * 48 + 24;
  svg.setAttribute("viewBox", `0 0 960 ${height}`);
  const middle = height / 2;
  const parts = [
    drawn("rect", { x: 20, y: middle - 24, width: 200, height: 48, rx: 6 }),
    drawn("text", { x: 36, y: middle - 2 }, mesh.cluster || "this gateway"),
    drawn("text", { x: 36, y: middle + 15, class: "soft" }, "this gateway"),
  ];
  const most = Math.max(...shown.map((flow) => flow.perSecond), 0);
  shown.forEach((flow, at) => {
    const y = 36 + at * 48;
    const width = most > 0 && flow.perSecond > 0 ? 2 + (12 * flow.perSecond) / most : 1.5;
    const kind = flow.perSecond === 0 ? "still" : flow.failing > flow.perSecond / 2 || !flow.cluster ? "bad" : "";
    parts.push(drawn("path", { d: `M 222 ${middle} C 380 ${middle}, 380 ${y}, 520 ${y}`, "stroke-width": width, class: kind }));
    const where = !flow.cluster ? "nobody" : `${flow.cluster}${flow.cluster === mesh.cluster ? ", here" : ""} (${flow.network || "no network"})`;
    parts.push(drawn("text", { x: 536, y: y - 2 }, where));
    const failed = flow.failed ? `, ${count(flow.failed)} failed` : "";
    parts.push(drawn("text", { x: 536, y: y + 15, class: "soft" }, `${flow.perSecond.toFixed(1)} new/s, ${bytes(flow.bytesPerSecond)}/s back; ${count(flow.opened)} so far${failed}`));
  });
  if (shown.length === 0) parts.push(drawn("text", { x: 260, y: middle + 5, class: "soft" }, "No connection so far."));
  svg.replaceChildren(...parts);
}

function clusters(status, mesh) {
  const known = status.source.clusters || {};
  const ids = new Set([...Object.keys(known), ...mesh.places.map((place) => place.cluster)]);
  const rows = [...ids].sort().map((id) => {
    const places = mesh.places.filter((place) => place.cluster === id);
    const sum = (name) => places.reduce((all, place) => all + place[name], 0);
    const of = known[id];
    const state = of ? { text: of.state, className: of.state === "synced" ? "good" : of.state === "stale" || of.state === "frozen" ? "warn" : "bad" } : "";
    const total = sum("healthy") + sum("degraded") + sum("unhealthy");
    const error = of && (of.pending || (of.lastError && of.lastError.message));
    return [id === mesh.cluster ? `${id} (own)` : id, state, `${count(sum("healthy"))} of ${count(total)}`, of ? since(of.heardAt) : "", error || ""];
  });
  fill("clusters", ["cluster", "state", "healthy endpoints", "heard", "what went wrong"], rows, "No cluster is known.");
}

function networks(mesh, endpoints) {
  const states = new Map(endpoints.endpoints.filter((one) => one.gateway).map((one) => [one.address, one]));
  const rows = Object.entries(mesh.networks).flatMap(([network, gateways]) =>
    gateways.length === 0
      ? [[network, { text: "no gateway", className: "bad" }, "", ""]]
      : gateways.map((gateway) => {
          const seen = states.get(gateway.address);
          const state = seen ? { text: seen.state, className: ["ejected", "dead"].includes(seen.state) ? "bad" : "good" } : "not used";
          return [network, gateway.name ? `${gateway.address} (${gateway.name})` : gateway.address, gateway.clusters.join(", ") || "all", state];
        }),
  );
  fill("networks", ["network", "gateway", "clusters", "state"], rows, "No other network is known.");
}

function services(routes) {
  byId("known").textContent = `${count(routes.known)} known, the first ${count(routes.routes.length)} are shown`;
  const tier = (one) => `${one.healthy}/${one.total} (${Math.round(one.share)} %)`;
  const rows = routes.routes.map((route) => {
    const ready = route.tiers.reduce((sum, one) => sum + one.healthy + one.degraded, 0);
    // What is only elsewhere has no endpoint for those who come from elsewhere.
    const wrong = ready === 0 && route.role !== "inbound";
    const tiers = { text: route.tiers.map(tier).join(", ") || "no endpoint", className: wrong ? "bad" : ready === 0 ? "empty" : "" };
    return [route.name, { text: route.role, className: "short" }, tiers, route.open];
  });
  fill("services", ["server name", "listener", "tiers, closest first: ready of all (share)", "open"], rows, "No server name fits.");
}

function failures(latest) {
  const rows = latest.failures.map((one) => [
    { text: one.start.replace("T", " ").replace(/\.\d+Z$/, ""), className: "short" },
    { text: one.reason, className: "bad" },
    one.sni || "",
    one.client || "",
    (one.attempts || []).map((attempt) => `${attempt.address} ${attempt.outcome}`).join(", "),
  ]);
  fill("failures", ["when", "reason", "server name", "client", "attempts"], rows, "No connection has failed.");
}

function reasons(status) {
  const rows = Object.entries(status.ends).sort((a, b) => b[1] - a[1]);
  fill("reasons", ["ended for", "connections"], rows, "No connection has ended.");
}

function findings(status) {
  const found = (status.source.findings || []).map((one) => [one.kind, one.cluster, `${one.subject}: ${one.message}`]);
  const error = status.source.lastError;
  if (error) found.unshift(["source", "", error]);
  fill("findings", ["kind", "cluster", "what"], found, "Nothing was found wrong.");
}

async function once() {
  const contains = encodeURIComponent(byId("contains").value);
  const [status, mesh, endpoints, routes, latest] = await Promise.all([
    ask("status"),
    ask("mesh"),
    ask("endpoints?gateways=true"),
    ask(`routes?limit=50&contains=${contains}`),
    ask("failures?limit=20"),
  ]);
  head(status);
  flows(mesh);
  clusters(status, mesh);
  networks(mesh, endpoints);
  services(routes);
  failures(latest);
  reasons(status);
  findings(status);
}

async function forever() {
  const old = byId("old");
  try {
    await once();
    old.hidden = true;
  } catch (fault) {
    old.textContent = `this is old: ${fault.message}`;
    old.hidden = false;
  }
  setTimeout(forever, PAUSE);
}

byId("contains").addEventListener("input", () => once().catch(() => {}));
forever();
