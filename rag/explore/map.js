"use strict";
// What comes from documents becomes text nodes and nothing else.
const data = JSON.parse(document.getElementById("data").textContent);
const svg = document.getElementById("map"), tip = document.getElementById("tip"), told = document.getElementById("told");
const NS = "http://www.w3.org/2000/svg";
const SHAPES = [
  "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "M-4.5 -4.5h9v9h-9z", "M0 -5.5L5.5 4.5H-5.5z", "M0 -6L6 0L0 6L-6 0z",
];
const STAR = "M0 -11L2.9 -3.6L10.5 -3.4L4.5 1.4L6.5 8.9L0 4.6L-6.5 8.9L-4.5 1.4L-10.5 -3.4L-2.9 -3.6z";
const LABELLED = 12; // groups; more names than that only hide the dots

function make(name, attributes, into) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (into) into.append(element);
  return element;
}

const lines = make("g", {}, svg), dotsGroup = make("g", {}, svg), labels = make("g", { "aria-hidden": "true" }, svg);
const dots = data.dots.map(([name, , , , group], row) => {
  const dot = make("path", { class: `dot c${group % 10}`, d: SHAPES[Math.floor(group / 10) % 4] }, dotsGroup);
  dot.dataset.dot = row;
  return dot;
});
const threads = data.asked ? data.asked.near.map(() => make("line", { class: "line" }, lines)) : [];
const star = data.asked ? make("path", { class: "asked", d: STAR }, dotsGroup) : null;

function short(text, most) {
  const letters = Array.from(text);
  return letters.length <= most ? text : letters.slice(0, most - 1).join("") + "…";
}

function share(values, part) {
  return values.sort((a, b) => a - b)[Math.floor(values.length * part)];
}

const named = [];
if (data.groups.length <= LABELLED) {
  data.groups.forEach((name, group) => {
    const own = data.dots.filter((dot) => dot[4] === group);
    if (!own.length) return;
    const text = make("text", { class: `label c${group % 10}` }, labels);
    text.textContent = short(name, 34);
    named.push([text, share(own.map((d) => d[2]), 0.5), share(own.map((d) => d[3]), 0.15)]);
  });
}
if (data.asked) {
  const text = make("text", { class: "label askedlabel" }, labels);
  text.textContent = short(data.asked.text, 48);
  named.unshift([text, data.asked.x, data.asked.y]); // first: the others make room for it
}

// The view: pixel = place * size * scale + offset.
let scale = 1, dx = 0, dy = 0;
function size() {
  const box = svg.getBoundingClientRect();
  return [box.width, box.height];
}
function place(x, y, [w, h]) {
  return [x * w * scale + dx, y * h * scale + dy];
}
function draw() {
  const box = size();
  data.dots.forEach((dot, row) => dots[row].setAttribute("transform", `translate(${place(dot[2], dot[3], box)})`));
  if (data.asked) {
    const [x, y] = place(data.asked.x, data.asked.y, box);
    star.setAttribute("transform", `translate(${x},${y})`);
    data.asked.near.forEach(([row], n) => {
      const [x2, y2] = place(data.dots[row][2], data.dots[row][3], box);
      for (const [key, value] of Object.entries({ x1: x, y1: y, x2, y2 })) threads[n].setAttribute(key, value);
    });
  }
  const taken = []; // names make room for each other
  for (const [text, x, y] of named) {
    const wide = text.getComputedTextLength() / 2 + 4;
    let [px, py] = place(x, y, box);
    const seen = px > -wide && px < box[0] + wide && py > 0 && py < box[1] + 20;
    px = Math.min(Math.max(px, wide + 4), box[0] - wide - 4);
    py = Math.max(py - 12, 18);
    for (let step = 0; step < 20 && taken.some(([a, b, c]) => Math.abs(a - px) < c + wide && Math.abs(b - py) < 17); step++) py += 17;
    text.toggleAttribute("hidden", !seen);
    text.setAttribute("visibility", seen ? "visible" : "hidden");
    if (seen) taken.push([px, py, wide]);
    text.setAttribute("x", px);
    text.setAttribute("y", py);
  }
}

function zoom(factor, cx, cy) {
  const [w, h] = size(), next = Math.min(40, Math.max(1, scale * factor));
  cx ??= w / 2;
  cy ??= h / 2;
  dx = cx - (cx - dx) * (next / scale);
  dy = cy - (cy - dy) * (next / scale);
  scale = next;
  if (scale === 1) dx = dy = 0;
  draw();
}
function move(x, y) {
  dx += x;
  dy += y;
  draw();
}
function all() {
  scale = 1;
  dx = dy = 0;
  draw();
}
const actions = { in: () => zoom(1.6), out: () => zoom(1 / 1.6), all };
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = svg.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
svg.addEventListener("keydown", (event) => {
  const keys = {
    ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
    "+": actions.in, "=": actions.in, "-": actions.out, "0": all,
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

const touching = new Map(); // pointers that are down
let held = null;
svg.addEventListener("pointerdown", (event) => {
  touching.set(event.pointerId, [event.clientX, event.clientY]);
  held = { x: event.clientX, y: event.clientY, moved: false };
});
window.addEventListener("pointermove", (event) => {
  const before = touching.get(event.pointerId);
  if (!before) return;
  const now = [event.clientX, event.clientY];
  if (touching.size === 2) {
    const other = [...touching].find(([id]) => id !== event.pointerId)[1];
    const box = svg.getBoundingClientRect();
    const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
    zoom(apart(now) / apart(before), (now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top);
  } else {
    if (Math.hypot(now[0] - held.x, now[1] - held.y) > 3) held.moved = true;
    if (held.moved) {
      svg.classList.add("held");
      move(now[0] - before[0], now[1] - before[1]);
    }
  }
  touching.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel"]) {
  window.addEventListener(name, (event) => {
    touching.delete(event.pointerId);
    svg.classList.remove("held");
  });
}

let chosen = null;
function choose(row, bring) {
  if (chosen !== null) dots[chosen].classList.remove("chosen");
  for (const button of document.querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
  chosen = row;
  const [name, text, x, y, group] = data.dots[row];
  dots[row].classList.add("chosen");
  dotsGroup.append(dots[row]);
  for (const button of document.querySelectorAll(`[data-row="${row}"]`)) button.setAttribute("aria-current", "true");
  const head = document.createElement("b"), place_ = document.createElement("span"), body = document.createElement("p");
  head.textContent = name;
  place_.textContent = data.groups[group];
  place_.className = "soft";
  body.textContent = text;
  told.replaceChildren(head, place_, body);
  if (bring) {
    const [w, h] = size(), [px, py] = place(x, y, [w, h]);
    if (px < 0 || py < 0 || px > w || py > h) move(w / 2 - px, h / 2 - py);
  }
}
function showTip(row, px, py) {
  const [name, text] = data.dots[row], [w, h] = size();
  tip.firstChild.textContent = name;
  tip.lastChild.textContent = text;
  tip.hidden = false;
  const left = px + 14 + tip.offsetWidth > w ? px - tip.offsetWidth - 14 : px + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(py + 10, h - tip.offsetHeight - 4))}px`;
}
dotsGroup.addEventListener("pointerover", (event) => {
  const row = event.target.dataset.dot;
  if (row === undefined) return;
  const box = svg.getBoundingClientRect();
  showTip(Number(row), event.clientX - box.left, event.clientY - box.top);
});
dotsGroup.addEventListener("pointerout", () => { tip.hidden = true; });
dotsGroup.addEventListener("click", (event) => {
  const row = event.target.dataset.dot;
  if (row !== undefined && !(held && held.moved)) choose(Number(row), false);
});
for (const button of document.querySelectorAll("[data-row]")) {
  const row = Number(button.dataset.row);
  button.addEventListener("click", () => choose(row, true));
  button.addEventListener("focus", () => choose(row, true));
}
function only(group) {
  data.dots.forEach((dot, row) => dots[row].classList.toggle("dim", group !== null && dot[4] !== group));
}
for (const summary of document.querySelectorAll("[data-group]")) {
  const group = Number(summary.dataset.group);
  for (const name of ["pointerenter", "focus"]) summary.addEventListener(name, () => only(group));
  for (const name of ["pointerleave", "blur"]) summary.addEventListener(name, () => only(null));
}
new ResizeObserver(draw).observe(svg);
draw();
