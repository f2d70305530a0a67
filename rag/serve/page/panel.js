// The panel beside the conversation: one thing at a time, focus goes in when it opens and back when it closes.

import { $, put, shown } from "./dom.js";

let opener = null;
let closing = () => {};

export const current = () => ($("panel").hidden ? null : $("panel").dataset.kind);

export function open(kind, title, children, onclose = () => {}) {
  const panel = $("panel");
  const active = document.activeElement;
  if (panel.hidden || !panel.contains(active)) opener = active;
  closing();
  closing = onclose;
  panel.dataset.kind = kind;
  panel.hidden = false;
  document.body.classList.add("with-panel");
  $("panel-title").textContent = shown(title);
  put($("panel-body"), children);
  $("panel-body").scrollTop = 0;
  mark(kind);
  $("panel-title").focus({ preventScroll: true });
  return $("panel-body");
}

export function close() {
  if ($("panel").hidden) return;
  closing();
  closing = () => {};
  $("panel").hidden = true;
  document.body.classList.remove("with-panel");
  mark(null);
  if (opener?.isConnected) opener.focus();
  else $("question").focus();
}

function mark(kind) {
  for (const name of ["files", "index"]) $(`open-${name}`).setAttribute("aria-expanded", String(kind === name));
}

$("close-panel").addEventListener("click", close);
