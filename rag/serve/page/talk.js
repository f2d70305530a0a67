// The conversation: asking, the answer as it is made, stopping, and what was said before.

import { Failure, asJson, events } from "./api.js";
import { facts, passages, short, sources, statements } from "./answer.js";
import { $, count, el, note, put, say, shown } from "./dom.js";
import { opener } from "./viewer.js";

const HISTORY = 6; // messages
let history = [];
let running = null; // AbortController

export const state = { overview: null, paths: [] };

function filter() {
  const value = $("filter").value.trim();
  if (!value) return null;
  // A file's own name means just that file, whatever signs are in it; anything else may be a pattern.
  return { path: state.paths.includes(value) ? value.replace(/[[*?]/gu, "[$&]") : value };
}

async function ask(question) {
  $("welcome")?.remove();
  const stage = el("p", { class: "stage" }, el("span", { class: "pulse", "aria-hidden": "true" }), el("span", { class: "stage-text" }, "Asking…"));
  const body = el("div", { class: "answer", "aria-busy": "true" }, stage);
  const chosen = filter();
  const asked = el("h2", { class: "question", dir: "auto" }, shown(question));
  const turn = el("article", { class: "turn", "aria-label": `Question: ${shown(question)}` }, asked, chosen ? el("p", { class: "dim" }, "in ", el("bdi", {}, shown($("filter").value.trim()))) : null, body);
  $("turns").append(turn);
  turn.scrollIntoView({ block: "end", behavior: "smooth" });
  running = new AbortController();
  busy(true);
  const tell = (text) => {
    stage.querySelector(".stage-text").textContent = text;
    say(text);
  };
  const draft = el("p", { class: "draft", dir: "auto" });
  let found = [];
  try {
    const form = { question, filter: chosen, history: state.overview?.rewrites ? history.slice(-HISTORY) : [], stream: true };
    for await (const [name, told] of events("/ask", { ...asJson(form), signal: running.signal })) {
      if (name === "queued") tell(`Waiting: ${count(told.ahead, "question")} ahead`);
      else if (name === "rewriting") tell("Reading the conversation…");
      else if (name === "retrieving") tell("Searching…");
      else if (name === "passages") {
        found = told.passages;
        tell(`${count(found.length, "passage")} found, writing…`);
      } else if (name === "tokens") {
        if (!draft.isConnected) put(body, stage, el("p", { class: "dim" }, "Unchecked while it is written:"), draft);
        draft.append(shown(told.text));
        turn.scrollIntoView({ block: "end" });
      } else if (name === "citations") tell("Checked");
      else if (name === "done") finish(body, question, told.answer);
      else if (name === "error") throw new Failure(0, told);
    }
  } catch (error) {
    const stopped = error.name === "AbortError";
    const told = stopped ? "Stopped." : (error.told ?? error.message);
    put(body, el("p", { class: stopped ? "told" : "told bad" }, shown(told)), passages(found));
    say(told);
  } finally {
    body.removeAttribute("aria-busy");
    running = null;
    busy(false);
    turn.scrollIntoView({ block: "nearest" });
  }
}

function finish(body, question, answer) {
  const rewritten = answer.question !== question.replace(/\s+/gu, " ").trim();
  const parts = [];
  if (rewritten) parts.push(el("p", { class: "dim", dir: "auto" }, "Searched for: ", el("i", {}, shown(answer.question))));
  if (answer.abstained) {
    parts.push(el("p", { class: "answer-text abstained" }, shown(answer.text)));
    parts.push(el("p", { class: "dim" }, "Why: ", shown(answer.reason ?? "")));
    const nearest = answer.passages.slice(0, 3).map((p) => el("li", {}, opener({ source: p.source, page: p.page ?? undefined, line: p.line, start: p.start, end: p.end })));
    if (nearest.length) parts.push(el("div", { class: "nearest" }, el("h3", {}, "Nearest places"), el("ul", {}, nearest)));
  } else {
    parts.push(short(answer), statements(answer));
    if (answer.reason) parts.push(el("p", { class: "dim" }, shown(answer.reason)));
    parts.push(sources(answer));
  }
  parts.push(facts(answer, state.overview?.min_confidence ?? 0.3), passages(answer.passages));
  put(body, parts);
  history.push({ role: "user", content: question }, { role: "assistant", content: answer.text });
  $("fresh").hidden = false;
  say(answer.abstained ? answer.text : `Answer ready, ${count(answer.citations.length, "source")}. ${answer.text}`);
}

function busy(on) {
  $("send").hidden = on;
  $("stop").hidden = !on;
  if (on) $("stop").focus();
  else $("question").focus({ preventScroll: true });
}

export function stop() {
  running?.abort();
}

export function start() {
  const field = $("question");
  const grow = () => {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, 220)}px`;
  };
  field.addEventListener("input", grow);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("ask").requestSubmit();
    }
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const question = field.value.trim();
    if (!question || running) return;
    field.value = "";
    grow();
    ask(question).catch((error) => note(error.message, "bad"));
  });
  $("stop").addEventListener("click", stop);
  $("fresh").addEventListener("click", () => {
    stop(); // what is being answered belongs to the old one: it would be said and remembered in the new
    history = [];
    $("turns").replaceChildren();
    $("fresh").hidden = true;
    field.focus();
  });
}
