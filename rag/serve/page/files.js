// The folder's files: found by name, opened, asked in alone, added, deleted.

import { get, send, withQuery } from "./api.js";
import { $, count, el, note, put, shown, sure } from "./dom.js";
import * as panel from "./panel.js";
import * as sync from "./sync.js";
import { state } from "./talk.js";
import { show } from "./viewer.js";

const SHOWN = 500; // rows; a search narrows them down
let files = [];
let loads = 0;

export async function load() {
  const load = ++loads;
  const { files: now } = await get("/documents");
  if (load < loads) return; // one asked for later: it brings what is as new, or newer
  files = now;
  state.paths = files.filter((f) => f.chunks).map((f) => f.path);
  put($("paths"), state.paths.slice(0, 2000).map((path) => el("option", { value: path })));
  draw();
}

export function openPanel() {
  const search = el("input", { id: "file-search", type: "search", placeholder: "Find a file", "aria-label": "Find a file", oninput: draw });
  const pick = el("input", { id: "pick", type: "file", multiple: true, class: "hidden changes", "aria-label": "Files to add", onchange: (event) => {
    add([...event.target.files]);
    event.target.value = ""; // or the same file, picked again, would be no change
  } });
  panel.open("files", "Files", [
    sync.box(),
    el("div", { class: "row" }, search, el("label", { class: "button changes", for: "pick" }, "Add files"), pick),
    el("p", { class: "dim changes" }, "Files can also be dropped anywhere on the page. They are written into the document folder."),
    el("p", { id: "file-count", class: "dim", role: "status" }),
    el("ul", { id: "file-list", class: "files" }),
  ]);
  draw();
}

function draw() {
  const list = $("file-list");
  if (!list) return;
  // Whether they may be changed isn't known before the server's first answer: the panel may be open by then.
  for (const node of $("panel-body").querySelectorAll(".changes")) node.hidden = !state.overview?.changes;
  const wanted = $("file-search").value.trim().toLowerCase();
  const found = files.filter((f) => f.path.toLowerCase().includes(wanted));
  $("file-count").textContent = found.length > SHOWN ? `${count(found.length, "file")}, the first ${SHOWN} are shown` : count(found.length, "file");
  put(list, found.slice(0, SHOWN).map(row));
}

function row(file) {
  const name = el("bdi", {}, shown(file.path));
  const held = [[file.chunks, "chunk"], [file.pictures, "picture"], [file.windows, "window"]].filter(([n]) => n);
  const told = held.map(([n, what]) => count(n, what)).join(" · ") || shown(file.reason ?? "");
  return el("li", {},
    el("div", { class: "file" },
      file.chunks ? el("button", { type: "button", class: "link", onclick: () => show({ source: file.path }) }, name) : el("span", { class: "file-name" }, name),
      el("span", { class: "dim" }, el("span", { class: `badge ${file.outcome}` }, file.outcome), " ", told)),
    el("div", { class: "file-tools" },
      file.chunks ? el("button", { type: "button", class: "quiet", "aria-label": `Ask in ${shown(file.path)} only`, onclick: () => askIn(file.path) }, "Ask in it") : null,
      state.overview?.changes ? el("button", { type: "button", class: "quiet", "aria-label": `Delete ${shown(file.path)}`, onclick: () => remove(file.path) }, "Delete") : null));
}

function askIn(path) {
  $("filter").value = path;
  panel.close();
  $("question").focus();
}

async function remove(path) {
  if (!(await sure("Delete this file?", `${path} is deleted from the folder, not only from the index.`, "Delete"))) return;
  try {
    await send(withQuery("/documents", { path }), { method: "DELETE" });
    sync.follow();
  } catch (error) {
    note(error.told ?? error.message, "bad");
  }
}

export async function add(given, replace = false) {
  if (!given.length) return;
  const form = new FormData();
  for (const file of given) form.append("files", file, file.name);
  try {
    const { stored } = await (await send(withQuery("/documents", replace ? { replace } : {}), { method: "POST", body: form })).json();
    note(`${count(stored.length, "file")} added, syncing`);
    if (panel.current() !== "files") openPanel();
    sync.follow();
  } catch (error) {
    if (error.type === "Exists" && !replace) {
      if (await sure("Replace what is there?", error.message, "Replace")) await add(given, true);
    } else note(error.told ?? error.message, "bad");
  }
}

export function start() {
  const over = (event) => state.overview?.changes && [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0;
  document.addEventListener("dragenter", (event) => {
    if (over(event) && ++depth) $("drop").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (over(event) && --depth <= 0) $("drop").hidden = true;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    $("drop").hidden = true;
    if (over(event)) add([...event.dataTransfer.files]);
  });
}
