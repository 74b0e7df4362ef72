"use strict";
// The page works without this; with it, boxes tell what is in them and folded blocks unfold.
const root = document.documentElement;
const panel = document.getElementById("details");
const about = panel.innerHTML;
let pinned = null;
root.classList.add("js");

// Colors: the reader's choice, else the system's.
document.getElementById("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme || (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});

// Details stand beside the picture, or below it where they would cover it.
const picture = document.querySelector(".sheet");
function arrange() {
  root.classList.remove("below");
  root.classList.toggle("below", picture.scrollWidth > picture.clientWidth);
}
addEventListener("resize", arrange);

// Details: the rows of the table of operations that a box stands for.
function operations(part) {
  const column = part.closest("[data-column]").dataset.column;
  return document.getElementById("operations" + column).tBodies[0];
}

function element(tag, text, look) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (look) made.className = look;
  return made;
}

function tell(unit) {
  document.querySelectorAll(".u.on").forEach((other) => other.classList.remove("on"));
  if (!unit) {
    panel.innerHTML = about;
    return;
  }
  unit.classList.add("on");
  const label = unit.querySelector("text");
  const rows = operations(unit).rows;
  const numbers = unit.dataset.n.split(" ");
  const first = rows[numbers[0]].cells[1].textContent;
  const head = label ? label.textContent : unit.matches(".w") ? "shortcut" : first;
  const parts = [element("h2", head)];
  for (const number of numbers) {
    const cells = [...rows[number].cells].map((cell) => cell.textContent);
    const names = ["shape", "parameters", "multiply-adds", "sees", "stride"];
    const part = element("div", "", "operation");
    part.append(element("strong", cells[1]), element("p", cells[0]));
    const list = document.createElement("dl");
    names.forEach((name, i) => {
      if (cells[i + 2]) list.append(element("dt", name), element("dd", cells[i + 2]));
    });
    part.append(list);
    parts.push(part);
  }
  panel.replaceChildren(...parts);
}

// Folded blocks: the one that is drawn is repeated, its operations counted on.
function open(run) {
  if (run.classList.contains("open")) return;
  const { count, step, height } = run.dataset;
  const folded = run.querySelector("svg");
  const width = folded.getAttribute("width");
  const body = folded.querySelector(".body");
  const table = operations(run);
  const all = document.createDocumentFragment();
  const close = element("button", "fold × " + count);
  close.addEventListener("click", () => fold(run));
  all.append(close);
  for (let k = 0; k < count; k++) {
    const copy = folded.cloneNode(false);
    const inside = body.cloneNode(true);
    inside.querySelectorAll(".u").forEach((unit) => {
      unit.dataset.n = unit.dataset.n.split(" ").map((n) => Number(n) + k * step).join(" ");
      const cells = table.rows[unit.dataset.n.split(" ")[0]].cells;
      unit.querySelector("title").textContent = cells[0].textContent + " · " + cells[1].textContent;
    });
    copy.setAttribute("height", height);
    copy.setAttribute("viewBox", folded.dataset.left + " 0 " + width + " " + height);
    copy.append(inside);
    all.append(copy);
  }
  folded.style.display = "none";
  run.append(all);
  run.classList.add("open");
}

function fold(run) {
  const [first, ...rest] = run.children;
  rest.forEach((part) => part.remove());
  first.style.display = "";
  run.classList.remove("open");
}

// Unfolded from the start where there is room.
const runs = [...document.querySelectorAll(".run")];
const all = document.getElementById("unfold");
if (!runs.length) all.remove();
if ("unfold" in document.querySelector("main").dataset) {
  runs.forEach(open);
  all.textContent = "Fold all";
}
all.addEventListener("click", () => {
  const closed = runs.filter((run) => !run.classList.contains("open"));
  if (closed.length) closed.forEach(open);
  else runs.forEach(fold);
  all.textContent = closed.length ? "Fold all" : "Unfold all";
});

// Pointer and keyboard: hover shows, click keeps; arrows go from box to box.
document.addEventListener("pointerover", (event) => {
  const unit = event.target.closest(".u");
  if (unit && !pinned) tell(unit);
});
document.addEventListener("click", (event) => {
  const badge = event.target.closest(".count");
  if (badge) return open(badge.closest(".run"));
  const unit = event.target.closest(".u");
  if (unit) choose(unit);
});

function choose(unit) {
  pinned = pinned === unit ? null : unit;
  tell(unit);
}

document.querySelectorAll(".count").forEach((badge) => {
  badge.setAttribute("tabindex", "0");
  badge.setAttribute("role", "button");
  badge.setAttribute("aria-label", badge.textContent + ", unfold");
});
const start = document.querySelector(".u");
if (start) {
  start.setAttribute("tabindex", "0");
  start.setAttribute("role", "button");
}

function near(unit, key) {
  const column = unit.closest("[data-column]").dataset.column;
  const units = (name) => [...document.querySelectorAll(`[data-column="${name}"] .u`)]
    .filter((other) => other.getClientRects().length);
  if (key === "ArrowUp" || key === "ArrowDown") {
    const list = units(column);
    return list[list.indexOf(unit) + (key === "ArrowDown" ? 1 : -1)];
  }
  const list = units(Number(column) + (key === "ArrowRight" ? 1 : -1));
  const y = unit.getBoundingClientRect().top;
  const far = (other) => Math.abs(other.getBoundingClientRect().top - y);
  return list.reduce((best, other) => (!best || far(other) < far(best) ? other : best), null);
}

document.addEventListener("keydown", (event) => {
  const here = document.activeElement;
  if (event.key === "Escape") {
    pinned = null;
    return tell(null);
  }
  if (event.key === "Enter" || event.key === " ") {
    if (here.matches(".count")) open(here.closest(".run"));
    else if (here.matches(".u")) choose(here);
    else return;
    return event.preventDefault();
  }
  if (!here.matches(".u") || !event.key.startsWith("Arrow")) return;
  const next = near(here, event.key);
  event.preventDefault();
  if (!next) return;
  next.setAttribute("tabindex", "0");
  next.setAttribute("role", "button");
  here.setAttribute("tabindex", "-1");
  next.focus();
  pinned = null;
  tell(next);
});

arrange();
