// The folder's sync: started, followed, stopped, and what didn't get in.

import { events, get, post } from "./api.js";
import { $, count, el, note, put, say, shown } from "./dom.js";

let following = false;
let wanted = false; // to be followed: the sync of now, or the one after it
let latest = null; // the state as GET /sync gives it
let ended = 0; // the number of the last sync whose end was heard
let heard = () => {};

// `changed` is called when a sync has ended.
export function onEnd(changed) {
  heard = changed;
}

export const box = () => {
  const place = el("section", { id: "sync-box", class: "sync", "aria-label": "Sync" });
  draw(place);
  return place;
};

function draw(place = $("sync-box")) {
  if (!place) return;
  const state = latest?.state ?? "idle";
  const running = state === "running" || state === "stopping";
  const total = latest?.total_bytes ?? 0;
  const bar = el("progress", { "aria-label": "Sync progress", ...(total ? { value: latest.bytes, max: total } : {}) });
  const told = {
    idle: "The index is as the last sync left it.",
    running: `Syncing: ${count(latest?.files ?? 0, "file")} seen, ${(latest?.tokens ?? 0).toLocaleString("en")} tokens embedded`,
    stopping: "Stopping…",
    stopped: "Stopped; what was done is kept.",
    failed: shown(latest?.error ? `${latest.error.message} ${latest.error.hint}` : "It failed."),
    done: latest?.report ? reported(latest.report) : "",
  }[state];
  if (running && place.dataset.state === state) { // the button stays: it may be just being pressed
    $("sync-told").textContent = told;
    place.querySelector("progress").replaceWith(bar);
    if (place.querySelectorAll(".failures li").length < latest.not_indexed.length) {
      place.querySelector(".failures")?.remove();
      place.append(failures());
    }
    return;
  }
  place.dataset.state = state;
  const stopping = state === "stopping"; // not `disabled`, which would take the focus away
  put(place,
    el("div", { class: "row" },
      el("p", { class: state === "failed" ? "told bad" : "told", id: "sync-told" }, told),
      running
        ? el("button", { type: "button", "aria-disabled": stopping ? "true" : null, onclick: stopping ? () => {} : stop }, "Stop")
        : el("button", { type: "button", class: "strong", onclick: begin }, "Sync now")),
    running ? bar : null,
    failures());
}

function failures() {
  const list = latest?.not_indexed ?? [];
  if (!list.length) return null;
  const items = list.map((file) => el("li", {}, el("span", { class: `badge ${file.outcome}` }, file.outcome), " ", el("bdi", {}, shown(file.path)), el("span", { class: "dim" }, ` ${shown(file.reason)}`)));
  return el("details", { class: "failures", open: list.some((f) => f.outcome === "failed") }, el("summary", {}, `${count(list.length, "file")} not indexed`), el("ul", {}, items));
}

function reported(report) {
  const parts = [["added", report.num_added], ["updated", report.num_updated], ["moved", report.num_moved], ["deleted", report.num_deleted], ["unchanged", report.num_skipped]]
    .filter(([, n]) => n)
    .map(([name, n]) => `${n.toLocaleString("en")} ${name}`);
  return `${parts.join(", ") || "Nothing to index"} · ${count(report.chunks, "chunk")} · ${report.seconds.toFixed(1)} s`;
}

const begin = () => ordered("/sync");
const stop = () => ordered("/sync/stop");

// What comes of it is told by the events; the answer to the order may be older than what they told by now.
async function ordered(path) {
  try {
    await post(path, {});
  } catch (error) {
    note(error.told ?? error.message, "bad");
  }
  follow();
}

// Draws what happens until the sync has ended; called meanwhile, also what comes after it.
export async function follow() {
  wanted = true;
  if (following) return;
  following = true;
  try {
    while (wanted) {
      wanted = false;
      for await (const [name, told] of events("/sync/events")) await take(name, told);
    }
  } catch {
    // the connection ended: the next look at the server's state begins anew
  } finally {
    following = false;
    draw();
  }
}

async function take(name, told) {
  if (name === "state" || name === "end") latest = told;
  else if (name === "scan") latest.files = told.files;
  else if (name === "file") {
    latest.settled += 1;
    if (told.reason) latest.not_indexed.push(told);
  } else if (name === "progress") Object.assign(latest, told, { files: latest.files });
  draw();
  // One that ended before it could be followed is told by its state alone.
  if (!["done", "stopped", "failed"].includes(latest.state) || (name === "state" && latest.number === ended)) return;
  ended = latest.number;
  const failed = latest.not_indexed.filter((f) => f.outcome === "failed").length;
  say(`Sync ${latest.state}${failed ? `, ${count(failed, "file")} failed` : ""}`);
  if (latest.state === "failed") note(latest.error.message, "bad");
  else if (failed) note(`${count(failed, "file")} could not be read: see Files`, "bad");
  await heard();
}

// How it stands when the page opens: what ended before isn't told as news.
export async function refresh() {
  if (following) return;
  latest = await get("/sync");
  if (latest.state !== "running" && latest.state !== "stopping") ended = latest.number;
  draw();
}
