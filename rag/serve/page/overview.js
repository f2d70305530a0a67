// What the index holds and what it was made with.

import { count, el, shown } from "./dom.js";
import * as panel from "./panel.js";
import { state } from "./talk.js";

export function openPanel() {
  const o = state.overview;
  if (!o) { // the first look at the server opens it again
    panel.open("index", "Index", [el("p", { class: "dim" }, "The server is asked…")]);
    return;
  }
  const rows = [
    ["Folder", o.name],
    ["Generation", String(o.generation)],
    ["Files", o.files.toLocaleString("en")],
    ["Chunks", o.chunks.toLocaleString("en")],
    ["Characters", o.characters.toLocaleString("en")],
    ["Outcomes", Object.entries(o.outcomes).map(([name, n]) => `${n} ${name}`).join(", ") || "none"],
    ["Embedding", o.embedding ? `${o.embedding.model}, ${o.embedding.dimension} dimensions, cosine` : "none yet"],
    ["Splitting", o.splitting ? `${o.splitting.kind}, at most ${o.splitting.max_tokens} tokens` : "none yet"],
    ["Written by", o.generator],
    ["Follow-ups", o.rewrites ? "rewritten with what was said before" : "not understood by this generator: each question stands alone"],
    ["Declines below", `confidence ${o.min_confidence}`],
  ];
  const warnings = Object.entries(o.warnings).map(([path, told]) => el("li", {}, el("bdi", {}, shown(path)), el("span", { class: "dim" }, ` ${shown(told.join("; "))}`)));
  panel.open("index", "Index", [
    el("dl", { class: "facts-table" }, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, shown(value))]).flat()),
    warnings.length ? el("section", {}, el("h3", {}, `${count(warnings.length, "file")} with warnings`), el("ul", { class: "plain" }, warnings)) : null,
  ]);
}
