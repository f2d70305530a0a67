// An answer as it is shown: its statements with citations, the exact words, and the passages with why they were found.

import { count, el, place, shown } from "./dom.js";
import { opener, show } from "./viewer.js";

const oneLine = (text) => text.replace(/\s+/gu, " ").trim();
const bare = (text) => text.replace(/[^\p{L}\p{N}]+/gu, ""); // a list's marks aren't in its statement
const where = (c) => ({ source: c.source, page: c.page ?? undefined, line: c.line, start: c.start, end: c.end, quote: c.quote });

// The few words that answer, where the reader found them.
export function short(answer) {
  if (!answer.short.length) return null;
  const parts = answer.short.flatMap((s, i) => {
    const citation = answer.citations.find((c) => c.number === s.number && oneLine(c.quote) === s.text);
    return [i ? "; " : "", shown(s.text), " ", citation ? marker(citation) : ""];
  });
  return el("p", { class: "answer-text short", dir: "auto" }, parts);
}

export function statements(answer) {
  const text = el("p", { class: "answer-text", dir: "auto" });
  for (const statement of answer.statements) {
    text.append(shown(statement.text), " ");
    for (const number of statement.citations) {
      const same = answer.citations.filter((c) => c.number === number);
      const citation = same.find((c) => bare(c.quote) === bare(statement.text)) ?? same[0];
      if (citation) text.append(marker(citation), " ");
    }
    if (!statement.supported) text.append(el("span", { class: "unsupported" }, "unsupported"), " ");
  }
  return text;
}

const marker = (c) =>
  el("button", { type: "button", class: "marker", "aria-label": `Source ${c.number}: ${place(c)}`, title: place(c), onclick: () => show(where(c)) }, String(c.number));

export function sources(answer) {
  if (!answer.citations.length) return null;
  const items = answer.citations.map((c) =>
    el("li", {}, el("button", { type: "button", class: "source", onclick: () => show(where(c)) },
      el("span", { class: "number", "aria-hidden": "true" }, String(c.number)),
      el("span", { class: "source-body" },
        el("span", { class: "source-place" }, el("bdi", {}, place(c))),
        c.table_head ? el("span", { class: "dim", dir: "auto" }, shown(c.table_head.replace(/^\|\s*|\s*\|$/gu, ""))) : null,
        el("q", { dir: "auto" }, shown(oneLine(c.quote)))))),
  );
  return el("section", { class: "sources", "aria-label": "Sources" }, el("h3", {}, "Sources"), el("ol", {}, items));
}

export function passages(list, open = false) {
  if (!list.length) return null;
  const best = Math.max(...list.map((p) => p.score), 0.000001);
  const items = list.map((p) => {
    const bar = el("meter", { min: 0, max: 1, value: Math.max(0, p.score / best), "aria-label": `Score ${p.score.toFixed(3)}` });
    const why = p.stages.map((s) => el("li", {}, el("b", {}, s.stage), ` ${s.score.toFixed(3)} `, el("span", { class: "dim" }, `rank ${s.rank}`)));
    return el("li", { class: "passage" },
      el("div", { class: "passage-head" },
        el("span", { class: "number" }, String(p.number)),
        opener({ source: p.source, page: p.page ?? undefined, line: p.line, start: p.start, end: p.end }, el("bdi", {}, place(p))),
        el("span", { class: "score" }, bar, p.score.toFixed(3))),
      p.headings.length ? el("p", { class: "dim trail", dir: "auto" }, shown(p.headings.join(" › "))) : null,
      el("p", { class: "passage-text", dir: "auto" }, shown(p.table_head ? `${p.table_head}\n${p.text}` : p.text)),
      el("ul", { class: "why", "aria-label": "Why it was found" }, why),
      p.also_in.length ? el("p", { class: "dim" }, shown(`also in ${p.also_in.join(", ")}`)) : null);
  });
  return el("details", { class: "passages", open }, el("summary", {}, `${count(list.length, "passage")} found, with scores`), el("ol", {}, items));
}

export function facts(answer, threshold) {
  const percent = Math.round(answer.confidence * 100);
  const seconds = Object.entries(answer.timings).reduce((sum, [name, s]) => sum + (name === "first_token" ? 0 : s), 0);
  return el("p", { class: "dim facts-line" },
    el("span", { class: "confidence", title: `Below ${threshold} it declines` },
      el("meter", { min: 0, max: 100, low: threshold * 100, value: percent, "aria-label": `Confidence ${answer.confidence.toFixed(2)}` }),
      `confidence ${answer.confidence.toFixed(2)}`),
    ` · ${shown(answer.generator)} · ${seconds.toFixed(2)} s`,
    answer.dropped_quotes ? ` · ${count(answer.dropped_quotes, "quote")} dropped` : "");
}
