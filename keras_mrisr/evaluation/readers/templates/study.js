"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const find = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const sections = { start: find("#start"), trial: find("#trial"), end: find("#end") };
const pictures = { images: all(".first img, .second img"), original: find(".original img") };
const buttons = all("[data-answer]");
const sliders = { zoom: find("#zoom"), contrast: find("#contrast"), level: find("#level") };
const place = `mrisr-study-${data.study}`;
const keys = data.kind === "scores"
  ? Object.fromEntries(data.answers.map((answer) => [answer, answer]))
  : { ArrowLeft: "left", ArrowRight: "right", 1: "left", 2: "right" };

// What every reader of this browser has answered: name -> code of a trial -> answer.
let stored = {};
let keeps = true;
try {
  stored = JSON.parse(localStorage.getItem(place) || "{}");
  localStorage.setItem(place, JSON.stringify(stored));
} catch {
  keeps = false;
}
find("#storage").hidden = keeps;

let reader = "", answers = {}, current = 0, ready = false;
let shownAt = 0, hiddenAt = null, away = 0;  // Milliseconds.
let pan = [0, 0];

function show(name) {
  for (const [key, section] of Object.entries(sections)) section.hidden = key !== name;
  if (name !== "start") sections[name].querySelector("h1").focus();
}

async function ask(number) {
  current = number;
  if (number >= data.trials.length) return finish();
  show("trial");
  ready = false;
  const trial = data.trials[number];
  trial.images.forEach((image, side) => { pictures.images[side].src = data.images[image]; });
  if (pictures.original) pictures.original.src = data.images[trial.original];
  resetView();
  find("progress").value = number;
  find("#count").textContent = `${number + 1} of ${data.trials.length}`;
  find("#back").disabled = number === 0;
  const given = answers[trial.code];
  for (const button of buttons) button.classList.toggle("given", Boolean(given) && given.answer === button.dataset.answer);
  await Promise.all([...pictures.images, ...(pictures.original ? [pictures.original] : [])].map((image) => image.decode()));
  const first = pictures.images[0];
  for (const view of all(".view")) {
    view.style.setProperty("--ratio", `${first.naturalWidth} / ${first.naturalHeight}`);
  }
  if (current !== number) return;
  ready = true;
  shownAt = performance.now();
  away = 0;
  hiddenAt = document.hidden ? shownAt : null;
}

function give(answer) {
  if (!ready || sections.trial.hidden) return;
  ready = false;
  answers[data.trials[current].code] = {
    answer, order: current + 1, seconds: ((performance.now() - shownAt - away) / 1000).toFixed(2),
    zoom: sliders.zoom.value, contrast: sliders.contrast.value, level: sliders.level.value,
    time: new Date().toISOString(),
  };
  keep();
  ask(current + 1);
}

function keep() {
  stored[reader] = answers;
  if (keeps) {
    try { localStorage.setItem(place, JSON.stringify(stored)); } catch { keeps = false; find("#storage").hidden = false; }
  }
}

function finish() {
  const count = Object.keys(answers).length;
  find("#summary").textContent = `${count} of ${data.trials.length} questions are answered.`;
  show("end");
}

// Text that a spreadsheet takes for a formula gets an apostrophe before it.
const cell = (value) => {
  const text = /^[=+\-@\t\r\n]/.test(String(value)) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

function save() {
  const names = ["answer", "order", "seconds", "zoom", "contrast", "level", "time"];
  const rows = data.trials.filter((trial) => answers[trial.code]).map((trial) =>
    [data.study, reader, trial.code, ...names.map((name) => answers[trial.code][name])]);
  const text = [["study", "reader", "trial", ...names], ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `${data.study}-${reader.replace(/[^\p{L}\p{N}]+/gu, "-")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function draw() {
  const zoom = Number(sliders.zoom.value), slope = Number(sliders.contrast.value), level = Number(sliders.level.value);
  const most = (zoom - 1) / 2;
  pan = pan.map((value) => Math.min(most, Math.max(-most, value)));
  for (const image of all(".view img")) {
    image.style.transform = `translate(${100 * pan[0]}%, ${100 * pan[1]}%) scale(${zoom})`;
  }
  find(".views").classList.toggle("zoomed", zoom > 1);
  for (const part of all("#window feFuncR, #window feFuncG, #window feFuncB")) {
    part.setAttribute("slope", slope);
    part.setAttribute("intercept", 0.5 - slope * (1 - level));
  }
}

function resetView() {
  for (const slider of Object.values(sliders)) slider.value = slider.defaultValue;
  pan = [0, 0];
  draw();
}

function move(slider, steps) {
  slider.value = Number(slider.value) + steps * Number(slider.step);
  draw();
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  reader = find("#reader").value.trim();
  if (!reader) return;
  answers = stored[reader] || {};
  const open = data.trials.findIndex((trial) => !answers[trial.code]);
  ask(open < 0 ? data.trials.length : open);
});
for (const button of buttons) button.addEventListener("click", () => give(button.dataset.answer));
for (const button of all(".save")) button.addEventListener("click", save);
find("#back").addEventListener("click", () => ask(Math.max(0, current - 1)));
find("#again").addEventListener("click", () => ask(data.trials.length - 1));
find("#reset").addEventListener("click", resetView);
for (const slider of Object.values(sliders)) {
  slider.addEventListener("input", draw);
  slider.addEventListener("pointerup", () => slider.blur());  // So that the arrow keys answer again.
}
for (const view of all(".view")) {
  view.addEventListener("wheel", (event) => { event.preventDefault(); move(sliders.zoom, -Math.sign(event.deltaY)); }, { passive: false });
  view.addEventListener("pointerdown", (event) => {
    if (Number(sliders.zoom.value) > 1) view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    if (!view.hasPointerCapture(event.pointerId)) return;
    pan = [pan[0] + event.movementX / view.clientWidth, pan[1] + event.movementY / view.clientHeight];
    draw();
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else if (hiddenAt !== null) { away += performance.now() - hiddenAt; hiddenAt = null; }
});
document.addEventListener("keydown", (event) => {
  if (sections.trial.hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const view = {
    "+": () => move(sliders.zoom, 1), "=": () => move(sliders.zoom, 1), "-": () => move(sliders.zoom, -1),
    "]": () => move(sliders.contrast, 1), "[": () => move(sliders.contrast, -1),
    ".": () => move(sliders.level, 1), ",": () => move(sliders.level, -1),
    0: resetView, Backspace: () => ask(Math.max(0, current - 1)),
  };
  const action = keys[event.key] ? () => give(keys[event.key]) : view[event.key];
  if (action) { event.preventDefault(); action(); }
});
draw();
