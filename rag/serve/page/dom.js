// The only place where elements are made. Strings become text nodes: whatever a document holds, it is shown as text.

const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/gu;

export const $ = (id) => document.getElementById(id);

// Characters that turn the reading direction are named instead of obeyed, others that can't be seen become a sign.
export function shown(text) {
  return String(text)
    .replace(TURNING, (c) => `⟦U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟧`)
    .replace(CONTROLS, "�");
}

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

let opener = null; // gets the focus when the question of `sure` is answered

// What had the focus, or is to get it back, hands it to what takes its place: the same by name, else what stands where
// it stood.
export function put(parent, ...children) {
  const held = [document.activeElement, opener].find((node) => node && node !== parent && parent.contains(node));
  const at = held ? reachable(parent).indexOf(held) : -1;
  parent.replaceChildren(...children.flat().filter(Boolean));
  if (!held || parent.contains(document.activeElement)) return;
  const now = reachable(parent);
  const heir = now.find((node) => named(node) === named(held)) ?? now[Math.min(at, now.length - 1)];
  if (held === opener) opener = heir;
  else heir?.focus({ preventScroll: true });
}

const reachable = (parent) => [...parent.querySelectorAll("button:not([disabled]), input, summary, [tabindex='0']")];
const named = (node) => node.getAttribute("aria-label") ?? node.textContent;

// For screen readers.
export function say(text) {
  $("said").textContent = text;
}

// A line at the bottom that goes away by itself, unless it is a failure.
export function note(text, kind = "") {
  const line = el("p", { class: `note ${kind}` }, shown(text));
  const close = el("button", { type: "button", class: "quiet icon", "aria-label": "Dismiss", onclick: () => line.remove() }, "✕");
  line.append(close);
  $("notes").append(line);
  if (kind !== "bad") setTimeout(() => line.remove(), 6000);
}

export async function sure(title, text, yes) {
  const dialog = $("sure");
  $("sure-title").textContent = shown(title);
  $("sure-text").textContent = shown(text);
  $("sure-yes").textContent = yes;
  dialog.returnValue = "no";
  opener = document.activeElement;
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  opener?.focus({ preventScroll: true }); // the browser does so too, but only to what stood there when it was asked
  opener = null;
  return dialog.returnValue === "yes";
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

// As the command line names a place: "handbook.pdf, page 3", "talk.pptx, slide 3", "talk.srt, at 02:13" or "notes.md:41".
export const place = ({ source, page, line, seconds }) =>
  shown(seconds != null ? `${source}, at ${clock(seconds)}` : page ? `${source}, ${/\.pp\w+$/i.test(source) ? "slide" : "page"} ${page}` : `${source}:${line}`);

const clock = (seconds) => {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return (parts[0] ? parts : parts.slice(1)).map((part, i) => (i || !parts[0] ? String(part).padStart(2, "0") : part)).join(":");
};
