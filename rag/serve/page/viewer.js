// A document at a citation's words: a PDF page as a picture with marks on it, everything else as text.

import { get, send, withQuery } from "./api.js";
import { count, el, note, place, put, shown } from "./dom.js";
import * as panel from "./panel.js";

const BEFORE = 20000; // characters of a text that are shown before the words
let serial = 0; // of what was opened last: what comes late for an earlier one is dropped

// `where`: source, and start and end where words are to be marked, page where a page is wanted.
export async function show(where) {
  const path = where.source;
  const body = panel.open("document", path, [el("p", { class: "told" }, "Opening…")], () => serial++);
  const mine = ++serial;
  try {
    if (/\.pdf$/i.test(path)) await showPage(body, where, mine);
    else await showText(body, where, mine);
  } catch (error) {
    if (mine === serial) put(body, el("p", { class: "told bad" }, shown(error.told ?? error.message)));
  }
}

// ---- PDF ---------------------------------------------------------------------------------------------------------

async function showPage(body, where, mine) {
  const { source: path, start, end, page } = where;
  const told = await get("/documents/page", { path, page, start, end });
  const response = await send(withQuery("/documents/page.png", { path, page: told.page, width: 1400 }));
  const address = URL.createObjectURL(await response.blob());
  if (mine !== serial) return URL.revokeObjectURL(address);
  const picture = el("img", { src: address, alt: `Page ${told.page} of ${shown(path)}`, class: "page" });
  picture.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  const sheet = el("div", { class: "sheet" }, picture);
  sheet.style.aspectRatio = `${told.width} / ${told.height}`;
  for (const [left, top, width, height] of told.boxes) {
    const box = el("div", { class: "box", "aria-hidden": "true" });
    Object.assign(box.style, { left: `${left * 100}%`, top: `${top * 100}%`, width: `${width * 100}%`, height: `${height * 100}%` });
    sheet.append(box);
  }
  const turn = (step, label) =>
    el(
      "button",
      {
        type: "button",
        disabled: told.page + step < 1 || told.page + step > told.pages,
        onclick: () => show({ source: path, page: told.page + step }),
      },
      label,
    );
  const here = told.page === where.page || where.page === undefined;
  const tools = el(
    "div",
    { class: "tools" },
    turn(-1, "Previous page"),
    el("span", {}, `Page ${told.page} of ${told.pages}`),
    turn(1, "Next page"),
    el("button", { type: "button", class: "quiet", onclick: () => asText(body, { ...where, page: here ? told.page : where.page }) }, "As text"),
  );
  put(body, tools, where.quote ? quoted(where, told) : null, sheet);
  const first = sheet.querySelector(".box");
  if (first) scrollTo(body, first);
}

function quoted(where, told) {
  const found = told.found
    ? null
    : el("p", { class: "told" }, "These words can’t be found on the page as it is drawn, so nothing is marked.");
  return el("div", {}, el("blockquote", { dir: "auto" }, shown(where.quote)), found);
}

async function asText(body, where) {
  const mine = ++serial;
  try {
    await showText(body, where, mine);
  } catch (error) {
    note(error.told ?? error.message, "bad");
  }
}

// ---- text --------------------------------------------------------------------------------------------------------

async function showText(body, where, mine) {
  const { source: path } = where;
  let from = where.from ?? Math.max(0, (where.start ?? 0) - BEFORE);
  const told = await get("/documents/text", { path, start: from });
  if (mine !== serial) return;
  from = told.start;
  const characters = Array.from(told.text); // offsets count characters, JavaScript's strings count halves of some
  const cut = (start, end) => shown(characters.slice(Math.max(0, start - from), Math.max(0, end - from)).join(""));
  const text = el("pre", { class: "text", dir: "auto", tabindex: "0", "aria-label": `Text of ${shown(path)}` });
  let mark = null;
  if (where.end > where.start && where.start >= from) {
    mark = el("mark", {}, cut(where.start, where.end));
    text.append(cut(from, where.start), mark, cut(where.end, told.end));
  } else {
    text.append(cut(from, told.end));
  }
  const move = (label, to) => el("button", { type: "button", onclick: () => asText(body, { source: path, from: to }) }, label);
  const tools = el(
    "div",
    { class: "tools" },
    el("span", {}, [told.title ? shown(told.title) : null, count(told.characters, "character"), `from line ${told.line}`].filter(Boolean).join(" · ")),
    told.start > 0 ? move("Earlier", Math.max(0, told.start - 50000)) : null,
    told.end < told.characters ? move("Later", told.end) : null,
    told.kind === "pdf" ? el("button", { type: "button", class: "quiet", onclick: () => show(where) }, "As a page") : null,
  );
  put(body, tools, told.warnings.map((warning) => el("p", { class: "told" }, shown(warning))), text);
  if (mark) scrollTo(body, mark);
}

function scrollTo(body, target) {
  const box = target.getBoundingClientRect();
  const frame = body.getBoundingClientRect();
  body.scrollTop += box.top - frame.top - Math.min(160, frame.height / 3);
}

// A button that opens a place.
export const opener = (where, ...label) =>
  el("button", { type: "button", class: "link", onclick: () => show(where) }, ...(label.length ? label : [place(where)]));
