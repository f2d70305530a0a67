// The beginning: keys, theme, and a look at the server now and then, so that a sync made elsewhere is seen.

import { get } from "./api.js";
import { $, count, el, note, put, shown } from "./dom.js";
import * as files from "./files.js";
import * as overview from "./overview.js";
import * as panel from "./panel.js";
import * as sync from "./sync.js";
import * as talk from "./talk.js";

const LOOK_MS = 3000;
const THEMES = { system: ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };
let unreachable = false;

async function look() {
  const now = await get("/status");
  const before = talk.state.overview; // as it is now: another look may have come in between
  talk.state.overview = now;
  $("name").textContent = shown(now.name);
  $("holds").textContent = now.syncing ? "syncing…" : now.generation ? `${count(now.files, "file")} · ${count(now.chunks, "chunk")}` : "not indexed yet";
  welcome(now);
  // Counting begins anew for another index: a server may have been started over another folder since.
  if (!before || before.generation !== now.generation || before.name !== now.name) {
    await files.load();
    if (before) note(`The index was updated: ${count(now.files, "file")}`);
    if (panel.current() === "index") overview.openPanel();
  }
  if (now.syncing) sync.follow();
}

function welcome(now) {
  const list = $("state-list");
  if (!list) return;
  const told = now.generation
    ? [`${count(now.files, "file")} in ${count(now.chunks, "chunk")}`, now.generator === "extractive" ? "in the documents’ own sentences" : `written by ${now.generator}, then checked`, now.rewrites ? "follow-ups are understood" : "each question stands alone"]
    : [now.syncing ? "The folder is being indexed for the first time" : "Nothing is indexed yet: open Files and sync"];
  put(list, told.map((text) => el("li", {}, shown(text))));
}

async function watch() {
  try {
    if (!document.hidden) await look();
    unreachable = false;
  } catch (error) {
    if (!unreachable) note(error.told ?? error.message, "bad");
    unreachable = true;
  }
  setTimeout(watch, LOOK_MS);
}

function theme() {
  const names = Object.keys(THEMES);
  const apply = (name) => {
    const [sign, told] = THEMES[name];
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    $("theme").setAttribute("aria-label", `Theme: ${told}`);
    put($("theme"), el("span", { "aria-hidden": "true" }, sign));
    localStorage.setItem("rag-theme", name);
  };
  const stored = localStorage.getItem("rag-theme");
  apply(names.includes(stored) ? stored : "system");
  $("theme").addEventListener("click", () => apply(names[(names.indexOf(localStorage.getItem("rag-theme")) + 1) % names.length]));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("question").focus();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (panel.current()) panel.close();
    else talk.stop();
  }
});
$("open-files").addEventListener("click", () => (panel.current() === "files" ? panel.close() : files.openPanel()));
$("open-index").addEventListener("click", () => (panel.current() === "index" ? panel.close() : overview.openPanel()));

theme();
talk.start();
files.start();
sync.onEnd(async () => {
  await look();
  await files.load();
});
$("question").focus();
watch().then(() => sync.refresh().catch(() => {}));
