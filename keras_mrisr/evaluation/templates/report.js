"use strict";
// Sorting: the column's name is a button; numbers sort by data-value, empty ones stay last.
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const opposite = { ascending: "descending", descending: "ascending" };
    const order = opposite[head.getAttribute("aria-sort")] || button.dataset.first;
    for (const other of head.parentNode.children) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const numeric = head.classList.contains("number");
    const value = (row) => {
      const cell = row.children[column];
      if (!numeric) return cell.textContent.trim();
      return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    };
    const compare = (one, two) => {
      const a = value(one), b = value(two);
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  });
}

const outlineBox = document.getElementById("show-outline");
if (outlineBox) {
  const show = () => document.body.classList.toggle("no-outline", !outlineBox.checked);
  outlineBox.addEventListener("change", show);
  show(); // Browsers keep the tick over a reload.
}

// Before and after: the range moves the divider, so that the keyboard works as the mouse does.
for (const article of document.querySelectorAll(".case")) {
  const slider = article.querySelector(".slider");
  const stage = slider.querySelector(".stage");
  const range = slider.querySelector("input[type=range]");
  const panels = [...article.querySelectorAll(".panel")];
  const sides = { left: slider.querySelector(".choose-left"), right: slider.querySelector(".choose-right") };
  for (const [side, select] of Object.entries(sides)) {
    for (const panel of panels) select.add(new Option(panel.dataset.name));
    select.value = article.dataset[side];
    const choose = () => {
      const source = panels.find((panel) => panel.dataset.name === select.value).querySelector("img");
      const image = stage.querySelector("img." + side);
      image.src = source.src;
      image.classList.toggle("pixels", source.classList.contains("pixels"));
      stage.querySelector(".tag-" + side).textContent = select.value;
    };
    select.addEventListener("change", choose);
    choose();
  }
  const move = () => {
    stage.style.setProperty("--position", range.value + "%");
    range.setAttribute("aria-valuetext", range.value + " % " + sides.left.value);
  };
  range.addEventListener("input", move);
  move();
  const drag = (event) => {
    const edge = stage.getBoundingClientRect();
    range.value = Math.round((100 * (event.clientX - edge.left)) / edge.width);
    range.dispatchEvent(new Event("input"));
  };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) drag(event); });
  slider.hidden = false;
}

// Enlarging: pictures of one kind and case can be walked through with the arrow keys.
const dialog = document.getElementById("enlarged");
let series = [], place = 0;
const showPicture = () => {
  const button = series[place];
  const article = button.closest(".case");
  const name = button.closest(".panel").dataset.name;
  const prefix = { image: "", region: "Enlarged: ", error: "Error of " }[button.dataset.kind];
  const frame = dialog.querySelector(".frame");
  const ratio = button.dataset.kind === "region" ? "1" : article.style.getPropertyValue("--ratio");
  const [width, height] = ratio.split("/").map(Number);
  frame.style.setProperty("--ratio", ratio);
  frame.style.setProperty("--wide", height ? width / height : 1);
  frame.replaceChildren(...[...button.children].map((child) => child.cloneNode(true)));
  for (const box of frame.querySelectorAll(".box")) box.remove();
  dialog.querySelector("h2").textContent = prefix + name + ", " + article.querySelector("h3").textContent;
  dialog.querySelector("p").textContent = button.dataset.caption;
};
const step = (by) => { place = (place + by + series.length) % series.length; showPicture(); };
for (const button of document.querySelectorAll(".picture")) {
  button.addEventListener("click", () => {
    series = [...button.closest(".case").querySelectorAll('.picture[data-kind="' + button.dataset.kind + '"]')];
    place = series.indexOf(button);
    showPicture();
    dialog.showModal();
  });
}
dialog.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) { event.preventDefault(); step(by); }
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
document.getElementById("previous").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
document.getElementById("close").addEventListener("click", () => dialog.close());
